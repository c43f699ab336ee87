"""Hierarchical pictures in stages: order, overlap, failures, and what is let go."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from tests.dhvc.streams import FRAMES, frames_of
from vireo.codecs.decoding import GopDecoder
from vireo.codecs.dhvc.coding import Walk
from vireo.container import MatroskaReader
from vireo.errors import MissingReferenceError, SyntaxElementError
from vireo.video.frame import Frame

Stage = tuple[int, int]
"""A frame's place in its GOP, and 0 … 3 for its scales, 4 for its picture."""
STAGES = [(frame, stage) for frame in range(6) for stage in range(5)]


@dataclass
class Tracer:
    """Stages as they start and end; `before` and `after` are called with each."""

    began: dict[Stage, int] = field(default_factory=dict)
    ended: dict[Stage, int] = field(default_factory=dict)
    before: Callable[[Stage], None] = lambda stage: None
    after: Callable[[Stage], None] = lambda stage: None
    _clock: Iterator[int] = field(default_factory=count)

    def run(self, stage: Stage, call: Callable[[], None]) -> None:
        self.began[stage] = next(self._clock)
        self.before(stage)
        call()
        self.ended[stage] = next(self._clock)
        self.after(stage)


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> Tracer:
    tracer = Tracer()
    make, scale, finish = Walk.__init__, Walk.scale, Walk.finish

    def made(self: Any, coder: Any, size: Any, reference: Any, *rest: Any) -> None:
        make(self, coder, size, reference, *rest)
        self.frame = 0 if reference is None else reference.frame + 1

    monkeypatch.setattr(Walk, "__init__", made)
    monkeypatch.setattr(
        Walk, "scale", lambda self, n: tracer.run((self.frame, n), partial(scale, self, n))
    )
    monkeypatch.setattr(
        Walk, "finish", lambda self: tracer.run((self.frame, 4), partial(finish, self))
    )
    return tracer


def decoded(path: Path, packets: int | None = None, **options: Any) -> tuple[list[Frame], Any, Any]:
    """Frames, the error behind them, and the decoder; fails where it hangs."""
    frames: list[Frame] = []
    errors: list[Exception] = []
    decoder = GopDecoder(**options)

    def run() -> None:
        try:
            with MatroskaReader(path) as file:
                frames.extend(decoder.decode(islice(file, packets)))
        except Exception as error:
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it hangs"
    return frames, errors[0] if errors else None, decoder


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_a_stage_waits_for_what_it_refers_to(
    model: str, threads: int, streams: Mapping[str, Path], tracer: Tracer
) -> None:
    frames, error, _ = decoded(streams[model], 6, threads=threads)
    assert error is None
    assert len(frames) == 6
    assert sorted(tracer.ended) == STAGES
    for frame, stage in STAGES:
        needed = [(frame, stage - 1)] if stage else []
        if frame and stage < 4:
            needed.append((frame - 1, 4 if model == "small" else stage))
        assert all(tracer.ended[n] < tracer.began[frame, stage] for n in needed)


def test_a_frame_starts_before_the_one_before_ends(
    streams: Mapping[str, Path], tracer: Tracer
) -> None:
    """Or two threads would gain nothing: frame 1 doesn't end before frame 2's third scale has."""
    passed = Event()

    def hold(stage: Stage) -> None:
        if stage == (1, 3):
            assert passed.wait(30)

    def let(stage: Stage) -> None:
        if stage == (2, 2):
            passed.set()

    tracer.before, tracer.after = hold, let
    frames, error, decoder = decoded(streams["small-parallel"], 6, threads=2)
    assert error is None
    assert len(frames) == decoder.verified == 6
    assert tracer.ended[2, 2] < tracer.ended[1, 3]


@pytest.mark.parametrize("failing", [0, 1, 4])
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_a_stage_that_fails_fails_its_picture_and_those_behind(
    model: str, threads: int, failing: int, streams: Mapping[str, Path], tracer: Tracer
) -> None:
    def fail(stage: Stage) -> None:
        if stage == (2, failing):
            raise SyntaxElementError("this stage fails")

    tracer.before = fail
    frames, error, _ = decoded(streams[model], threads=threads)
    assert len(frames) == 2
    assert isinstance(error, SyntaxElementError)
    assert error.packet == 2

    frames, error, decoder = decoded(streams[model], threads=threads, conceal=True)
    assert error is None
    assert len(frames) == FRAMES
    assert [type(e) for e in decoder.damage] == [SyntaxElementError, *3 * [MissingReferenceError]]
    assert [e.packet for e in decoder.damage] == [2, 3, 4, 5]
    assert decoder.concealed == 4
    assert decoder.verified == 4
    assert decoder.partial == {}


def test_an_error_that_is_no_damage_is_raised(streams: Mapping[str, Path], tracer: Tracer) -> None:
    def fail(stage: Stage) -> None:
        if stage == (2, 1):
            raise RuntimeError("no memory")

    tracer.before = fail
    for conceal in (False, True):
        frames, error, _ = decoded(streams["small-parallel"], threads=2, conceal=conceal)
        assert len(frames) == 2
        assert str(error) == "no memory"


@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_stages_give_what_one_after_another_gives(
    model: str, streams: Mapping[str, Path], tmp_path: Path
) -> None:
    """With losses too, which no hash covers."""
    for drop in ("", "2:4,4:3"):
        expected, _ = frames_of(streams[model], tmp_path / "a.y4m", threads=1, drop=drop)
        for threads in (2, 4):
            found, _ = frames_of(streams[model], tmp_path / "a.y4m", threads=threads, drop=drop)
            for ours, theirs in zip(found, expected, strict=True):
                assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_pictures_that_are_done_with_are_let_go(
    streams: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not when cycles are collected: they are large."""
    alive: weakref.WeakSet[Walk] = weakref.WeakSet()
    make = Walk.__init__

    def watched(self: Walk, *args: object, **named: object) -> None:
        make(self, *args, **named)  # type: ignore[arg-type]
        alive.add(self)

    monkeypatch.setattr(Walk, "__init__", watched)
    gc.collect()
    gc.disable()
    try:
        with MatroskaReader(streams["small-parallel"]) as file:
            count = sum(1 for _ in GopDecoder(threads=2).decode(file))
        assert count == FRAMES
        assert len(alive) <= 1
    finally:
        gc.enable()
