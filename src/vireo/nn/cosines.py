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
