"""Cosine transforms of blocks: what light models start as."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Wave = tuple[int, int]
"""Half waves down and across."""


def lowest_waves(side: int, count: int) -> list[Wave]:
    """Those of lowest frequency of a block of `side` x `side`."""
    size = range(side)
    return [(v, u) for _, v, u in sorted((v + u, v, u) for v in size for u in size)[:count]]


def wave_of(wave: Wave, side: int) -> NDArray[np.float64]:
    """`[side, side]`, of length 1."""
    v, u = wave
    return np.outer(_cosine(v, side), _cosine(u, side))


def _cosine(frequency: int, size: int) -> NDArray[np.float64]:
    wave = np.cos(np.pi * frequency * (2 * np.arange(size) + 1) / (2 * size))
    unit: NDArray[np.float64] = wave / np.sqrt(np.sum(wave**2))
    return unit


class Basis:
    """Waves that the channels of a light model's features start as.

    Args:
        stride: samples of the picture per place, the side of its block.
        width: how many; one of eight is U's, one V's.
        coded: how many come first, of these too one of eight U's and one V's.
    """

    def __init__(self, stride: int, width: int, coded: int) -> None:
        self._stride = stride
        first = _chosen(stride, coded)
        self.waves = first + [w for w in _chosen(stride, width) if w not in first]
        assert len(self.waves) == width

    def planes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Luma `[width, stride, stride]` and chroma `[width, 2, stride / 2, stride / 2]`.

        Rows are orthonormal.
        """
        half = self._stride // 2
        luma = np.zeros((len(self.waves), self._stride, self._stride))
        chroma = np.zeros((len(self.waves), 2, half, half))
        for row, (plane, wave) in enumerate(self.waves):
            if plane:
                chroma[row, plane - 1] = wave_of(wave, half)
            else:
                luma[row] = wave_of(wave, self._stride)
        return luma, chroma

    def rows(self) -> NDArray[np.float64]:
        """`[width, stride**2 * 3 / 2]`: samples in the order of `picture.blocks_of`."""
        flat: NDArray[np.float64] = np.concatenate(
            [plane.reshape(len(self.waves), -1) for plane in self.planes()], 1
        )
        return flat

    def from_cells(self, upper: Basis) -> NDArray[np.float64]:
        """`[width, upper's width, 2, 2]`: features from those of four blocks of half the side."""
        luma, chroma = self.planes()
        small, small_chroma = upper.planes()
        side, half = upper._stride, upper._stride // 2
        found = np.empty((len(luma), len(small), 2, 2))
        for y in range(2):
            for x in range(2):
                part = luma[:, y * side : (y + 1) * side, x * side : (x + 1) * side]
                other = chroma[..., y * half : (y + 1) * half, x * half : (x + 1) * half]
                found[:, :, y, x] = np.einsum("ayx,byx->ab", part, small)
                found[:, :, y, x] += np.einsum("acyx,bcyx->ab", other, small_chroma)
        halved: NDArray[np.float64] = found / 2  # orthonormal coefficients grow with the side
        return halved


def _chosen(stride: int, count: int) -> list[tuple[int, Wave]]:
    """Planes and waves, as many of chroma as there are, up to an eighth of all for each."""
    chroma = min(count // 8, (stride // 2) ** 2)
    if count == stride**2 * 3 // 2:  # all there are
        chroma = (stride // 2) ** 2
    counts = count - 2 * chroma, chroma, chroma
    sides = stride, stride // 2, stride // 2
    return [
        (plane, wave)
        for plane, (side, n) in enumerate(zip(sides, counts, strict=True))
        for wave in lowest_waves(side, n)
    ]
