"""From frames to sections and back: what the decoder and the encoder share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vireo.codecs.base import Planes
from vireo.codecs.dhvc.config import CONFIGS, SCALES
from vireo.codecs.dhvc.model import Model, Reference, place_count, used_scales
from vireo.codecs.dhvc.scale import Context, Scale
from vireo.codecs.rate_points import Places
from vireo.entropy.normal import SCALE_ONE
from vireo.entropy.tables import latent_tables
from vireo.errors import UsageError
from vireo.exact import PROCESSOR, full_precision, prove
from vireo.nn.latents import OCTAVES
from vireo.nn.picture import Picture, picture_of
from vireo.weights import Weights

Symbols = Callable[[Scale, Context, Tensor | None], Tensor]
"""What gives a scale's symbols, from its context and the steps of its latents."""


class Coder:
    """A model with its weights, at places between its rate points.

    Args:
        weights: the model's.
        places: of I frames and of P frames.
        device: where the networks compute.

    Raises UsageError for weights of no known model and for a place that it doesn't have,
    InexactError for weights whose sums can't be proved exact.
    """

    def __init__(self, weights: Weights, places: Places, device: torch.device = PROCESSOR) -> None:
        if weights.name not in CONFIGS:
            raise UsageError(f"{weights.path} has weights of {weights.name!r}, no model of DHVC")
        config = CONFIGS[weights.name]
        for place in places:
            if not 0 <= place < place_count(config):
                raise UsageError(f"{config.name} has no place {place} between its rate points")
        with torch.device("meta"):
            model = Model(config)
        model.to_empty(device="cpu")
        weights.load_into(model)
        model.to(device)
        prove(model)
        self.device = device
        self.model = model.eval().requires_grad_(False)
        self.weights = weights
        with torch.inference_mode():
            self._places = [torch.tensor([place], device=device) for place in places]
            self._embedded = [model.embed(place) for place in self._places]
            with full_precision(device.type):
                self._seen = [model.analysis.embed(place) for place in self._places]
            self._steps = [
                [scale.steps_at(place) for scale in model.latent_blocks()] for place in self._places
            ]

    def decoding(
        self,
        sections: Mapping[int, bytes],
        size: tuple[int, int],
        reference: Reference | None,
        alone: Collection[int] = (),
    ) -> Walk:
        """A frame that is to be decoded from its scales' sections.

        Latents are their means where a section is missing, or of no use, as something that it
        refers to was missing: a scale below, or a frame before.

        Args:
            sections: by scale; any bytes are latents.
            size: of the coded picture.
            reference: the frame before; None for an I frame.
            alone: scales that refer to no frame before.
        """

        def symbols(scale: Scale, context: Context, steps: Tensor | None) -> Tensor:
            values = latent_tables().decode(sections[scale.level], _indices(context.octaves))
            found = torch.from_numpy(values).to(context.mean.device)
            return found.float().reshape(context.mean.shape)

        return Walk(self, size, reference, alone, symbols, sections)

    def encode(
        self, target: Planes, reference: Reference | None, alone: Collection[int] = ()
    ) -> tuple[dict[int, bytes], Walk]:
        """A frame's sections by scale, and the frame as a decoder has it."""
        seen = self._seen[reference is not None]
        with torch.inference_mode(), full_precision(self.device.type):
            observed = self.model.analysis(picture_of(target, self.device), seen)
        sections: dict[int, bytes] = {}

        def symbols(scale: Scale, context: Context, steps: Tensor | None) -> Tensor:
            with full_precision(self.device.type):
                latents = scale.analyse(observed[scale.level], context.spatial, seen)
            found = Scale.quantised(latents, context.mean, steps)
            if not bool(torch.isfinite(found).all()):
                raise UsageError("the model's analysis gives no numbers for this picture")
            values = found[0].to(torch.int16).cpu().numpy()
            sections[scale.level] = latent_tables().encode(
                values.ravel(), _indices(context.octaves)
            )
            return found

        height, width = target[0].shape
        walk = Walk(self, (height, width), reference, alone, symbols, range(SCALES))
        walk.run()
        return sections, walk

    def scales_alone(self, lowest: int) -> frozenset[int]:
        """Scales to refer to no frame before, so that losses of those from `lowest` on end."""
        # The picture before, which auxiliary features are of, has what was lost at any scale.
        first = 0 if self.model.auxiliary is not None else lowest
        return frozenset(range(first, SCALES))

    def settings(self, *, inter: bool) -> tuple[Tensor, list[Tensor | None]]:
        """What lambda means to the blocks, and each scale's steps, in I or in P frames."""
        return self._embedded[inter], self._steps[inter]


class Walk:
    """A frame on its way through the scales, and then the frame (see `Reference`).

    Args:
        reference: the frame before, which has to have come as far as this one is to go.
        symbols: makes a scale's, from what is sent or from what is to be sent.
        present: scales that have sections.
    """

    def __init__(
        self,
        coder: Coder,
        size: tuple[int, int],
        reference: Reference | None,
        alone: Collection[int],
        symbols: Symbols,
        present: Collection[int],
    ) -> None:
        self._model = coder.model
        self._embedded, self._steps = coder.settings(inter=reference is not None)
        self._reference = reference
        self._alone = alone
        self._symbols: Symbols | None = symbols
        self._present = present
        self._below: tuple[Tensor, Tensor] | None = coder.model.start(size)
        self._auxiliary: Sequence[Tensor | None] = ()
        self._picture: Picture | None = None
        self.features: list[tuple[Tensor, ...]] = []
        self.intact: list[bool] = []

    @property
    def picture(self) -> Picture:
        assert self._picture is not None, "it isn't finished"
        return self._picture

    @property
    def has_auxiliary(self) -> bool:
        """Whether all scales refer to the whole picture before."""
        return self._model.auxiliary is not None

    def refers(self, level: int) -> bool:
        """Whether a scale refers to the frame before."""
        return self._reference is not None and level not in self._alone

    def run(self) -> None:
        """All of it."""
        for level in range(SCALES):
            self.scale(level)
        self.finish()

    @torch.inference_mode()
    def scale(self, level: int) -> None:
        """The next scale; those below it are done."""
        assert level == len(self.features)
        assert self._symbols is not None
        assert self._below is not None
        model, embedded, steps = self._model, self._embedded, self._steps[level]
        scale = list(model.latent_blocks())[level]
        reference = self._reference if self.refers(level) else None
        before = reference.features[level] if reference else ()
        auxiliary = self._auxiliary_at(level) if reference else None
        context = scale.context(*self._below, before, auxiliary, embedded)
        used = level in self._present and all(self.intact)
        if reference is not None:
            used = used and reference.intact[level]
            used = used and (model.auxiliary is None or used_scales(reference) == SCALES)
        symbols = torch.zeros_like(context.mean)
        if used:
            symbols = self._symbols(scale, context, steps)
        latents = Scale.dequantised(symbols, context.mean, steps)
        self._below = _, own = scale.finish(context, latents, embedded)
        self.features.append((own, *before)[: model.config.references])
        self.intact.append(used)

    def _auxiliary_at(self, level: int) -> Tensor | None:
        if not self._auxiliary:
            self._auxiliary = self._model.auxiliary_features(self._reference, self._embedded)
        return self._auxiliary[level]

    @torch.inference_mode()
    def finish(self) -> None:
        """The picture; what it was made from is let go."""
        self._picture = self._model.picture(self.features[-1][0], self._embedded)
        self.release()

    def release(self) -> None:
        """Lets go what the frame was made from."""
        self._reference = self._symbols = self._below = None
        self._present = self._auxiliary = ()


def _indices(octaves: Tensor) -> np.ndarray:
    """Which of `entropy.latent_tables` each latent has."""
    units = octaves * 2.0**OCTAVES.bits + SCALE_ONE
    return units.to(torch.uint8).cpu().numpy().ravel()
