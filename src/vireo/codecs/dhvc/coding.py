"""From frames to sections and back: what the decoder and the encoder share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from vireo.codecs.base import Planes
from vireo.codecs.dhvc.config import CONFIGS, SCALES
from vireo.codecs.dhvc.model import Context, Decoded, Model, Scale, places_of
from vireo.codecs.rate_points import Places
from vireo.entropy.normal import SCALE_ONE
from vireo.entropy.tables import latent_tables
from vireo.errors import UsageError
from vireo.exact import prove
from vireo.nn.latents import OCTAVES
from vireo.nn.picture import picture_of
from vireo.weights import Weights

Symbols = Callable[[Scale, Context, Tensor | None], Tensor]
"""Of a scale's latents, with their steps."""


class Coder:
    """A model with its weights, at places between its rate points.

    Args:
        weights: the model's.
        places: of I frames and of P frames.

    Raises UsageError for weights of no known model and for a place that it doesn't have,
    InexactError for weights whose sums can't be proved exact.
    """

    def __init__(self, weights: Weights, places: Places) -> None:
        if weights.name not in CONFIGS:
            raise UsageError(f"{weights.path} has weights of {weights.name!r}, no model of DHVC")
        config = CONFIGS[weights.name]
        for place in places:
            if not 0 <= place < places_of(config):
                raise UsageError(f"{config.name} has no place {place} between its rate points")
        with torch.device("meta"):
            model = Model(config)
        model.to_empty(device="cpu")
        weights.load_into(model)
        prove(model)
        self.model = model.eval().requires_grad_(False)
        self.weights = weights
        with torch.inference_mode():
            self._places = [torch.tensor([place]) for place in places]
            self._embedded = [model.embed(place) for place in self._places]
            self._seen = [model.analysis.embed(place) for place in self._places]
            self._steps = [
                [scale.steps_at(place) for scale in model.latent_blocks()] for place in self._places
            ]

    @torch.inference_mode()
    def decode(
        self,
        sections: Mapping[int, bytes],
        size: tuple[int, int],
        reference: Decoded | None,
        resynchronised: Collection[int] = (),
    ) -> Decoded:
        """A frame from its scales' sections.

        Latents are their means where a section is missing, or of no use, as something that it
        refers to was missing: a scale below, or a frame before.

        Args:
            sections: by scale; any bytes are latents.
            size: of the coded picture.
            reference: the frame before; None for an I frame.
            resynchronised: scales that refer to no frame before.
        """

        def symbols(scale: Scale, context: Context, steps: Tensor | None) -> Tensor:
            values = latent_tables().decode(sections[scale.level], _indices(context.octaves))
            return torch.from_numpy(values).float().reshape(context.mean.shape)

        return self._frame(size, reference, resynchronised, symbols, sections)

    @torch.inference_mode()
    def encode(
        self, target: Planes, reference: Decoded | None, resynchronised: Collection[int] = ()
    ) -> tuple[dict[int, bytes], Decoded]:
        """A frame's sections by scale, and what a decoder makes of them."""
        inter = reference is not None
        seen = self._seen[inter]
        observed = self.model.analysis(picture_of(target), seen)
        sections: dict[int, bytes] = {}

        def symbols(scale: Scale, context: Context, steps: Tensor | None) -> Tensor:
            latents = scale.analyse(observed[scale.level], context.spatial, seen)
            found = Scale.quantised(latents, context.mean, steps)
            if not bool(torch.isfinite(found).all()):
                raise UsageError("the model's analysis gives no numbers for this picture")
            values = found[0].to(torch.int16).numpy()
            sections[scale.level] = latent_tables().encode(
                values.ravel(), _indices(context.octaves)
            )
            return found

        height, width = target[0].shape
        everything = range(SCALES)
        decoded = self._frame((height, width), reference, resynchronised, symbols, everything)
        return sections, decoded

    def _frame(
        self,
        size: tuple[int, int],
        reference: Decoded | None,
        resynchronised: Collection[int],
        symbols: Symbols,
        there: Collection[int],
    ) -> Decoded:
        """Scale by scale, with symbols from wherever they are."""
        model, inter = self.model, reference is not None
        embedded = self._embedded[inter]
        auxiliary = model.auxiliary_features(reference, embedded)
        spatial, decoded = model.start(size)
        features: list[Tensor] = []
        used: list[bool] = []
        for scale, steps in zip(model.latent_blocks(), self._steps[inter], strict=True):
            level = scale.level
            alone = reference is None or level in resynchronised
            before = () if alone or reference is None else reference.features[level]
            beside = None if alone else auxiliary[level]
            context = scale.context(spatial, decoded, before, beside, embedded)
            usable = all(used) and level in there
            if not alone and reference is not None:
                usable = usable and all(reference.intact[level])
                usable = usable and (model.auxiliary is None or reference.used == SCALES)
            used.append(usable)
            found = symbols(scale, context, steps) if usable else torch.zeros_like(context.mean)
            latents = Scale.dequantised(found, context.mean, steps)
            spatial, decoded = scale.finish(context, latents, embedded)
            features.append(decoded)
        return model.finish(features, reference, embedded, used, resynchronised)


def _indices(octaves: Tensor) -> np.ndarray:
    """Which of `entropy.latent_tables` each latent has."""
    units = octaves * 2.0**OCTAVES.bits + SCALE_ONE
    return units.to(torch.uint8).numpy().ravel()
