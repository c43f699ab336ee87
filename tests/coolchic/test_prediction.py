"""Fields and block prediction of the compiled core against the NumPy twin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic.inheritance import Motion, inherited_motion
from vireo.codecs.coolchic.reference_standard import (
    LUMA_FILTERS,
    FrameMotion,
    block_fields,
    filters,
    predict,
)
from vireo.codecs.coolchic.reference_standard import inherited_motion as twin_inherited

Planes = list[NDArray[np.uint8]]

SIZES = [(16, 24), (34, 50), (66, 130), (2, 2), (6, 2), (2, 40)]
INTERPOLATION = Path(__file__).resolve().parents[2] / "native" / "core" / "interpolation.hpp"


GRIDS = 4


def grid_size(size: tuple[int, int], k: int) -> tuple[int, int]:
    return -(-size[0] >> k), -(-size[1] >> k)


def make_fields(
    rng: np.random.Generator, size: tuple[int, int], first: int, references: int, spread: int
) -> list[NDArray[np.int16]]:
    return [
        rng.integers(-spread, spread + 1, grid_size(size, k)).astype(np.int16)
        for _ in range(3 * references)
        for k in range(first, first + GRIDS)
    ]


def make_references(rng: np.random.Generator, size: tuple[int, int], count: int) -> list[Planes]:
    h, w = size
    return [
        [
            rng.integers(0, 256, shape, dtype=np.uint8)
            for shape in ((h, w), (h // 2, w // 2), (h // 2, w // 2))
        ]
        for _ in range(count)
    ]


@pytest.fixture(params=list(_core.Isa), ids=lambda isa: isa.name)
def isa(request: pytest.FixtureRequest) -> Iterator[None]:
    if not _core.has_isa(request.param):
        pytest.skip("this machine doesn't have it")
    _core.force_isa(request.param)
    yield
    _core.force_isa(next(i for i in reversed(_core.Isa) if _core.has_isa(i)))


@pytest.mark.parametrize(("name", "taps"), [("kLumaFilters", 8), ("kChromaFilters", 4)])
def test_the_filters_are_those_of_the_formula(name: str, taps: int) -> None:
    text = INTERPOLATION.read_text().split(name)[1].split("};")[0].split("=")[1]
    table = np.array(re.findall(r"-?\d+", text), int).reshape(64, taps)
    assert np.array_equal(table, filters(taps))
    assert (table.sum(1) == 64).all()
    assert np.array_equal(table[1:], table[:0:-1, ::-1])  # no drift


@pytest.mark.parametrize("taps", [8, 4])
def test_filters_keep_whole_samples_and_a_sinusoid(taps: int) -> None:
    table = filters(taps)
    whole = np.zeros(taps, int)
    whole[taps // 2 - 1] = 64
    assert np.array_equal(table[0], whole)
    # Of eight samples a period, whatever its phase; the bound is what the filters do.
    frequency = 2 * np.pi / 8
    samples = np.exp(1j * frequency * (np.arange(taps) - (taps // 2 - 1)))
    expected = np.exp(1j * frequency * np.arange(64) / 64)
    assert np.abs(table @ samples / 64 - expected).max() < 0.05


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("references", [1, 2])
@pytest.mark.parametrize("first", [2, 3])
def test_fields_are_doubled_and_added(size: tuple[int, int], references: int, first: int) -> None:
    for spread in (3, 4095):
        rng = np.random.default_rng(spread)
        grids = make_fields(rng, size, first, references, spread)
        fields = _core.block_fields(grids, first, *size, references)
        for ours, theirs in zip(
            fields, block_fields(grids, first, *size, 3 * references), strict=True
        ):
            assert np.array_equal(ours, theirs)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("references", [1, 2])
def test_predictions_are_those_of_the_design(size: tuple[int, int], references: int) -> None:
    for reach in (0, 100, 1500, 2**20):
        rng = np.random.default_rng(reach)
        shape = grid_size(size, 2)
        vectors = [rng.integers(-reach, reach + 1, shape) for _ in range(2 * references)]
        # Zero and one are usual, and have ways of their own.
        blends = [rng.integers(-32, 97, shape).clip(0, 64) for _ in range(references)]
        fields = [f.astype(np.int32) for f in vectors + blends]
        pictures = make_references(rng, size, references)
        ours = _core.predict(fields, pictures, *size)
        theirs = predict([f.astype(np.int64) for f in fields], pictures)
        for c in range(3):
            assert np.array_equal(ours[c], theirs[c])


@pytest.mark.usefixtures("isa")
def test_the_steepest_picture_stays_within_16_bits() -> None:
    """Of a picture that matches the filters' signs, more is made than a 16-bit integer holds."""
    size = (32, 32)
    sign = LUMA_FILTERS[32] > 0
    column = np.tile(np.roll(sign, 1), 4)
    luma = np.where(column[:, None] == column, 255, 0).astype(np.uint8)
    chroma = np.full((16, 16), 128, np.uint8)
    fields = [np.full((8, 8), v, np.int32) for v in (32, 32, 64)]
    ours = _core.predict(fields, [[luma, chroma, chroma]], *size)
    theirs = predict([f.astype(np.int64) for f in fields], [[luma, chroma, chroma]])
    assert ours[0].max() == 32767
    assert np.array_equal(ours[0], theirs[0])


@pytest.mark.usefixtures("isa")
def test_any_vector_is_safe() -> None:
    size = (34, 50)
    rng = np.random.default_rng(1)
    shape = grid_size(size, 2)
    pictures = make_references(rng, size, 2)
    extremes = np.array([-(2**31), -(2**30), -1, 0, 2**30, 2**31 - 1], np.int32)
    fields = [rng.choice(extremes, shape) for _ in range(4)]
    fields += [np.full(shape, 64, np.int32), np.full(shape, 32, np.int32)]
    ours = _core.predict(fields, pictures, *size)
    theirs = predict([f.astype(np.int64) for f in fields], pictures)
    for c in range(3):
        assert np.array_equal(ours[c], theirs[c])


def test_fields_and_references_have_to_fit() -> None:
    rng = np.random.default_rng(0)
    size = (16, 24)
    grids = make_fields(rng, size, 3, 1, 3)
    with pytest.raises(ValueError, match="wrong size"):
        _core.block_fields(grids, 2, *size, 1)
    with pytest.raises(ValueError, match="as many grids"):
        _core.block_fields(grids[:-1], 3, *size, 1)
    fields = _core.block_fields(grids, 3, *size, 1)
    with pytest.raises(ValueError, match="three fields"):
        _core.predict(fields[:2], make_references(rng, size, 1), *size)
    with pytest.raises(ValueError, match="wrong size"):
        _core.predict(fields, make_references(rng, (16, 26), 1), *size)
    fields[2][0, 0] = 65
    with pytest.raises(ValueError, match=r"0 ... 64"):
        _core.predict(fields, make_references(rng, size, 1), *size)


def random_motion(rng: np.random.Generator, place: int, references: tuple[int, ...]) -> Motion:
    most = _core.MAX_INHERITED if rng.random() < 0.2 else 300
    vectors = [
        rng.integers(-most, most + 1, (5, 7), dtype=np.int32) for _ in range(2 * len(references))
    ]
    return Motion(place, references, tuple(vectors))


@pytest.mark.parametrize(
    ("frame", "references"),
    [
        (4, {0: (), 8: (0,)}),
        (6, {4: (0, 8), 8: (0,)}),
        (5, {4: (0, 8), 6: (4, 8)}),
        (7, {8: (0,), 6: (4, 8)}),
        (9, {8: (7, 0), 0: ()}),
        (10, {9: (8, 0), 8: (7, 0)}),
        (12, {10: (9, 4), 8: (7, 3)}),
        (30000, {2: (60000, 1)}),
        (3, {0: ()}),
        (3, {0: (), 9: ()}),
    ],
)
def test_inherited_motion_is_what_the_twin_has(
    frame: int, references: dict[int, tuple[int, ...]]
) -> None:
    rng = np.random.default_rng(frame)
    known = [random_motion(rng, place, others) for place, others in references.items()]
    twins = [
        FrameMotion(m.display_index, m.references, [v.astype(np.int64) for v in m.vectors])
        for m in known
    ]
    ours = inherited_motion(frame, known)
    assert len(ours) == (2 * len(known) if any(references.values()) else 0)
    for mine, theirs in zip(ours, twin_inherited(frame, twins), strict=True):
        assert mine.dtype == np.int32
        np.testing.assert_array_equal(mine, theirs)


def test_a_frame_in_the_middle_inherits_half_of_the_motion() -> None:
    still, rng = Motion(0, ()), np.random.default_rng(0)
    later = Motion(8, (0,), tuple(2 * rng.integers(-50, 50, (2, 3, 3), dtype=np.int32)))
    to_first, to_second = inherited_motion(4, [still, later])[::2], later.vectors[0]
    np.testing.assert_array_equal(to_first[0], to_second // 2)
    np.testing.assert_array_equal(to_first[1], -to_second // 2)
