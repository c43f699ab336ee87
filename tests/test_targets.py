"""The search for a target over smooth and awkward measures."""

from __future__ import annotations

import math

import pytest

from vireo.targets import Goal, search


@pytest.mark.parametrize("target", [24.0, 31.0, 34.5, 38.0])
@pytest.mark.parametrize("slope", [-1.8, -2.2, -3.5])
def test_psnr_is_met_in_a_few_trials(target: float, slope: float) -> None:
    def measure(lambda_: float) -> float:
        x = math.log(lambda_)
        return 20 + slope * x + 0.02 * x * x * slope / abs(slope)

    outcome = search(Goal.psnr(target), 1e-3, measure)
    assert outcome.met
    assert abs(measure(outcome.lambda_) - target) <= 0.1
    assert outcome.trials <= 7


def test_bit_rate_with_a_step_is_met_or_said_to_be_missed() -> None:
    """A rate that jumps over the target leaves the nearest trial, not an endless search."""

    def measure(lambda_: float) -> float:
        return math.log(90e3) if lambda_ > 2e-3 else math.log(130e3)

    outcome = search(Goal.bit_rate(100e3), 1e-3, measure)
    assert not outcome.met
    assert outcome.measured == math.log(90e3)


def test_a_target_out_of_reach_ends_at_the_edge() -> None:
    outcome = search(Goal.psnr(90), 1e-3, lambda lambda_: 20 - 2 * math.log(lambda_))
    assert not outcome.met
    assert outcome.lambda_ < 1e-5
