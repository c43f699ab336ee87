from __future__ import annotations

from types import SimpleNamespace

import pytest

from vireo.codecs.coolchic import budget
from vireo.codecs.coolchic.budget import RESERVE, TimeBudget


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(budget, "perf_counter", lambda: now[0])
    return now


def spend(clock, first: int, frames: int = 10, seconds: float = 100.0) -> float:
    """Time that frames `first` ... take, where a step takes 1 ms."""
    plan = TimeBudget(seconds, frames, samples=64)
    for index in range(first, frames):
        warm_up = 0.001 * plan.base.candidates * plan.base.warmup
        clock[0] += warm_up
        preset = plan.preset(SimpleNamespace(coding_index=index), 0.001, warm_up)
        clock[0] += 0.001 * (preset.main + preset.final)
    return clock[0]


def test_the_time_is_spent_and_not_more(clock) -> None:
    assert 100 * RESERVE < spend(clock, 0) < 100


def test_frames_that_an_earlier_run_left_had_their_share(clock) -> None:
    assert 40 * RESERVE < spend(clock, 6) < 40


def test_too_little_time_still_trains_a_little(clock) -> None:
    plan = TimeBudget(0.001, 10, samples=1 << 20)
    preset = plan.preset(SimpleNamespace(coding_index=0), 1.0, 40.0)
    assert (preset.main, preset.final) == (20, 20)
