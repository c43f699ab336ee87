from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from vireo.codecs.coolchic import budget
from vireo.codecs.coolchic.budget import RESERVE, TimeBudget
from vireo.codecs.coolchic.presets import LEAST_PROMISE
from vireo.gop import FrameType


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(budget, "perf_counter", lambda: now[0])
    return now


def frame(index: int, effort: float = 1) -> SimpleNamespace:
    return SimpleNamespace(coding_index=index, effort=effort, frame_type=FrameType(min(index, 2)))


def spend(
    clock,
    first: int,
    efforts: Sequence[float] = (1,) * 10,
    after: float = 0.0,
    promises: Sequence[float] = (1,) * 10,
) -> list[float]:
    """When frames `first` ... are done, where a step takes 1 ms and what follows `after` s."""
    plan = TimeBudget(100.0, len(efforts), samples=64, gop=len(efforts))
    ends = []
    for index, effort in list(enumerate(efforts))[first:]:
        warm_up = 0.001 * plan.base.candidates * plan.base.warmup
        clock[0] += warm_up
        job = frame(index, effort)
        preset = plan.preset(job, 0.001, warm_up, promises[index])
        clock[0] += 0.001 * (preset.main + preset.final) + after
        plan.settle(job, after)
        ends.append(clock[0])
    return ends


def test_the_time_is_spent_and_not_more(clock) -> None:
    assert 100 * RESERVE < spend(clock, 0)[-1] < 100


def test_frames_that_an_earlier_run_left_had_their_share(clock) -> None:
    assert 40 * RESERVE < spend(clock, 6)[-1] < 40


def test_a_frame_gets_time_by_its_effort(clock) -> None:
    ends = spend(clock, 0, (4, 2, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25))
    assert 100 * RESERVE < ends[-1] < 100
    assert ends[0] == pytest.approx(2 * (ends[1] - ends[0]), rel=0.15)
    assert ends[0] == pytest.approx(16 * (ends[-1] - ends[-2]), rel=0.5)


def test_frames_that_need_no_training_leave_their_time_to_others(clock) -> None:
    plan = TimeBudget(100.0, 10, samples=64, gop=10)
    for index in range(9):
        plan.skip(frame(index, effort=1.1))
    preset = plan.preset(frame(9, effort=0.1), 0.001, 0.0)
    assert 0.001 * (preset.main + preset.final) > 80


def test_a_last_frame_that_promises_little_has_what_is_left(clock) -> None:
    ends = spend(clock, 0, promises=(*(1,) * 9, LEAST_PROMISE))
    assert 100 * RESERVE < ends[-1] < 100


def test_intra_frames_to_come_have_their_share_before_one_is_known(clock) -> None:
    """After an interruption within a GOP, too."""
    plan = TimeBudget(100.0, 20, samples=64, gop=10, promise=0.2)
    preset = plan.preset(frame(1), 0.001, 0.0, 0.2)
    seconds = 0.001 * (preset.main + preset.final)
    assert seconds == pytest.approx(100 * 0.2 / (18 * 0.2 + 1), rel=0.2)


def test_a_frame_gets_time_by_what_it_promises(clock) -> None:
    promises = (1, *(0.2, 0.4) * 4, 0.2)
    ends = spend(clock, 0, promises=promises)
    times = [b - a for a, b in zip([0.0, *ends], ends, strict=False)]
    assert 100 * RESERVE < ends[-1] < 100
    assert times[2] == pytest.approx(2 * times[1], rel=0.25)
    assert times[8] == pytest.approx(2 * times[7], rel=0.25)


@pytest.mark.parametrize("after", [1.0, 5.0])
def test_what_follows_the_training_is_in_the_budget(clock, after: float) -> None:
    """Known from the second frame of a type on."""
    assert 100 * RESERVE < spend(clock, 0, after=after)[-1] < 100 + after


def test_too_little_time_still_trains_a_little(clock) -> None:
    plan = TimeBudget(0.001, 10, samples=1 << 20, gop=10)
    preset = plan.preset(frame(0), 1.0, 40.0)
    assert (preset.main, preset.final) == (20, 20)
