"""From frames to indices and back: what the decoder and the encoder share."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireo.codecs.base import Planes, Precision
from vireo.codecs.codebook.config import CONFIGS, LATENT_STRIDE, STRIDES
from vireo.codecs.codebook.indices import Adaptive, FixedLength, IndexCode, Indices, Layout
from vireo.codecs.codebook.model import Codebooks, Model
from vireo.codecs.codebook.precision import round_values
from vireo.codecs.codebook.stream import PROFILES
from vireo.errors import UsageError
from vireo.exact import PROCESSOR, full_precision
from vireo.nn.picture import SAMPLES, Picture, planes_of
from vireo.weights import Weights

_MOST_OF_ALL = 1 << 18  # frequencies of a codebook together
_WINDOW = STRIDES[-1] // LATENT_STRIDE  # places of latents, a window's side


@dataclass(frozen=True)
class Decoded:
    """A frame as a decoder has it.

    Attributes:
        crc: of the indices of the GOP's frames up to this one.
        latents: `[1, C, H / 8, W / 8]`, what the next frame refers to.
        planes: at the coded size; None where nobody looks at them.
        twin: the same at a lower precision, where an encoder wants to know the difference.
        intact: whether no frame that it depends on was lost.
        within: whether its samples are within the bound that came with it.
    """

    crc: int
    latents: Tensor
    planes: Planes | None
    twin: Decoded | None = None
    intact: bool = True
    within: bool = True


class Coder:
    """A model with its weights.

    Attributes:
        key, predicted: layouts of its frames.

    Args:
        weights: the model's.
        rate: which codebooks P frames have.
        size: at which pictures are coded, multiples of 64 luma samples.
        precision: of all numbers: the device's own, or rounded to it where processors have none
            that is fast (`round_values`).
        device: where the networks compute.

    Raises UsageError for weights of no known model, for a rate that it doesn't have, and for
    frequencies that are too many.
    """

    def __init__(
        self,
        weights: Weights,
        rate: int,
        size: tuple[int, int],
        precision: Precision = Precision.FLOAT32,
        device: torch.device = PROCESSOR,
    ) -> None:
        if weights.name not in CONFIGS:
            raise UsageError(f"{weights.path} has weights of {weights.name!r}, no codebook model")
        config = CONFIGS[weights.name]
        if not 0 <= rate < config.rates:
            raise UsageError(f"{config.name} has no rate {rate}")
        with torch.device("meta"):
            model = Model(config)
        model.to_empty(device="cpu")
        weights.load_into(model)
        self.weights = weights
        self.rate = rate
        self.key, self.predicted = (Layout.of(config, size, which) for which in (None, rate))
        self._frequencies = [
            [_frequencies(book) for book in model.quantiser(which)[1]] for which in (None, rate)
        ]
        if max(own.sum(1).max() for books in self._frequencies for own in books) > _MOST_OF_ALL:
            raise UsageError(f"{weights.path} has frequencies of more than {_MOST_OF_ALL} in all")
        self.device = device
        self.model = model.eval().requires_grad_(False).to(device)
        self._whole = precision is Precision.FLOAT32 or device == PROCESSOR
        if not self._whole:
            self.model.to(getattr(torch, precision))
        elif precision is not Precision.FLOAT32:
            round_values(self.model, getattr(torch, precision))

    def index_code(self, profile: int) -> IndexCode:
        """How indices stand in a stream of a profile."""
        if PROFILES[profile] == "paper":
            return FixedLength(self.key, self.predicted)
        key, predicted = (
            [own for book in books for own in book.tolist()] for books in self._frequencies
        )
        return Adaptive(self.key, self.predicted, key, predicted)

    def arithmetic(self) -> AbstractContextManager[None]:
        """In which the networks compute: single precision is to be no less."""
        return full_precision(self.device.type) if self._whole else nullcontext()

    @torch.inference_mode()
    def latents(self, indices: Indices, reference: Tensor | None) -> Tensor:
        """Of a frame, from those of the frame before, or from none of a key frame."""
        quantiser, books = self.model.quantiser(None if reference is None else self.rate)
        layout = self.key if reference is None else self.predicted
        found = [
            book(torch.from_numpy(stage.astype(np.int64)).to(self.device).permute(2, 0, 1)[None])
            for book, stage in zip(books, layout.split(indices.values), strict=True)
        ]
        with self.arithmetic():
            latents = self.model.latents(quantiser.merge(found), reference)
        if reference is not None and indices.skips.any():
            latents = torch.where(self._skipped(indices, latents), reference, latents)
        return latents

    @torch.inference_mode()
    def planes(self, latents: Tensor) -> Planes:
        """The picture that they make."""
        with self.arithmetic():
            picture = self.model.image(latents)
        luma, chroma = (
            (p.float() * 256).round().clamp(SAMPLES.low, SAMPLES.high) / 256
            for p in (picture.luma, picture.chroma)
        )
        return planes_of(Picture(luma, chroma))

    @staticmethod
    def _skipped(indices: Indices, latents: Tensor) -> Tensor:
        """`[h, w]`: which places are in windows that are skipped."""
        rows, columns = (n // _WINDOW for n in latents.shape[-2:])
        skips = torch.from_numpy(indices.skips.astype(bool)).to(latents.device)
        skips = skips.reshape(rows, columns)
        return skips.repeat_interleave(_WINDOW, 0).repeat_interleave(_WINDOW, 1)


def reconstruct(
    coder: Coder, twin: Coder | None, indices: Indices, reference: Decoded | None
) -> Decoded:
    """What a frame's indices make of the frame before, or of none; `twin` makes the twin's."""
    return with_twin(_decoded(coder, indices, reference, shown=True), twin, indices, reference)


def with_twin(
    decoded: Decoded, twin: Coder | None, indices: Indices, reference: Decoded | None
) -> Decoded:
    """A decoded frame, and what `twin` makes of the same."""
    if twin is None:
        return replace(decoded, twin=None)
    before = reference.twin if reference else None
    return replace(decoded, twin=_decoded(twin, indices, before, shown=False))


def _decoded(coder: Coder, indices: Indices, reference: Decoded | None, *, shown: bool) -> Decoded:
    if reference is None:
        latents, crc = coder.latents(indices, None), indices.crc(0)
        return Decoded(crc, latents, coder.planes(latents) if shown else None)
    crc = indices.crc(reference.crc)
    if indices.skips.all():
        return replace(reference, crc=crc, within=True)
    latents = coder.latents(indices, reference.latents)
    planes = coder.planes(latents) if shown else None
    return Decoded(crc, latents, planes, intact=reference.intact)


def _frequencies(book: Codebooks) -> NDArray[np.int64]:
    """`[books, size]`: at least 1 each, as all can be chosen."""
    found: NDArray[np.int64] = book.frequencies.to(torch.int64).clamp(min=1).numpy()
    return found
