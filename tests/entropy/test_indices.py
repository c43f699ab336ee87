"""Indices of codebooks under adaptive frequencies: that they come back, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vireo._core import IndexCoder

Indices = NDArray[np.uint16]
STAGES = [(8, 12, 4, 1024), (4, 6, 4, 256), (2, 3, 4, 64)]
WINDOWS = 6


def coder(stages: Sequence[tuple[int, int, int, int]] = STAGES) -> IndexCoder:
    return IndexCoder(stages, [[1] * size for _, _, books, size in stages for _ in range(books)])


def random_indices(rng: np.random.Generator) -> Indices:
    parts = [rng.integers(size, size=(y * x, b)) for y, x, b, size in STAGES]
    return np.concatenate([p.ravel() for p in parts]).astype(np.uint16)


def windows_of_places() -> NDArray[np.int64]:
    """Of each index the window that it is in."""
    found = []
    for rows, columns, books, _ in STAGES:
        y, x = np.mgrid[:rows, :columns]
        window = y // (rows // 2) * 3 + x // (columns // 3)
        found.append(np.repeat(window.ravel(), books))
    return np.concatenate(found)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.booleans())
def test_frames_come_back(seed: int, still: float, skipping: bool) -> None:
    rng = np.random.default_rng(seed)
    writing, reading = coder(), coder()
    before: Indices | None = None
    for _ in range(4):
        indices = random_indices(rng)
        skips: NDArray[np.uint8] | None = None
        if before is not None:
            indices = np.where(rng.random(len(indices)) < still, before, indices)
            if skipping:
                skips = (rng.random(WINDOWS) < 0.5).astype(np.uint8)
                indices = np.where(skips[windows_of_places()] > 0, before, indices)
        data = writing.encode(indices, before, skips)
        found, skipped = reading.decode(data, before, skips is not None)
        assert np.array_equal(found, indices)
        assert skips is None or np.array_equal(skipped, skips)
        before = indices


def test_indices_without_a_pattern_cost_hardly_more_than_fixed_length() -> None:
    rng = np.random.default_rng(1)
    frames = [random_indices(rng) for _ in range(20)]
    fixed = sum(y * x * b * (size.bit_length() - 1) for y, x, b, size in STAGES)
    writing = IndexCoder(STAGES, [[16384 // s] * s for _, _, b, s in STAGES for _ in range(b)])
    before: list[Indices | None] = [None, *frames]
    spent = sum(len(writing.encode(f, b)) for f, b in zip(frames, before, strict=False))
    assert 8 * spent / len(frames) < 1.04 * fixed


def test_what_stays_as_it_was_costs_next_to_nothing() -> None:
    still = random_indices(np.random.default_rng(2))
    writing = coder()
    sizes = [len(writing.encode(still, before)) for before in (None, *[still] * 20)]
    assert sizes[-1] < sizes[0] / 50
    skipped = coder()
    skipped.encode(still)
    every = np.ones(WINDOWS, np.uint8)
    assert len([skipped.encode(still, still, every) for _ in range(20)][-1]) <= 1


def test_frequencies_are_learned() -> None:
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(64, 0.1))
    stages = [(32, 32, 1, 64)]
    writing = coder(stages)
    for _ in range(5):
        data = writing.encode(rng.choice(64, 1024, p=shares).astype(np.uint16))
    entropy = -(shares * np.log2(shares + 1e-12)).sum()
    assert 8 * len(data) < 1.08 * 1024 * entropy + 16


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_some_indices(data: bytes, skips: bool) -> None:
    before = random_indices(np.random.default_rng(4)) if skips else None
    indices, _ = coder().decode(data, before, skips)
    sizes = np.concatenate([np.full(y * x * b, size) for y, x, b, size in STAGES])
    assert (indices < sizes).all()


@given(st.binary(max_size=40))
def test_entries_may_all_be_ruled_out(data: bytes) -> None:
    stages = [(4, 4, 2, 2)]
    before = np.zeros(32, np.uint16)
    indices, _ = coder(stages).decode(data, before)
    assert (indices < 2).all()
    again, _ = coder(stages).decode(coder(stages).encode(indices, before), before)
    assert np.array_equal(again, indices)


def test_a_copy_goes_its_own_way() -> None:
    rng = np.random.default_rng(5)
    one = coder()
    first, second = random_indices(rng), random_indices(rng)
    one.encode(first)
    two = one.copy()
    data = one.encode(second, first)
    assert two.encode(second, first) == data
    assert np.array_equal(coder().decode(coder().encode(second))[0], second)


def test_what_is_no_frame_is_refused() -> None:
    good = random_indices(np.random.default_rng(6))
    with pytest.raises(ValueError, match="other indices"):
        coder().encode(good[1:])
    bad = good.copy()
    bad[0] = 1024
    with pytest.raises(ValueError, match="no such entry"):
        coder().encode(bad)
    with pytest.raises(ValueError, match="as in no frame"):
        coder().encode(good, None, np.zeros(WINDOWS, np.uint8))
    with pytest.raises(ValueError, match="as many skips"):
        coder().encode(good, good, np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="whole places"):
        coder([(3, 4, 1, 8), (2, 2, 1, 8)])
    with pytest.raises(ValueError, match=r"2\*\*n"):
        coder([(2, 2, 1, 7)])
    with pytest.raises(ValueError, match="at least 1"):
        IndexCoder([(1, 1, 1, 2)], [[1, 0]])
    with pytest.raises(ValueError, match="a frequency per entry"):
        IndexCoder([(1, 1, 1, 2)], [[1]])
