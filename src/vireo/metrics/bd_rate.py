"""Bjøntegaard deltas: how far apart two rate-distortion curves are, on average.

BD-rate (VCEG-M33) integrates the difference of log10(rate) over the qualities that both curves
reach, and turns the mean back into a ratio: -10 means a tenth fewer bits at the same quality.
The `bjontegaard` library does the arithmetic, and agrees with the JVET spreadsheet to ten digits
by its own account. The interpolation is piecewise cubic Hermite (`pchip`), the one of JVET's
common test conditions (JVET-T2010): it keeps a rising curve rising between its points, which the
cubic polynomial of VCEG-M33 does not.

Where two curves share too little, or are no curves, there is no number but a reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vireo.errors import UsageError

MIN_POINTS = 3
"""Fewest different points of a curve. VCEG-M33 uses four; two would be a straight line, which
says nothing of a curve's shape."""
MIN_OVERLAP = 0.5
"""Least overlap. Below a half, most of what was measured is outside the comparison."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One codec's rate-distortion points, in any order.

    Attributes:
        rates: bits per second, bits per pixel or bytes: any unit, the same for both curves.
        qualities: in a measure that is higher for better pictures, as many.
    """

    rates: tuple[float, ...]
    qualities: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.rates) != len(self.qualities):
            raise ValueError(f"{len(self.rates)} rates and {len(self.qualities)} qualities")


@dataclass(frozen=True)
class BdRate:
    """What `bd_rate` found.

    Attributes:
        value: rate of the test curve against the anchor's at equal quality, in per cent;
            negative where the test curve needs fewer bits. None where refused.
        overlap: length of the range of qualities that both curves span over the length of
            the range that they span together, 0…1; 0 where a curve is none.
        refusal: why there is no value; None where there is one.
    """

    value: float | None
    overlap: float
    refusal: str | None = None


@dataclass(frozen=True)
class BdQuality:
    """What `bd_quality` found.

    Attributes:
        value: quality of the test curve minus the anchor's at equal rate, in the measure's
            unit; positive where the test curve is better. None where refused.
        overlap: as in `BdRate`, of the ranges of log10(rate).
        refusal: why there is no value; None where there is one.
    """

    value: float | None
    overlap: float
    refusal: str | None = None


def bd_rate(anchor: Curve, test: Curve) -> BdRate:
    """Mean difference in rate at equal quality, in per cent of the anchor's rate.

    100 (10^d - 1), d the mean of log10(rate of test) - log10(rate of anchor) over the shared
    range of qualities. Refused where a curve has fewer than `MIN_POINTS` different points,
    holds a value that is not finite or a rate that is not positive, or does not rise strictly;
    and where the overlap is below `MIN_OVERLAP`.

    Raises:
        UsageError: the library bjontegaard is not installed.
    """
    return BdRate(*_delta(anchor, test, "quality"))


def bd_quality(anchor: Curve, test: Curve) -> BdQuality:
    """Mean difference in quality at equal rate (BD-PSNR), in the measure's unit.

    The mean of quality of test - quality of anchor over the shared range of log10(rate).
    Refused as `bd_rate` is.

    Raises:
        UsageError: the library bjontegaard is not installed.
    """
    return BdQuality(*_delta(anchor, test, "rate"))


def _delta(
    anchor: Curve, test: Curve, shared: Literal["quality", "rate"]
) -> tuple[float | None, float, str | None]:
    """Value, overlap and refusal, at equal `shared`."""
    refusal = _fault("anchor", anchor) or _fault("test", test)
    if refusal:
        return None, 0.0, refusal
    (rates, qualities), (test_rates, test_qualities) = _points(anchor), _points(test)
    if shared == "quality":
        overlap = _overlap(qualities, test_qualities)
    else:
        overlap = _overlap(np.log10(rates), np.log10(test_rates))
    if overlap < MIN_OVERLAP:
        return None, overlap, _too_small(overlap, shared)
    library = _library()
    value = (library.bd_rate if shared == "quality" else library.bd_psnr)(
        rates,
        qualities,
        test_rates,
        test_qualities,
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    return float(value), overlap, None


def _points(curve: Curve) -> tuple[Values, Values]:
    """Rates and qualities in rising order of rate, each point once."""
    points = sorted(set(zip(curve.rates, curve.qualities, strict=True)))
    rates, qualities = np.array(points, np.float64).reshape(-1, 2).T
    return rates, qualities


def _fault(name: str, curve: Curve) -> str | None:
    """Why there is no function through a curve's points, or None."""
    if not all(map(math.isfinite, (*curve.rates, *curve.qualities))):
        return f"the {name} holds a value that is not finite"
    if any(rate <= 0 for rate in curve.rates):
        return f"the {name} holds a rate that is not positive"
    rates, qualities = _points(curve)
    if len(rates) < MIN_POINTS:
        return f"the {name} has {len(rates)} different points, fewer than {MIN_POINTS}"
    for (r, q), (next_r, next_q) in pairwise(zip(rates, qualities, strict=True)):
        if next_r <= r or next_q <= q:
            return (
                f"quality does not rise with rate in the {name}: "
                f"{q:.6g} at {r:.6g}, {next_q:.6g} at {next_r:.6g}"
            )
    return None


def _overlap(a: Values, b: Values) -> float:
    """Length of the intersection of two ranges over the length from the least to the largest."""
    shared = min(a.max(), b.max()) - max(a.min(), b.min())
    return max(float(shared / (max(a.max(), b.max()) - min(a.min(), b.min()))), 0.0)


def _too_small(overlap: float, what: str) -> str:
    return f"the curves share {overlap:.0%} of their range of {what}, less than {MIN_OVERLAP:.0%}"


def _library() -> ModuleType:
    try:
        import bjontegaard  # here: it imports SciPy and matplotlib
    except ImportError as error:
        raise UsageError("BD-rate needs bjontegaard: pip install 'vireo[bench]'") from error
    module: ModuleType = bjontegaard
    return module
