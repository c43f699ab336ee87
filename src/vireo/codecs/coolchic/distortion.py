"""The distortion that Cool-chic is optimised for, on integer pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Planes = Sequence[NDArray[np.uint8]]

PLANE_WEIGHTS = (4.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0)


def plane_mse(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean squared error in squared sample values."""
    difference = np.subtract(a, b, dtype=np.int32).ravel()
    return float(np.dot(difference, difference)) / difference.size


def distortion(decoded: Planes, target: Planes) -> float:
    """Weighted mean squared error of Y, U and V, samples in 0…1 (paper, section 3.1)."""
    errors = [plane_mse(a, b) for a, b in zip(decoded, target, strict=True)]
    return sum(w * e for w, e in zip(PLANE_WEIGHTS, errors, strict=True)) / 255.0**2


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of samples in 0…1."""
    return 100.0 if mse <= 1e-10 else -10.0 * float(np.log10(mse))
