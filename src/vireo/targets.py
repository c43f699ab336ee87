"""Meets a quality or a rate: whole encodes at different lambdas until one is close enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count

MAX_TRIALS = 10
LAMBDA_RANGE = (1e-6, 1.0)
# Of lambda's logarithm. What two trials closer than that differ by is chance: of small pictures
# up to half a dB.
LEAST_STEP = 0.03
# How the logarithm of lambda moves the two measures, until two trials tell: typical slopes.
PSNR_SLOPE = -2.2  # dB
RATE_SLOPE = -0.6  # of the rate's logarithm


@dataclass(frozen=True)
class Goal:
    """What a file shall measure.

    Attributes:
        value: dB, or the natural logarithm of bits per second.
        tolerance: how far from it is close enough, in the same unit.
        slope: typical change of the measure per change of lambda's natural logarithm.
    """

    value: float
    tolerance: float
    slope: float

    @staticmethod
    def psnr(decibels: float) -> Goal:
        """Within 0.1 dB."""
        return Goal(decibels, 0.1, PSNR_SLOPE)

    @staticmethod
    def bit_rate(bits_per_second: float) -> Goal:
        """Within 5 %."""
        return Goal(math.log(bits_per_second), math.log(1.05), RATE_SLOPE)


@dataclass(frozen=True)
class Outcome:
    """The trial that came nearest.

    Attributes:
        lambda_: its lambda.
        measured: its measure, in the goal's unit.
        met: whether that is within the tolerance.
        trials: how many were made.
    """

    lambda_: float
    measured: float
    met: bool
    trials: int


def search(goal: Goal, start: float, measure: Callable[[float], float]) -> Outcome:
    """Look for the lambda whose `measure` meets the goal, from `start` on.

    Both measures fall as lambda rises. Each step goes where the line through the two trials
    nearest to the goal meets it, but stays inside the bracket known so far, until that is too
    small to tell.
    """
    lowest, highest = low, high = tuple(math.log(x) for x in LAMBDA_RANGE)
    at = min(max(math.log(start), low), high)
    trials: dict[float, float] = {}
    while True:
        trials[at] = measure(math.exp(at))
        error = trials[at] - goal.value
        ranked = sorted(trials, key=lambda x: abs(trials[x] - goal.value))
        best = ranked[0]
        met = abs(trials[best] - goal.value) <= goal.tolerance
        if met or len(trials) == MAX_TRIALS:
            return Outcome(math.exp(best), trials[best], met, len(trials))
        if error > 0:
            low = max(low, at)  # better or larger than asked for: lambda must rise
        else:
            high = min(high, at)
        if high - low < LEAST_STEP:
            if low == lowest or high == highest:  # it is out of reach
                return Outcome(math.exp(best), trials[best], met, len(trials))
            at = min(max(_beside(best, trials), lowest), highest)
            continue
        slope = goal.slope
        if len(ranked) > 1:
            rise = trials[ranked[1]] - trials[best]
            slope = min(rise / (ranked[1] - best), goal.slope / 8)
        at = best - (trials[best] - goal.value) / slope
        # A step to the very edge of the bracket would learn nothing.
        margin = 0.2 * (high - low) if len(trials) > 2 else 0.05 * (high - low)
        at = min(max(at, low + margin), high - margin)


def _beside(best: float, trials: Collection[float]) -> float:
    """The nearest place to the best trial that is no step from any: there, chance decides."""
    steps = (sign * LEAST_STEP * n for n in count(1) for sign in (1, -1))
    return next(
        best + step
        for step in steps
        if all(abs(best + step - other) > 0.9 * LEAST_STEP for other in trials)
    )
