"""Which numbers a stream has, and which of them say how others are coded (paper, section 3).

There are three levels. Parameters: feature grids and layers. Side information: steps, means and
deviations of those, and the context models. Words: step, mean and deviation of each kind of side
information, in half precision. All logarithms are of base 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.nvrc.config import (
    BLOCK,
    CONTEXT_KERNEL,
    CONTEXT_LAYERS,
    CONTEXT_OUTPUTS,
    Config,
    Extent,
    blocks_of,
    layers,
)

Integers = NDArray[np.int64]


class Kind(IntEnum):
    """Of side information; what is of one kind is coded under the same words."""

    STEP_OUT = 0  # logarithms of steps, by rows: what an output channel's numbers have in common
    STEP_IN = 1  # by columns
    MEAN_OUT = 2
    MEAN_IN = 3
    SCALE_OUT = 4  # logarithms of deviations
    SCALE_IN = 5
    GRID_STEP = 6  # logarithms of steps, by blocks and channels
    GRID_MEAN = 7  # of levels, where there are no context models
    GRID_SCALE = 8
    CONTEXT_FIRST = 9  # weights of context models, layer by layer
    CONTEXT_SECOND = 10
    CONTEXT_LAST = 11
    CONTEXT_BIAS = 12


PER_AXIS = (
    (Kind.STEP_OUT, Kind.STEP_IN),
    (Kind.MEAN_OUT, Kind.MEAN_IN),
    (Kind.SCALE_OUT, Kind.SCALE_IN),
)
WORDS = 3  # of a kind: mean, logarithm of the deviation, logarithm of the step


@dataclass(frozen=True)
class Method:
    """How parameters are coded.

    Attributes:
        contexts: whether grids have context models; else a mean and a deviation for each level.
        axis: how many numbers a row or column has at least, to have its own step, mean and
            deviation (`Config.axis` as the paper has it).
        coded: whether side information is quantised and coded; else it is in half precision.
    """

    contexts: bool
    axis: int
    coded: bool = True

    @staticmethod
    def of(config: Config) -> Method:
        """The paper's."""
        return Method(contexts=True, axis=config.axis)


@dataclass(frozen=True)
class Place:
    """Where a tensor is in a vector."""

    start: int
    shape: tuple[int, ...]

    @property
    def range(self) -> slice:
        return slice(self.start, self.start + prod(self.shape))


LINEAR = (
    Kind.MEAN_OUT,
    Kind.MEAN_IN,
    Kind.GRID_MEAN,
    Kind.CONTEXT_FIRST,
    Kind.CONTEXT_SECOND,
    Kind.CONTEXT_LAST,
    Kind.CONTEXT_BIAS,
)
"""Side information that is not in octaves."""


class Layout:
    """The order of everything that is coded.

    Attributes:
        layers: where each tensor of the layers is in their vector.
        layer_count: how long that is.
        rows, columns: `[layer_count]`, of each number which entry of the kinds `*_OUT` and
            `*_IN` is its row's and its column's; the last, behind all that are coded, is 0.
        outs, ins: how many of these entries are coded.
        grids: shapes `[T, H, W, C]`.
        kinds: where each kind's numbers are in the vector of side information.
        side_count: how long that is.
        models: for each level, which context model each of its channels has.
    """

    def __init__(self, config: Config, extent: Extent, method: Method) -> None:
        self.config, self.extent, self.method = config, extent, method
        self.layers: dict[str, Place] = {}
        at = 0
        rows, columns = [], []
        self.outs = self.ins = 0
        for name, shape in layers(config, extent):
            self.layers[name] = Place(at, shape)
            at += prod(shape)
            out, inside = self._entries(name, shape)
            rows.append(out)
            columns.append(inside)
        self.layer_count = at
        self.rows, self.columns = np.concatenate(rows), np.concatenate(columns)
        self.rows[self.rows < 0] = self.outs
        self.columns[self.columns < 0] = self.ins
        self.grids = extent.grids(config)
        self.models = config.context_models()
        self.kinds: dict[Kind, Place] = {}
        at = 0
        for kind, shape in self._side().items():
            self.kinds[kind] = Place(at, shape)
            at += prod(shape)
        self.side_count = at
        self.side_kinds = np.concatenate(
            [np.full(prod(p.shape), i, np.int64) for i, p in enumerate(self.kinds.values())]
        )

    def _entries(self, name: str, shape: tuple[int, ...]) -> tuple[Integers, Integers]:
        """Of each number of a tensor the entries of its row and its column; -1 for none."""
        if ".local." in name and len(shape) == 4:  # [T, s, s, C]
            outs, ins = shape[0], shape[-1]
            row = np.repeat(np.arange(outs), prod(shape[1:]))
            column = np.tile(np.arange(ins), prod(shape[:-1]))
        else:  # [out, in, ...]
            outs, ins = shape[0], shape[1] if len(shape) > 1 else 1
            row = np.repeat(np.arange(outs), prod(shape[1:]))
            column = np.tile(np.repeat(np.arange(ins), prod(shape[2:])), outs)
        size = prod(shape)
        by_row = len(shape) > 1 and size // outs >= self.method.axis
        by_column = len(shape) > 1 and size // ins >= self.method.axis
        if not by_row and not by_column:
            column, ins, by_column = np.zeros_like(column), 1, True
        found_row = np.full(size, -1)
        found_column = np.full(size, -1)
        if by_row:
            found_row = row + self.outs
            self.outs += outs
        if by_column:
            found_column = column + self.ins
            self.ins += ins
        return found_row, found_column

    def _side(self) -> dict[Kind, tuple[int, ...]]:
        found: dict[Kind, tuple[int, ...]] = {}
        for out, inside in PER_AXIS:
            found[out], found[inside] = (self.outs,), (self.ins,)
        found[Kind.GRID_STEP] = (sum(prod(blocks_of(s)) * s[-1] for s in self.grids),)
        if not self.method.contexts:
            found[Kind.GRID_MEAN] = found[Kind.GRID_SCALE] = (len(self.grids),)
            return found
        width, models = self.config.context_width, max(map(max, self.models)) + 1
        first, second = causal(strictly=True), causal(strictly=False)
        found[Kind.CONTEXT_FIRST] = (models, width, 1, len(first))
        found[Kind.CONTEXT_SECOND] = (models, width, width, len(second))
        found[Kind.CONTEXT_LAST] = (models, CONTEXT_OUTPUTS, width, len(second))
        found[Kind.CONTEXT_BIAS] = (models, (CONTEXT_LAYERS - 1) * width + CONTEXT_OUTPUTS)
        return found

    def tensors(self, vector: Any) -> dict[str, Any]:
        """A vector's tensors by name, of NumPy or of PyTorch as it is itself."""
        return {n: vector[p.range].reshape(p.shape) for n, p in self.layers.items()}

    def block_steps(self) -> list[slice]:
        """Where each grid's steps are within their kind, `[C, blocks]`."""
        found, at = [], 0
        for shape in self.grids:
            count = prod(blocks_of(shape)) * shape[-1]
            found.append(slice(at, at + count))
            at += count
        return found


def side_numbers(config: Config, extent: Extent, method: Method) -> int:
    """No fewer than there are numbers of side information."""
    rows = sum(shape[0] + prod(shape[1:2]) for _, shape in layers(config, extent))
    blocks = sum(prod(blocks_of(shape)) * shape[-1] for shape in extent.grids(config))
    if not method.contexts:
        return 3 * rows + blocks + 2 * len(config.levels)
    width, models = config.context_width, sum(config.levels)
    return 3 * rows + blocks + models * (CONTEXT_KERNEL**3 * width * (width + 3) + 2 * width + 2)


def causal(*, strictly: bool) -> list[tuple[int, int, int]]:
    """Offsets in time, rows and columns that a masked convolution sees, in its weights' order.

    Those before a place in the order of coding, and the place itself unless `strictly`.
    """
    reach = range(-(CONTEXT_KERNEL // 2), CONTEXT_KERNEL // 2 + 1)
    all_of_them = [(t, y, x) for t in reach for y in reach for x in reach]
    return [o for o in all_of_them if o < (0, 0, 0) or (o == (0, 0, 0) and not strictly)]


def to_blocks(grid: NDArray[np.int64]) -> NDArray[np.int64]:
    """`[C, blocks, 16, 8, 8]` of `[T, H, W, C]`; zeros beyond the grid."""
    shape = grid.shape
    counts = blocks_of((shape[0], shape[1], shape[2], shape[3]))
    pad = [(0, n * side - size) for n, side, size in zip(counts, BLOCK, shape[:3], strict=True)]
    whole = np.pad(grid, [*pad, (0, 0)])
    (a, b, c), (t, h, w) = counts, BLOCK
    parts = whole.reshape(a, t, b, h, c, w, shape[-1])
    return parts.transpose(6, 0, 2, 4, 1, 3, 5).reshape(shape[-1], a * b * c, t, h, w)


def from_blocks(blocks: NDArray[np.int64], shape: tuple[int, int, int, int]) -> NDArray[np.int64]:
    """`to_blocks` turned round."""
    (a, b, c), (t, h, w) = blocks_of(shape), BLOCK
    whole = blocks.reshape(shape[-1], a, b, c, t, h, w).transpose(1, 4, 2, 5, 3, 6, 0)
    return whole.reshape(a * t, b * h, c * w, shape[-1])[: shape[0], : shape[1], : shape[2]]
