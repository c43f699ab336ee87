"""Frames side by side: every frame after its references, and the same packets as one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import vireo
from tests.clips import moving, write_y4m
from vireo.codecs.base import Planes
from vireo.codecs.encoding import FrameReport
from vireo.codecs.order import Task, TaskQueue
from vireo.errors import InputError, VireoError
from vireo.gop import GopStructure, plan_gop
from vireo.video import Frame, VideoSource

FRAME = moving(8, 8, 1)[0]


def gop(structure: str, frames: int, first: int = 0) -> list[Task]:
    plan = plan_gop(GopStructure(structure), frames)
    return [Task(p, FRAME, first, place, None) for place, p in enumerate(plan)]  # type: ignore[arg-type]


def picture(index: int) -> Planes:
    return tuple(np.full((1, 1), index, np.uint8) for _ in range(3))  # type: ignore[return-value]


@pytest.mark.parametrize("threads", [1, 2, 5, 16])
@pytest.mark.parametrize("structure", ["random-access", "low-delay", "intra"])
def test_every_frame_comes_after_its_references(structure: str, threads: int) -> None:
    rng = random.Random(threads)
    frames = 1 if structure == "intra" else 9
    gops = [gop(structure, frames, first) for first in range(0, 3 * frames, frames)]
    queue = TaskQueue(iter(gops))
    free, running, seen = threads, [], []
    while True:
        for task, share in queue.start(free, threads):
            assert share >= 1
            wanted = [task.first + r for r in task.planned.references]
            assert [int(planes[0][0, 0]) for planes in task.references] == wanted
            free -= share
            running.append((task, share))
        assert free >= 0
        if not running:
            break
        task, share = running.pop(rng.randrange(len(running)))
        free += share
        queue.finish(task, picture(task.index))
        seen.append(task.index)
    assert sorted(seen) == list(range(3 * frames))
    assert not queue._decoded  # nothing is kept that nobody needs


def test_frames_of_a_level_share_the_threads() -> None:
    queue = TaskQueue(iter([gop("random-access", 5)]))
    (first,) = queue.start(8, 8)
    assert first[1] == 8
    queue.finish(first[0], picture(0))
    for _ in range(2):  # the far reference, then the frame in the middle
        ((task, share),) = queue.start(8, 8)
        assert share == 8
        queue.finish(task, picture(task.index))
    assert [(t.index, share) for t, share in queue.start(8, 8)] == [(1, 4), (3, 4)]


def test_no_more_frames_are_started_than_may_run() -> None:
    queue = TaskQueue(iter([gop("random-access", 9), gop("random-access", 9, 9)]))
    started = queue.start(16, 2)
    assert [share for _, share in started] == [8, 8]
    assert queue.start(8, 0) == []


def test_the_next_gop_is_opened_when_this_one_must_wait() -> None:
    opened = []

    def gops() -> Iterator[list[Task]]:
        for first in (0, 5, 10):
            opened.append(first)
            yield gop("low-delay", 5, first)

    queue = TaskQueue(gops())
    assert [t.index for t, _ in queue.start(2, 2)] == [0, 5]
    assert opened == [0, 5]
    assert queue.start(0, 2) == []


def test_a_broken_input_is_told_after_the_frames_before_it() -> None:
    def gops() -> Iterator[list[Task]]:
        yield gop("intra", 1)
        raise InputError("broken")

    queue = TaskQueue(gops())
    ((task, _),) = queue.start(4, 4)
    assert task.index == 0
    assert isinstance(queue.failure, VireoError)


OPTIONS = {"preset": "ultrafast", "gop_size": 4, "quality": 40}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_y4m(tmp_path_factory.mktemp("order") / "in.y4m", moving(32, 24, 12))


@pytest.fixture(scope="module")
def whole(source: Path) -> bytes:
    """What four threads make of it."""
    target = source.with_name("whole.mkv")
    vireo.encode(source, target, threads=4, **OPTIONS)
    return target.read_bytes()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads_gives_the_same_file(
    threads: int, source: Path, whole: bytes, tmp_path: Path
) -> None:
    vireo.encode(source, tmp_path / "out.mkv", threads=threads, **OPTIONS)
    assert (tmp_path / "out.mkv").read_bytes() == whole


def test_frames_finished_out_of_turn_are_kept(source: Path, whole: bytes, tmp_path: Path) -> None:
    """A run that ends amid a GOP leaves every finished frame, whatever its place."""

    class Stop(Exception):
        pass

    def stop(event: object) -> None:
        if isinstance(event, FrameReport) and event.index == 2:
            raise Stop

    target = tmp_path / "out.mkv"
    with pytest.raises(Stop):
        vireo.encode(source, target, threads=4, listener=stop, **OPTIONS)
    reports: list[FrameReport] = []

    def listen(event: object) -> None:
        if isinstance(event, FrameReport):
            reports.append(event)

    report = vireo.encode(source, target, threads=1, listener=listen, **OPTIONS)
    assert report.resumed >= 3
    assert sum(r.seconds == 0 for r in reports) == report.resumed
    assert target.read_bytes() == whole


def test_damage_in_the_input_keeps_the_gops_before_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = VideoSource.__iter__

    def damaged(video: VideoSource) -> Iterator[Frame]:
        yield from islice(whole(video), 7)
        raise InputError("frame 7 is damaged")

    monkeypatch.setattr(VideoSource, "__iter__", damaged)
    done: list[int] = []

    def listen(event: object) -> None:
        if isinstance(event, FrameReport):
            done.append(event.index)

    with pytest.raises(InputError, match="frame 7"):
        vireo.encode(source, tmp_path / "out.mkv", threads=4, listener=listen, **OPTIONS)
    assert sorted(done) == list(range(5))
