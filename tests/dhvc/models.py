"""Models for tests."""

from __future__ import annotations

from dataclasses import replace

import torch

from vireo.codecs.dhvc.config import CONFIGS, Config
from vireo.codecs.dhvc.initial import initialise
from vireo.codecs.dhvc.model import Model


def tiny(name: str) -> Config:
    """A model of the same parts as one of the others, quick enough for tests."""
    few = CONFIGS[name]
    return replace(
        few,
        widths=(16, 16, 16, 96) if few.direct else (16, 16, 16, 16),
        latents=(8, 8, 8, 48) if few.direct else (8, 8, 8, 8),
        quarter=8,
        quarter_blocks=1,
        encoder_blocks=(1, 1, 1, 1),
        prediction_blocks=1,
        posterior_blocks=1,
        spatial_blocks=min(few.spatial_blocks, 1),
        decoder_blocks=1,
        auxiliary_blocks=min(few.auxiliary_blocks, 1),
        tail_blocks=1,
        embedding=8,
    )


def loud(config: Config) -> Model:
    """Weights at random, so large that every part says something."""
    torch.manual_seed(3)
    model = Model(config)
    initialise(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name or name.endswith(("absent", "first")):
                parameter.uniform_(-0.3, 0.3)
            elif "steps" not in name:
                noise = torch.randn(parameter.shape) * (2 / parameter[0].numel()) ** 0.5
                parameter.add_(0.3 * noise)
    return model
