"""The interpolation filters of block motion: cosine-windowed sincs at 64 fractions.

The rounded taps are numbers of the format. Training differentiates by the motion through
the same filters before rounding, whose slope doesn't jump from one fraction to the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRACTIONS = 64  # of a sample; also what the taps of a filter sum to
LUMA_TAPS = 8
CHROMA_TAPS = 4


def continuous_taps(count: int, fraction: float) -> NDArray[np.float64]:
    """Taps that interpolate at `fraction` samples past the tap `count / 2 - 1`; they sum to 1."""
    x = np.arange(count) - (count // 2 - 1) - fraction
    taps: NDArray[np.float64] = np.sinc(x) * np.cos(np.pi * x / (count + 0.5))
    taps /= taps.sum()
    return taps


def taps(count: int) -> NDArray[np.int8]:
    """The filters of the format `[64, count]`, in 64ths.

    The largest tap, or the two of them half-way, makes up what rounding took.
    """
    exact = np.array([continuous_taps(count, f / FRACTIONS) for f in range(FRACTIONS)])
    table: NDArray[np.int8] = np.rint(FRACTIONS * exact).astype(np.int8)
    largest = table == table.max(1, keepdims=True)
    lacking = (FRACTIONS - table.sum(1)) // largest.sum(1)
    table += (lacking[:, None] * largest).astype(np.int8)
    return table


def slopes(count: int) -> NDArray[np.float32]:
    """Derivatives of the continuous taps by the fraction in samples, `[64, count]`.

    Central differences over 1/128 sample on either side, in double precision.
    """
    step = 1 / 128
    at = np.arange(FRACTIONS) / FRACTIONS
    differences = [continuous_taps(count, f + step) - continuous_taps(count, f - step) for f in at]
    return (np.array(differences) / (2 * step)).astype(np.float32)
