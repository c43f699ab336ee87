"""Motion of the whole picture: an affine one per reference, which a frame's vectors begin with.

A camera that turns, comes closer or is shaken moves everything at once. Six numbers per reference
say how the picture's corners move, and blocks say what differs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vireo import _core

NUMBERS = 6  # per reference
_UNIT = 4  # of a corner's motion, 1/16 sample, in units of a vector
_BLOCK = 4  # luma samples, of those that vectors are of
STILL = 8  # a picture none of whose corners moves by more than half a sample has no such motion
ROUNDS = 30  # of least squares
WIDEST, NARROWEST, NARROWING = 512.0, 20.0, 0.8  # from where on vectors are outliers: 8 samples


class GlobalMotion(tuple[NDArray[np.int32], ...]):
    """What a frame's vectors begin with, as `Motion.vectors`, with the numbers that say so.

    Attributes:
        corners: per reference how the upper left corner moves, x and y, and how much more than
            that the upper right and the lower left one do, in 1/16 luma sample.
    """

    corners: tuple[int, ...]

    def __new__(cls, corners: Sequence[int], size: tuple[int, int]) -> GlobalMotion:
        """Make that of a picture of H x W samples (docs/bitstream.md, "Fields")."""
        motion = super().__new__(cls, _vectors(corners, *size))
        motion.corners = tuple(corners)
        return motion

    @property
    def bits(self) -> float:
        """What the numbers take in a stream, nearly."""
        mean = np.abs(self.corners).mean() + 0.5
        return float(8 + len(self.corners) * np.log2(2 * np.e * mean))


def _vectors(corners: Sequence[int], height: int, width: int) -> list[NDArray[np.int32]]:
    n, m = -(-width // _BLOCK), -(-height // _BLOCK)
    across = (2 * np.arange(n) + 1) * m  # of the picture's width, times 2 n m
    down = (2 * np.arange(m)[:, None] + 1) * n
    vectors = []
    for first in range(0, len(corners), NUMBERS):
        for axis in (0, 1):
            a, b, c = corners[first + axis : first + NUMBERS : 2]
            moved = (_UNIT * (2 * n * m * a + b * across + c * down) + n * m) // (2 * n * m)
            vectors.append(moved.clip(-_core.MAX_INHERITED, _core.MAX_INHERITED).astype(np.int32))
    return vectors


def global_motion(
    vectors: Sequence[NDArray[np.int32]],
    weights: Sequence[NDArray[np.floating]],
    size: tuple[int, int],
) -> GlobalMotion | None:
    """The motion that most of a picture's blocks share; None if that is next to none.

    Args:
        vectors: as `Motion.vectors`.
        weights: what each block counts, per reference.
        size: H and W of the picture.
    """
    corners = [
        int(number)
        for i, weight in enumerate(weights)
        for number in _fitted(vectors[2 * i], vectors[2 * i + 1], weight)
    ]
    if max(map(abs, corners)) <= STILL or max(map(abs, corners)) > _core.MAX_CORNER:
        return None
    return GlobalMotion(corners, size)


def _fitted(
    x: NDArray[np.int32], y: NDArray[np.int32], weight: NDArray[np.floating]
) -> NDArray[np.int_]:
    """Weighted least squares in which outliers count less and less (Geman and McClure)."""
    rows, columns = x.shape
    across = np.broadcast_to((2 * np.arange(columns) + 1) / (2 * columns), x.shape)
    down = np.broadcast_to((2 * np.arange(rows)[:, None] + 1) / (2 * rows), x.shape)
    places = np.stack([np.ones(x.size), across.ravel(), down.ravel()])
    wanted = np.stack([x.ravel(), y.ravel()]).astype(np.float64)
    counts = first = weight.ravel().astype(np.float64) + 1e-6
    for k in range(ROUNDS):
        scaled = places * counts
        # The least one that fits, where all blocks are in a row.
        found = np.linalg.lstsq(scaled @ places.T, scaled @ wanted.T, rcond=1e-9)[0]
        error = ((wanted - found.T @ places) ** 2).sum(axis=0)
        limit = max(NARROWEST, WIDEST * NARROWING**k)
        counts = first / (1 + error / limit**2) ** 2
    fitted: NDArray[np.int_] = np.rint(found / _UNIT).astype(int).ravel()
    return fitted
