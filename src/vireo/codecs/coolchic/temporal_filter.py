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
from vireo.codecs.coolchic.motion import box, moved
from vireo.gop import PlannedFrame

# Of another frame that shows the same, by how many frames it is away; a frame's own is 1.
STRENGTHS = 0.6, 0.5, 0.4, 0.3
SEARCH_LAMBDA = 0.3  # of lambda: motion has to be true here, and costs nothing
_AROUND = 5  # luma samples, the side of the window that errors are averaged over


def neighbourhoods(plan: Sequence[PlannedFrame]) -> dict[int, range]:
    """Which frames have a say, by display index of those that others refer to: itself and those
    around, as far as the farthest that refers to it, and no farther than have a strength.
    """
    reach: dict[int, int] = {}
    for frame in plan:
        for r in frame.references:
            distance = abs(frame.display_index - r)
            reach[r] = min(max(reach.get(r, 0), distance), len(STRENGTHS))
    return {r: range(max(r - n, 0), min(r + n + 1, len(plan))) for r, n in reach.items()}


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

    def share_of(other: int) -> tuple[Sequence[Floats], Sequence[Floats]]:
        """Its planes where this picture has them, and what they weigh there."""
        planes = moved(own, pictures[other], SEARCH_LAMBDA * lambda_, parts)
        missing = box((planes[0] - own[0]).astype(np.float64) ** 2, _AROUND).clip(0)
        strength = STRENGTHS[abs(other - index) - 1]
        luma = (strength * kept(ERROR_PER_LAMBDA * lambda_, missing)).astype(np.float32)
        height, width = own[1].shape
        chroma = luma.reshape(height, 2, width, 2).mean(axis=(1, 3))
        return planes, (luma, chroma, chroma)

    others = [i for i in range(len(pictures)) if i != index]
    sums = [plane.astype(np.float32) for plane in own]
    weights = [np.ones_like(plane) for plane in sums]
    with ThreadPoolExecutor(threads) as pool:
        for planes, shares in pool.map(share_of, others):
            for i, (plane, share) in enumerate(zip(planes, shares, strict=True)):
                sums[i] += share * plane
                weights[i] += share
    y, u, v = (
        np.rint(s / w).clip(0, 255).astype(np.uint8) for s, w in zip(sums, weights, strict=True)
    )
    return y, u, v
