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

from vireo.codecs.dhvc.blocks import (
    FEATURES,
    Downsample,
    Embedding,
    analysis_blocks,
    exact_blocks,
    waves,
)
from vireo.codecs.dhvc.config import SCALES, STRIDES, Config
from vireo.codecs.dhvc.scale import Scale
from vireo.codecs.rate_points import STEP_PARTS
from vireo.exact import Conv, Grid
from vireo.nn.picture import GREY, SAMPLES, Picture, blocks_of, picture_of_blocks

CELL = STRIDES[-1]  # samples of the picture, the side of a cell of the highest scale
CHANNELS = CELL * CELL * 3 // 2  # of a picture's cell: luma, U, V
CENTRED = Grid.signed(8, 9)  # of a picture less grey
RESIDUALS = Grid.signed(10, 12)
PICTURE_BITS = 11  # of a weight's fraction between features and pictures


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
        self.quarter = analysis_blocks(config, config.quarter, kernel, config.quarter_blocks)
        self.downsample = nn.ModuleList()
        self.blocks = nn.ModuleList()
        inputs = config.quarter
        for width, kernel, count in zip(
            reversed(widths), reversed(kernels), reversed(config.encoder_blocks), strict=True
        ):
            self.downsample.append(Downsample(inputs, width))
            self.blocks.append(analysis_blocks(config, width, kernel, count))
            inputs = width

    def embed(self, places: Tensor) -> Tensor:
        """What places `[B]` mean to the encoder's blocks."""
        embedded: Tensor = self.embedding(embedded_waves(self._config, places))
        return embedded

    def forward(self, picture: Picture, embedded: Tensor) -> tuple[Tensor, ...]:
        x = self.patch(blocks_of(picture, CELL // 2) - GREY)
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
                exact_blocks(config, widths[place], kernels[place], config.auxiliary_blocks)
            )

    def forward(self, picture: Picture, embedded: Tensor) -> tuple[Tensor, ...]:
        x = self.patch(cells_of(picture))
        found = []
        for place, blocks in enumerate(self.blocks):
            if place:
                x = self.downsample[place - 1](x)
            found.append(x := blocks(x, embedded))
        return tuple(reversed(found))


class Tail(nn.Module):
    """The highest scale's features to a picture's cells."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, kernel = config.widths[-1], config.kernels[-1]
        self.blocks = exact_blocks(config, width, kernel, config.tail_blocks)
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
    return blocks_of(picture, CELL) - GREY


def picture_of_cells(cells: Tensor) -> Picture:
    """The picture whose cells are nearest to these."""
    return picture_of_blocks(SAMPLES.nearest(cells + GREY), CELL)
