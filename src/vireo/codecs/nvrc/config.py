"""Shapes of the representation, and what they count to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

STRIDES = 3, 2, 2, 2
CELL = prod(STRIDES)  # luma samples, the side of a place of the finest grid
DEPTHS = 3, 3, 3, 1
EXPANSION = 4
KERNEL = 3
STEM_FRAMES = 3  # the stem's kernel in time
GRID_LEVELS = 4
LOCAL_LEVELS = 3
OUTPUTS = 3  # Y, U, V

BLOCK = 16, 8, 8  # frames, rows and columns of a grid that a context stays within
CONTEXT_KERNEL = 5
CONTEXT_LAYERS = 3
CONTEXT_OUTPUTS = 2  # mean, and logarithm of the deviation


@dataclass(frozen=True)
class Config:
    """A representation's widths (paper, table 5).

    Attributes:
        channels: of the four stages.
        grid_channels: of the finest feature grid; each coarser one has twice as many.
        local_channels: the same of local grids.
        period: frames to a step of the finest feature grid: 3 in the paper, whose grids have
            200 for 600 frames.
        contexts: which grids' channels have a context model of their own: each "channel", the
            channels of a "level" one, or "all" one.
        context_width: its channels.
        axis: how many numbers a row or column has at least, to have its own step, mean and
            deviation.
    """

    name: str
    channels: tuple[int, int, int, int]
    grid_channels: int
    local_channels: int
    period: int = 3
    contexts: str = "channel"
    context_width: int = 8
    axis: int = 128

    @property
    def levels(self) -> tuple[int, ...]:
        """Channels of each feature grid."""
        return tuple(self.grid_channels << level for level in range(GRID_LEVELS))

    @property
    def locals(self) -> tuple[int, ...]:
        """Channels of each of a stage's local grids."""
        return tuple(self.local_channels << level for level in range(LOCAL_LEVELS))

    @property
    def inputs(self) -> tuple[int, ...]:
        """Channels that each stage gets."""
        return self.channels[0], *self.channels[:-1]

    def context_models(self) -> tuple[tuple[int, ...], ...]:
        """For each level, which context model each of its channels has."""
        if self.contexts == "all":
            return tuple((0,) * n for n in self.levels)
        if self.contexts == "level":
            return tuple((level,) * n for level, n in enumerate(self.levels))
        starts = [sum(self.levels[:level]) for level in range(GRID_LEVELS)]
        return tuple(tuple(range(s, s + n)) for s, n in zip(starts, self.levels, strict=True))


CONFIGS = {
    config.name: config
    for config in (
        Config("xs", (64, 32, 16, 8), 2, 4, 1, "all", 4),
        Config("xxs", (32, 16, 8, 4), 1, 2, 1, "all", 4),
        Config("s1", (224, 112, 56, 28), 1, 4),
        Config("s2", (336, 168, 84, 42), 2, 8),
        Config("s3", (512, 256, 128, 64), 4, 16),
        Config("s4", (768, 384, 192, 96), 8, 32),
    )
}
"""The paper's four, and two for processors."""


@dataclass(frozen=True)
class Extent:
    """What a representation covers: frames of a segment, and cells of `CELL` luma samples."""

    frames: int
    rows: int
    columns: int

    @staticmethod
    def of(frames: int, height: int, width: int) -> Extent:
        """For pictures of a size; what a cell has beyond them isn't shown."""
        return Extent(frames, -(-height // CELL), -(-width // CELL))

    def grids(self, config: Config) -> tuple[tuple[int, int, int, int], ...]:
        """Shapes `[T, H, W, C]` of feature grids, the finest first."""
        t, h, w = -(-self.frames // config.period), self.rows, self.columns
        found = []
        for channels in config.levels:
            found.append((t, h, w, channels))
            t, h, w = -(-t // 2), -(-h // 2), -(-w // 2)
        return tuple(found)

    def locals(self, config: Config, stage: int) -> tuple[tuple[int, int, int, int], ...]:
        """Shapes `[T, s, s, C]` of a stage's local grids: one number for each sample of a place."""
        t, s = self.frames, STRIDES[stage]
        found = []
        for channels in config.locals:
            found.append((t, s, s, channels))
            t = -(-t // 2)
        return tuple(found)


def blocks_of(shape: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """How many blocks a grid `[T, H, W, C]` has in time, rows and columns."""
    t, h, w = (-(-n // side) for n, side in zip(shape[:3], BLOCK, strict=True))
    return t, h, w


def layers(config: Config, extent: Extent) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of the layers, by name, with its shape; local grids among them."""
    first = config.channels[0]
    yield "stem.weight", (first, sum(config.levels), STEM_FRAMES, KERNEL, KERNEL)
    yield "stem.bias", (first,)
    yield "stem.scale", (first,)
    yield "stem.shift", (first,)
    for stage, (inside, outside) in enumerate(zip(config.inputs, config.channels, strict=True)):
        for level, shape in enumerate(extent.locals(config, stage)):
            yield f"{stage}.local.{level}", shape
        yield f"{stage}.local.weight", (inside, sum(config.locals))
        yield f"{stage}.local.bias", (inside,)
        for depth in range(DEPTHS[stage]):
            given = outside if depth else inside
            name, hidden = f"{stage}.{depth}", EXPANSION * outside
            yield f"{name}.depthwise.weight", (given, 1, KERNEL, KERNEL)
            yield f"{name}.depthwise.bias", (given,)
            yield f"{name}.norm.scale", (given,)
            yield f"{name}.norm.shift", (given,)
            yield f"{name}.expand.weight", (hidden, given)
            yield f"{name}.expand.bias", (hidden,)
            yield f"{name}.project.weight", (outside, hidden)
            yield f"{name}.project.bias", (outside,)
    yield "head.weight", (OUTPUTS, config.channels[-1])
    yield "head.bias", (OUTPUTS,)


def parameters(config: Config, extent: Extent) -> int:
    """Numbers that are coded: feature grids and layers (table 5)."""
    grids = sum(prod(shape) for shape in extent.grids(config))
    return grids + sum(prod(shape) for _, shape in layers(config, extent))


def multiplications(config: Config, extent: Extent) -> int:
    """Those of a frame, a local grid's layer counted for every sample (table 2)."""
    total, places = 0, extent.rows * extent.columns
    side = 1
    for name, shape in layers(config, extent):
        if name.endswith("local.0"):
            side *= STRIDES[int(name[0])]
        if name.endswith("weight"):
            total += prod(shape) * places * side**2
    return total


def context_places(config: Config, extent: Extent) -> int:
    """Numbers that decoding all grids holds: of each block's places, with those around them."""
    padded = (BLOCK[0] + 2) * (BLOCK[1] + 4) * (BLOCK[2] + 4)
    blocks = sum(prod(blocks_of(shape)) * shape[-1] for shape in extent.grids(config))
    return blocks * padded * (1 + 2 * config.context_width)


def context_multiplications(config: Config, extent: Extent) -> int:
    """Those of the context models for all grids, masked ones counted (table 2)."""
    width = config.context_width
    each = CONTEXT_KERNEL**3 * (width + width * width + width * CONTEXT_OUTPUTS)
    values = sum(prod(blocks_of(shape)) * prod(BLOCK) * shape[-1] for shape in extent.grids(config))
    return each * values
