"""What a hierarchical model is trained on: clips, frame by frame from what was decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireo.codecs.dhvc.config import CONFIGS
from vireo.codecs.dhvc.initial import initialise
from vireo.codecs.dhvc.model import Decoded, Model, place_count
from vireo.codecs.dhvc.scale import Scale
from vireo.codecs.rate_points import STEP_PARTS
from vireo.nn.latents import symbol_bits, with_noise
from vireo.nn.losses import balanced, picture_error
from vireo.nn.picture import Picture


class ClipLoss(nn.Module):
    """Distortion and rate of a batch of clips (equation 15).

    Args:
        name: the model's.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.model = Model(CONFIGS[name])
        initialise(self.model)

    def draw(self, rng: np.random.Generator, batch: int) -> NDArray[np.float64]:
        """A place between the rate points for each clip."""
        return rng.integers(place_count(self.model.config), size=batch) / STEP_PARTS

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For an optimiser."""
        return [{"params": list(self.parameters()), "factor": 1.0}]

    def forward(self, luma: Tensor, chroma: Tensor, rates: Tensor) -> Tensor:
        """Of luma `[B, T, 1, H, W]` and chroma `[B, T, 2, H / 2, W / 2]`, uint8.

        The first frame is an I frame; `rates` `[B]` are places between the rate points.

        Returns `[T, B, 2]`: mean squared error of samples between 0 and 1, and bits per luma
        sample.
        """
        places = (rates * STEP_PARTS).round().long()
        reference: Decoded | None = None
        results = []
        for y, c in zip(luma.unbind(1), chroma.unbind(1), strict=True):
            target = Picture(y.float() / 256, c.float() / 256)
            reference, bits = code(self.model, target, reference, places)
            found = reference.picture
            error = picture_error(found.luma, found.chroma, target.luma, target.chroma)
            results.append(torch.stack([error, bits / y[0].numel()], 1))
        return torch.stack(results)


def loss_of(results: Tensor, lambdas: Tensor) -> Tensor:
    """What a step lowers: all frames and clips alike, as far as their lambdas allow."""
    return balanced(results, lambdas)


def code(
    model: Model, target: Picture, reference: Decoded | None, places: Tensor
) -> tuple[Decoded, Tensor]:
    """A frame as a decoder has it, and `[B]` the bits of each of the batch."""
    embedded, seen = model.embed(places), model.analysis.embed(places)
    observed = model.analysis(target, seen)
    auxiliary = model.auxiliary_features(reference, embedded)
    height, width = target.luma.shape[-2:]
    spatial, decoded = model.start((height, width), len(places))
    bits = torch.zeros(len(places), device=places.device)
    features = []
    for scale in model.latent_blocks():
        level = scale.level
        before = reference.features[level] if reference else ()
        context = scale.context(spatial, decoded, before, auxiliary[level], embedded)
        latents = scale.analyse(observed[level], context.spatial, seen)
        steps = scale.steps_at(places)
        symbols = Scale.quantised(latents, context.mean, steps)
        residual = latents - context.mean
        noisy = with_noise(residual if steps is None else residual / steps)
        bits = bits + symbol_bits(symbols, noisy, torch.exp2(context.octaves))
        latents = Scale.dequantised(symbols, context.mean, steps)
        spatial, decoded = scale.finish(context, latents, embedded)
        features.append(decoded)
    return model.finish(features, reference, embedded), bits
