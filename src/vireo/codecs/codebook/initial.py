"""Weights to train from.

A direct model starts as cosine transforms of blocks, whose coefficients its codebooks quantise,
with differences between frames as contexts. Blocks are added to that, from nearly nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vireo.codecs.codebook.config import LATENT_STRIDE, STRIDES
from vireo.codecs.codebook.layers import Residual, WindowAttention
from vireo.codecs.codebook.model import Context, Model, Quantiser
from vireo.nn.cosines import Basis

_QUIET = 0.01  # of the weights of what is added


@torch.no_grad()
def initialise(model: Model) -> None:
    """Sets all weights but the codebooks'."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0, (1 / layer.weight[0].numel()) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for part in model.modules():
        if isinstance(part, Residual):
            part.last.weight.mul_(_QUIET)
        elif isinstance(part, WindowAttention):
            last = part.perceptron[-1]
            assert isinstance(last, nn.Conv2d)
            for layer in (part.merge, last):
                layer.weight.mul_(_QUIET)
        elif isinstance(part, Context) and part.last is not None:
            part.last.weight.mul_(_QUIET)
    if model.config.direct:
        _start_as_cosines(model)


def _start_as_cosines(model: Model) -> None:
    config = model.config
    top = Basis(LATENT_STRIDE, config.channels, config.channels)
    _set(model.analysis.first, top.rows())
    _set(model.image.last, top.rows().T)
    for quantiser in (model.key, model.predicted):
        upper = top
        for n, (stride, width) in enumerate(zip(STRIDES, config.quantised, strict=True)):
            lower = _shared_out(Basis(stride, width, width), config.codebooks)
            # Rows of `from_cells` are half as long as those of orthonormal transforms.
            down = 2 * lower.from_cells(upper)
            _set_stage(quantiser, n, down)
            upper = lower


def _set_stage(quantiser: Quantiser, stage: int, down: NDArray[np.float64]) -> None:
    analysis, up = quantiser.analysis[stage], quantiser.up[stage]
    assert isinstance(analysis, nn.Sequential)
    assert isinstance(up, nn.Sequential)
    shuffle = up[1]
    assert isinstance(shuffle, nn.Sequential)
    _set(analysis[0], down)
    _set(shuffle[0], down.transpose(1, 2, 3, 0).reshape(-1, len(down)))


def _shared_out(basis: Basis, codebooks: int) -> Basis:
    """Its waves in the order in which each codebook gets some of every frequency."""
    waves = basis.waves
    order = sorted(range(len(waves)), key=lambda n: (sum(waves[n][1]), waves[n]))
    basis.waves = [waves[n] for first in range(codebooks) for n in order[first::codebooks]]
    return basis


def _set(layer: nn.Module, weight: NDArray[np.float64]) -> None:
    assert isinstance(layer, nn.Conv2d)
    layer.weight.copy_(torch.from_numpy(weight).float().reshape(layer.weight.shape))
