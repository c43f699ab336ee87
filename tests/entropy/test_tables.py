"""Integers under tables: what they cost, and that they come back."""

from __future__ import annotations

import hashlib
from math import erf, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vireo import _core
from vireo.entropy.normal import (
    SCALES,
    WEIGHT_BITS,
    mass_below,
    scale_thresholds,
    standard_deviation,
)
from vireo.entropy.tables import latent_tables, mixture_tables


def ideal_bits(values: np.ndarray, deviations: np.ndarray) -> float:
    """Of integers whose distribution is known exactly."""
    size, scale = torch.tensor(np.abs(values.astype(float))), torch.tensor(deviations)
    normal = torch.distributions.Normal(0, 1)
    mass = normal.cdf((0.5 - size) / scale) - normal.cdf((-0.5 - size) / scale)
    return float(-mass.log2().sum())


@pytest.mark.parametrize(("first", "last"), [(0, SCALES), (0, 30), (20, 50), (60, SCALES)])
def test_latents_cost_what_their_distribution_says(first: int, last: int) -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(first, last, 200_000).astype(np.uint8)
    deviations = standard_deviation(indices)
    values = np.rint(rng.normal(0, deviations)).astype(np.int16)
    data = latent_tables().encode(values, indices)
    assert 8 * len(data) < 1.001 * ideal_bits(values, deviations)
    assert abs(8 * len(data) - latent_tables().bits(values, indices)) < 64
    assert np.array_equal(latent_tables().decode(data, indices), values)


@pytest.mark.parametrize("index", [0, 26, 82])
def test_values_outside_a_table_escape(index: int) -> None:
    values = np.array([-32768, 32767, -600, 600, 0, 5, -5], np.int16)
    indices = np.full(len(values), index, np.uint8)
    data = latent_tables().encode(values, indices)
    assert np.array_equal(latent_tables().decode(data, indices), values)
    assert abs(8 * len(data) - latent_tables().bits(values, indices)) < 8


def test_the_normal_distribution_is_one() -> None:
    distances = np.arange(-4000, 4001, 7)
    for index in range(0, SCALES, 9):
        mass = mass_below(distances, np.array(index)) / 2**32
        deviation = 16 * sqrt(2) * float(standard_deviation(index))
        expected = [0.5 * (1 + erf(d / deviation)) for d in distances]
        assert np.abs(mass - expected).max() < 1e-6


def test_tables_are_the_same_everywhere() -> None:
    """What they were when they were written down: any other machine has to get the same."""
    masses = mass_below(np.arange(-200, 201), np.arange(SCALES)[:, None])
    assert hashlib.sha256(masses.astype("<i8").tobytes()).hexdigest()[:16] == "51c83f2e54c9f0de"


def test_every_table_is_what_it_was() -> None:
    """A stream's meaning: of each table what its symbols and an escape are coded as."""
    hashed = hashlib.sha256()
    for index in range(SCALES):
        values = np.arange(-600, 601, dtype=np.int16)
        hashed.update(latent_tables().encode(values, np.full(len(values), index, np.uint8)))
    hashed.update(scale_thresholds(6).astype("<i8").tobytes())
    tables = mixture_tables(*mixture(7, 40))
    values = np.tile(np.arange(-60, 61, dtype=np.int16), 40)
    hashed.update(tables.encode(values, np.arange(40, dtype=np.uint8).repeat(121)))
    assert hashed.hexdigest()[:16] == "5fb910a5e623a99a"


def test_thresholds_of_scales_lie_between_them() -> None:
    for bits in (6, 10):
        thresholds = scale_thresholds(bits) / 2**bits
        deviations = standard_deviation(np.arange(SCALES))
        middle = np.sqrt(deviations[1:] * deviations[:-1])
        assert (np.abs(thresholds - middle) <= 2.0**-bits).all()
    assert (np.diff(scale_thresholds(10)) > 0).all()


def mixture(seed: int, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 1000, (channels, 3))
    weights[:, 2] = (1 << WEIGHT_BITS) - weights[:, 0] - weights[:, 1]
    return weights, rng.integers(-160, 160, (channels, 3)), rng.integers(10, 50, (channels, 3))


def test_mixtures_cost_what_they_say() -> None:
    channels, count = 20, 5000
    weights, means, scales = mixture(3, channels)
    tables = mixture_tables(weights, means, scales)
    rng = np.random.default_rng(4)
    values, ideal = [], 0.0
    for c in range(channels):
        part = rng.choice(3, count, p=weights[c] / (1 << WEIGHT_BITS))
        drawn = np.rint(rng.normal(means[c, part] / 16, standard_deviation(scales[c, part])))
        mass = np.zeros(count)
        for k in range(3):
            sides = [
                0.5 * (1 + torch.erf(torch.tensor(x) / sqrt(2)).numpy())
                for x in (
                    (drawn + s - means[c, k] / 16) / standard_deviation(scales[c, k])
                    for s in (-0.5, 0.5)
                )
            ]
            mass += weights[c, k] / (1 << WEIGHT_BITS) * (sides[1] - sides[0])
        ideal -= np.log2(mass).sum()
        values.append(drawn)
    flat = np.concatenate(values).astype(np.int16)
    indices = np.arange(channels, dtype=np.uint8).repeat(count)
    data = tables.encode(flat, indices)
    assert 8 * len(data) < 1.002 * ideal
    assert np.array_equal(tables.decode(data, indices), flat)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [(0, 0, "weights"), (0, 7, "weights"), (1, 1 << 20, "means"), (2, SCALES, "scales")],
)
def test_mixtures_that_are_none_are_refused(place: int, value: int, message: str) -> None:
    parts = mixture(3, 2)
    parts[place][0, 0] = value
    with pytest.raises(ValueError, match=message):
        mixture_tables(*parts)


@pytest.mark.parametrize(
    "table",
    [(0, [0]), (0, [1, 2]), (0, [0, 5, 5]), (0, [0, 65536]), (32767, [0, 1, 2]), (-40000, [0, 1])],
)
def test_tables_that_are_none_are_refused(table: tuple[int, list[int]]) -> None:
    with pytest.raises(ValueError, match="bounds"):
        _core.SymbolTables([table])


def test_an_index_without_a_table_is_refused() -> None:
    tables = _core.SymbolTables([(0, [0, 60000])])
    zero, one = np.zeros(1, np.int16), np.ones(1, np.uint8)
    with pytest.raises(ValueError, match="no such table"):
        tables.encode(zero, one)
    with pytest.raises(ValueError, match="no such table"):
        tables.decode(b"", one)
    with pytest.raises(ValueError, match="as many indices"):
        tables.encode(zero, np.zeros(2, np.uint8))


@settings(max_examples=200)
@given(st.binary(max_size=64), st.lists(st.integers(0, SCALES - 1), max_size=200))
def test_any_bytes_are_some_values(data: bytes, scales: list[int]) -> None:
    indices = np.array(scales, np.uint8)
    values = latent_tables().decode(data, indices)
    assert values.shape == indices.shape
    again = latent_tables().encode(values, indices)
    assert np.array_equal(latent_tables().decode(again, indices), values)
