"""What training lowers, and how it is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vireo.errors import UsageError
from vireo.nn.picture import Picture


def picture_error(luma: Tensor, chroma: Tensor, luma_to: Tensor, chroma_to: Tensor) -> Tensor:
    """`[B]`: mean squared error of samples between 0 and 1, weighted as `metrics.weighted_mse`.

    Args:
        luma, luma_to: `[B, 1, H, W]`, v / 256 standing for the sample v.
        chroma, chroma_to: `[B, 2, H / 2, W / 2]`.
    """
    scale = (256 / 255) ** 2
    of_luma = (luma - luma_to).square().flatten(1).mean(1)
    of_chroma = (chroma - chroma_to).square().flatten(1).mean(1)
    return scale * (4 * of_luma + 2 * of_chroma) / 6


def similarity_measure() -> Callable[..., Tensor]:
    """MS-SSIM; raises UsageError where pytorch-msssim is missing."""
    try:
        from pytorch_msssim import ms_ssim
    except ImportError as error:
        raise UsageError("MS-SSIM needs pytorch-msssim: pip install 'vireo[bench]'") from error
    measure: Callable[..., Tensor] = ms_ssim
    return measure


def dissimilarity(picture: Picture, target: Picture) -> Tensor:
    """`[B]`: what luma lacks of the MS-SSIM of the same pictures, with chroma's squared error.

    Divided by 30, so that it is about as large as `picture_error` of pictures alike. Sides have to
    be larger than 160 luma samples. Raises UsageError as `similarity_measure`.
    """
    ms_ssim = similarity_measure()
    alike: Tensor = ms_ssim(picture.luma, target.luma, data_range=1.0, size_average=False)
    of_chroma = (picture.chroma - target.chroma).square().flatten(1).mean(1)
    return (4 * (1 - alike) / 30 + 2 * of_chroma) / 6


def balanced(results: Tensor, lambdas: Tensor) -> Tensor:
    """The mean of distortion plus lambda times rate, over lambda's root: no rate drowns the others.

    Args:
        results: `[..., 2]`, errors and bits per luma sample.
        lambdas: broadcast against `[...]`.
    """
    costs = (results[..., 0] + lambdas * results[..., 1]) / lambdas.sqrt()
    return costs.mean()


def describe(results: list[Any]) -> dict[str, list[float]]:
    """PSNR in dB and bits per luma sample, frame by frame, from `[T, 2]` or `[T, B, 2]`."""
    means = torch.tensor(results)
    if means.dim() == 3:
        means = means.mean(1)
    psnr = -10 * means[:, 0].clamp(min=1e-10).log10()
    return {
        "psnr": [round(p, 3) for p in psnr.tolist()],
        "bpp": [round(b, 5) for b in means[:, 1].tolist()],
    }
