from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vireo.video.timing import STANDARD_RATES, constant_rate

MILLISECOND = Fraction(1, 1000)


def ticks(rate, count, base, start=0.0):
    return np.array([round((start + i / rate) / base) for i in range(count)], np.int64)


@pytest.mark.parametrize("rate", STANDARD_RATES)
@pytest.mark.parametrize("base", [MILLISECOND, Fraction(1, 90000), Fraction(1, 12800)])
def test_standard_rates_are_found_in_rounded_times(rate, base):
    assert constant_rate(ticks(rate, 2000, base), base, [rate]) == rate
    assert constant_rate(ticks(rate, 5000, base), base) == rate


def test_millisecond_jitter_stays_constant_in_finer_ticks():
    times = ticks(Fraction(30000, 1001), 300, MILLISECOND) * 16
    assert constant_rate(times, Fraction(1, 16000), [Fraction(24250, 809)]) == Fraction(30000, 1001)


def test_other_constant_rates():
    assert constant_rate(ticks(Fraction(15, 2), 100, MILLISECOND), MILLISECOND) == Fraction(15, 2)
    assert constant_rate(np.arange(50) * 7, Fraction(1, 50)) == Fraction(50, 7)


@given(
    rate=st.sampled_from([Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60)]),
    base=st.sampled_from([MILLISECOND, Fraction(1, 90000), None]),
    gap=st.integers(1, 98),
)
def test_a_missing_frame_always_shows(rate, base, gap):
    base = base or 1 / rate
    times = np.delete(ticks(rate, 100, base), gap)
    assert constant_rate(times, base, [rate]) is None


def test_short_and_degenerate_videos():
    one = np.array([7], np.int64)
    assert constant_rate(one, MILLISECOND) is None
    assert constant_rate(one, MILLISECOND, [None, Fraction(50)]) == 50
    assert constant_rate(np.array([7, 7], np.int64), MILLISECOND, [Fraction(50)]) is None
