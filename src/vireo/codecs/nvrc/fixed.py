"""Integer arithmetic between side information and probabilities: the same on every machine.

Numbers are in units of 2**-16, logarithms of steps and deviations in 64ths of an octave
(docs/bitstream.md, "Fixed point").
"""

from __future__ import annotations

from functools import cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.entropy.normal import MEAN_BITS, SCALE_ONE, SCALE_STEPS, SCALES, mass_below, reaches
from vireo.entropy.tables import bounds_of

Integers = NDArray[np.int64]

VALUE_BITS = 16
LOG_BITS = 6
FARTHEST = 20 << LOG_BITS  # logarithms are within this
MOST = 1 << 30  # of a mean, in 2**-16
MOST_QUANTISED = (1 << 14) - 1  # of what is coded
_MOST_SHIFT = 1 << 14
_POWER_BITS = 30
_FRACTIONS = 1 << MEAN_BITS


@cache
def powers() -> Integers:
    """`[64]`: 2**(i / 64) in 2**-30, rounded down."""
    found = []
    for i in range(1 << LOG_BITS):
        power = 1 << (i + (_POWER_BITS << LOG_BITS))
        for _ in range(LOG_BITS):
            power = isqrt(power)
        found.append(power)
    return np.array(found)


def scaled(values: Integers, logarithm: Integers, bits: int) -> Integers:
    """`values` times 2**(logarithm / 64 + bits), to the nearest, halves up.

    Args:
        values: within ±2**30, and so that the result is within ±2**62.
        logarithm: within ±FARTHEST; broadcast against `values`.
        bits: -16 … 16.
    """
    product = values * powers()[logarithm & ((1 << LOG_BITS) - 1)]
    shift = _POWER_BITS - bits - (logarithm >> LOG_BITS)
    down = np.clip(shift, 1, 62)
    lowered = (product + (np.int64(1) << (down - 1))) >> down
    found: Integers = np.where(shift >= 1, lowered, product << np.clip(-shift, 0, 32))
    return found


def octaves(values: Integers) -> Integers:
    """Logarithms in 64ths, of such in 2**-16."""
    dropped = VALUE_BITS - LOG_BITS
    found: Integers = np.clip((values + (1 << (dropped - 1))) >> dropped, -FARTHEST, FARTHEST)
    return found


def power_of(logarithm: Integers) -> NDArray[np.float64]:
    """2**(logarithm / 64), of which a double holds every bit."""
    whole = np.ldexp(1.0, logarithm >> LOG_BITS)
    found: NDArray[np.float64] = powers()[logarithm & 63] * whole / (1 << _POWER_BITS)
    return found


def word(value: np.float16, bits: int) -> int:
    """A word in units of 2**-bits, to the nearest, halves up; 0 where it is no number."""
    if not np.isfinite(value):
        return 0
    return int(np.floor(float(value) * 2**bits + 0.5))


def indices(means: Integers, deviations: Integers, steps: Integers) -> tuple[Integers, Integers]:
    """Which table each number is coded under, and what is taken from it before.

    Args:
        means: in 2**-16.
        deviations, steps: their logarithms, in 64ths.
    """
    relative = np.clip(deviations - steps, -FARTHEST, FARTHEST)
    scale = np.clip(((relative + 4) >> (LOG_BITS - 3)) + SCALE_ONE, 0, SCALES - 1)
    clipped = np.clip(means, -MOST, MOST)
    sixteenths = scaled(clipped, np.clip(-steps, -FARTHEST, FARTHEST), MEAN_BITS - VALUE_BITS)
    most = _MOST_SHIFT << MEAN_BITS
    sixteenths = np.clip(sixteenths, -most, most)
    return scale * _FRACTIONS + (sixteenths & (_FRACTIONS - 1)), sixteenths >> MEAN_BITS


@cache
def tables() -> _core.SymbolTables:
    """One for each deviation and each sixteenth of a mean."""
    assert SCALE_STEPS == 8
    found = []
    for scale, reach in enumerate(reaches().tolist()):
        edges = np.arange(-reach, reach + 3)
        for fraction in range(_FRACTIONS):
            distance = ((2 * edges - 1) << (MEAN_BITS - 1)) - fraction
            below = mass_below(distance, np.array(scale))
            found.append((-reach, bounds_of(below)))
    return _core.SymbolTables(found)
