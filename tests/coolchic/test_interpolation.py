"""The interpolation filters and their slopes."""

from __future__ import annotations

import numpy as np
import pytest

from vireo.codecs.coolchic.interpolation import (
    CHROMA_TAPS,
    FRACTIONS,
    LUMA_TAPS,
    continuous_taps,
    slopes,
    taps,
)
from vireo.codecs.coolchic.reference_standard import filters

both = pytest.mark.parametrize("count", [LUMA_TAPS, CHROMA_TAPS])


@both
def test_taps_sum_to_one_and_whole_samples_stay(count: int) -> None:
    table = taps(count).astype(int)
    np.testing.assert_array_equal(table.sum(1), FRACTIONS)
    expected = np.zeros(count)
    expected[count // 2 - 1] = FRACTIONS
    np.testing.assert_array_equal(table[0], expected)
    # Rounding moves a tap by up to 1/2, making up the sum the largest one by up to 2 more.
    exact = [FRACTIONS * continuous_taps(count, f / FRACTIONS) for f in range(FRACTIONS)]
    assert np.abs(table - exact).max() < 2.5


@both
def test_the_taps_are_the_decoders(count: int) -> None:
    np.testing.assert_array_equal(taps(count), filters(count))


@both
def test_a_sinusoid_is_interpolated_and_differentiated(count: int) -> None:
    """Of eight samples a period, whatever its phase; the bounds are what the filters do."""
    frequency = 2 * np.pi / 8
    at = np.arange(FRACTIONS) / FRACTIONS
    samples = np.exp(1j * frequency * (np.arange(count) - (count // 2 - 1)))
    expected = np.exp(1j * frequency * at)
    assert np.abs(taps(count) @ samples / FRACTIONS - expected).max() < 0.05
    error = np.abs(slopes(count) @ samples - 1j * frequency * expected).max()
    assert error < {LUMA_TAPS: 0.05, CHROMA_TAPS: 0.25}[count]


@both
def test_slopes_are_those_of_the_continuous_taps(count: int) -> None:
    table = slopes(count)
    np.testing.assert_allclose(table.sum(1), 0, atol=1e-6)
    for f in (0, 1, 31, 63):
        x, step = f / FRACTIONS, 1e-6
        exact = (continuous_taps(count, x + step) - continuous_taps(count, x - step)) / (2 * step)
        np.testing.assert_allclose(table[f], exact, atol=2e-4)
