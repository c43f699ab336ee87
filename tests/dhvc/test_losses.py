"""Hierarchical streams in part: scales left out, lost, and resynchronised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import vireo
from tests.dhvc.streams import FRAMES, frames_of, packets
from vireo.cli import main
from vireo.errors import UsageError
from vireo.stream.losses import read_losses


def test_fewer_scales_are_a_preview(streams: Mapping[str, Path], tmp_path: Path) -> None:
    """Of a model without auxiliary refinement, all frames have as many scales."""
    whole, report = frames_of(streams["small-parallel"], tmp_path / "a.y4m")
    assert report.partial == {}
    again, report = frames_of(streams["small-parallel"], tmp_path / "b.y4m", scales=4)
    assert report.partial == {}
    for scales in (1, 2, 3):
        part, report = frames_of(streams["small-parallel"], tmp_path / "c.y4m", scales=scales)
        assert report.partial == dict.fromkeys(range(FRAMES), scales)
        assert len(part) == FRAMES
        assert not np.array_equal(part[-1][0], whole[-1][0])
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(whole, again, strict=True))
    with pytest.raises(UsageError, match="at least one"):
        vireo.decode(streams["small"], tmp_path / "d.y4m", scales=0)


def test_a_loss_lasts_until_the_next_key_frame(streams: Mapping[str, Path], tmp_path: Path) -> None:
    whole, _ = frames_of(streams["small-parallel"], tmp_path / "a.y4m")
    part, report = frames_of(streams["small-parallel"], tmp_path / "b.y4m", drop="2:4,4:3")
    assert report.partial == {2: 3, 3: 3, 4: 2, 5: 2}
    same = [np.array_equal(a[0], b[0]) for a, b in zip(whole, part, strict=True)]
    assert same == [True, True, False, False, False, False, True, True]
    # Where features of the picture before are referred to, no scale is of use behind a loss.
    _, report = frames_of(streams["small"], tmp_path / "b.y4m", drop="2:4,4:3")
    assert report.partial == {2: 3, 3: 0, 4: 0, 5: 0}


@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_a_loss_ends_where_its_scales_are_resynchronised(
    model: str, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    asked: list[int] = []

    def feedback(frame: int) -> int | None:
        asked.append(frame)
        return 3 if frame == 4 else None

    source = folder / "source.y4m"
    vireo.encode(source, target, codec="dhvc", model=model, gop_size=7, resync=feedback)
    assert asked == list(range(1, FRAMES))
    assert vireo.verify(target).frames == FRAMES
    kinds = [0, 1, 6, 7] if model == "small-parallel" else [4, 5, 6, 7]
    frames, _ = packets(target)
    assert [s.kind for s in frames[4].sections] == kinds
    _, report = frames_of(target, tmp_path / "a.y4m", drop="2:3")
    last = 2 if model == "small-parallel" else 0
    assert report.partial == {2: 2, 3: last}
    # A loss of a lower scale, or behind it, is not mended.
    _, report = frames_of(target, tmp_path / "a.y4m", drop="5:4")
    assert set(report.partial) == {5, 6, 7}
    again = tmp_path / "again.mkv"
    vireo.encode(source, again, codec="dhvc", model=model, gop_size=7, resync="4:3")
    assert packets(again)[0] == frames


@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_all_scales_can_be_resynchronised(
    model: str, streams: Mapping[str, Path], folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    source = folder / "source.y4m"
    vireo.encode(source, target, codec="dhvc", model=model, gop_size=7, resync="4-5:2,4:1")
    frames, _ = packets(target)
    assert [s.kind for s in frames[4].sections] == [4, 5, 6, 7]
    assert [s.kind for s in frames[5].sections][1:] == [5, 6, 7]
    _, report = frames_of(target, tmp_path / "a.y4m", drop="2:2")
    assert report.partial == {2: 1, 3: 1 if model == "small-parallel" else 0}
    assert vireo.verify(target).frames == FRAMES


@pytest.mark.parametrize("answer", [0, 5, -1, "3"])
def test_an_answer_that_is_no_scale_is_refused(
    answer: object, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"frame 1 can't .* from scale {answer!r} on"):
        vireo.encode(
            folder / "source.y4m",
            tmp_path / "out.mkv",
            codec="dhvc",
            frames=3,
            resync=lambda frame: answer,
        )


def test_an_encode_with_feedback_starts_afresh(folder: Path, tmp_path: Path) -> None:
    asked: list[int] = []
    fails = True

    def feedback(frame: int) -> int | None:
        asked.append(frame)
        if fails and frame == 4:
            raise RuntimeError("the receiver is gone")
        return None

    def encode() -> vireo.api.EncodeReport:
        target = tmp_path / "out.mkv"
        return vireo.encode(
            folder / "source.y4m", target, codec="dhvc", gop_size=7, threads=1, resync=feedback
        )

    with pytest.raises(RuntimeError, match="gone"):
        encode()
    assert asked == [1, 2, 3, 4]
    fails = False
    assert encode().resumed == 0
    assert asked[4:] == list(range(1, FRAMES))
    assert not list(tmp_path.glob("*.vireo-journal"))


@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_any_loss_leaves_a_picture_for_every_frame(
    model: str, streams: Mapping[str, Path], tmp_path: Path
) -> None:
    """And what is used of each is what the losses leave of use."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        kept = [int(rng.integers(1, 4)) if rng.random() < 0.3 else 4 for _ in range(FRAMES)]
        drop = ",".join(f"{frame}:{n + 1}" for frame, n in enumerate(kept) if n < 4)
        used: list[int] = []
        for frame, n in enumerate(kept):
            before = used[-1] if frame % 6 else 4  # GOPs are of six frames
            if model == "small" and before < 4:
                before = 0
            used.append(min(n, before))
        part, report = frames_of(streams[model], tmp_path / "a.y4m", drop=drop)
        assert len(part) == FRAMES
        assert report.partial == {frame: n for frame, n in enumerate(used) if n < 4}


def test_the_command_says_what_is_missing(streams: Mapping[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "a.y4m"
    command = ["decode", str(streams["small-parallel"]), str(target), "--drop", "2:4,4-5:3"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "frames 2-3 (3 used), 4-5 (2 used)" in done.output
    command[-1] = "4"
    done = CliRunner().invoke(main, [*command, "--overwrite"])
    assert done.exit_code == 2
    assert "'4' is no loss" in done.output


@pytest.mark.parametrize("text", ["5", "a:2", "5:1", "5:0", "7-3:2", "0-99999999:2", "1:2;3:2"])
def test_losses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"lost|no loss"):
        read_losses(text)
