"""Fits autoregressive models to latents as streams hold them: whole numbers, refined.

While a picture is trained its models see latents with noise, or before they are refined; those
that are coded have more zeros. Networks that frames start from are to suit what is coded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireo.codecs.coolchic.config import Architecture
from vireo.codecs.coolchic.parts_model import PartNetworks, rate
from vireo.gop import FrameType

Floats = NDArray[np.float32]

STEPS = 1500
RATES = (3e-3, 1e-4)  # of Adam, from the first step to the last, by their logarithm


@dataclass(frozen=True)
class CodedLatents:
    """A picture's latents of luma and chroma as they are coded, and luma's temporal contexts.

    Attributes:
        latents: in the order of `trainer.trained_grids`.
        temporal: a plane per grid of luma, finest first; empty for I frames.
    """

    latents: list[NDArray[np.int16]]
    temporal: list[NDArray[np.int16]]


def fit_models(
    parameters: Floats,
    pictures: Sequence[CodedLatents],
    architecture: Architecture,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> Floats:
    """Networks whose autoregressive models take fewer bits for these latents.

    `parameters` are in the order of `Architecture.parameters`; those of upsampling and syntheses
    stay. The pictures are of one type, and are taken in turn, a step each, in random order.
    """
    count = _models(architecture)
    models = torch.tensor(parameters[:count], requires_grad=True)
    rest = torch.tensor(parameters[count:])
    optimiser = torch.optim.Adam([models], RATES[0])
    falling = (RATES[1] / RATES[0]) ** (1 / steps)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, falling)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        if step % len(pictures) == 0:
            order = rng.permutation(len(pictures))
        picture = pictures[order[step % len(pictures)]]
        networks = PartNetworks.of(torch.cat([models, rest]), architecture, FrameType.I)
        bits = rate(_floats(picture.latents), networks, architecture, _floats(picture.temporal))
        optimiser.zero_grad()
        (bits / picture.latents[0].size).backward()
        optimiser.step()
        schedule.step()
    fitted = parameters.copy()
    fitted[:count] = models.detach().numpy()
    return fitted


def _models(architecture: Architecture) -> int:
    """How many parameters the autoregressive models have, with which the flat array begins."""
    counts = architecture.parameters(FrameType.I).items()
    return sum(count for name, count in counts if name.startswith("arm"))


def _floats(planes: Sequence[NDArray[np.int16]]) -> list[Tensor]:
    return [torch.from_numpy(plane.astype(np.float32)) for plane in planes]
