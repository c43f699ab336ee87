"""From symbols to bytes and to pictures: what the decoder and the encoder share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireo.codecs.base import Planes
from vireo.codecs.insta.updates import apply, read
from vireo.codecs.rate_points import STEP_PARTS, Places
from vireo.codecs.ssf.autoencoder import HYPER_STRIDE, Symbols
from vireo.codecs.ssf.config import CONFIGS, STRIDE
from vireo.codecs.ssf.model import Model, warp
from vireo.codecs.ssf.stream import SECTION, SectionKind
from vireo.container import Section
from vireo.container.syntax import ByteReader
from vireo.entropy.tables import latent_tables, mixture_tables
from vireo.errors import SyntaxElementError, UsageError
from vireo.exact import PROCESSOR, prove
from vireo.nn.picture import Picture, picture_of, planes_of
from vireo.weights import Weights


@dataclass(frozen=True)
class Content:
    """What a section holds.

    Attributes:
        symbols: as they were sent.
        latents: as the synthesis wants them.
        latent_bytes: those of the latents; the rest are the hyperlatents'.
    """

    symbols: Symbols
    latents: Tensor
    latent_bytes: int


class Coder:
    """A model with its weights, at places between its rate points.

    Args:
        weights: the model's.
        places: of I frames and of P frames.
        updates: bytes that change the decoder's weights (`codecs.insta.updates`).
        own: parameters of the encoder's own in place of those of `weights`, by name.
        device: where the networks compute.

    Raises UsageError for weights of no known model and for a place that it doesn't have,
    InexactError for weights whose sums can't be proved exact.
    """

    def __init__(
        self,
        weights: Weights,
        places: Places,
        updates: bytes = b"",
        own: Mapping[str, Tensor] | None = None,
        device: torch.device = PROCESSOR,
    ) -> None:
        if weights.name not in CONFIGS:
            raise UsageError(f"{weights.path} has weights of {weights.name!r}, no model of SSF")
        config = CONFIGS[weights.name]
        for place in places:
            if not 0 <= place <= STEP_PARTS * (config.rates - 1):
                raise UsageError(f"{config.name} has no rate point {place / STEP_PARTS:g}")
        with torch.device("meta"):
            model = Model(config)
        model.to_empty(device="cpu")
        weights.load_into(model)
        if updates:
            apply(model, read(updates, model))
        if own:
            model.load_state_dict(own, strict=False)
        model.to(device)
        prove(model)
        self.device = device
        self.weights = weights
        self.updates = updates
        self.model = model.eval().requires_grad_(False)
        self.places = places
        self.parts = {
            SectionKind.INTRA: model.intra,
            SectionKind.FLOW: model.flow,
            SectionKind.RESIDUAL: model.residual,
        }
        self._priors = {
            kind: mixture_tables(*part.prior.integers()) for kind, part in self.parts.items()
        }

    @torch.inference_mode()
    def write(self, kind: SectionKind, symbols: Symbols) -> Section:
        """What an autoencoder sends."""
        part = self.parts[kind]
        z, latents = (_integers(s) for s in (symbols.hyperlatents, symbols.latents))
        hyper = self._priors[kind].encode(z.ravel(), _channels(z.shape))
        indices = part.scale_indices(symbols.deviation)[0].cpu().numpy().ravel()
        body = latent_tables().encode(latents.ravel(), indices)
        start = SECTION.write({"hyperlatents": len(hyper)})
        return Section(kind, start + hyper + body)

    @torch.inference_mode()
    def read(self, section: Section, height: int, width: int) -> Content:
        """What a section holds, for a picture of that size.

        Raises a StreamError for what is no section; any bytes behind its start are latents.
        """
        kind = SectionKind(section.kind)
        part = self.parts[kind]
        reader = ByteReader(section.data, base=section.offset or 0)
        count = SECTION.read(reader)["hyperlatents"]
        if count > reader.remaining:
            raise SyntaxElementError(
                f"{count} bytes of hyperlatents where {reader.remaining} are left",
                offset=section.offset,
            )
        hyper = reader.take(count, "hyperlatents")
        body = reader.take(reader.remaining, "latents")
        rows, columns = height // STRIDE, width // STRIDE
        config = self.model.config
        shape = config.hyperlatent, -(-rows // HYPER_STRIDE), -(-columns // HYPER_STRIDE)
        z = self._floats(self._priors[kind].decode(hyper, _channels(shape)), shape).clamp(-128, 127)
        mean, deviation = part.distributions(z, (rows, columns))
        indices = part.scale_indices(deviation)[0].cpu().numpy().ravel()
        values = latent_tables().decode(body, indices)
        latents = self._floats(values, (part.latent, rows, columns))
        symbols = Symbols(latents, z, mean, deviation)
        return Content(symbols, self.latents(kind, symbols), len(body))

    def latents(self, kind: SectionKind, symbols: Symbols) -> Tensor:
        """As the synthesis wants them."""
        part = self.parts[kind]
        steps = part.steps_at(self.place(kind))
        return part.dequantised(symbols.latents, symbols.mean, steps)

    def place(self, kind: SectionKind) -> int:
        """That of a section's autoencoder."""
        return self.places.intra if kind is SectionKind.INTRA else self.places.inter

    @torch.inference_mode()
    def intra(self, latents: Tensor) -> Planes:
        """An I frame."""
        return planes_of(self.model.intra_picture(self.model.intra.decode(latents)))

    @torch.inference_mode()
    def moved(self, reference: Planes, flow: Tensor) -> Picture:
        """The reference where a P frame's flow moves it."""
        output = self.model.flow.decode(flow)
        return warp(picture_of(reference, self.device), self.model.vectors(output))

    @torch.inference_mode()
    def inter(self, moved: Picture, flow: Tensor, residual: Tensor) -> Planes:
        """A P frame."""
        output = self.model.residual.decode(residual, flow)
        return planes_of(self.model.inter_picture(moved, output))

    def _floats(self, values: NDArray[np.int16], shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(values).to(self.device).float().reshape(1, *shape)


def _channels(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Of every value of `[C, h, w]` its channel."""
    return np.arange(shape[0], dtype=np.uint8).repeat(shape[1] * shape[2])


def _integers(values: Tensor) -> NDArray[np.int16]:
    if not bool(torch.isfinite(values).all()):
        raise UsageError("the model's analysis gives no numbers for this picture")
    return values[0].clamp(-32768, 32767).to(torch.int16).cpu().numpy()
