"""What the parts of a frame are worth to the frames that are predicted from them.

A reference's error is in a frame's prediction, and what is coded of that prediction's error doesn't
cost more for it where it is large anyway. So a part is worth much where other frames show the same,
moved, and little where they show something else. x264's macroblock tree and libaom's temporal
dependency model go the same way: motion is searched among the source's pictures, at half their
size, and what parts are worth is passed on along it, from the frames that are coded last to
the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.base import Planes
from vireo.codecs.coolchic.config import Parts
from vireo.codecs.coolchic.motion import box, halve, search_fields
from vireo.gop import PlannedFrame
from vireo.metrics.psnr import PEAK

# At high rates the mean squared error D of what is coded at a cost of lambda per bit: the slope of
# D = c * 2**(-2R) is lambda = 2 ln(2) D.
ERROR_PER_LAMBDA = PEAK**2 / (2 * np.log(2))
_BLOCK = 4  # samples at half size: the format's blocks
_AROUND = 3  # blocks, the side of the window that squared errors are averaged over
_HADAMARD = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]]) / 2
_ONE = 64  # of blending, of a vector's units per sample, and of a prediction's per sample value

Floats = NDArray[np.float32]


def worth(
    plan: Sequence[PlannedFrame],
    pictures: Sequence[Planes],
    parts: Parts,
    lambda_: float,
    threads: int = 1,
) -> dict[int, Floats]:
    """What squared errors are worth by display index, per 8x8 luma samples.

    That is 1 for the frame itself, and more for those that are predicted from it. Frames that no
    other refers to are left out: there it is 1 everywhere.

    Args:
        plan: a GOP's frames in coding order.
        pictures: planes Y, U, V of these frames, of even size, in display order.
        lambda_: cost of a bit per luma sample against mean squared error (samples 0…1).
        threads: how many search motion.
    """
    small = [_half(picture) for picture in pictures]
    blocks = tuple(-(-side // _BLOCK) for side in small[0][0].shape)
    found = {frame.display_index: np.ones(blocks) for frame in plan}
    inter = [frame for frame in reversed(plan) if frame.references]

    def links_of(frame: PlannedFrame) -> list[_Link]:
        references = [small[r] for r in frame.references]
        return _links(small[frame.display_index], references, parts, lambda_)

    with ThreadPoolExecutor(threads) as pool:
        for frame, links in zip(inter, pool.map(links_of, inter), strict=True):
            for link, reference in zip(links, frame.references, strict=True):
                link.pass_on(found[frame.display_index], found[reference])
    referred = {r for frame in plan for r in frame.references}
    return {index: found[index].astype(np.float32) for index in sorted(referred)}


def kept(coded: NDArray[np.float64] | float, missing: NDArray[np.float64]) -> NDArray[np.float64]:
    """What part of a reference's squared error counts in a frame that is predicted from it.

    What is coded has the error D whatever its prediction is like, and a prediction error of M takes
    log(M / D) / 2 nats, times lambda = 2D. So D / M of the reference's error counts. M is that
    error, D as well, and what is missing of the frame in the reference anyway.

    Args:
        coded: D, squared sample values.
        missing: the same.
    """
    share: NDArray[np.float64] = coded / (coded + missing)
    return share


def per_sample(blocks: Floats, height: int, width: int) -> Floats:
    """Values of blocks per sample of chroma: `[height, width]`, contiguous."""
    spread = blocks.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)
    return np.ascontiguousarray(spread[:height, :width])


@dataclass(frozen=True)
class _Link:
    """What a frame has from one reference, by blocks `[rows, columns]`.

    Attributes:
        share: of an error of the reference, squared, that counts in the frame.
        x, y: where it is in the reference, in blocks.
    """

    share: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def pass_on(self, worth: NDArray[np.float64], to: NDArray[np.float64]) -> None:
        """Add what the frame's parts are worth to what they are predicted from."""
        rows, columns = to.shape
        given = self.share * worth
        left, top = np.floor(self.x).astype(int), np.floor(self.y).astype(int)
        right_share, lower_share = self.x - left, self.y - top
        for down, vertical in ((0, 1 - lower_share), (1, lower_share)):
            for across, horizontal in ((0, 1 - right_share), (1, right_share)):
                row = np.minimum(top + down, rows - 1)
                column = np.minimum(left + across, columns - 1)
                np.add.at(to, (row, column), given * vertical * horizontal)


def _links(
    target: Planes, references: Sequence[Planes], parts: Parts, lambda_: float
) -> list[_Link]:
    height, width = target[0].shape
    count = len(references)
    fields = search_fields(target, references, lambda_, parts).fields
    values = _core.block_fields(fields, parts.motion_first, height, width, count)
    rows, columns = values[0].shape
    predicted = _core.predict(values, references, height, width)[0] / np.float32(_ONE)
    wanted = target[0].astype(np.float32)
    # By frequency: what is missing of one takes nothing of the reference's error in another.
    share, errors = np.zeros((rows, columns)), np.zeros((rows, columns))
    for lost, signal in zip(_coefficients(predicted - wanted), _coefficients(wanted), strict=True):
        variance = box(signal**2, _AROUND) - box(signal, _AROUND) ** 2
        coded = np.minimum(ERROR_PER_LAMBDA * lambda_, variance + 1)  # no error is larger
        share += coded * kept(coded, box(lost**2, _AROUND))
        errors += coded
    share /= errors
    alpha = values[2 * count] / _ONE
    beta = values[2 * count + 1] / _ONE if count == 2 else np.ones((rows, columns))
    across, down = np.meshgrid(np.arange(columns), np.arange(rows))
    links = []
    for i, part in enumerate((beta, 1 - beta)[:count]):
        x = across + values[2 * i] / (_ONE * _BLOCK)
        y = down + values[2 * i + 1] / (_ONE * _BLOCK)
        # Two references have most of their errors from the same frames: the square of a mean of
        # equal errors counts each by its part.
        counts = share * alpha**2 * part
        links.append(_Link(counts, x.clip(0, columns - 1), y.clip(0, rows - 1)))
    return links


def _half(picture: Planes) -> Planes:
    """Half as large, at an even size; borders are repeated where that is needed."""
    y, u, v = (_halved(plane, 4 if k == 0 else 2) for k, plane in enumerate(picture))
    return y, u, v


def _halved(plane: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    pad = [(0, -side % multiple) for side in plane.shape]
    wide = np.pad(plane, pad, mode="edge").astype(np.float32)
    rounded: NDArray[np.uint8] = np.floor(halve(wide) + np.float32(0.5)).astype(np.uint8)
    return rounded


def _coefficients(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of each block's Hadamard transform: `[16, rows, columns]`; the last ones repeat the border.

    They are as large as samples.
    """
    pad = [(0, -side % _BLOCK) for side in plane.shape]
    wide = np.pad(plane, pad, mode="edge").astype(np.float64)
    rows, columns = (side // _BLOCK for side in wide.shape)
    blocks = wide.reshape(rows, _BLOCK, columns, _BLOCK)
    found: NDArray[np.float64] = np.einsum("ui,ricj,vj->uvrc", _HADAMARD, blocks, _HADAMARD)
    return found.reshape(_BLOCK * _BLOCK, rows, columns)
