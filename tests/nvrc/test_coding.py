"""Numbers to bytes and back: integers on the way, the loss's rate in sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vireo import _core
from vireo.codecs.nvrc import coding, fixed
from vireo.codecs.nvrc.coding import Coded
from vireo.codecs.nvrc.config import CONFIGS, Extent
from vireo.codecs.nvrc.layout import (
    Kind,
    Layout,
    Method,
    from_blocks,
    side_numbers,
    to_blocks,
)
from vireo.codecs.nvrc.quantise import Numbers, hard
from vireo.codecs.nvrc.reference import code_grids, in_order
from vireo.errors import SyntaxElementError

CONFIG = replace(CONFIGS["xxs"], contexts="channel", context_width=3)
EXTENT = Extent.of(20, 200, 230)
METHODS = {
    "paper's": Method(contexts=True, axis=32),
    "without contexts": Method(contexts=False, axis=1 << 20),
    "half precision": Method(contexts=True, axis=64, coded=False),
}


def numbers(method: Method, *, spread: float = 0.05) -> Numbers:
    """As training has them, moved away from where it starts."""
    found = Numbers(Layout(CONFIG, EXTENT, method), seed=3)
    random = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter += 0.2 * spread * torch.randn(parameter.shape, generator=random)
        for grid in found.grids:
            grid += spread * torch.randn(grid.shape, generator=random)
    return found


def sections(layout: Layout, coded: Coded) -> list[bytes]:
    return [section.data for section in coding.encode(layout, coded)]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_what_is_decoded_is_what_was_encoded(method: Method) -> None:
    given_ = numbers(method)
    coded = given_.coded()
    assert all(grid.any() for grid in coded.grids)
    found = coding.decode(given_.layout, *sections(given_.layout, coded))
    assert np.array_equal(found.words.view(np.uint16), coded.words.view(np.uint16))
    assert np.array_equal(found.side, coded.side)
    assert np.array_equal(found.layers, coded.layers)
    for a, b in zip(found.grids, coded.grids, strict=True):
        assert np.array_equal(a, b)
    assert coding.crc(found) == coding.crc(coded)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_the_stream_is_as_long_as_the_loss_says(method: Method) -> None:
    given_ = numbers(method)
    with torch.no_grad():
        bits = given_.bits(hard)
    side, layers, grids = (8 * len(s) for s in sections(given_.layout, given_.coded()))
    assert layers == pytest.approx(float(bits.layers), rel=0.01, abs=128)
    assert grids == pytest.approx(float(bits.grids), rel=0.01, abs=128)
    assert side == pytest.approx(float(bits.side), rel=0.01, abs=128)


def test_decoders_have_the_values_that_were_trained() -> None:
    given_ = numbers(METHODS["paper's"])
    with torch.no_grad():
        sample = given_.rounded(hard)
    vector, grids = coding.values(given_.layout, given_.coded())
    tensors = given_.layout.tensors(vector)
    for name, expected in sample.tensors().items():
        np.testing.assert_allclose(tensors[name], expected.numpy(), rtol=1e-5, atol=1e-7)
    for found, wanted in zip(grids, sample.grid_values(), strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-7)


def test_a_damaged_section_is_some_numbers_or_an_error() -> None:
    given_ = numbers(METHODS["paper's"])
    side, layers, grids = sections(given_.layout, given_.coded())
    words = 6 * len(given_.layout.kinds)
    with pytest.raises(SyntaxElementError, match="side information"):
        coding.decode(given_.layout, side[: words - 1], layers, grids)
    random = np.random.default_rng(5)
    for _ in range(3):
        parts = [random.integers(0, 256, n, np.uint8).tobytes() for n in (words + 40, 50, 50)]
        found = coding.decode(given_.layout, *parts)
        vector, values = coding.values(given_.layout, found)
        assert vector.shape == (given_.layout.layer_count,)
        assert len(values) == 4
    half = numbers(METHODS["half precision"])
    side, layers, grids = sections(half.layout, half.coded())
    with pytest.raises(SyntaxElementError, match="length"):
        coding.decode(half.layout, side + b"x", layers, grids)


def test_contexts_are_those_of_the_reference() -> None:
    """Native and in NumPy; every bit."""
    given_ = numbers(METHODS["paper's"], spread=0.3)
    layout, coded = given_.layout, given_.coded()
    side = coding.Side(layout, coded.words, coded.side).values
    encoder = _core.SymbolEncoder(fixed.tables())
    give = in_order(coded.grids)

    def code(tables: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        values = give(len(tables))
        encoder.encode((values - shifts).astype(np.int16), tables.astype(np.uint16))
        return values

    code_grids(layout, side, code)
    assert encoder.finish() == sections(layout, coded)[2]


def test_grids_blocks_come_back() -> None:
    grid = np.arange(17 * 9 * 10 * 3).reshape(17, 9, 10, 3)
    blocks = to_blocks(grid)
    assert blocks.shape == (3, 8, 16, 8, 8)
    assert np.array_equal(from_blocks(blocks, (17, 9, 10, 3)), grid)


def test_contexts_are_of_numbers_before_in_the_same_block_and_channel() -> None:
    """What a number is coded with doesn't change with those that a decoder hasn't yet."""
    given_ = numbers(METHODS["paper's"])
    layout, coded = given_.layout, given_.coded()
    side = coding.Side(layout, coded.words, coded.side).values

    def expected(grids: list[np.ndarray]) -> list[np.ndarray]:
        seen = []
        give = in_order(grids)

        def code(tables: np.ndarray, shifts: np.ndarray) -> np.ndarray:
            seen.append(tables + 2000 * shifts)
            return give(len(tables))

        code_grids(layout, side, code)
        # As grids, by coding the place of each in the order.
        place = in_order_of_places(layout)
        flat = np.concatenate(seen)
        return [flat[p] for p in place]

    before = expected(coded.grids)
    changed = [grid.copy() for grid in coded.grids]
    changed[0][5, 3, 4, 0] += 40
    behind = expected(changed)
    for level, (a, b) in enumerate(zip(before, behind, strict=True)):
        where = np.argwhere(a != b)
        if level:
            assert not len(where)
            continue
        assert len(where) > 3
        for t, y, x, c in where:
            assert c == 0
            assert (t, y, x) > (5, 3, 4)
            assert (t // 16, y // 8, x // 8) == (0, 0, 0)


def in_order_of_places(layout: Layout) -> list[np.ndarray]:
    """Of each grid's numbers, their places in the order of coding."""
    sizes = [int(np.prod(shape)) for shape in layout.grids]
    starts = np.cumsum([0, *sizes])
    numbered = [
        (start + np.arange(size)).reshape(shape)
        for start, size, shape in zip(starts, sizes, layout.grids, strict=False)
    ]
    order = in_order(numbered)(starts[-1])
    place = np.empty(starts[-1], np.int64)
    place[order] = np.arange(len(order))
    return [place[n] for n in numbered]


@given(
    st.integers(-(1 << 14), 1 << 14),
    st.integers(-fixed.FARTHEST, fixed.FARTHEST),
    st.integers(-16, 16),
)
def test_fixed_point_is_what_it_stands_for(value: int, logarithm: int, bits: int) -> None:
    found = fixed.scaled(np.array([value]), np.array([logarithm]), bits)[0]
    wanted = value * 2.0 ** (logarithm / 64 + bits)
    assert abs(found - wanted) <= 0.5 + abs(wanted) * 2.0**-28


def test_tables_are_of_the_mean_and_deviation_that_they_are_asked_for() -> None:
    """The middle of the distribution is where the mean is, its width that of the deviation."""
    rng = np.random.default_rng(7)
    mean, deviation = 3.4, 2.0
    values = np.rint(rng.normal(mean, deviation, 4000)).astype(np.int64)
    step = np.full(4000, -128)  # a quarter
    means = np.full(4000, round(mean * 0.25 * 2**16))
    tables, shifts = fixed.indices(means, np.full(4000, -64), step)  # a half: two steps
    symbols, chosen = (values - shifts).astype(np.int16), tables.astype(np.uint16)
    encoder = fixed_encoder(symbols, chosen)
    entropy = 0.5 * np.log2(2 * np.pi * np.e * deviation**2)
    assert 8 * len(encoder) / 4000 == pytest.approx(entropy, rel=0.02)


def fixed_encoder(symbols: np.ndarray, tables: np.ndarray) -> bytes:
    encoder = _core.SymbolEncoder(fixed.tables())
    encoder.encode(symbols[:1000], tables[:1000])
    encoder.encode(symbols[1000:], tables[1000:])
    data = encoder.finish()
    decoder = _core.SymbolDecoder(fixed.tables(), data)
    found = np.concatenate([decoder.decode(tables[:17]), decoder.decode(tables[17:])])
    assert np.array_equal(found, symbols)
    return data


@pytest.mark.parametrize("name", ["xxs", "s2"])
@pytest.mark.parametrize("contexts", [True, False])
def test_what_a_decoder_checks_is_no_less_than_there_is(name: str, contexts: bool) -> None:
    config, extent = CONFIGS[name], Extent.of(30, 144, 176)
    method = Method(contexts, 1)
    layout = Layout(config, extent, method)
    assert layout.side_count <= side_numbers(config, extent, method)
    assert len(layout.side_kinds) == layout.side_count
    assert layout.kinds[Kind.STEP_IN].shape == (layout.ins,)
