"""The context models in NumPy: what a grid's numbers are expected to be, from those before.

The specification in code; `_core.decode_grids` does the same a hundred times as fast.

Blocks of a grid don't see each other, nor do channels and grids, so that all of them go on side by
side, place after place of a block. Sums are of integers in doubles, which hold all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.nvrc import fixed
from vireo.codecs.nvrc.coding import MOST_WEIGHT
from vireo.codecs.nvrc.config import BLOCK, CONTEXT_KERNEL, Config
from vireo.codecs.nvrc.layout import Kind, Layout, causal, from_blocks, to_blocks

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]

INPUT_BITS = 10  # of the fractions of what a layer gets
MOST_INPUT = 1 << 22
_MARGIN = CONTEXT_KERNEL // 2
_PADDED = tuple(n + 2 * _MARGIN for n in BLOCK)

Coder = Callable[[Integers, Integers], Integers]
"""Given tables and what is taken from numbers, codes the next ones; gives the numbers."""


@dataclass(frozen=True)
class _Weights:
    """Of one level's channels: `[C or 1, inputs, outputs]` and `[C or 1, 1, outputs]`."""

    layers: tuple[Numbers, Numbers, Numbers]
    biases: tuple[Numbers, Numbers, Numbers]

    @staticmethod
    def of(config: Config, values: dict[Kind, Integers], models: tuple[int, ...]) -> _Weights:
        chosen = np.array(models[:1] if len(set(models)) == 1 else models)
        kinds = Kind.CONTEXT_FIRST, Kind.CONTEXT_SECOND, Kind.CONTEXT_LAST
        first, second, last = (
            # [models, out, in, places] to [models, places * in, out]
            np.clip(values[k][chosen], -MOST_WEIGHT, MOST_WEIGHT)
            .transpose(0, 3, 2, 1)
            .reshape(len(chosen), -1, values[k].shape[1])
            .astype(np.float64)
            for k in kinds
        )
        bias = np.clip(values[Kind.CONTEXT_BIAS][chosen], -MOST_WEIGHT, MOST_WEIGHT)
        ends = config.context_width, 2 * config.context_width
        parts = np.split(bias[:, None].astype(np.float64) * 2**INPUT_BITS, ends, axis=-1)
        return _Weights((first, second, last), (parts[0], parts[1], parts[2]))


class _Level:
    """A grid's blocks on their way through the places."""

    def __init__(
        self, shape: tuple[int, int, int, int], weights: _Weights, steps: Integers, width: int
    ) -> None:
        inside = to_blocks(np.ones(shape, np.int64)).astype(bool)
        self.inside = inside.reshape(*inside.shape[:2], -1)
        self.shape = shape
        self.values = np.zeros(self.inside.shape, np.int64)
        self._steps = steps  # [C, blocks]
        self._weights = weights
        places = int(np.prod(_PADDED))
        self._seen = np.zeros((*steps.shape, places))
        self._hidden = [np.zeros((*steps.shape, places, width)) for _ in range(2)]

    def expected(self, place: int, at: int) -> tuple[Integers, Integers]:
        """Tables, and what is taken from numbers before, of a place: of blocks that have it."""
        mask = self.inside[:, :, place]
        inputs = self._seen[:, :, at + _STRICTLY]
        for i, hidden in enumerate(self._hidden):
            hidden[:, :, at] = np.maximum(self._layer(i, inputs), 0) * mask[..., None]
            inputs = hidden[:, :, at + _CAUSAL].reshape(*mask.shape, -1)
        found = self._layer(2, inputs)[mask].astype(np.int64)
        means = found[:, 0] << (fixed.VALUE_BITS - INPUT_BITS)
        half = 1 << (INPUT_BITS - fixed.LOG_BITS - 1)
        deviations = (found[:, 1] + half) >> (INPUT_BITS - fixed.LOG_BITS)
        deviations = np.clip(deviations, -fixed.FARTHEST, fixed.FARTHEST)
        return fixed.indices(means, deviations, self._steps[mask])

    def take(self, place: int, at: int, values: Integers) -> None:
        """The numbers of a place."""
        mask = self.inside[:, :, place]
        self.values[:, :, place][mask] = values
        scaled = fixed.scaled(values, self._steps[mask], INPUT_BITS)
        self._seen[:, :, at][mask] = np.clip(scaled, -MOST_INPUT, MOST_INPUT)

    def _layer(self, which: int, inputs: Numbers) -> Numbers:
        sums = np.matmul(inputs, self._weights.layers[which]) + self._weights.biases[which]
        rounded = np.floor((sums + 2.0 ** (fixed.VALUE_BITS - 1)) / 2.0**fixed.VALUE_BITS)
        found: Numbers = np.clip(rounded, -MOST_INPUT, MOST_INPUT)
        return found


def code_grids(layout: Layout, side: dict[Kind, Integers], code: Coder) -> list[NDArray[np.int64]]:
    """The grids' numbers `[T, H, W, C]`, in the order of coding.

    Args:
        side: side information by its kind, in 2**-16.
        code: as Coder says; called once for each place of blocks.
    """
    steps = fixed.octaves(side[Kind.GRID_STEP])
    levels = []
    for shape, models, block in zip(layout.grids, layout.models, layout.block_steps(), strict=True):
        weights = _Weights.of(layout.config, side, models)
        own = steps[block].reshape(shape[-1], -1)
        levels.append(_Level(shape, weights, own, layout.config.context_width))
    for place in range(int(np.prod(BLOCK))):
        concerned = [level for level in levels if level.inside[:, :, place].any()]
        if not concerned:
            continue
        at = _inner(place)
        found = [level.expected(place, at) for level in concerned]
        values = code(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        ends = np.cumsum([len(tables) for tables, _ in found])[:-1]
        for level, own in zip(concerned, np.split(values, ends), strict=True):
            level.take(place, at, own)
    return [
        from_blocks(level.values.reshape(*level.values.shape[:2], *BLOCK), level.shape)
        for level in levels
    ]


def in_order(grids: list[NDArray[np.int64]]) -> Callable[[int], Integers]:
    """What gives the next so many numbers of grids, in the order of coding."""
    blocks = []
    for grid in grids:
        inside = to_blocks(np.ones(grid.shape, np.int64)).astype(bool)
        found = to_blocks(grid)
        shape = *found.shape[:2], -1
        blocks.append((found.reshape(shape), inside.reshape(shape)))
    ordered = np.concatenate(
        [
            found[:, :, place][inside[:, :, place]]
            for place in range(int(np.prod(BLOCK)))
            for found, inside in blocks
        ]
    )
    at = 0

    def give(count: int) -> Integers:
        nonlocal at
        at += count
        return ordered[at - count : at]

    return give


def _inner(place: int) -> int:
    """A block's place, in the block with its margins."""
    t, y, x = np.unravel_index(place, BLOCK)
    return int(_flat(int(t) + _MARGIN, int(y) + _MARGIN, int(x) + _MARGIN))


def _flat(t: int, y: int, x: int) -> int:
    return (t * _PADDED[1] + y) * _PADDED[2] + x


_STRICTLY = np.array([_flat(*o) for o in causal(strictly=True)])
_CAUSAL = np.array([_flat(*o) for o in causal(strictly=False)])
