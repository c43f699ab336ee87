"""The hierarchical model: the networks, the same in training, in the encoder and in the decoder.

A frame is analysed at four scales. From the lowest to the highest one, each sends latents of what
the scales below it lack, under a distribution that is predicted from those and from the features
of the frames before (DHVC 2.0, sections 4 and 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from vireo.codecs.dhvc.blocks import (
    FEATURES,
    GATES,
    SMOOTH,
    AnalysisBlock,
    Block,
    Blocks,
    Downsample,
    Embedding,
    PredictionBlock,
    Upsample,
    waves,
)
from vireo.codecs.dhvc.config import SCALES, STRIDES, Config
from vireo.codecs.rate_points import STEP_PARTS
from vireo.exact import Conv, Grid, Lookup, hard_sigmoid
from vireo.nn.latents import OCTAVES, lower_bound, rounded
from vireo.nn.picture import SAMPLES, Picture

CELL = STRIDES[-1]  # samples of the picture, the side of a cell of the highest scale
CHANNELS = CELL * CELL * 3 // 2  # of a picture's cell: luma, U, V
CENTRED = Grid.signed(8, 9)  # of a picture less grey
RESIDUALS = Grid.signed(10, 12)
STEPS = Grid(8, 0, 1 << 12)
PICTURE_BITS = 11  # of a weight's fraction between features and pictures
MERGE_BITS = 9  # of one that gets several references at once
GREY = 0.5


class Reference(Protocol):
    """What a frame before has; of one that isn't whole yet, as far as it has come.

    Attributes:
        picture: its samples.
        features: at each scale those of this frame and of those before it, the latest first.
        intact: at each scale whether all of them are what the encoder had.
    """

    @property
    def picture(self) -> Picture: ...
    @property
    def features(self) -> Sequence[tuple[Tensor, ...]]: ...
    @property
    def intact(self) -> Sequence[bool]: ...


@dataclass(frozen=True)
class Decoded:
    """A decoded frame (see `Reference`)."""

    picture: Picture
    features: tuple[tuple[Tensor, ...], ...]
    intact: tuple[bool, ...]


def used_scales(frame: Reference) -> int:
    """Scales whose latents a frame has, with all that they refer to."""
    return sum(frame.intact)


@dataclass(frozen=True)
class Context:
    """What a scale starts from.

    Attributes:
        spatial, decoded: e and d of the scale below, at this scale's size.
        predicted: c, from these and from the frames before.
        mean, octaves: of the latents' distributions; octaves are of the deviation in steps.
        kept: what e takes of the frame before in channels that have no latents; None without one.
    """

    spatial: Tensor
    decoded: Tensor
    predicted: Tensor
    mean: Tensor
    octaves: Tensor
    kept: Tensor | None = None


class Model(nn.Module):
    """A hierarchical codec."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.embedding)
        self.analysis = Analysis(config)
        self.auxiliary = Auxiliary(config) if config.auxiliary_blocks else None
        self.scales = nn.ModuleList(Scale(config, level) for level in range(SCALES))
        self.tail = Tail(config)
        self.first = nn.Parameter(torch.zeros(2, config.widths[0]))

    def parameter_grids(self) -> dict[str, Grid]:
        """Of what is not in a layer, by name."""
        return {"first": FEATURES}

    def embed(self, places: Tensor) -> Tensor:
        """What places `[B]` between rate points mean to the blocks."""
        embedded: Tensor = self.embedding(embedded_waves(self.config, places))
        return embedded

    def start(self, size: tuple[int, int], batch: int = 1) -> tuple[Tensor, Tensor]:
        """e and d below the lowest scale, for pictures of that size: learned constants."""
        shape = batch, -1, size[0] // STRIDES[0], size[1] // STRIDES[0]
        spatial, decoded = FEATURES.nearest(self.first)[:, None, :, None, None]
        return spatial.expand(shape), decoded.expand(shape)

    def auxiliary_features(
        self, reference: Reference | None, embedded: Tensor
    ) -> Sequence[Tensor | None]:
        """Of each scale, from the picture before; None where there is none."""
        if self.auxiliary is None or reference is None:
            return [None] * SCALES
        features: Sequence[Tensor] = self.auxiliary(reference.picture, embedded)
        return features

    def latent_blocks(self) -> Iterator[Scale]:
        """From the lowest to the highest scale."""
        for scale in self.scales:
            assert isinstance(scale, Scale)
            yield scale

    def finish(
        self, features: Sequence[Tensor], reference: Reference | None, embedded: Tensor
    ) -> Decoded:
        """The frame from the decoded features of all scales, nothing of which was missing."""
        history = reference.features if reference else [()] * SCALES
        return Decoded(
            self.picture(features[-1], embedded),
            tuple(
                (own, *before)[: self.config.references]
                for own, before in zip(features, history, strict=True)
            ),
            (True,) * SCALES,
        )

    def picture(self, decoded: Tensor, embedded: Tensor) -> Picture:
        """From the decoded features of the highest scale."""
        return picture_of_cells(self.tail(decoded, embedded))


class Analysis(nn.Module):
    """The encoder's bottom-up path, in floats: a picture to features at each scale."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config
        half = CELL // 2  # cells of the first layers
        widths, kernels = config.widths, config.kernels
        kernel = kernels[-1]
        self.embedding = nn.Sequential(
            nn.Conv2d(config.embedding, config.embedding, 1),
            nn.ReLU(),
            nn.Conv2d(config.embedding, config.embedding, 1),
            nn.ReLU(),
        )
        self.direct = nn.Conv2d(CHANNELS, widths[-1], 1) if config.direct else None
        self.patch = nn.Conv2d(half * half * 3 // 2, config.quarter, 1)
        self.quarter = _analysis_blocks(config, config.quarter, kernel, config.quarter_blocks)
        self.downsample = nn.ModuleList()
        self.blocks = nn.ModuleList()
        inputs = config.quarter
        for width, kernel, count in zip(
            reversed(widths), reversed(kernels), reversed(config.encoder_blocks), strict=True
        ):
            self.downsample.append(Downsample(inputs, width))
            self.blocks.append(_analysis_blocks(config, width, kernel, count))
            inputs = width

    def embed(self, places: Tensor) -> Tensor:
        """What places `[B]` mean to the encoder's blocks."""
        embedded: Tensor = self.embedding(embedded_waves(self._config, places))
        return embedded

    def forward(self, picture: Picture, embedded: Tensor) -> tuple[Tensor, ...]:
        half = CELL // 2
        luma = functional.pixel_unshuffle(picture.luma - GREY, half)
        chroma = functional.pixel_unshuffle(picture.chroma - GREY, half // 2)
        x = self.patch(torch.cat([luma, chroma], 1))
        x = self.quarter(x, embedded)
        found = []
        for place, down in enumerate(self.downsample):
            x = down(x)
            if place == 0 and self.direct is not None:
                x = x + self.direct(cells_of(picture))
            found.append(x := self.blocks[place](x, embedded))
        return tuple(reversed(found))


class Auxiliary(nn.Module):
    """Features of the picture before, at each scale (section 4.2.2)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths, kernels = config.widths, config.kernels
        self.patch = Conv(CENTRED, FEATURES, CHANNELS, widths[-1], 1)
        self.downsample = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for place in reversed(range(SCALES)):
            if place < SCALES - 1:
                self.downsample.append(
                    Conv(FEATURES, FEATURES, widths[place + 1], widths[place], 2, stride=2)
                )
            self.blocks.append(
                _blocks(config, widths[place], kernels[place], config.auxiliary_blocks)
            )

    def forward(self, picture: Picture, embedded: Tensor) -> tuple[Tensor, ...]:
        x = self.patch(cells_of(picture))
        found = []
        for place, blocks in enumerate(self.blocks):
            if place:
                x = self.downsample[place - 1](x)
            found.append(x := blocks(x, embedded))
        return tuple(reversed(found))


class Scale(nn.Module):
    """A latent block (section 5.2): posterior, prior, and the ways on.

    Args:
        level: 0 for the lowest scale.
    """

    def __init__(self, config: Config, level: int) -> None:
        super().__init__()
        self.level = level
        self.latents = config.latents[level]
        self._direct = config.direct
        width, kernel = config.widths[level], config.kernels[level]
        below = config.widths[max(level - 1, 0)]
        if level:
            self.raise_spatial = Upsample(below, width)
            self.raise_decoded = Upsample(below, width)
        smooth = config.smooth
        # The encoder's
        self.posterior_analysis = _analysis_blocks(config, width, kernel, config.posterior_blocks)
        self.merge_analysis = nn.Sequential(
            nn.Conv2d(2 * width, width, 1),
            nn.GELU() if smooth else nn.ReLU(),
            nn.Conv2d(width, self.latents, 1),
        )
        # The prior
        references = config.references + bool(config.auxiliary_blocks)
        inputs = (1 + references) * width
        self.merge = Conv(FEATURES, FEATURES, inputs, width, 1, weight_bits=MERGE_BITS)
        self.mixing = _blocks(config, width, kernel, config.mixing_blocks)
        self.prediction = nn.Sequential(
            *(
                PredictionBlock(width, kernel, smooth=smooth)
                for _ in range(config.prediction_blocks)
            )
        )
        self.mean = Conv(FEATURES, FEATURES, width, self.latents, 1)
        self.octaves = Conv(FEATURES, OCTAVES, width, self.latents, 1)
        if config.direct:
            self.keep = nn.Sequential(
                Conv(FEATURES, SMOOTH, width, width, 1), Lookup(hard_sigmoid, SMOOTH, GATES)
            )
        self.absent = nn.Parameter(torch.zeros(references * width))
        # The ways on
        self.widen = Conv(FEATURES, FEATURES, self.latents, width, 1)
        self.spatial = _blocks(config, width, kernel, config.spatial_blocks)
        self.fuse = Conv(FEATURES, FEATURES, 3 * width, width, 1, weight_bits=MERGE_BITS)
        self.decode = _blocks(config, width, kernel, config.decoder_blocks)
        self.steps = nn.Parameter(torch.ones(config.rates, self.latents)) if self._direct else None

    def parameter_grids(self) -> dict[str, Grid]:
        """Of what is not in a layer, by name."""
        return {"absent": FEATURES} | ({} if self.steps is None else {"steps": STEPS})

    def context(
        self,
        spatial: Tensor,
        decoded: Tensor,
        features: Sequence[Tensor],
        auxiliary: Tensor | None,
        embedded: Tensor,
    ) -> Context:
        """What follows from the scale below, and from the frames before.

        Args:
            spatial, decoded: e and d of the scale below.
            features: decoded ones of this scale of the frames before, the latest first; those of
                the first frame stand for what is before it. Nothing for an I frame.
            auxiliary: the picture's before, where the model has such.
        """
        if self.level:
            spatial, decoded = self.raise_spatial(spatial), self.raise_decoded(decoded)
        batch, width, *size = spatial.shape
        count = self.absent.numel() // width
        latest: Tensor | None = None
        if features:
            frames = count - (auxiliary is not None)
            before = [*features, *[features[-1]] * frames][:frames]
            latest = before[0] if auxiliary is None else auxiliary
            before += [] if auxiliary is None else [auxiliary]
        else:
            constants = FEATURES.nearest(self.absent).reshape(1, -1, 1, 1)
            before = [constants.expand(batch, -1, *size)]
        c = self.merge(torch.cat([spatial, *before], 1))
        c = self.mixing(c, embedded)
        c = self.prediction(c)
        mean = self.mean(c)
        kept: Tensor | None = None
        if self._direct and latest is not None:
            change = self.keep(c) * (latest - spatial)
            mean = FEATURES.nearest(mean + change[:, : self.latents])
            kept = change[:, self.latents :]
        return Context(spatial, decoded, c, mean, self.octaves(c), kept)

    def analyse(self, observed: Tensor, spatial: Tensor, embedded: Tensor) -> Tensor:
        """Latents of a scale's features, not rounded; in floats, an encoder's."""
        x = self.posterior_analysis(observed, embedded)
        latents: Tensor = self.merge_analysis(torch.cat([x, spatial], 1))
        if self._direct:
            latents = latents + (observed - spatial)[:, : self.latents]
        return latents

    def steps_at(self, places: Tensor) -> Tensor | None:
        """`[B, C, 1, 1]`: of latents at places `[B]` between rate points; None for ones."""
        if self.steps is None:
            return None
        steps = STEPS.nearest(lower_bound(self.steps, STEPS.unit))
        whole, part = places // STEP_PARTS, (places % STEP_PARTS)[:, None]
        low, high = steps[whole], steps[(whole + 1).clamp(max=len(steps) - 1)]
        return STEPS.nearest((low * (STEP_PARTS - part) + high * part) / STEP_PARTS)[
            :, :, None, None
        ]

    @staticmethod
    def quantised(latents: Tensor, mean: Tensor, steps: Tensor | None) -> Tensor:
        """The symbols that are sent: residuals, rounded (equation 16)."""
        residual = latents - mean
        return rounded(residual if steps is None else residual / steps)

    @staticmethod
    def dequantised(symbols: Tensor, mean: Tensor, steps: Tensor | None) -> Tensor:
        """Latents from symbols."""
        return FEATURES.nearest(mean + (symbols if steps is None else symbols * steps))

    def finish(self, context: Context, latents: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """e and d of this scale."""
        widened = self.widen(latents)
        if self._direct:
            rest = context.kept
            if rest is None:
                rest = torch.zeros_like(widened[:, self.latents :])
            widened = widened + torch.cat([latents, rest], 1)
        spatial = FEATURES.nearest(context.spatial + widened)
        spatial = self.spatial(spatial, embedded)
        decoded = self.fuse(torch.cat([context.decoded, context.predicted, spatial], 1))
        if self._direct:
            decoded = FEATURES.clamp(decoded + spatial)
        decoded = self.decode(decoded, embedded)
        return spatial, decoded


class Tail(nn.Module):
    """The highest scale's features to a picture's cells."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, kernel = config.widths[-1], config.kernels[-1]
        self.blocks = _blocks(config, width, kernel, config.tail_blocks)
        self.picture = Conv(FEATURES, RESIDUALS, width, CHANNELS, 1, weight_bits=PICTURE_BITS)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        x = self.blocks(x, embedded)
        cells: Tensor = self.picture(x)
        return cells


def embedded_waves(config: Config, places: Tensor) -> Tensor:
    """`[B, E, 1, 1]`: waves of places `[B]`."""
    found = waves(place_count(config), config.embedding).to(places.device)
    return found[places][:, :, None, None]


def place_count(config: Config) -> int:
    """Places between the first and the last rate point, both among them."""
    return STEP_PARTS * (config.rates - 1) + 1


def cells_of(picture: Picture) -> Tensor:
    """`[B, CHANNELS, H / CELL, W / CELL]`, less grey."""
    luma = functional.pixel_unshuffle(picture.luma, CELL)
    chroma = functional.pixel_unshuffle(picture.chroma, CELL // 2)
    return torch.cat([luma, chroma], 1) - GREY


def picture_of_cells(cells: Tensor) -> Picture:
    """The picture whose cells are nearest to these."""
    samples = SAMPLES.nearest(cells + GREY)
    luma = functional.pixel_shuffle(samples[:, : CELL * CELL], CELL)
    chroma = functional.pixel_shuffle(samples[:, CELL * CELL :], CELL // 2)
    return Picture(luma, chroma)


def _blocks(config: Config, width: int, kernel: int, count: int) -> Blocks:
    return Blocks(
        Block(width, kernel, config.embedding, smooth=config.smooth) for _ in range(count)
    )


def _analysis_blocks(config: Config, width: int, kernel: int, count: int) -> Blocks:
    return Blocks(
        AnalysisBlock(width, kernel, config.embedding, smooth=config.smooth) for _ in range(count)
    )
