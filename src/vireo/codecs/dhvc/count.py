"""What a hierarchical model takes: parameters and multiplications, from its shapes."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from vireo.codecs.dhvc.config import STRIDES, Config
from vireo.codecs.dhvc.model import Model
from vireo.nn import count
from vireo.nn.picture import Picture

_SIDE = 16 * STRIDES[0]  # of the pictures that are counted on


@cache
def parameters(config: Config) -> int:
    """All of a model's."""
    with torch.device("meta"):
        return count.parameters(Model(config))


@cache
def decoder_parameters(config: Config) -> int:
    """All but those of analysis networks, which only an encoder has."""
    with torch.device("meta"):
        return count.decoder_parameters(Model(config))


@cache
def decoder_multiplications(config: Config, *, intra: bool = False) -> float:
    """Multiply-accumulates per luma sample of decoding a P or an I frame, large pictures."""
    return _multiplications(config, intra=intra, encoder=False)


@cache
def encoder_multiplications(config: Config, *, intra: bool = False) -> float:
    """As `decoder_multiplications`, of encoding: the decoder's and the analysis networks'."""
    return _multiplications(config, intra=intra, encoder=True)


def _multiplications(config: Config, *, intra: bool, encoder: bool) -> float:
    with torch.device("meta"):
        model = Model(config)
    with count.counted(model) as counted:
        size = _SIDE, _SIDE
        picture = Picture(torch.empty(1, 1, *size), torch.empty(1, 2, *(n // 2 for n in size)))
        features = [
            (torch.empty(1, width, _SIDE // stride, _SIDE // stride),)
            for width, stride in zip(config.widths, STRIDES, strict=True)
        ]
        embedded = torch.empty(1, config.embedding, 1, 1)
        if encoder:
            model.analysis(picture, embedded)
        auxiliary: Any = [None] * len(features)
        if model.auxiliary is not None and not intra:
            auxiliary = model.auxiliary(picture, embedded)
        spatial, decoded = model.start(size)
        for scale in model.latent_blocks():
            before = () if intra else features[scale.level]
            own = auxiliary[scale.level]
            context = scale.context(spatial, decoded, before, own, embedded)
            latents = torch.empty_like(context.mean)
            if encoder:
                scale.analyse(features[scale.level][0], context.spatial, embedded)
            spatial, decoded = scale.finish(context, latents, embedded)
        model.tail(decoded, embedded)
    return counted.total / _SIDE**2
