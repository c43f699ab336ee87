"""The codebook model: image encoder and decoder, context encoder and decoder, quantisers.

All of it is in floats. What a decoder parses, indices, doesn't depend on any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import log2
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vireo.codecs.codebook.config import LATENT_STRIDE, Config
from vireo.codecs.codebook.layers import Residual, WindowAttention, half, residuals, twice
from vireo.exact import Grid
from vireo.nn.picture import GREY, Picture, blocks_of, picture_of_blocks

_ROWS = 4096  # whose distances to all entries are in memory at a time
FREQUENCIES = Grid(0, 0, 1 << 14)  # of a codebook's entries, 2**14 and a bit in all


class Model(nn.Module):
    """A codebook codec. What has `analysis` in its name only an encoder needs."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.analysis = ImageEncoder(config)
        self.image = ImageDecoder(config)
        self.key = Quantiser(config, (config.key,))
        self.predicted = Quantiser(config, config.predicted)
        self.context_analysis = Context(config, analysis=True)
        self.context = Context(config, analysis=False)

    def analyse(self, picture: Picture, reference: Tensor | None) -> Tensor:
        """What is quantised of a picture: its latents, or those of its context (equation 3).

        `reference` are the latents of the frame before, `[B, C, H / 8, W / 8]`, which both sides
        have.
        """
        latents: Tensor = self.analysis(picture)
        if reference is None:
            return latents
        context: Tensor = self.context_analysis(latents, reference)
        return context

    def latents(self, quantised: Tensor, reference: Tensor | None) -> Tensor:
        """A picture's latents, as both sides have them (equation 4)."""
        if reference is None:
            return quantised
        found: Tensor = self.context(quantised, reference)
        return found

    def quantiser(self, rate: int | None) -> tuple[Quantiser, Sequence[Codebooks]]:
        """Of key frames, or of predicted ones at a rate point; and its codebooks."""
        which, place = (self.key, 0) if rate is None else (self.predicted, rate)
        return which, which.books(place)


def halvings(config: Config) -> int:
    """Changes of resolution between patches and latents."""
    return round(log2(LATENT_STRIDE // config.patch))


def _samples(patch: int) -> int:
    return 3 if patch == 1 else patch * patch * 3 // 2


class ImageEncoder(nn.Module):
    """A picture to latents `[B, C, H / 8, W / 8]` (figure 6)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._patch = config.patch
        channels = config.channels
        side = 3 if config.patch == 1 else 1
        self.first = nn.Conv2d(_samples(config.patch), channels, side, padding=side // 2)
        self.down = nn.ModuleList(half(channels, channels) for _ in range(halvings(config)))
        self.blocks = nn.ModuleList(residuals(channels, n) for n in config.encoder_blocks)

    def forward(self, picture: Picture) -> Tensor:
        x: Tensor = self.blocks[0](self.first(blocks_of(picture, self._patch) - GREY))
        for down, blocks in zip(self.down, self.blocks[1:], strict=True):
            x = blocks(down(x))
        return x


class ImageDecoder(nn.Module):
    """Latents to a picture, not rounded."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._patch = config.patch
        channels = config.channels
        side = 3 if config.patch == 1 else 1
        self.up = nn.ModuleList(twice(channels, channels) for _ in range(halvings(config)))
        self.blocks = nn.ModuleList(residuals(channels, n) for n in config.decoder_blocks)
        self.last = nn.Conv2d(channels, _samples(config.patch), side, padding=side // 2)

    def forward(self, latents: Tensor) -> Picture:
        x: Tensor = self.blocks[-1](latents)
        for up, blocks in zip(self.up, reversed(self.blocks[:-1]), strict=True):
            x = blocks(up(x))
        return picture_of_blocks(self.last(x) + GREY, self._patch)


class Context(nn.Module):
    """Context encoder or decoder (figures 3 and 7): twice attention and residual blocks."""

    def __init__(self, config: Config, *, analysis: bool) -> None:
        super().__init__()
        channels = config.channels
        self._sign = -1 if analysis else 1
        attends = config.context != "blocks"
        self.attention = nn.ModuleList(
            WindowAttention(channels, config.heads, config.head, config.window, config.padding)
            if attends
            else Merge(channels)
            for _ in range(config.context_layers)
        )
        self.blocks = nn.ModuleList(
            residuals(channels, config.context_blocks) for _ in range(config.context_layers)
        )
        self.last = nn.Conv2d(channels, channels, 1) if config.direct else None

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """All are `[B, C, h, w]`."""
        start = x
        for attention, blocks in zip(self.attention, self.blocks, strict=True):
            x = blocks(attention(x, reference))
        if self.last is None:
            return x
        added: Tensor = self.last(x)
        return start + self._sign * reference + added


class Merge(nn.Module):
    """In place of attention: a residual block of both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * channels, channels, 1)
        self.block = Residual(channels)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        added: Tensor = self.merge(torch.cat([x, reference], 1))
        found: Tensor = self.block(x + added)
        return found


Choice = Callable[[int, Tensor], Tensor]
"""From a stage and what is to be quantised, `[B, C, h, w]`, to indices `[B, codebooks, h, w]`."""


class Penalties(NamedTuple):
    """What indices cost besides their distance.

    Attributes:
        entries: `[codebooks, size]`.
        before: `[codebooks, B * h * w]`, those of the frame before; None if there are none.
        same: in place of `entries`, of these, `[codebooks, B * h * w]`.
    """

    entries: Tensor
    before: Tensor | None = None
    same: Tensor | None = None


class Quantised(NamedTuple):
    """Of one stage.

    Attributes:
        indices: `[B, codebooks, h, w]`.
        wanted: what was to be quantised, `[B, C, h, w]`.
        entries: those that the indices name.
        found: the same; in training a gradient passes straight through to `wanted`, too.
    """

    indices: Tensor
    wanted: Tensor
    entries: Tensor
    found: Tensor


class Quantiser(nn.Module):
    """Three stages of several codebooks each (section 3.3, figure 4).

    Each stage quantises at half the resolution of the one before what that left.

    Args:
        sets: sizes of the codebooks of each stage, one or several sets to choose from.
    """

    def __init__(self, config: Config, sets: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        widths = config.channels, *config.quantised
        before, behind = config.stage_blocks
        self.analysis = nn.ModuleList(
            nn.Sequential(half(a, b), residuals(b, before)) for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList(
            nn.Sequential(residuals(b, behind), twice(b, a)) for a, b in pairwise(widths)
        )
        self.codebooks = nn.ModuleList(
            nn.ModuleList(
                Codebooks(config.codebooks, size, width // config.codebooks)
                for size, width in zip(sizes, config.quantised, strict=True)
            )
            for sizes in sets
        )

    def books(self, place: int) -> list[Codebooks]:
        """Those of a set, stage by stage."""
        chosen = self.codebooks[place]
        assert isinstance(chosen, nn.ModuleList)
        return [book for book in chosen if isinstance(book, Codebooks)]

    def stages(
        self, latents: Tensor, books: Sequence[Codebooks], choose: Choice | None = None
    ) -> Iterator[Quantised]:
        """Stage by stage, from the highest resolution.

        `choose` chooses the indices; else it is the nearest entries'.
        """
        left = latents
        for stage, (analysis, book) in enumerate(zip(self.analysis, books, strict=True)):
            wanted = analysis(left)
            indices = book.nearest(wanted) if choose is None else choose(stage, wanted)
            entries = book(indices)
            found = entries + (wanted - wanted.detach()) if torch.is_grad_enabled() else entries
            yield Quantised(indices, wanted, entries, found)
            left = wanted - found

    def merge(self, found: Sequence[Tensor]) -> Tensor:
        """Latents from what was found at each stage."""
        x: Tensor | None = None
        for up, own in zip(reversed(self.up), reversed(found), strict=True):
            x = up(own if x is None else own + x)
        assert x is not None
        return x


class Codebooks(nn.Module):
    """Of one stage: each for a share of the channels.

    Attributes:
        entries: `[codebooks, size, channels]`.
        frequencies: `[codebooks, size]`, how often each was chosen in training.
    """

    frequencies: Tensor

    def __init__(self, count: int, size: int, channels: int) -> None:
        super().__init__()
        self.entries = nn.Parameter(torch.empty(count, size, channels))
        nn.init.normal_(self.entries, 0, (2 / (5 * channels)) ** 0.5)
        self.register_buffer(
            "frequencies", torch.full((count, size), float(FREQUENCIES.high // size))
        )

    def parameter_grids(self) -> dict[str, Grid]:
        """Of what a parser needs."""
        return {"frequencies": FREQUENCIES}

    @property
    def size(self) -> int:
        return self.entries.shape[1]

    def shares(self, x: Tensor) -> Tensor:
        """`[codebooks, B * h * w, channels]` of `[B, C, h, w]`: what each book quantises."""
        count, _, channels = self.entries.shape
        parts = x.reshape(len(x), count, channels, x[0, 0].numel())
        return parts.permute(1, 0, 3, 2).flatten(1, 2)

    @torch.no_grad()
    def nearest(self, wanted: Tensor, penalties: Penalties | None = None) -> Tensor:
        """`[B, codebooks, h, w]` of `[B, C, h, w]` (equation 1), in single precision.

        With `penalties` on half the squared distance, the cheapest.
        """
        shares = self.shares(wanted.detach())
        found = []
        for n, (own, entries) in enumerate(zip(shares, self.entries, strict=True)):
            given = [] if penalties is None else [p if p is None else p[n] for p in penalties]
            found.append(nearest(own, entries, *given))
        batch, _, height, width = wanted.shape
        return torch.stack(found).reshape(-1, batch, height, width).transpose(0, 1)

    def forward(self, indices: Tensor) -> Tensor:
        """`[B, C, h, w]` of `[B, codebooks, h, w]` (equation 2)."""
        parts = [e[i] for e, i in zip(self.entries, indices.unbind(1), strict=True)]
        return torch.cat(parts, -1).movedim(-1, 1)


def nearest(
    rows: Tensor,
    entries: Tensor,
    penalties: Tensor | None = None,
    before: Tensor | None = None,
    same: Tensor | None = None,
) -> Tensor:
    """`[N]`: which of the entries `[K, channels]` each row of `[N, channels]` is nearest to.

    The other arguments are as in `Penalties`, of one codebook.
    """
    entries = entries.float()
    # Half the squared distance less what all have in common.
    constant = entries.square().sum(1) / 2
    found = []
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        distances = constant - rows[part].float() @ entries.T
        costs = distances if penalties is None else distances + penalties
        least, chosen = costs.min(1)
        if before is not None and same is not None:
            kept = distances.gather(1, before[part, None])[:, 0] + same[part]
            chosen = torch.where(kept <= least, before[part], chosen)
        found.append(chosen)
    return torch.cat(found)
