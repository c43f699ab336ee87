"""What a codebook model takes: parameters and multiplications, from its shapes."""

from __future__ import annotations

from functools import cache

import torch

from vireo.codecs.codebook.config import LATENT_STRIDE, STRIDES, Config
from vireo.codecs.codebook.model import Model
from vireo.nn import count
from vireo.nn.picture import Picture

_SIDE = 1024  # luma samples of the pictures that are counted on


@cache
def parameters(config: Config) -> int:
    """All of a model's, its codebooks' included."""
    with torch.device("meta"):
        return count.parameters(Model(config))


@cache
def decoder_parameters(config: Config) -> int:
    """All but those that only an encoder has."""
    with torch.device("meta"):
        return count.decoder_parameters(Model(config))


@cache
def decoder_multiplications(config: Config, *, key: bool = False) -> float:
    """Multiply-accumulates per luma sample of decoding a predicted or a key frame.

    Those of layers with weights: attention's products of queries, keys and values are not in it,
    as they can't be in the paper's (table 3, where wider windows count less).
    """
    return _multiplications(config, key=key, encoder=False)


@cache
def multiplications(config: Config, *, key: bool = False) -> float:
    """As `decoder_multiplications`, of encoding and decoding, each network once."""
    return _multiplications(config, key=key, encoder=True)


def _multiplications(config: Config, *, key: bool, encoder: bool) -> float:
    with torch.device("meta"):
        model = Model(config)
    with count.counted(model) as counted:
        halved = _SIDE // 2
        picture = Picture(torch.empty(1, 1, _SIDE, _SIDE), torch.empty(1, 2, halved, halved))
        places = _SIDE // LATENT_STRIDE
        reference = None if key else torch.empty(1, config.channels, places, places)
        quantiser, books = model.quantiser(None if key else config.rates - 1)
        if encoder:
            latents = model.analyse(picture, reference)
            found = [stage.found for stage in quantiser.stages(latents, books)]
        else:
            found = [
                torch.empty(1, width, _SIDE // stride, _SIDE // stride)
                for width, stride in zip(config.quantised, STRIDES, strict=True)
            ]
        model.image(model.latents(quantiser.merge(found), reference))
    return counted.total / _SIDE**2
