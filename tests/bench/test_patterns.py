"""Patterns of motion: each changes the picture as it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.clips import moving, write_y4m
from vireo.bench.patterns import FRAMES, PATTERNS, animated
from vireo.cli import main
from vireo.video import Frame, open_source


@pytest.fixture(scope="module")
def still() -> Frame:
    """With some detail, so that it can be blurred."""
    smooth = moving(96, 64, 1)[0]
    grain = np.random.default_rng(0).integers(-20, 21, smooth.y.shape)
    return replace(smooth, y=(smooth.y + grain).clip(0, 255).astype(np.uint8))


def detail(plane: np.ndarray) -> float:
    return float(np.abs(np.diff(plane.astype(float), axis=1)).mean())


def run(still: Frame, pattern: str) -> list[Frame]:
    frames = list(animated(still, pattern))
    assert len(frames) == FRAMES
    assert [f.pts for f in frames] == list(range(FRAMES))
    assert all((f.width, f.height, f.u.shape) == (96, 64, (32, 48)) for f in frames)
    return frames


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if p != "pulse"])
def test_a_pattern_starts_with_the_still_and_leaves_it(still: Frame, pattern: str) -> None:
    frames = run(still, pattern)
    for ours, theirs in zip(frames[0].planes, still.planes, strict=True):
        assert np.array_equal(ours, theirs)
    assert np.abs(frames[-1].y.astype(int) - still.y).mean() > 3


def test_patterns_do_what_they_are_called(still: Frame) -> None:
    light, dark, pulse = (run(still, p) for p in ("lighten", "darken", "pulse"))
    means = [np.mean([f.y.mean() for f in frames[16:]]) for frames in (light, dark)]
    assert means[0] > still.y.mean() * 1.2
    assert means[1] < still.y.mean() * 0.5
    assert abs(dark[31].u.mean() - 128) < abs(still.u.mean() - 128) + 2
    levels = [f.y.mean() for f in pulse]
    assert all(levels[i + 1] > levels[i] + 10 for i in range(0, FRAMES, 2))
    assert np.array_equal(pulse[0].y, pulse[2].y)
    assert detail(run(still, "sharpen")[-1].y) > 1.1 * detail(still.y)
    assert detail(run(still, "blur")[-1].y) < 0.8 * detail(still.y)
    fade = run(still, "fade")[16].y.astype(float)
    assert np.allclose(fade, (still.y.astype(float) + still.y[::-1, ::-1]) / 2, atol=1)
    assert detail(run(still, "zoom")[-1].y) < 0.8 * detail(still.y)


def test_shaking_is_by_whole_samples_of_the_still(still: Frame) -> None:
    for frame in run(still, "shake")[1:6]:
        inner = frame.y[24:40, 24:72].astype(int)
        found = [
            (y, x)
            for y in range(-20, 21)
            for x in range(-20, 21)
            if np.array_equal(inner, still.y[24 + y : 40 + y, 24 + x : 72 + x])
        ]
        assert len(found) == 1


def test_the_command_writes_clips(tmp_path: Path) -> None:
    source = write_y4m(tmp_path / "still.y4m", moving(96, 64, 1))
    done = CliRunner().invoke(main, ["bench", "patterns", str(source), str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert done.output.split() == [str(tmp_path / f"still_{p}_96x64_32f.mkv") for p in PATTERNS]
    with open_source(tmp_path / "still_blur_96x64_32f.mkv") as video:
        frames = list(video)
    assert len(frames) == FRAMES
    assert np.array_equal(frames[0].y, moving(96, 64, 1)[0].y)
    command = ["bench", "patterns", str(source), str(tmp_path), "--size", "64x96"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "no part of 64x96" in done.output
