"""The quality measures by name: what a benchmark stores per frame, and what it makes of that.

A frame's raw figures are series (`SERIES`): squared errors and similarities, which a run stores
for every frame. A measure (`MEASURES`) turns the series of a video into one number, so another
measure can be read from an old run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from vireo.errors import UsageError
from vireo.metrics.ms_ssim import ms_ssim_fits, ms_ssim_rgb, ms_ssim_y
from vireo.metrics.psnr import (
    mean_psnr,
    plane_mse,
    psnr_of_mean,
    psnr_yuv_411,
    psnr_yuv_411_mean,
    psnr_yuv_611,
    psnr_yuv_611_of_mean,
)
from vireo.metrics.rgb import rgb_mse

if TYPE_CHECKING:
    from vireo.video.frame import Frame

SERIES = (
    "mse_y",
    "mse_u",
    "mse_v",
    "mse_rgb_bt601",
    "mse_rgb_bt709",
    "ms_ssim_y",
    "ms_ssim_rgb",
    "vmaf_neg",
)
"""Names of the per-frame series, in the order in which they are stored."""

GROUPS = ("rgb", "ms-ssim")
"""What `measure_frame` computes on request."""

_YUV = ("mse_y", "mse_u", "mse_v")


@dataclass(frozen=True)
class Measure:
    """One number for a video, from its per-frame series. Higher is better.

    Attributes:
        name: what commands and files call it.
        title: what plots and tables call it.
        unit: "dB", or nothing.
        explanation: one sentence that says how it is computed, and whose it is.
        series: the names in `SERIES` that it needs.
        formula: the number from these series, in that order.
    """

    name: str
    title: str
    unit: str
    explanation: str
    series: tuple[str, ...]
    formula: Callable[..., float] = field(repr=False)

    def of(self, frames: Mapping[str, Sequence[float | None]]) -> float | None:
        """The measure of a video; None where a series is absent, empty or has a gap."""
        needed = [frames.get(name) for name in self.series]
        if any(not values or None in values for values in needed):
            return None
        return self.formula(*needed)


def similarity_db(similarity: Sequence[float]) -> float:
    """-10 log10(1 - x) in dB, x the mean of a similarity over the frames; at most 100.

    Spreads the values near 1, where MS-SSIM of good pictures lies.
    """
    return -10.0 * math.log10(max(1.0 - fmean(similarity), 1e-10))


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "psnr",
            "PSNR-YUV 4:1:1 (of mean MSE)",
            "dB",
            "PSNR of the MSE of Y, U and V weighted 4:1:1 and averaged over the frames "
            "(Cool-chic video, section 3.1): what Vireo optimises.",
            _YUV,
            psnr_yuv_411,
        ),
        Measure(
            "psnr-y",
            "PSNR-Y (of mean MSE)",
            "dB",
            "PSNR of luma's MSE averaged over the frames.",
            ("mse_y",),
            psnr_of_mean,
        ),
        Measure(
            "psnr-u",
            "PSNR-U (of mean MSE)",
            "dB",
            "PSNR of U's MSE averaged over the frames.",
            ("mse_u",),
            psnr_of_mean,
        ),
        Measure(
            "psnr-v",
            "PSNR-V (of mean MSE)",
            "dB",
            "PSNR of V's MSE averaged over the frames.",
            ("mse_v",),
            psnr_of_mean,
        ),
        Measure(
            "psnr-yuv-411-mean",
            "PSNR-YUV 4:1:1 (mean of frames)",
            "dB",
            "Mean of the frames' PSNR, each from the MSE of Y, U and V weighted 4:1:1 "
            "(Cool-chic video's weights, averaged after the logarithm).",
            _YUV,
            psnr_yuv_411_mean,
        ),
        Measure(
            "psnr-yuv-611",
            "PSNR-YUV 6:1:1 (mean of frames)",
            "dB",
            "Mean of the frames' (6 PSNR-Y + PSNR-U + PSNR-V) / 8 (NVRC, DCVC).",
            _YUV,
            psnr_yuv_611,
        ),
        Measure(
            "psnr-yuv-611-mse",
            "PSNR-YUV 6:1:1 (of mean MSE)",
            "dB",
            "(6 PSNR-Y + PSNR-U + PSNR-V) / 8, each plane's PSNR from its MSE averaged over "
            "the frames (NVRC's weights, averaged before the logarithm).",
            _YUV,
            psnr_yuv_611_of_mean,
        ),
        Measure(
            "psnr-rgb-bt601",
            "PSNR-RGB BT.601 (mean of frames)",
            "dB",
            "Mean of the frames' PSNR over R, G and B after BT.601 conversion (NVRC).",
            ("mse_rgb_bt601",),
            mean_psnr,
        ),
        Measure(
            "psnr-rgb-bt709",
            "PSNR-RGB BT.709 (mean of frames)",
            "dB",
            "Mean of the frames' PSNR over R, G and B after BT.709 conversion (RGB PSNR as in "
            "InstA, section 4.5, which names no matrix).",
            ("mse_rgb_bt709",),
            mean_psnr,
        ),
        Measure(
            "ms-ssim-y",
            "MS-SSIM Y",
            "",
            "Mean of the frames' MS-SSIM of luma (Wang et al. 2003, by pytorch-msssim).",
            ("ms_ssim_y",),
            fmean,
        ),
        Measure(
            "ms-ssim-y-db",
            "MS-SSIM Y",
            "dB",
            "-10 log10(1 - x) of the mean x of the frames' MS-SSIM of luma.",
            ("ms_ssim_y",),
            similarity_db,
        ),
        Measure(
            "ms-ssim-rgb",
            "MS-SSIM RGB",
            "",
            "Mean of the frames' MS-SSIM of R, G and B after BT.709 conversion (Wang et al. "
            "2003, by pytorch-msssim).",
            ("ms_ssim_rgb",),
            fmean,
        ),
        Measure(
            "ms-ssim-rgb-db",
            "MS-SSIM RGB",
            "dB",
            "-10 log10(1 - x) of the mean x of the frames' MS-SSIM of R, G and B.",
            ("ms_ssim_rgb",),
            similarity_db,
        ),
        Measure(
            "vmaf-neg",
            "VMAF NEG",
            "",
            "Mean of the frames' VMAF NEG, 0 to 100 (libvmaf, model vmaf_v0.6.1neg).",
            ("vmaf_neg",),
            fmean,
        ),
    )
}


def measure_frame(
    reference: Frame, decoded: Frame, wanted: Collection[str], full_range: bool
) -> dict[str, float | None]:
    """One frame's values of the series, but VMAF's, which needs the video (`vmaf_neg`).

    Squared errors of Y, U and V always; the others as `wanted` (names in `GROUPS`). MS-SSIM is
    None for pictures too small for it.

    Raises:
        UsageError: a name that is not in `GROUPS`, or a library that is not installed.
    """
    unknown = set(wanted).difference(GROUPS)
    if unknown:
        raise UsageError(f"unknown measures {sorted(unknown)}: there are {', '.join(GROUPS)}")
    values: dict[str, float | None] = {
        name: plane_mse(a, b)
        for name, a, b in zip(_YUV, reference.planes, decoded.planes, strict=True)
    }
    if "rgb" in wanted:
        values["mse_rgb_bt601"] = rgb_mse(reference, decoded, "bt601", full_range)
        values["mse_rgb_bt709"] = rgb_mse(reference, decoded, "bt709", full_range)
    if "ms-ssim" in wanted:
        fits = ms_ssim_fits(reference.height, reference.width)
        values["ms_ssim_y"] = ms_ssim_y(reference, decoded) if fits else None
        values["ms_ssim_rgb"] = ms_ssim_rgb(reference, decoded, full_range) if fits else None
    return values
