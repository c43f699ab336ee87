"""Hierarchical pictures in stages: order, overlap, failures, and what is let go."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.dhvc.streams import FRAMES, frames_of
from vireo.codecs.decoding import GopDecoder
from vireo.codecs.dhvc.coding import Walk
from vireo.container import MatroskaReader


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
