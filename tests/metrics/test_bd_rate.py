from __future__ import annotations

import math
import sys
import warnings

import bjontegaard
import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from vireo.errors import UsageError
from vireo.metrics import Curve, bd_quality, bd_rate
from vireo.metrics.bd_rate import MIN_OVERLAP

ANCHOR = Curve((9487.76, 4593.60, 2486.44, 1358.24), (40.037, 38.615, 36.845, 34.851))
TEST = Curve((9787.80, 4469.00, 2451.52, 1356.24, 800.0), (40.121, 38.651, 36.970, 34.987, 33.1))
DELTAS = pytest.mark.parametrize("delta", [bd_rate, bd_quality])


def scaled(curve: Curve, factor: float) -> Curve:
    return Curve(tuple(factor * rate for rate in curve.rates), curve.qualities)


def raised(curve: Curve, quality: float) -> Curve:
    return Curve(curve.rates, tuple(q + quality for q in curve.qualities))


def mean_difference(x, y, test_x, test_y) -> float:
    """Mean of test_y - y over the shared x, by the midpoint rule on 200,000 steps."""
    low, high = max(min(x), min(test_x)), min(max(x), max(test_x))
    at = low + (high - low) * (np.arange(200_000) + 0.5) / 200_000
    curve, test = (
        PchipInterpolator(*np.array(sorted(zip(*xy, strict=True))).T)(at)
        for xy in ((x, y), (test_x, test_y))
    )
    return float(np.mean(test - curve))


def test_ten_per_cent_more_rate():
    found = bd_rate(ANCHOR, scaled(ANCHOR, 1.1))
    assert found.value == pytest.approx(10.0, abs=1e-9)
    assert found.overlap == 1.0
    assert found.refusal is None


def test_half_a_decibel_more():
    assert bd_quality(ANCHOR, raised(ANCHOR, 0.5)).value == pytest.approx(0.5, abs=1e-9)


def test_exchanging_the_curves_inverts_the_ratio():
    there, back = bd_rate(ANCHOR, TEST), bd_rate(TEST, ANCHOR)
    assert (1 + there.value / 100) * (1 + back.value / 100) == pytest.approx(1)
    assert there.overlap == back.overlap
    assert bd_quality(ANCHOR, TEST).value == pytest.approx(-bd_quality(TEST, ANCHOR).value)


def test_agrees_with_integration_of_our_own():
    logs = [[math.log10(rate) for rate in curve.rates] for curve in (ANCHOR, TEST)]
    mean = mean_difference(ANCHOR.qualities, logs[0], TEST.qualities, logs[1])
    assert bd_rate(ANCHOR, TEST).value == pytest.approx(100 * (10**mean - 1), abs=1e-6)
    mean = mean_difference(logs[0], ANCHOR.qualities, logs[1], TEST.qualities)
    assert bd_quality(ANCHOR, TEST).value == pytest.approx(mean, abs=1e-6)


def test_order_and_repeats_of_points_do_not_matter():
    order = (2, 0, 3, 1, 0, 2)
    shuffled = Curve(
        tuple(ANCHOR.rates[i] for i in order), tuple(ANCHOR.qualities[i] for i in order)
    )
    assert bd_rate(shuffled, TEST) == bd_rate(ANCHOR, TEST)


def test_overlap_is_what_the_library_means_by_it():
    shifted = raised(ANCHOR, 2.0)
    found = bd_rate(ANCHOR, shifted)
    span = 40.037 - 34.851
    assert found.overlap == pytest.approx((span - 2) / (span + 2))
    assert found.refusal.startswith("the curves share 44% of their range of quality")
    with pytest.warns(UserWarning, match=f"'{100 * found.overlap:.2f}'"):
        bjontegaard.bd_rate(
            ANCHOR.rates, ANCHOR.qualities, shifted.rates, shifted.qualities, method="pchip"
        )


@DELTAS
def test_too_small_an_overlap_is_refused(delta):
    ramp = Curve((1.0, 10.0, 100.0), (0.0, 1.0, 2.0))

    def moved(by):
        return Curve(tuple(r * 10**by for r in ramp.rates), tuple(q + by for q in ramp.qualities))

    # Two ranges of length 2, moved by m, share (2 - m) / (2 + m): a half at 2/3.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        above, below, none = (delta(ramp, moved(by)) for by in (0.66, 0.68, 5.0))
    assert above.overlap > MIN_OVERLAP > below.overlap > 0 == none.overlap
    assert above.value is not None
    assert above.refusal is None
    for refused in (below, none):
        assert refused.value is None
        assert "share" in refused.refusal


@DELTAS
@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        (Curve((), ()), "0 different points"),
        (Curve((1.0, 2.0), (30.0, 40.0)), "2 different points"),
        (Curve((1.0, 2.0, 2.0), (30.0, 40.0, 40.0)), "2 different points"),
        (Curve((1.0, 2.0, 3.0), (34.0, 40.0, 39.0)), "does not rise with rate"),
        (Curve((1.0, 2.0, 3.0), (34.0, 40.0, 40.0)), "40 at 2, 40 at 3"),
        (Curve((1.0, 2.0, 2.0), (34.0, 39.0, 40.0)), "does not rise with rate"),
        (Curve((1.0, 2.0, 3.0), (34.0, 39.0, math.inf)), "not finite"),
        (Curve((1.0, math.nan, 3.0), (34.0, 39.0, 40.0)), "not finite"),
        (Curve((0.0, 2.0, 3.0), (34.0, 39.0, 40.0)), "not positive"),
    ],
)
def test_what_is_no_curve_is_refused(delta, curve, reason):
    for name, pair in (("anchor", (curve, ANCHOR)), ("test", (ANCHOR, curve))):
        found = delta(*pair)
        assert found.value is None
        assert found.overlap == 0
        assert reason in found.refusal
        assert f"the {name}" in found.refusal


def test_a_curve_needs_as_many_rates_as_qualities():
    with pytest.raises(ValueError, match="2 rates and 1 qualities"):
        Curve((1.0, 2.0), (30.0,))


@DELTAS
def test_says_what_to_install(delta, monkeypatch):
    monkeypatch.setitem(sys.modules, "bjontegaard", None)
    with pytest.raises(UsageError, match=r"vireo\[bench\]"):
        delta(ANCHOR, TEST)
