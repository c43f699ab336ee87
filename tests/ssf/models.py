"""Models for tests."""

from __future__ import annotations

import torch

from vireo.codecs.ssf.config import CONFIGS
from vireo.codecs.ssf.model import Model


def loud(name: str) -> Model:
    """Weights at random, so large that symbols are."""
    torch.manual_seed(3)
    model = Model(CONFIGS[name])
    with torch.no_grad():
        for part in (model.intra, model.flow, model.residual):
            for layer in part.analysis.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer.weight.mul_(4)
            for layer in part.hyper_analysis:
                if isinstance(layer, torch.nn.Conv2d):
                    layer.weight.mul_(3)
            part.hyper_deviation[-1].weight.mul_(20)
            part.hyper_mean[-1].weight.mul_(10)
    return model
