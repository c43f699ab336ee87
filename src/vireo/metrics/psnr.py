"""Mean squared error and peak signal-to-noise ratio of 8-bit pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PEAK = 255.0
PLANE_WEIGHTS = (4.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0)
"""Weights of the mean squared errors of Y, U, V in 4:2:0 (Cool-chic video, section 3.1)."""


def plane_mse(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean squared error of two planes of one shape, in squared sample values."""
    difference = np.subtract(a, b, dtype=np.int32).ravel()
    return float(np.dot(difference, difference)) / difference.size


def weighted_mse(mse: Sequence[float]) -> float:
    """One number from the mean squared errors of Y, U and V, weighted 4:1:1."""
    return sum(w * e for w, e in zip(PLANE_WEIGHTS, mse, strict=True))


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB; 100 for (nearly) equal pictures."""
    return 100.0 if mse <= 1e-10 * PEAK**2 else 10.0 * float(np.log10(PEAK**2 / mse))
