"""What a scale-space-flow model is trained on: clips, frame by frame from what was decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireo.codecs.rate_points import STEP_PARTS
from vireo.codecs.ssf.config import CONFIGS
from vireo.codecs.ssf.model import Model
from vireo.nn.losses import balanced, picture_error
from vireo.nn.picture import Picture

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

    def draw(self, rng: np.random.Generator, batch: int) -> NDArray[np.float64]:
        """A rate point for a step's clips, the same for all."""
        return np.full(batch, float(rng.integers(self.model.config.rates)))

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
        rates: Tensor,
        before: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Of luma `[B, T, 1, H, W]` and chroma `[B, T, 2, H / 2, W / 2]`, uint8.

        All are coded at the first of `rates`, a place between the rate points. The first frame is
        an I frame, or predicted from `before`, a decoded picture's luma `[B, 1, H, W]` and chroma.

        Returns `[T, 2]`: of each frame of the clips the mean squared error (luma twice as much
        as both chroma planes) of samples between 0 and 1, and bits per luma sample.
        """
        place = round(float(rates[0]) * STEP_PARTS)
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
    """Mean squared error of a batch (`nn.losses.picture_error`)."""
    return picture_error(decoded.luma, decoded.chroma, target.luma, target.chroma).mean()


def loss_of(results: Tensor, lambdas: Tensor) -> Tensor:
    """What a step lowers: all frames alike, and rate points so that none drowns the others."""
    return balanced(results, lambdas[0])
