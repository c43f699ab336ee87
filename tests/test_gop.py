from __future__ import annotations

import pytest

from vireo.gop import FrameType, GopStructure, gop_frames, held_pictures, plan_gop

STRUCTURES = list(GopStructure)
LENGTHS = [1, 2, 3, 4, 5, 9, 17, 20, 33]


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize("interval", [None, 1, 4, 8])
def test_references_are_there_when_they_are_needed(
    structure: GopStructure, frames: int, interval: int | None
) -> None:
    kept: set[int] = set()
    seen: list[int] = []
    for frame in plan_gop(structure, frames, interval):
        assert set(frame.references) <= kept
        assert len(frame.references) <= FrameType.B
        seen.append(frame.display_index)
        kept.add(frame.display_index)
        assert set(frame.released) <= kept
        kept -= set(frame.released)
    assert sorted(seen) == list(range(frames))
    assert seen[0] == 0
    assert not kept, "the last frames in coding order release everything"


def test_low_delay_keeps_every_fourth_frame_as_a_second_reference() -> None:
    plan = plan_gop(GopStructure.LOW_DELAY, 10, 4)
    assert [f.display_index for f in plan] == list(range(10))
    assert [f.references for f in plan] == [
        (),
        (0,),
        (1, 0),
        (2, 0),
        (3, 0),
        (4, 0),
        (5, 4),
        (6, 4),
        (7, 4),
        (8, 4),
    ]


@pytest.mark.parametrize("frames", LENGTHS[2:])
def test_b_frames_lie_between_their_references(frames: int) -> None:
    plan = plan_gop(GopStructure.RANDOM_ACCESS, frames)
    assert [len(f.references) for f in plan] == [0, 1] + [2] * (frames - 2)
    for frame in plan[2:]:
        past, future = frame.references
        assert past < frame.display_index < future


def test_the_paper_s_gop_has_33_frames_in_six_levels() -> None:
    plan = plan_gop(GopStructure.RANDOM_ACCESS, gop_frames(GopStructure.RANDOM_ACCESS, 32))
    assert len(plan) == 33
    level: dict[int, int] = {}
    for f in plan:
        level[f.display_index] = 1 + max((level[r] for r in f.references), default=-1)
    assert max(level.values()) == 6
    assert plan[2].display_index == 16


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("interval", [None, 4])
def test_a_longer_gop_holds_as_many_pictures_or_more(
    structure: GopStructure, interval: int | None
) -> None:
    """So that the header's bound, that of the longest GOP, holds for all."""
    held = [held_pictures(plan_gop(structure, n, interval)) for n in range(1, 150)]
    assert held == sorted(held)
    assert held[0] == 0
