"""Weights to train from.

A model with direct ways starts as a pyramid of block transforms: features hold the coefficients
of a place's block, and each scale sends what the lower ones lack of them, or what the picture
before doesn't tell. Units between are added to that, from nearly nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireo.codecs.dhvc.blocks import AnalysisBlock, Block, PredictionBlock
from vireo.codecs.dhvc.config import STRIDES
from vireo.codecs.dhvc.model import CELL, Model
from vireo.exact import ExactLayer
from vireo.nn.cosines import Basis

GAIN = 32.0
"""Of features over coefficients whose constant wave is the mean of samples between 0 and 1."""
_FIRST_STEP = 1.25  # of latents at the lowest rate; that of each rate point is half the last one's
_KEEP = 1.5, -1.0  # what decides on keeping, of channels with latents and of the others
_QUIET = 0.01  # of the weights of what is added


@torch.no_grad()
def initialise(model: Model) -> None:
    """Sets all weights."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | ExactLayer):
            nn.init.normal_(layer.weight, 0, (2 / layer.weight[0].numel()) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for block in model.modules():
        if isinstance(block, Block | AnalysisBlock | PredictionBlock):
            last: nn.Module = block.perceptron[-1]
            _scale(last, _QUIET)
            _scale(block.gate if isinstance(block, PredictionBlock) else block.modulation, _QUIET)
    for scale in model.latent_blocks():
        _scale(scale.mean, _QUIET)
        _scale(scale.octaves, _QUIET)
    _scale(model.tail.picture, _QUIET)
    if model.config.direct:
        _start_as_cosines(model)


def _scale(layer: nn.Module, factor: float) -> None:
    assert isinstance(layer, nn.Conv2d | ExactLayer)
    layer.weight.mul_(factor)


def _start_as_cosines(model: Model) -> None:
    config = model.config
    bases = [
        Basis(stride, width, coded)
        for stride, width, coded in zip(STRIDES, config.widths, config.latents, strict=True)
    ]
    top = bases[-1]
    analysis, auxiliary = model.analysis, model.auxiliary
    assert analysis.direct is not None
    patch = GAIN / CELL * top.rows()
    _set(analysis.direct, patch)
    _scale(analysis.downsample[0], 0)
    _set(model.tail.picture, CELL / GAIN * top.rows().T)
    if auxiliary is not None:
        _set(auxiliary.patch, patch)
    for place in range(1, len(bases)):  # analysis goes from the highest scale down
        lower, upper = bases[-1 - place], bases[-place]
        down = lower.from_cells(upper)
        _set(analysis.downsample[place], down)
        if auxiliary is not None:
            _set(auxiliary.downsample[place - 1], down)
    for level, scale in enumerate(model.latent_blocks()):
        if level:
            up = 4 * bases[level - 1].from_cells(bases[level])  # [below, width, 2, 2]
            shuffled = up.transpose(1, 2, 3, 0).reshape(-1, up.shape[0])
            for raised in (scale.raise_spatial, scale.raise_decoded):
                _set(raised[0], shuffled)
        for layer in (scale.merge_analysis[-1], scale.mean, scale.widen, scale.fuse):
            _scale(layer, 0)
        keep = scale.keep[0]
        assert isinstance(keep, ExactLayer)
        _scale(keep, _QUIET)
        keep.bias[: scale.latents] = _KEEP[0]
        keep.bias[scale.latents :] = _KEEP[1]
        waves = np.array([v + u for _, (v, u) in bases[level].waves[: scale.latents]])
        scale.octaves.bias.copy_(_tensor(2 - np.log2(1 + waves)))
        steps = _FIRST_STEP / 2.0 ** torch.arange(config.rates)
        assert scale.steps is not None
        scale.steps.copy_(steps[:, None].expand_as(scale.steps))


def _set(layer: nn.Module, weight: NDArray[np.float64]) -> None:
    assert isinstance(layer, nn.Conv2d | ExactLayer)
    layer.weight.copy_(_tensor(weight).reshape(layer.weight.shape))


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values).float()
