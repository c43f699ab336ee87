"""What is coded in place of frames that others are predicted from: these have a say in it.

An error of a reference counts in the frames that are predicted from it too (`importance`). They
show the same as it does up to noise, each its own, so that the sum of these errors is least at a
mean of them all, moved to where things are in the reference. Encoders of AV1 and VVC have such
filters for frames of low temporal levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np

from vireo.codecs.base import Planes
from vireo.codecs.coolchic.config import Parts
from vireo.codecs.coolchic.importance import Floats, kept
from vireo.codecs.coolchic.motion import box, predict, search_fields
from vireo.gop import PlannedFrame

REACH = 2  # frames before and after
STRENGTH = 0.5  # of another frame that shows the same, against the frame's own 1
SEARCH_LAMBDA = 0.3  # of lambda: motion has to be true here, and costs nothing
_AROUND = 5  # luma samples, the side of the window that errors are averaged over
_ONE = np.float32(64)  # of a prediction's samples


def filtered(
    plan: Sequence[PlannedFrame],
    pictures: Sequence[Planes],
    parts: Parts,
    lambda_: float,
    threads: int = 1,
) -> dict[int, Planes]:
    """Planes Y, U, V by display index, of the frames that others refer to.

    Args:
        plan: a GOP's frames.
        pictures: planes Y, U, V of these frames, of even size, in display order.
        lambda_: cost of a bit per luma sample against mean squared error (samples 0…1).
        threads: how many search motion.
    """
    farthest: dict[int, int] = {}
    for frame in plan:
        for r in frame.references:
            farthest[r] = max(farthest.get(r, 0), abs(frame.display_index - r))
    pairs = [
        (index, other)
        for index, distance in sorted(farthest.items())
        for other in _around(index, min(distance, REACH), len(pictures))
    ]

    def moved(pair: tuple[int, int]) -> tuple[list[Floats], list[Floats]]:
        index, other = pair
        return _moved(pictures[index], pictures[other], parts, lambda_)

    result: dict[int, Planes] = {}
    with ThreadPoolExecutor(threads) as pool:
        found = zip(pairs, pool.map(moved, pairs), strict=True)
        for index, others in groupby(found, key=lambda item: item[0][0]):
            sums = [plane.astype(np.float32) for plane in pictures[index]]
            weights = [np.ones_like(plane) for plane in sums]
            for _, (planes, shares) in others:
                for i, (plane, share) in enumerate(zip(planes, shares, strict=True)):
                    sums[i] += share * plane
                    weights[i] += share
            y, u, v = (
                np.rint(s / w).clip(0, 255).astype(np.uint8)
                for s, w in zip(sums, weights, strict=True)
            )
            result[index] = y, u, v
    return result


def _around(index: int, reach: int, frames: int) -> list[int]:
    first, last = max(index - reach, 0), min(index + reach, frames - 1)
    return [other for other in range(first, last + 1) if other != index]


def _moved(
    target: Planes, other: Planes, parts: Parts, lambda_: float
) -> tuple[list[Floats], list[Floats]]:
    """Another picture's planes where the target has them, and what share they have there."""
    fields = search_fields(target, [other], SEARCH_LAMBDA * lambda_, parts)
    for alpha in fields[2 * parts.motion_grids :]:
        alpha[:] = 0
    planes: list[Floats] = [p.astype(np.float32) / _ONE for p in predict(fields, [other], parts)]
    missing = box((planes[0] - target[0]).astype(np.float64) ** 2, _AROUND).clip(0)
    luma = (STRENGTH * kept(lambda_, missing)).astype(np.float32)
    height, width = target[1].shape
    chroma = luma.reshape(height, 2, width, 2).mean(axis=(1, 3))
    return planes, [luma, chroma, chroma]
