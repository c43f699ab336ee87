"""The normal distribution in integers: the same on every machine.

Its density at `t = j / 256` follows from that at `j - 1` by a factor that itself shrinks by a
constant one; its mass is the sum by the trapezoidal rule. All of it is integer arithmetic
(docs/bitstream.md, "The normal distribution").
"""

from __future__ import annotations

from functools import cache
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

STEPS = 256  # samples of the density per standard deviation
FARTHEST = 8  # standard deviations; beyond them there is nothing
STEP_BITS = 24  # of a distance's fraction, in steps
MASS_BITS = 32  # of a mass
MEAN_BITS = 4  # means are in sixteenths
WEIGHT_BITS = 12  # of a mixture's weights

REACH_FOURTHS = 17  # standard deviations that have symbols, in fourths; what is beyond escapes

SCALES = 83
SCALE_ONE = 26  # the index of standard deviation 1
SCALE_STEPS = 8  # indices per octave
_FIRST = 18446603336758065834  # floor(2**64 exp(-1 / 2**17))
_SHRINK = 18446462600880313685  # floor(2**64 exp(-1 / 2**16))


def standard_deviation(index: float | NDArray[Any]) -> NDArray[np.float64]:
    """Of a scale's index: 0.105 for 0, 1 for 26, 128 for 82."""
    return np.exp2((np.asarray(index, np.float64) - SCALE_ONE) / SCALE_STEPS)


def scale_thresholds(bits: int) -> NDArray[np.int64]:
    """`[SCALES - 1]`: from which standard deviation on, in 2**-bits, an index is the next one.

    They are the geometric means of two neighbours' deviations, rounded down: sixteenth roots of
    powers of two, by four integer square roots.
    """
    powers = (2 * i + 1 - 2 * SCALE_ONE + 16 * bits for i in range(SCALES - 1))
    return np.array([_sixteenth_root(power) for power in powers])


def _sixteenth_root(power: int) -> int:
    if power < 0:
        return 0
    return isqrt(isqrt(isqrt(isqrt(1 << power))))


@cache
def reaches() -> Integers:
    """`[SCALES]`: REACH standard deviations in whole samples, rounded up."""
    found, reach = [], 1
    for index in range(SCALES):
        octaves = index - SCALE_ONE  # in eighths
        least = REACH_FOURTHS**8 << max(octaves, 0)
        while (4 * reach) ** 8 << max(-octaves, 0) < least:
            reach += 1
        found.append(reach)
    return np.array(found)


@cache
def inverse_scales() -> Integers:
    """`[SCALES]`: steps that a sixteenth of a sample is, in 2**-STEP_BITS, rounded down."""
    # 2**((SCALE_ONE - i) / 8) * STEPS * 2**STEP_BITS / 16
    powers = (2 * (SCALE_ONE - i) + 16 * (8 + STEP_BITS - MEAN_BITS) for i in range(SCALES))
    return np.array([_sixteenth_root(power) for power in powers])


@cache
def _masses() -> Integers:
    """Of everything below `j / STEPS` standard deviations above the mean, in 2**-MASS_BITS."""
    density, factor = 1 << 64, _FIRST
    total, sums = 0, [0]
    for _ in range(FARTHEST * STEPS):
        following = density * factor >> 64
        factor = factor * _SHRINK >> 64
        total += density + following
        sums.append(total)
        density = following
    half = 1 << (MASS_BITS - 1)
    return np.array([half + s * half // total for s in sums])


def mass_of_steps(halves: NDArray[np.integer]) -> Integers:
    """The mass below so many halves of a step, 1 / (2 * STEPS) standard deviations: in 2**-32."""
    masses = _masses()
    at = np.minimum(np.abs(halves.astype(np.int64)), 2 * FARTHEST * STEPS - 1)
    step, odd = at >> 1, at & 1
    above = masses[step] + ((masses[step + 1] - masses[step]) * odd >> 1)
    result: Integers = np.where(halves < 0, (1 << MASS_BITS) - above, above)
    return result


def mass_below(distance: NDArray[np.integer], index: NDArray[np.integer]) -> Integers:
    """The normal distribution's mass below so many sixteenths above its mean, in 2**-32.

    Args:
        distance: sixteenths of a sample, either sign; |distance| < 2**24.
        index: of the scale, 0…SCALES - 1; broadcast against `distance`.
    """
    masses = _masses()
    # Between two steps the mass is a straight line.
    at = np.abs(distance.astype(np.int64)) * inverse_scales()[index]
    at = np.minimum(at, (FARTHEST * STEPS << STEP_BITS) - 1)
    step, rest = at >> STEP_BITS, at & ((1 << STEP_BITS) - 1)
    above = masses[step] + ((masses[step + 1] - masses[step]) * rest >> STEP_BITS)
    result: Integers = np.where(distance < 0, (1 << MASS_BITS) - above, above)
    return result
