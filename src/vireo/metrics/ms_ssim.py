"""Multi-scale structural similarity (Wang, Simoncelli, Bovik, 2003), by pytorch-msssim.

Over five scales, each half the one before,

    MS-SSIM = l_5^w5 · ∏ cs_i^wi,   w = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333,

with l = (2 μx μy + C1) / (μx² + μy² + C1) and cs = (2 σxy + C2) / (σx² + σy² + C2) in a Gaussian
window of 11x11 samples with deviation 1.5, wholly inside the picture; C1 = (0.01 · 255)²,
C2 = (0.03 · 255)². A scale's value is the mean of its map (of l · cs in the last); a negative one
counts as 0. Scales are halved by the mean of 2x2 samples; a side of odd length gets a line of
zeros at both ends first.

Implementations differ, so figures say which they are. libvmaf's `float_ms_ssim` halves with a
longer filter and averages contrast and structure apart: lower than this by about 0.0005 at 0.99,
by 0.003 at 0.97 and by 0.02 at 0.83 on clips coded with x264.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vireo.errors import UsageError
from vireo.metrics.psnr import PEAK
from vireo.metrics.rgb import to_rgb

if TYPE_CHECKING:
    from vireo.video.frame import Frame

LARGEST_WITHOUT = 160
"""A picture whose smaller side is no longer than this has no MS-SSIM: at the fifth scale the
window would not fit."""


def ms_ssim_fits(height: int, width: int) -> bool:
    """Whether a picture of this size, in samples, is large enough for five scales."""
    return min(height, width) > LARGEST_WITHOUT


def ms_ssim_y(reference: Frame, decoded: Frame) -> float:
    """MS-SSIM of luma as it is stored, 0…1.

    Raises:
        UsageError: the pictures are too small, or pytorch-msssim is not installed.
    """
    return _ms_ssim(reference.y[None], decoded.y[None])


def ms_ssim_rgb(reference: Frame, decoded: Frame, full_range: bool) -> float:
    """Mean of the MS-SSIM of R, G and B after BT.709 conversion (`to_rgb`), 0…1.

    Raises:
        UsageError: the pictures are too small, or pytorch-msssim is not installed.
    """
    return _ms_ssim(to_rgb(reference, "bt709", full_range), to_rgb(decoded, "bt709", full_range))


def _ms_ssim(reference: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    """Mean MS-SSIM of the planes of two pictures `[C, H, W]`."""
    height, width = reference.shape[1:]
    if not ms_ssim_fits(height, width):
        raise UsageError(
            f"MS-SSIM needs more than {LARGEST_WITHOUT} samples in both directions: "
            f"the picture is {width}x{height}"
        )
    try:
        import torch
        from pytorch_msssim import ms_ssim
    except ImportError as error:
        raise UsageError(
            "MS-SSIM needs pytorch-msssim and torch: pip install 'vireo[bench]'"
        ) from error
    # In float64: float32 is 1.5e-6 off (variances are small differences of large numbers) for a
    # fifth less time. Plane by plane: three channels at once take three times as long.
    values = []
    for planes in zip(reference, decoded, strict=True):
        pair = [torch.from_numpy(plane.astype(np.float64))[None, None] for plane in planes]
        values.append(float(ms_ssim(*pair, data_range=PEAK)))
    return fmean(values)
