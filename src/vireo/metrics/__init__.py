"""Measures of pictures and of codecs, each defined in one place.

Libraries that only a measure needs (torch, SciPy, an ffmpeg) are imported when it is used.
"""

from vireo.metrics.psnr import (
    PLANE_WEIGHTS,
    mean_psnr,
    plane_mse,
    psnr,
    psnr_of_mean,
    weighted_mse,
    weighted_psnr,
)

__all__ = [
    "PLANE_WEIGHTS",
    "mean_psnr",
    "plane_mse",
    "psnr",
    "psnr_of_mean",
    "weighted_mse",
    "weighted_psnr",
]
