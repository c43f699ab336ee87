"""Motion estimation at the encoder: flows that training starts from, and fields for the stream.

Flows come from coarse-to-fine matching of windows: at each level of a pyramid the flow so far is
refined by the small displacement whose windowed absolute difference is least.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vireo import _core, _train
from vireo.codecs.base import Planes
from vireo.codecs.coolchic.config import Parts
from vireo.codecs.coolchic.inheritance import Inherited
from vireo.codecs.coolchic.networks import motion_probabilities

Floats = NDArray[np.float32]
AnyFloats = TypeVar("AnyFloats", NDArray[np.float32], NDArray[np.float64])

WINDOW = 9  # side of the window that is compared, in samples of the level
SMOOTHING = 33  # side of the window over which the result is averaged
SMALLEST_SIDE = 24  # of the coarsest level
_ONE = 64  # of a prediction's sample values
PENALTY = 0.25  # sample values that a displacement must gain, against noise


class FoundFields(NamedTuple):
    """What a motion search finds.

    Attributes:
        fields: latents in the order of a frame's.
        inherits: whether vectors begin with what they may.
        cost: of motion, and of the residual by estimate: squared error, samples 0…1, and bits times
            lambda.
    """

    fields: list[NDArray[np.int16]]
    inherits: bool
    cost: float


def estimate_flow(target: NDArray[np.uint8], reference: NDArray[np.uint8]) -> Floats:
    """Dense flow `[2, H, W]` (x, y, luma samples) from target to reference `[H, W]`."""
    pyramid = [(target.astype(np.float32), reference.astype(np.float32))]
    while min(pyramid[-1][0].shape) >= 2 * SMALLEST_SIDE:
        t, r = pyramid[-1]
        pyramid.append((halve(t), halve(r)))
    flow = np.zeros((2, *pyramid[-1][0].shape), np.float32)
    for level, (t, r) in reversed(list(enumerate(pyramid))):
        if flow.shape[1:] != t.shape:
            flow = _double(flow, t.shape)
        reach = 3 if level + 1 == len(pyramid) else 1
        flow = _refine(t, r, flow, reach, 1.0)
        flow = _median(flow)
    for step in (0.5, 0.25):
        flow = _refine(*pyramid[0], flow, 1, step)
    flow = _median(flow)
    return np.stack([box(c, SMOOTHING) for c in flow])


def predict(
    fields: Sequence[NDArray[np.int16]],
    references: Sequence[Planes],
    parts: Parts,
    inherited: Inherited = (),
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """What fields' latents make of the references: planes Y, U, V in 1/64 sample value."""
    height, width = references[0][0].shape
    blocks = _core.block_fields(
        fields, parts.motion_first, height, width, len(references), inherited
    )
    return _core.predict(blocks, references, height, width)


def moved(
    target: Planes, reference: Planes, lambda_: float, parts: Parts
) -> tuple[Floats, Floats, Floats]:
    """Another picture's planes Y, U, V where the target has them, everywhere and unblended."""
    fields = search_fields(target, [reference], lambda_, parts).fields
    for alpha in fields[2 * parts.motion_grids :]:
        alpha[:] = 0
    predicted = predict(fields, [reference], parts)
    y, u, v = (plane.astype(np.float32) / np.float32(_ONE) for plane in predicted)
    return y, u, v


def temporal_contexts(
    core: _core.Architecture,
    fields: Sequence[NDArray[np.int16]],
    references: Sequence[Planes],
    parts: Parts,
    inherited: Inherited = (),
) -> list[NDArray[np.int16]]:
    """What the prediction tells of luma's latents: a plane per grid, finest first."""
    height, width = references[0][0].shape
    blocks = _core.block_fields(
        fields, parts.motion_first, height, width, len(references), inherited
    )
    return _core.temporal_contexts(core, blocks, references, height, width)


def search_fields(
    target: Planes,
    references: Sequence[Planes],
    lambda_: float,
    parts: Parts,
    inherited: Inherited = (),
    *,
    always: bool = False,
) -> FoundFields:
    """Find latents of the fields that predict a picture's planes from one or two others'.

    Args:
        lambda_: what a bit costs per luma sample.
        inherited: what vectors may begin with.
        always: they do; otherwise only if that costs less.
    """
    found = _train.search_motion(
        target,
        references,
        lambda_,
        parts.motion_first,
        parts.motion_grids,
        motion_probabilities(),
        inherited,
        always,
    )
    return FoundFields(*found)


def halve(x: Floats) -> Floats:
    """Means of 2x2 samples; a last odd row or column is left out."""
    h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    x = x[:h, :w]
    total: Floats = x[0::2, 0::2] + x[0::2, 1::2] + x[1::2, 0::2] + x[1::2, 1::2]
    return total * np.float32(0.25)


def _double(flow: Floats, shape: tuple[int, ...]) -> Floats:
    large = 2 * flow.repeat(2, axis=1).repeat(2, axis=2)
    pad = [(0, 0), (0, shape[0] - large.shape[1]), (0, shape[1] - large.shape[2])]
    return np.pad(large, pad, mode="edge")


def _sample(plane: Floats, x: Floats, y: Floats) -> Floats:
    """Bilinear interpolation, the border repeated."""
    h, w = plane.shape
    x, y = x.clip(0, w - 1), y.clip(0, h - 1)
    x0, y0 = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - x0, y - y0
    base = y0 * w + x0
    right = (x0 < w - 1).astype(np.int32)
    below = np.where(y0 < h - 1, w, 0).astype(np.int32)
    flat = plane.ravel()
    a, b = flat[base], flat[base + right]
    c, d = flat[base + below], flat[base + below + right]
    upper = a + fx * (b - a)
    mixed: Floats = upper + fy * (c + fx * (d - c) - upper)
    return mixed


def box(x: AnyFloats, side: int = WINDOW) -> AnyFloats:
    """Mean over a window of odd side, the border repeated."""
    half = side // 2
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (half + 1, half)
        total = np.cumsum(np.pad(x, pad, mode="edge"), axis=axis, dtype=x.dtype)
        lead = total[side:] if axis == 0 else total[:, side:]
        lag = total[:-side] if axis == 0 else total[:, :-side]
        x = (lead - lag) * x.dtype.type(1 / side)
    return x


def _refine(target: Floats, reference: Floats, flow: Floats, reach: int, step: float) -> Floats:
    h, w = target.shape
    x = np.arange(w, dtype=np.float32) + flow[0]
    y = np.arange(h, dtype=np.float32)[:, None] + flow[1]
    best = np.full((h, w), np.inf, np.float32)
    chosen = np.zeros((2, h, w), np.float32)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            difference = np.abs(target - _sample(reference, x + step * dx, y + step * dy))
            cost = box(difference.astype(np.float32)) + (PENALTY if dx or dy else 0.0) * step
            better = cost < best
            best[better] = cost[better]
            chosen[0][better] = step * dx
            chosen[1][better] = step * dy
    refined: Floats = flow + chosen
    return refined


def _median(flow: Floats) -> Floats:
    """3x3 median of each component: isolated wrong matches go."""
    padded = np.pad(flow, ((0, 0), (1, 1), (1, 1)), mode="edge")
    h, w = flow.shape[1:]
    neighbours = [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]
    return np.median(np.stack(neighbours), axis=0).astype(np.float32)
