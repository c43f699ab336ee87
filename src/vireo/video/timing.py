"""Deciding from time stamps whether a video has one constant frame rate."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

_INTEGER_RATES = (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240)
_NTSC_RATES = (12, 15, 24, 30, 48, 60, 120, 240)
STANDARD_RATES = tuple(
    sorted({Fraction(r) for r in _INTEGER_RATES} | {Fraction(r * 1000, 1001) for r in _NTSC_RATES})
)


def constant_rate(
    times: NDArray[np.int64], time_base: Fraction, declared: Iterable[Fraction | None] = ()
) -> Fraction | None:
    """The frame rate that explains time stamps, or None where it varies.

    A container rounds time stamps to its tick (1 ms in Matroska: frames 33 or 34 ms
    apart at 30 fps), and the rounding stays when the file is copied into one with finer
    ticks. So each frame may be off by one tick or one millisecond, whichever is more, but
    never by more than a quarter of a frame: a dropped or repeated frame always shows.

    Several rates can explain a short clip. Those of the standard list win over others,
    the one nearest to what the container declares first.

    Args:
        times: presentation times in ticks, ascending, `[T]`.
        time_base: seconds per tick.
        declared: the rates that the container claims, best first.
    """
    claims = [rate for rate in declared if rate]
    if len(times) < 2:
        return claims[0] if claims else None
    span = int(times[-1] - times[0]) * time_base
    if span <= 0:
        return None
    mean = (len(times) - 1) / span
    nearest = claims[0] if claims else mean
    standard = sorted(STANDARD_RATES, key=lambda rate: abs(rate - nearest))
    for rate in (*standard[:3], *claims, mean.limit_denominator(1 << 16)):
        if _explains(rate, times, time_base):
            return rate
    return None


def _explains(rate: Fraction, times: NDArray[np.int64], time_base: Fraction) -> bool:
    tolerance = min(max(time_base, Fraction(1, 1000)), 1 / (4 * rate))
    seconds = (times - times[0]) * float(time_base)
    expected = np.arange(len(times)) / float(rate)
    # The floats are exact to about 1e-16 of the length: far below a tick, so leave room for that.
    return bool(np.all(np.abs(seconds - expected) <= float(tolerance) * (1 + 1e-6)))
