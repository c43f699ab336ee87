"""What is coded in place of frames that others are predicted from: these have a say in it.

An error of a reference counts in the frames that are predicted from it too (`importance`). They
show the same as it does up to noise, each its own, so that the sum of these errors is least at a
mean of them all, moved to where things are in the reference. Encoders of AV1 and VVC have such
filters for frames of low temporal levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vireo.codecs.base import Planes
from vireo.codecs.coolchic.config import Parts
from vireo.codecs.coolchic.importance import ERROR_PER_LAMBDA, Floats, kept
from vireo.codecs.coolchic.motion import box, predict, search_fields
from vireo.gop import PlannedFrame

# Of another frame that shows the same, by how many frames it is away; a frame's own is 1.
STRENGTHS = 0.6, 0.5, 0.4, 0.3
SEARCH_LAMBDA = 0.3  # of lambda: motion has to be true here, and costs nothing
_AROUND = 5  # luma samples, the side of the window that errors are averaged over
_ONE = np.float32(64)  # of a prediction's samples


def reaches(plan: Sequence[PlannedFrame]) -> dict[int, int]:
    """How many frames before and after have a say, of those frames that others refer to.

    That is as many as the farthest is away that refers to it, and no more than have a strength.
    """
    farthest: dict[int, int] = {}
    for frame in plan:
        for r in frame.references:
            distance = abs(frame.display_index - r)
            farthest[r] = min(max(farthest.get(r, 0), distance), len(STRENGTHS))
    return farthest


def filtered(
    pictures: Sequence[Planes],
    index: int,
    parts: Parts,
    lambda_: float,
    threads: int = 1,
) -> Planes:
    """Planes Y, U, V of one picture, in which all that are given have a say.

    Args:
        pictures: planes Y, U, V of consecutive frames, of even size.
        index: which of them it is.
        lambda_: cost of a bit per luma sample against mean squared error (samples 0…1).
        threads: how many search motion.
    """
    own = pictures[index]

    def moved(other: int) -> tuple[list[Floats], list[Floats]]:
        strength = STRENGTHS[abs(other - index) - 1]
        return _moved(own, pictures[other], parts, lambda_, strength)

    others = [i for i in range(len(pictures)) if i != index]
    sums = [plane.astype(np.float32) for plane in own]
    weights = [np.ones_like(plane) for plane in sums]
    with ThreadPoolExecutor(threads) as pool:
        for planes, shares in pool.map(moved, others):
            for i, (plane, share) in enumerate(zip(planes, shares, strict=True)):
                sums[i] += share * plane
                weights[i] += share
    y, u, v = (
        np.rint(s / w).clip(0, 255).astype(np.uint8) for s, w in zip(sums, weights, strict=True)
    )
    return y, u, v


def _moved(
    target: Planes, other: Planes, parts: Parts, lambda_: float, strength: float
) -> tuple[list[Floats], list[Floats]]:
    """Another picture's planes where the target has them, and what share they have there."""
    fields = search_fields(target, [other], SEARCH_LAMBDA * lambda_, parts)
    for alpha in fields[2 * parts.motion_grids :]:
        alpha[:] = 0
    planes: list[Floats] = [p.astype(np.float32) / _ONE for p in predict(fields, [other], parts)]
    missing = box((planes[0] - target[0]).astype(np.float64) ** 2, _AROUND).clip(0)
    luma = (strength * kept(ERROR_PER_LAMBDA * lambda_, missing)).astype(np.float32)
    height, width = target[1].shape
    chroma = luma.reshape(height, 2, width, 2).mean(axis=(1, 3))
    return planes, [luma, chroma, chroma]
