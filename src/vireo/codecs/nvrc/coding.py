"""From a network's integers to bytes and back: what the decoder and the encoder share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.nvrc import fixed
from vireo.codecs.nvrc.layout import WORDS, Kind, Layout, from_blocks, to_blocks
from vireo.codecs.nvrc.stream import SectionKind
from vireo.container import Section
from vireo.container.checksum import bytes_crc
from vireo.errors import SyntaxElementError

Integers = NDArray[np.int64]
Halves = NDArray[np.float16]

MEAN, SCALE, STEP = range(WORDS)
MOST_WEIGHT = 1 << 20  # of context models, in 2**-16


@dataclass(frozen=True)
class Coded:
    """All numbers of a segment, as they are coded.

    Attributes:
        words: `[kinds, 3]`: mean, logarithm of the deviation and of the step of each kind.
        side: `[side_count]`, in steps; or the numbers themselves, where they are not coded.
        layers: `[layer_count]`, in steps.
        grids: `[T, H, W, C]` each, in steps.
    """

    words: Halves
    side: Integers | Halves
    layers: Integers
    grids: list[Integers]


class Side:
    """Side information in fixed point, and what follows from it."""

    def __init__(self, layout: Layout, words: Halves, side: Integers | Halves) -> None:
        self._layout = layout
        if layout.method.coded:
            steps = word_integers(words)[2][layout.side_kinds]
            values = fixed.scaled(np.asarray(side), steps, fixed.VALUE_BITS)
        else:
            whole = np.floor(np.asarray(side, np.float64) * 2**fixed.VALUE_BITS + 0.5)
            values = np.where(np.isfinite(whole), whole, 0).astype(np.int64)
        values = np.clip(values, -fixed.MOST, fixed.MOST)
        self.values = {
            kind: values[place.range].reshape(place.shape) for kind, place in layout.kinds.items()
        }

    def layer_steps(self) -> Integers:
        """Of each number of the layers, the logarithm of its step (equation 5)."""
        return fixed.octaves(self._both(Kind.STEP_OUT, Kind.STEP_IN))

    def layer_tables(self) -> tuple[Integers, Integers]:
        """Of each number of the layers, its table, and what is taken from it (equations 6, 7)."""
        deviations = fixed.octaves(self._both(Kind.SCALE_OUT, Kind.SCALE_IN))
        inside = fixed.octaves(self._of(Kind.SCALE_IN, self._layout.columns))
        means = fixed.scaled(self._of(Kind.MEAN_OUT, self._layout.rows), inside, 0)
        means = means + self._of(Kind.MEAN_IN, self._layout.columns)
        return fixed.indices(means, deviations, self.layer_steps())

    def grid_steps(self) -> list[Integers]:
        """`[C, blocks]` of each grid."""
        steps = fixed.octaves(self.values[Kind.GRID_STEP])
        return [
            steps[block].reshape(shape[-1], -1)
            for shape, block in zip(self._layout.grids, self._layout.block_steps(), strict=True)
        ]

    def context(self, kind: Kind) -> NDArray[np.float64]:
        """Weights or biases of context models, as far as they go."""
        return np.clip(self.values[kind], -MOST_WEIGHT, MOST_WEIGHT).astype(np.float64)

    def _of(self, kind: Kind, entries: Integers) -> Integers:
        return np.append(self.values[kind], 0)[entries]

    def _both(self, out: Kind, inside: Kind) -> Integers:
        return self._of(out, self._layout.rows) + self._of(inside, self._layout.columns)


def word_integers(words: Halves) -> tuple[Integers, Integers, Integers]:
    """Means in 2**-16, logarithms of deviations and of steps in 64ths."""
    means = np.array([fixed.word(w, fixed.VALUE_BITS) for w in words[:, MEAN]])
    scales, steps = (
        np.clip(
            np.array([fixed.word(w, fixed.LOG_BITS) for w in words[:, column]]),
            -fixed.FARTHEST,
            fixed.FARTHEST,
        )
        for column in (SCALE, STEP)
    )
    return means, scales, steps


def encode(layout: Layout, coded: Coded) -> tuple[Section, ...]:
    """What a key packet holds of them."""
    side = Side(layout, coded.words, coded.side)
    words = coded.words.astype("<f2").tobytes()
    if layout.method.coded:
        encoder = _core.SymbolEncoder(fixed.tables())
        _put(encoder, coded.side, *_side_tables(layout, coded.words))
        sides = encoder.finish()
    else:
        sides = np.asarray(coded.side).astype("<f2").tobytes()
    encoder = _core.SymbolEncoder(fixed.tables())
    _put(encoder, coded.layers, *side.layer_tables())
    layers = encoder.finish()
    if layout.method.contexts:
        numbers = [np.ascontiguousarray(g.ravel(), np.int32) for g in coded.grids]
        grids = _core.encode_grids(**_contexts(layout, side), values=numbers)
    else:
        encoder = _core.SymbolEncoder(fixed.tables())
        for grid, chosen in zip(coded.grids, _grid_tables(layout, side), strict=True):
            _put(encoder, grid.ravel(), *chosen)
        grids = encoder.finish()
    return (
        Section(SectionKind.SIDE, words + sides),
        Section(SectionKind.LAYERS, layers),
        Section(SectionKind.GRIDS, grids),
    )


def decode(layout: Layout, side_data: bytes, layer_data: bytes, grid_data: bytes) -> Coded:
    """What `encode` made sections of; raises SyntaxElementError where one is too short."""
    size = len(layout.kinds) * WORDS * 2
    if len(side_data) < size:
        raise SyntaxElementError(f"the section of side information has less than {size} bytes")
    words = np.frombuffer(side_data[:size], "<f2").reshape(-1, WORDS).astype(np.float16)
    sides: Integers | Halves
    if layout.method.coded:
        decoder = _core.SymbolDecoder(fixed.tables(), side_data[size:])
        sides = _get(decoder, *_side_tables(layout, words))
    else:
        if len(side_data) != size + 2 * layout.side_count:
            raise SyntaxElementError("the section of side information has another length")
        sides = np.frombuffer(side_data[size:], "<f2").astype(np.float16)
    side = Side(layout, words, sides)
    layers = _get(_core.SymbolDecoder(fixed.tables(), layer_data), *side.layer_tables())
    if layout.method.contexts:
        found: list[Any] = _core.decode_grids(**_contexts(layout, side), data=grid_data)
    else:
        decoder = _core.SymbolDecoder(fixed.tables(), grid_data)
        found = [_get(decoder, *chosen) for chosen in _grid_tables(layout, side)]
    grids = [
        own.astype(np.int64).reshape(shape) for own, shape in zip(found, layout.grids, strict=True)
    ]
    return Coded(words, sides, layers, grids)


def crc(coded: Coded) -> int:
    """CRC-32C of all numbers."""
    grids = (grid.astype("<i2").tobytes() for grid in coded.grids)
    side = coded.side.astype("<i2" if coded.side.dtype == np.int64 else "<f2")
    return bytes_crc(
        coded.words.astype("<f2").tobytes()
        + side.tobytes()
        + coded.layers.astype("<i2").tobytes()
        + b"".join(grids)
    )


def values(layout: Layout, coded: Coded) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """The layers' vector, and the grids (equation 4)."""
    side = Side(layout, coded.words, coded.side)
    layers = (coded.layers * fixed.power_of(side.layer_steps())).astype(np.float32)
    return layers, grid_values(coded.grids, side.grid_steps())


def grid_values(grids: list[Integers], steps: list[Integers]) -> list[NDArray[np.float32]]:
    """Grids `[T, H, W, C]`, from the logarithms `[C, blocks]` of their steps."""
    found = []
    for grid, own in zip(grids, steps, strict=True):
        found.append((grid * fixed.power_of(spread(own, grid.shape))).astype(np.float32))
    return found


def spread(steps: Integers, shape: tuple[int, ...]) -> Integers:
    """`[T, H, W, C]` of `[C, blocks]` (equation 2)."""
    blocks = to_blocks(np.zeros(shape, np.int64))
    whole = np.broadcast_to(steps[:, :, None, None, None], blocks.shape)
    return from_blocks(whole, (shape[0], shape[1], shape[2], shape[3]))


def _side_tables(layout: Layout, words: Halves) -> tuple[Integers, Integers]:
    means, scales, steps = (w[layout.side_kinds] for w in word_integers(words))
    return fixed.indices(means, scales, steps)


def _contexts(layout: Layout, side: Side) -> dict[str, Any]:
    """What grids' numbers are coded with, as `_core` takes it."""
    grids = [
        (shape, models, steps.ravel().tolist())
        for shape, models, steps in zip(layout.grids, layout.models, side.grid_steps(), strict=True)
    ]
    kinds = Kind.CONTEXT_FIRST, Kind.CONTEXT_SECOND, Kind.CONTEXT_LAST
    # [models, out, in, offsets] to [models, offsets, in, out]
    weights = [side.context(kind).transpose(0, 3, 2, 1).ravel() for kind in kinds]
    biases = side.context(Kind.CONTEXT_BIAS).ravel()
    width = layout.config.context_width
    return {
        "tables": fixed.tables(),
        "grids": grids,
        "width": width,
        "weights": weights,
        "biases": biases,
        "powers": fixed.powers().tolist(),
    }


def _grid_tables(layout: Layout, side: Side) -> Iterator[tuple[Integers, Integers]]:
    """Of each grid's numbers, where there are no contexts."""
    parts = zip(
        layout.grids,
        side.grid_steps(),
        side.values[Kind.GRID_MEAN],
        fixed.octaves(side.values[Kind.GRID_SCALE]),
        strict=True,
    )
    for shape, own, mean, scale in parts:
        steps = spread(own, shape).ravel()
        yield fixed.indices(np.full_like(steps, mean), np.full_like(steps, scale), steps)


def _put(
    encoder: _core.SymbolEncoder, numbers: Integers | Halves, tables: Integers, shifts: Integers
) -> None:
    assert numbers.dtype == np.int64
    encoder.encode((numbers - shifts).astype(np.int16), tables.astype(np.uint16))


def _get(decoder: _core.SymbolDecoder, tables: Integers, shifts: Integers) -> Integers:
    return decoder.decode(tables.astype(np.uint16)).astype(np.int64) + shifts
