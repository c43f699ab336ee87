"""Architectures with parts in PyTorch: what `model` is to those without.

Differentiable, and without the decoder's roundings. Motion is not: it is searched, and
what it predicts comes as planes. Samples are floats in 0…1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vireo.codecs.coolchic.config import Architecture, GridKind
from vireo.codecs.coolchic.model import (
    SAMPLE_SCALE,
    Layer,
    contexts,
    double,
    laplace_bits,
    mlp,
    split_parameters,
    upsample,
)
from vireo.gop import FrameType


@dataclass
class PartNetworks:
    """The networks of one frame.

    Attributes:
        arms: layers of the autoregressive models of luma and chroma.
        kernel: the upsampling's kernel `[K, K]`.
        luma: layers of the synthesis from luma's latents to the residual Y.
        chroma: layers of the synthesis from latents at half resolution to the residuals U, V.
    """

    arms: list[list[Layer]]
    kernel: Tensor
    luma: list[Layer]
    chroma: list[Layer]

    @classmethod
    def of(cls, flat: Tensor, architecture: Architecture, frame_type: FrameType) -> PartNetworks:
        """From all parameters, in the order of `Architecture.parameters`."""
        layers, kernel = split_parameters(flat, architecture, frame_type)
        *arms, luma, chroma = layers.values()
        return cls(arms, kernel, luma, chroma)

    def tensors(self) -> list[Tensor]:
        """All parameters, in the order of `Architecture.parameters`."""
        return [
            *(t for arm in self.arms for layer in arm for t in layer),
            self.kernel,
            *(t for synthesis in (self.luma, self.chroma) for layer in synthesis for t in layer),
        ]

    def groups(self) -> list[list[Tensor]]:
        """Parameters that are coded together: a network's weights, or its biases."""
        return [
            *(list(part) for arm in self.arms for part in zip(*arm, strict=True)),
            [self.kernel],
            *(list(part) for part in zip(*self.luma, strict=True)),
            *(list(part) for part in zip(*self.chroma, strict=True)),
        ]


def rate(
    latents: Sequence[Tensor],
    networks: PartNetworks,
    architecture: Architecture,
    temporal: Sequence[Tensor] | None = None,
) -> Tensor:
    """Bits of luma's and chroma's latents under their autoregressive models (a scalar).

    `temporal` holds luma's temporal contexts, a plane per grid, finest first; None: zeros.
    """
    kinds = architecture.modelled
    bits = [rate_of_kind(k, latents, networks, architecture, temporal) for k in kinds]
    return torch.stack(bits).sum()


def rate_of_kind(
    kind: GridKind,
    latents: Sequence[Tensor],
    networks: PartNetworks,
    architecture: Architecture,
    temporal: Sequence[Tensor] | None = None,
) -> Tensor:
    """Bits of the latents of luma or of chroma; see `rate`."""
    grids = architecture.latent_grids(FrameType.I, *latents[0].shape)
    inputs, values = [], []
    for grid, latent in zip(grids, latents, strict=True):
        if grid.kind != kind:
            continue
        if kind == GridKind.LUMA:
            more = temporal[grid.level] if temporal else None
        else:
            more = None if grid.other is None else latents[grid.other]
        row = torch.zeros_like(latent) if more is None else more
        inputs.append(torch.cat([contexts(latent, architecture.context), row.reshape(1, -1)]))
        values.append(latent.reshape(-1))
    mean, log2_scale = mlp(networks.arms[kind], torch.cat(inputs, dim=1))
    return laplace_bits(torch.cat(values), mean, log2_scale).sum()


def decode(
    latents: Sequence[Tensor],
    networks: PartNetworks,
    architecture: Architecture,
    prediction: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Planes (Y, U, V) of a frame from its (quantised) latents and its prediction in 0…1."""
    luma, u, v = _pyramids(latents, architecture)
    height, width = luma[0].shape
    half = upsample(luma[1:], networks.kernel)
    full = torch.cat([luma[0][None], double(half, networks.kernel, (height, width))])
    chroma = [upsample(pyramid, networks.kernel) for pyramid in (u, v)]
    assert architecture.parts is not None
    for grid in reversed(luma[1 : architecture.parts.chroma_first]):
        chroma = [double(x, networks.kernel, grid.shape) for x in chroma]
    residual = [
        *_synthesise(networks.luma, full),
        *_synthesise(networks.chroma, torch.cat([*chroma, half])),
    ]
    if prediction is None:
        return residual
    return [p + r for p, r in zip(prediction, residual, strict=True)]


def _pyramids(latents: Sequence[Tensor], architecture: Architecture) -> list[Sequence[Tensor]]:
    """The grids of luma, U and V."""
    assert architecture.parts is not None
    grids = architecture.grids
    chroma = grids - architecture.parts.chroma_first
    return [latents[:grids], latents[grids : grids + chroma], latents[grids + chroma :]]


def _synthesise(layers: Sequence[Layer], inputs: Tensor) -> Tensor:
    """`[in, H, W]` to `[out, H, W]`, samples."""
    _, h, w = inputs.shape
    return mlp(layers, inputs.reshape(len(inputs), -1)).reshape(-1, h, w) * SAMPLE_SCALE
