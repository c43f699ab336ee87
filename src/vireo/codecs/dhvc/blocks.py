"""Units of the hierarchical models: ConvNeXt blocks that lambda modulates, and prediction blocks.

DHVC 2.0, section 5 and figure 6. Those that only an encoder has are in floats, the others exact.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from vireo.codecs.dhvc.config import Config
from vireo.codecs.rate_points import STEP_PARTS
from vireo.exact import Conv, Grid, LayerNorm, Lookup, gelu, hard_sigmoid, sigmoid

FEATURES = Grid.signed(5, 11)
NORMED = Grid.signed(6, 10)
HIDDEN = Grid.unsigned(6, 9)  # behind a rectifier
SMOOTH = Grid.signed(6, 10)  # before and behind GELU
MODULATION = Grid.signed(8, 11)
GATES = Grid(8, 0, 1 << 8)
EXPANSION = 2  # of the channels within a block
DEPTHWISE_BITS = 8  # of their weights' fraction: they are few, and sums of features are long

_PERIODS = 2.0, 96.0  # of an embedding's waves, in rate points, the shortest and the longest


@cache
@torch.inference_mode(False)  # training may need them later
def waves(places: int, channels: int) -> Tensor:
    """`[places, channels]` of the grid MODULATION: sines and cosines of a place."""
    periods = np.geomspace(*_PERIODS, channels // 2)
    angles = np.arange(places)[:, None] / STEP_PARTS * (2 * np.pi / periods)
    return MODULATION.rounded(torch.from_numpy(np.hstack([np.sin(angles), np.cos(angles)]))).float()


class Embedding(nn.Sequential):
    """What `waves` mean to the blocks: `[B, C, 1, 1]` of the grid HIDDEN."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            Conv(MODULATION, HIDDEN, channels, channels, 1),
            Conv(HIDDEN, HIDDEN, channels, channels, 1),
        )


class Block(nn.Module):
    """A ConvNeXt unit under adaptive layer normalisation, on the grid FEATURES.

    Depthwise convolution; normalisation, scaled and moved as lambda says; two pointwise
    convolutions with a non-linearity between; all of it added to what came in.
    """

    def __init__(self, width: int, kernel: int, embedding: int, *, smooth: bool) -> None:
        super().__init__()
        self.depthwise = _depthwise(width, kernel)
        self.norm = LayerNorm(FEATURES, NORMED)
        self.modulation = Conv(HIDDEN, MODULATION, embedding, 2 * width, 1)
        self.perceptron = _perceptron(width, smooth=smooth)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        scale, offset = self.modulation(embedded).chunk(2, 1)
        normed = self.norm(self.depthwise(x))
        moved = NORMED.nearest(normed * (1 + scale) + offset)
        return FEATURES.clamp(x + self.perceptron(moved))


class Blocks(nn.ModuleList):
    """Some of them, one after another."""

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        for block in self:
            x = block(x, embedded)
        return x


class PredictionBlock(nn.Module):
    """Attention over a place's surroundings, then over its channels (STPB, figure 6d)."""

    def __init__(self, width: int, kernel: int, *, smooth: bool) -> None:
        super().__init__()
        self.norm = LayerNorm(FEATURES, NORMED)
        self.near = _depthwise(width, kernel, source=NORMED)
        self.far = _depthwise(width, kernel, dilation=3)
        self.gate = Conv(FEATURES, SMOOTH, width, width, 1)
        self.squash = Lookup(sigmoid if smooth else hard_sigmoid, SMOOTH, GATES)
        self.norm_again = LayerNorm(FEATURES, NORMED)
        self.perceptron = _perceptron(width, smooth=smooth)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        gates = self.squash(self.gate(self.far(self.near(normed))))
        x = FEATURES.nearest(x + normed * gates)
        return FEATURES.clamp(x + self.perceptron(self.norm_again(x)))


class AnalysisBlock(nn.Module):
    """As Block, in floats: for an encoder."""

    def __init__(self, width: int, kernel: int, embedding: int, *, smooth: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.modulation = nn.Conv2d(embedding, 2 * width, 1)
        self.perceptron = nn.Sequential(
            nn.Conv2d(width, EXPANSION * width, 1),
            nn.GELU() if smooth else nn.ReLU(),
            nn.Conv2d(EXPANSION * width, width, 1),
        )

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        scale, offset = self.modulation(embedded).chunk(2, 1)
        y = self.depthwise(x)
        y = y - y.mean(1, keepdim=True)
        y = y * (y.square().mean(1, keepdim=True) + FEATURES.unit**2).rsqrt()
        added: Tensor = self.perceptron(y * (1 + scale) + offset)
        return x + added


class Downsample(nn.Conv2d):
    """Cells of 2x2 places to one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 2, stride=2)


class Upsample(nn.Sequential):
    """A place to a cell of 2x2 (1x1 convolution, pixel shuffle)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(Conv(FEATURES, FEATURES, inputs, 4 * outputs, 1), nn.PixelShuffle(2))


def exact_blocks(config: Config, width: int, kernel: int, count: int) -> Blocks:
    """So many of a model's, as decoders have them."""
    return Blocks(
        Block(width, kernel, config.embedding, smooth=config.smooth) for _ in range(count)
    )


def analysis_blocks(config: Config, width: int, kernel: int, count: int) -> Blocks:
    """So many of a model's encoder, in floats."""
    return Blocks(
        AnalysisBlock(width, kernel, config.embedding, smooth=config.smooth) for _ in range(count)
    )


def _depthwise(width: int, kernel: int, *, dilation: int = 1, source: Grid = FEATURES) -> Conv:
    return Conv(
        source,
        FEATURES,
        width,
        width,
        kernel,
        groups=width,
        dilation=dilation,
        weight_bits=DEPTHWISE_BITS,
    )


def _perceptron(width: int, *, smooth: bool) -> nn.Sequential:
    if not smooth:
        return nn.Sequential(
            Conv(NORMED, HIDDEN, width, EXPANSION * width, 1),
            Conv(HIDDEN, FEATURES, EXPANSION * width, width, 1),
        )
    return nn.Sequential(
        Conv(NORMED, SMOOTH, width, EXPANSION * width, 1),
        Lookup(gelu, SMOOTH, SMOOTH),
        Conv(SMOOTH, FEATURES, EXPANSION * width, width, 1),
    )
