"""Mean squared error and peak signal-to-noise ratio of 8-bit pictures.

A video's PSNR depends on where its frames are averaged. `psnr_of_mean` averages squared errors
and then takes the logarithm, as Cool-chic video does ("averaging the MSE", section 3.1);
`mean_psnr` takes each frame's logarithm and averages those, as the DCVC family and the papers
that compare with it do. The second is never lower, and the gap grows with how much quality
differs between frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

PEAK = 255.0
PLANE_WEIGHTS = (4.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0)
"""Weights of the mean squared errors of Y, U, V in 4:2:0 (Cool-chic video, section 3.1)."""
PSNR_WEIGHTS = (6.0 / 8.0, 1.0 / 8.0, 1.0 / 8.0)
"""Weights of the PSNRs of Y, U, V in dB: the 6:1:1 of NVRC (appendix, eq. 11) and DCVC."""


def plane_mse(
    a: NDArray[np.uint8], b: NDArray[np.uint8], weights: NDArray[np.float32] | None = None
) -> float:
    """Mean squared error of two planes of one shape, in squared sample values, 0…65025.

    Each squared error counts `weights` times (of the same shape), where there are any.
    """
    difference = np.subtract(a, b, dtype=np.int32)
    difference *= difference
    if weights is not None:
        return float((difference * weights).mean(dtype=np.float64))
    # Summed in 64 bits: 32 overflow at an MSE of 1,036 in a picture of 1920x1080.
    return int(difference.sum(dtype=np.int64)) / difference.size


def weighted_mse(mse: Sequence[float]) -> float:
    """One number from the mean squared errors of Y, U and V, weighted 4:1:1."""
    return sum(w * e for w, e in zip(PLANE_WEIGHTS, mse, strict=True))


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB; 100 for (nearly) equal pictures."""
    return 100.0 if mse <= 1e-10 * PEAK**2 else 10.0 * float(np.log10(PEAK**2 / mse))


def weighted_psnr(mse: Sequence[float]) -> float:
    """(6 PSNR_Y + PSNR_U + PSNR_V) / 8 in dB, from the mean squared errors of Y, U and V."""
    return sum(w * psnr(e) for w, e in zip(PSNR_WEIGHTS, mse, strict=True))


def psnr_of_mean(mse_series: Iterable[float]) -> float:
    """PSNR in dB of the mean of the frames' squared errors: 10 log10(255² / mean(MSE))."""
    return psnr(fmean(mse_series))


def mean_psnr(mse_series: Iterable[float]) -> float:
    """Mean of the frames' PSNR in dB: mean(10 log10(255² / MSE)).

    A frame that equals its original counts as 100 dB.
    """
    return fmean(psnr(e) for e in mse_series)


def psnr_yuv_411(y: Sequence[float], u: Sequence[float], v: Sequence[float]) -> float:
    """PSNR in dB of the 4:1:1 weighted MSE, averaged over the frames before the logarithm.

    What Vireo's encoders optimise (Cool-chic video, section 3.1). The arguments are the
    frames' mean squared errors, one series a plane, here and in the functions below.
    """
    return psnr_of_mean(weighted_mse(e) for e in zip(y, u, v, strict=True))


def psnr_yuv_411_mean(y: Sequence[float], u: Sequence[float], v: Sequence[float]) -> float:
    """Mean over the frames of the PSNR in dB of each one's 4:1:1 weighted MSE."""
    return mean_psnr(weighted_mse(e) for e in zip(y, u, v, strict=True))


def psnr_yuv_611(y: Sequence[float], u: Sequence[float], v: Sequence[float]) -> float:
    """Mean over the frames of (6 PSNR_Y + PSNR_U + PSNR_V) / 8, in dB.

    The "PSNR-YUV (6:1:1)" of NVRC, computed as DCVC's published evaluation does.
    """
    return fmean(weighted_psnr(e) for e in zip(y, u, v, strict=True))


def psnr_yuv_611_of_mean(y: Sequence[float], u: Sequence[float], v: Sequence[float]) -> float:
    """(6 PSNR_Y + PSNR_U + PSNR_V) / 8 in dB, each plane's PSNR from its MSE over all frames."""
    return weighted_psnr((fmean(y), fmean(u), fmean(v)))
