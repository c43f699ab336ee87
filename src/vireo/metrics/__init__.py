"""Measures of pictures and of codecs, each defined in one place.

Libraries that only a measure needs (torch, SciPy, an ffmpeg) are imported when it is used.
"""

from vireo.metrics.bd_rate import BdQuality, BdRate, Curve, bd_quality, bd_rate
from vireo.metrics.ms_ssim import ms_ssim_fits, ms_ssim_rgb, ms_ssim_y
from vireo.metrics.psnr import (
    PLANE_WEIGHTS,
    mean_psnr,
    plane_mse,
    psnr,
    psnr_of_mean,
    weighted_mse,
    weighted_psnr,
)
from vireo.metrics.quality import GROUPS, MEASURES, SERIES, Measure, measure_frame
from vireo.metrics.rgb import rgb_mse, to_rgb
from vireo.metrics.vmaf import vmaf_available, vmaf_neg

__all__ = [
    "GROUPS",
    "MEASURES",
    "PLANE_WEIGHTS",
    "SERIES",
    "BdQuality",
    "BdRate",
    "Curve",
    "Measure",
    "bd_quality",
    "bd_rate",
    "mean_psnr",
    "measure_frame",
    "ms_ssim_fits",
    "ms_ssim_rgb",
    "ms_ssim_y",
    "plane_mse",
    "psnr",
    "psnr_of_mean",
    "rgb_mse",
    "to_rgb",
    "vmaf_available",
    "vmaf_neg",
    "weighted_mse",
    "weighted_psnr",
]
