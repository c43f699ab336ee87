"""What a codebook model is trained on: clips, frame by frame from what was decoded.

Assignment is hard. A gradient passes to the chosen entry as it is, and straight through to what
was to be quantised, which is drawn to its entry; entries that are hardly chosen move to where
something was to be quantised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireo.codecs.codebook.config import CONFIGS, STRIDES, Config
from vireo.codecs.codebook.initial import initialise
from vireo.codecs.codebook.model import FREQUENCIES, Codebooks, Model, Quantised, nearest
from vireo.nn import losses
from vireo.nn.losses import picture_error
from vireo.nn.picture import Picture
from vireo.train.data import Batch, Clips

DISTORTIONS = "mse", "ms-ssim"

_COMMITMENT = 0.25  # of the distance to the entry, in the unit of distortion
_PASSED = 0.5  # of a gradient to the frame before, so that it doesn't grow from frame to frame
_FORGET = 0.02  # of the frequencies, at a batch
_DEAD = 0.05  # entries chosen less than this share of the mean are seeded anew
_SEED_EVERY = 25  # batches
_ROUNDS = 8  # of k-means


class ClipLoss(nn.Module):
    """Distortion of a batch of clips (equation 5), and what keeps codebooks used.

    Args:
        name: the model's.
        distortion: of DISTORTIONS, what is lowered.
    """

    seen: Tensor

    def __init__(self, name: str, distortion: str = "mse") -> None:
        super().__init__()
        self._distortion = distortion
        if distortion == "ms-ssim":
            losses.similarity_measure()  # before clips are prepared
        self.model = Model(CONFIGS[name])
        initialise(self.model)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def draw(self, rng: np.random.Generator, batch: int) -> NDArray[np.float64]:
        """One rate point for all clips."""
        return np.full(batch, float(rng.integers(self.model.config.rates)))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For an optimiser."""
        return [{"params": list(self.parameters()), "factor": 1.0}]

    def forward(self, luma: Tensor, chroma: Tensor, rates: Tensor) -> Tensor:
        """Of luma `[B, T, 1, H, W]` and chroma `[B, T, 2, H / 2, W / 2]`, uint8.

        The first frame is a key frame; the others are predicted, at the rate point `rates[0]`.

        Returns `[T, B, 4 + n]`: mean squared error of samples between 0 and 1, bits per luma
        sample, the distance to codebooks' entries, the distortion that is to be lowered, and each
        codebook's perplexity.
        """
        model = self.model
        reference: Tensor | None = None
        results = []
        chosen = int(rates[0])
        seeds = self.training and int(self.seen) % _SEED_EVERY == _SEED_EVERY - 1
        for y, c in zip(luma.unbind(1), chroma.unbind(1), strict=True):
            rate = None if reference is None else chosen
            sizes = model.config.sizes(rate)
            target = Picture(y.float() / 256, c.float() / 256)
            if reference is not None:
                reference = reference.detach().lerp(reference, _PASSED)
            reference, stages = code(model, target, reference, rate)
            found = model.image(reference)
            error = picture_error(found.luma, found.chroma, target.luma, target.chroma)
            bits = torch.full_like(error, bits_per_sample(model.config, rate))
            shares = [frequencies(s.indices, size) for s, size in zip(stages, sizes, strict=True)]
            if self.training:
                self._keep_used(stages, shares, model.quantiser(rate)[1], seeds=seeds)
            distances = torch.stack(list(map(_distance, stages, STRIDES)))
            lowered = error
            if self._distortion == "ms-ssim":
                lowered = losses.dissimilarity(found, target)
            columns = [error, bits, distances.sum(0), lowered]
            columns += [p.expand(len(error)) for s in shares for p in perplexities(s)]
            results.append(torch.stack(columns, 1))
        self.seen += self.training
        return torch.stack(results)

    @torch.no_grad()
    def _keep_used(
        self,
        stages: Sequence[Quantised],
        shares: Sequence[Tensor],
        books: Sequence[Codebooks],
        *,
        seeds: bool,
    ) -> None:
        for stage, share, book in zip(stages, shares, books, strict=True):
            book.frequencies.lerp_(FREQUENCIES.high * share, _FORGET)
            if seeds:
                _seed(book, stage.wanted)

    def prepare(self, clips: Clips, seed: int, *, count: int = 192, side: int = 256) -> None:
        """Codebooks by k-means, of what there is to be quantised in `count` clips."""
        generator = torch.Generator().manual_seed(seed)
        rng = np.random.default_rng([seed, 0])
        batches = [clips.draw(rng, 8, 5, side) for _ in range(count // 8)]
        with torch.no_grad():
            self._cluster(batches, None, 1, generator)
            for rate in range(self.model.config.rates):
                for frames in (2, 5):
                    self._cluster(batches, rate, frames, generator)

    def _cluster(
        self, batches: list[Batch], rate: int | None, frames: int, generator: torch.Generator
    ) -> None:
        quantiser, books = self.model.quantiser(rate)
        left = torch.cat([x for batch in batches for x in self._unquantised(batch, rate, frames)])
        for analysis, book in zip(quantiser.analysis, books, strict=True):
            wanted = torch.cat([analysis(x) for x in torch.split(left, 64)])
            _k_means(book, wanted, generator)
            left = torch.cat([x - book(book.nearest(x)) for x in torch.split(wanted, 64)])

    def _unquantised(self, batch: Batch, rate: int | None, frames: int) -> Iterator[Tensor]:
        """What is to be quantised, in key frames or in predicted ones."""
        model = self.model
        reference: Tensor | None = None
        for n in range(frames):
            y, c = (torch.from_numpy(p[:, n]).float() / 256 for p in (batch.luma, batch.chroma))
            if (n > 0) == (rate is not None):
                yield model.analyse(Picture(y, c), reference)
            if n + 1 < frames:
                now = None if reference is None else rate
                reference, _ = code(model, Picture(y, c), reference, now)


def code(
    model: Model, target: Picture, reference: Tensor | None, rate: int | None
) -> tuple[Tensor, list[Quantised]]:
    """A frame's latents as a decoder has them, and what became of it at each stage."""
    quantiser, books = model.quantiser(rate)
    stages = list(quantiser.stages(model.analyse(target, reference), books))
    return model.latents(quantiser.merge([s.found for s in stages]), reference), stages


def loss_of(results: Tensor, lambdas: Tensor) -> Tensor:
    """What a step lowers; rates are fixed by the codebooks' sizes."""
    return (results[..., 3] + _COMMITMENT * results[..., 2]).mean()


def describe(results: list[Any]) -> dict[str, Any]:
    """PSNR in dB and bits per luma sample, frame by frame, and perplexities.

    These are of the codebooks of key frames, then of predicted ones, from the highest resolution.
    """
    means = torch.tensor(results).mean(1)
    perplexity = [means[0, 4:]] + ([means[1:, 4:].mean(0)] if len(means) > 1 else [])
    rounded = [[round(p, 1) for p in row.tolist()] for row in perplexity]
    return {**losses.describe(results), "perplexity": rounded}


def bits_per_sample(config: Config, rate: int | None) -> float:
    """Of indices of fixed length, per luma sample."""
    return sum(
        config.codebooks * (size.bit_length() - 1) / stride**2
        for size, stride in zip(config.sizes(rate), STRIDES, strict=True)
    )


def perplexities(shares: Tensor) -> Tensor:
    """Of shares `[codebooks, size]` of entries: so many would be used if all were used alike."""
    return torch.exp(-(shares * shares.clamp(min=1e-10).log()).sum(1))


def frequencies(indices: Tensor, size: int) -> Tensor:
    """`[codebooks, size]`: shares of the entries in `[B, codebooks, h, w]`."""
    chosen = indices.transpose(0, 1).flatten(1)
    counts = torch.zeros(len(chosen), size, device=indices.device)
    counts.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=counts.dtype))
    return counts / chosen.shape[1]


def _distance(stage: Quantised, stride: int) -> Tensor:
    """`[B]`: from what was to be quantised to its entries, per sample of the picture."""
    squares = (stage.wanted - stage.entries.detach()).square()
    return squares.sum(1).mean((1, 2)) / (stride * stride * 3 / 2)


def _seed(book: Codebooks, wanted: Tensor) -> None:
    """Moves what is hardly chosen to places of a batch."""
    mean = FREQUENCIES.high / book.size
    shares = book.shares(wanted.detach())
    for entries, frequency, own in zip(book.entries, book.frequencies, shares, strict=True):
        dead = torch.nonzero(frequency < _DEAD * mean)[: len(own), 0]
        chosen = torch.randperm(len(own), device=own.device)[: len(dead)]
        entries[dead] = own[chosen]
        frequency[dead] = mean


def _k_means(book: Codebooks, wanted: Tensor, generator: torch.Generator) -> None:
    size = book.size
    for entries, frequency, own in zip(
        book.entries, book.frequencies, book.shares(wanted), strict=True
    ):
        rows = torch.randint(len(own), (size,), generator=generator)
        entries.copy_(own[rows])
        for _ in range(_ROUNDS):
            chosen = nearest(own, entries)
            sums = torch.zeros_like(entries).index_add_(0, chosen, own)
            counts = torch.bincount(chosen, minlength=size)
            means = sums / counts.clamp(min=1)[:, None]
            again = torch.randint(len(own), (size,), generator=generator)
            entries.copy_(torch.where(counts[:, None] > 0, means, own[again]))
        frequency.copy_(FREQUENCIES.high * counts / counts.sum())
