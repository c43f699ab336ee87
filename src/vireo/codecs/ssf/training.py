"""What a scale-space-flow model is trained on: clips, frame by frame from what was decoded."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from vireo.codecs.ssf.autoencoder import STEP_PARTS
from vireo.codecs.ssf.config import CONFIGS
from vireo.codecs.ssf.model import Model, Picture

PRIOR_FACTOR = 10.0
"""Priors of hyperlatents are in samples and octaves: they have farther to go than weights."""


class ClipLoss(nn.Module):
    """Distortion and rate of a batch of clips (InstA, equation 1).

    Args:
        name: the model's.
        finer: places by which the I frame is finer than the rate point.
        together: whether the I frame learns for the frames that follow it; else only P frames
            do (Agustsson et al., 2020).
    """

    def __init__(self, name: str, *, finer: int = 0, together: bool = False) -> None:
        super().__init__()
        self._finer = finer
        self._together = together
        self.model = Model(CONFIGS[name])

    @property
    def rates(self) -> int:
        return self.model.config.rates

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For an optimiser: what shares a learning rate, and its `factor`."""
        named = list(self.named_parameters())
        priors = [p for name, p in named if ".prior." in name]
        return [
            {"params": [p for name, p in named if ".prior." not in name], "factor": 1.0},
            {"params": priors, "factor": PRIOR_FACTOR},
        ]

    def forward(
        self,
        luma: Tensor,
        chroma: Tensor,
        rate: float,
        before: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Of luma `[B, T, 1, H, W]` and chroma `[B, T, 2, H / 2, W / 2]`, uint8, at a rate point.

        The first frame is an I frame, or predicted from `before`, a decoded picture's luma
        `[B, 1, H, W]` and chroma.

        Returns `[T, 2]`: of each frame of the clips the mean squared error (luma twice as much
        as both chroma planes) of samples between 0 and 1, and bits per luma sample.
        """
        place = round(rate * STEP_PARTS)
        reference = None if before is None else _picture(*before)
        results = []
        for y, c in zip(luma.unbind(1), chroma.unbind(1), strict=True):
            target = _picture(y, c)
            if reference is None:
                decoded, bits = self.model.forward_intra(target, place + self._finer)
                reference = decoded if self._together else decoded.detach()
            else:
                decoded, bits = self.model.forward_inter(target, reference, place)
                reference = decoded
            results.append(torch.stack([error(decoded, target), bits / y.numel()]))
        return torch.stack(results)


def _picture(y: Tensor, c: Tensor) -> Picture:
    return Picture(y.float() / 256, c.float() / 256)


def error(decoded: Picture, target: Picture) -> Tensor:
    """Mean squared error of samples between 0 and 1, weighted as in `metrics.weighted_mse`."""
    scale = (256 / 255) ** 2
    luma = (decoded.luma - target.luma).square().mean()
    chroma = (decoded.chroma - target.chroma).square().mean()
    return scale * (4 * luma + 2 * chroma) / 6


def loss_of(results: Tensor, lambda_: float) -> Tensor:
    """What a step lowers: all frames alike, and rate points so that none drowns the others."""
    cost: Tensor = (results[:, 0] + lambda_ * results[:, 1]).mean()
    return cost / sqrt(lambda_)


def describe(results: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """PSNR in dB and bits per luma sample, frame by frame."""
    psnr = [-10 * torch.log10(torch.tensor(max(mse, 1e-10))).item() for mse, _ in results]
    return {"psnr": [round(p, 3) for p in psnr], "bpp": [round(b, 5) for _, b in results]}
