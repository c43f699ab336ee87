"""How far apart the frames of a GOP may lie that are predicted from each other first.

A hierarchy over a whole GOP codes nearly every frame as a B frame, which is best as long as
a frame still says something about one that is a GOP away. Where it doesn't, frames that are
closer serve better.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic.config import Parts
from vireo.codecs.coolchic.motion import search_fields
from vireo.gop import FrameType

Samples = NDArray[np.uint8]

LEAST = 8  # frames
SIDE = 8  # of the squares that are compared
NOISE = 9.0  # squared sample values that no prediction is asked to explain
# Of the squares' own variance: more than this left after prediction, and it is of no use.
# Measured after a GOP of 32: 0.1 to 0.5 with still cameras and steady motion, 0.99 in crowds.
USEFUL = 0.75


def prediction_interval(luma: Sequence[Samples], parts: Parts, lambda_: float) -> int | None:
    """Frames from one P frame of a GOP to the next; None for one P frame, the last.

    `luma` are the planes `[H, W]` of the GOP's frames, of even size, in display order.
    """
    distance = len(luma) - 1
    if distance <= LEAST:
        return None
    while distance > LEAST:
        left = unexplained(luma[distance], luma[0], parts, lambda_)
        if left <= USEFUL:
            break
        distance = -(-distance // 2)
    return None if distance == len(luma) - 1 else distance


def unexplained(target: Samples, reference: Samples, parts: Parts, lambda_: float) -> float:
    """The share of a picture's variance that the other one, moved, does not predict: 0…1."""
    height, width = target.shape
    fields = search_fields(target, [reference], lambda_, parts)
    for alpha in fields[2 * parts.motion_grids :]:
        alpha[:] = 0
    blocks = _core.block_fields(fields, parts.motion_first, height, width, int(FrameType.P))
    grey = np.zeros((height // 2, width // 2), np.uint8)
    predicted, _, _ = _core.predict(blocks, [(reference, grey, grey)], height, width)
    wanted = _squares(target.astype(np.float32))
    error = _squares(predicted[:height, :width] / np.float32(64)) - wanted
    variance = wanted.var(axis=1) + NOISE
    left = np.minimum((error**2).mean(axis=1) + NOISE, variance)
    return float(left.mean() / variance.mean())


def _squares(plane: NDArray[np.floating]) -> NDArray[np.floating]:
    """`[n, SIDE * SIDE]`, whole squares only, or all of a plane that is smaller."""
    h, w = (n // SIDE * SIDE or n for n in plane.shape)
    side_y, side_x = min(SIDE, h), min(SIDE, w)
    squares = plane[:h, :w].reshape(h // side_y, side_y, w // side_x, side_x)
    return squares.swapaxes(1, 2).reshape(-1, side_y * side_x)
