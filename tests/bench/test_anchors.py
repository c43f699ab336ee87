"""Anchors make the streams that ffmpeg makes by hand."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.clips import moving, write_y4m
from vireo.bench import stages
from vireo.bench.anchors import (
    ANCHORS,
    Anchor,
    AnchorError,
    anchor_named,
    ffmpeg_binary,
    run_anchor,
)
from vireo.bench.clips import Clip
from vireo.bench.elementary import decode, encoder_version, remarks, units
from vireo.bench.process import Stage
from vireo.errors import UsageError

FRAMES = 9
COMPARABLE = tuple(name for name in ANCHORS if not name.startswith("svtav1"))


def by_hand(anchor: Anchor, clip: Path, target: Path, value: float) -> bytes:
    """What the printed command gives, typed into imageio-ffmpeg's ffmpeg."""
    binary = ffmpeg_binary()
    if binary is None:
        pytest.skip("imageio-ffmpeg is not installed")
    command = anchor.command(clip, target, value, frames=FRAMES, threads=1)
    assert command[0] == "ffmpeg"
    subprocess.run([binary, "-nostdin", "-y", *command[1:]], check=True, capture_output=True)
    return target.read_bytes()


def in_run(anchor: Anchor, clip: Path, folder: Path, value: float) -> bytes:
    """What a run gives."""
    opened = Clip.open(clip, FRAMES, folder)
    opened.prepare()
    target = folder / f"run.{anchor.encoder.muxer}"
    Stage().run(stages.encode_anchor, anchor, value, opened, target, 1)
    return target.read_bytes()


def check(name: str, clip: Path, folder: Path) -> None:
    anchor = ANCHORS[name]
    ours = in_run(anchor, clip, folder, 32)
    theirs = by_hand(anchor, clip, folder / f"hand.{anchor.encoder.muxer}", 32)
    muxer = anchor.encoder.muxer
    if encoder_version(ours) == encoder_version(theirs):
        assert ours == theirs
    else:
        # Another release of x265 names itself otherwise, and says more of its settings.
        def coded(data: bytes) -> list[bytes]:
            return [unit for unit in units(data) if not remarks(unit, muxer)]

        assert coded(ours) == coded(theirs)


@pytest.mark.parametrize("name", COMPARABLE)
def test_stream_equals_ffmpeg_by_hand(name: str, clips: Path, tmp_path: Path) -> None:
    check(name, clips / "carphone_176x144_97f.mkv", tmp_path)


@pytest.mark.parametrize("name", ["x264-coolchic-random-access", "x265-coolchic-low-delay"])
def test_stream_equals_ffmpeg_by_hand_without_colour(
    name: str, clips: Path, tmp_path: Path
) -> None:
    check(name, clips / "film_cut_176x144_49f.mkv", tmp_path)


@pytest.mark.parametrize("name", ["svtav1-8", "svtav1-4"])
def test_svt_av1_takes_its_settings(name: str, clips: Path, tmp_path: Path) -> None:
    # No second build of the same release is at hand, and its streams name no settings.
    clip = clips / "carphone_176x144_97f.mkv"
    ours = in_run(ANCHORS[name], clip, tmp_path, 40)
    assert len(ours) < len(in_run(ANCHORS[name], clip, tmp_path, 32))
    theirs = by_hand(ANCHORS[name], clip, tmp_path / "hand.obu", 40)
    assert abs(len(ours) / len(theirs) - 1) < 0.05
    other = ANCHORS["svtav1-4" if name == "svtav1-8" else "svtav1-8"]
    assert ours != in_run(other, clip, tmp_path, 40)


def test_papers_settings_are_in_the_stream(tmp_path: Path) -> None:
    clip = write_y4m(tmp_path / "clip.y4m", moving(64, 48, FRAMES))

    def said(name: str) -> set[str]:
        data = in_run(ANCHORS[name], clip, tmp_path, 30)
        match = re.search(rb"options: ([ -~]+)", data)
        assert match
        return set(match[1].decode().split())

    assert {"keyint=64", "rc=crf", "crf=30.0", "psy=0", "bframes=3"} <= said(
        "x264-coolchic-random-access"
    )
    assert {"keyint=64", "bframes=0"} <= said("x264-coolchic-low-delay")
    assert {"keyint=12", "rc=cqp", "qp=30", "bframes=0"} <= said("x264-codebook-qp")
    assert {"keyint=12", "keyint_min=7", "subme=10", "bframes=0"} <= said("x264-insta-low-delay")
    assert {"keyint=250", "subme=10", "bframes=8"} <= said("x264-insta-default")
    assert {"keyint=32", "rc=cqp", "qp=30", "bframes=0", "rd=6"} <= said("x265-dhvc")
    assert {"keyint=250", "rd=6", "rc=crf"} <= said("x265-nvrc")


def test_every_anchor_prints_its_command(clips: Path) -> None:
    for anchor in ANCHORS.values():
        command = anchor.command("in.mkv", "out", 30, frames=5, threads=3)
        text = shlex.join(command)
        assert f"-c:v {anchor.encoder.name}" in text
        assert "30" in text
        assert "-frames:v 5" in text
        assert "-threads 3" in text


def test_rate_value_follows_lambda() -> None:
    x264, svt = ANCHORS["x264-coolchic-low-delay"], ANCHORS["svtav1-8"]
    # 0.85 * 2^((q - 12) / 3) at q = 30, for samples in 0 … 1.
    assert x264.value_of_lambda(0.85 * 2**6 / 255**2) == pytest.approx(30)
    values = [svt.value_of_lambda(10**-e) for e in range(7)]
    assert values == sorted(values, reverse=True)
    assert all(value == int(value) for value in values)


def test_unknown_anchor_is_refused() -> None:
    with pytest.raises(UsageError, match="no anchor 'x266'"):
        anchor_named("x266")


def test_encoder_failure_is_an_error(tmp_path: Path) -> None:
    clip = Clip.open(write_y4m(tmp_path / "clip.y4m", moving(64, 48, 2)), None, tmp_path)
    frames = moving(64, 48, 2)
    target = tmp_path / "absent" / "out.h264"
    with pytest.raises(AnchorError, match="x264-codebook-crf"):
        run_anchor(ANCHORS["x264-codebook-crf"], 30, frames, clip.format, target, 1)


@pytest.mark.parametrize("name", ["x264-insta-default", "svtav1-8", "vvenc-medium"])
def test_pictures_meet_their_packets(name: str, tmp_path: Path) -> None:
    """A still clip with one bright frame: the packet of that frame is the large one."""
    frames = [moving(64, 64, 1)[0]] * 8
    frames[5] = moving(64, 64, 12)[11]
    clip = write_y4m(tmp_path / "clip.y4m", frames)
    anchor = ANCHORS[name]
    if not anchor.is_available():
        pytest.skip("imageio-ffmpeg is not installed")
    path = tmp_path / f"run.{anchor.encoder.muxer}"
    in_run(anchor, clip, tmp_path, 20)
    coded = [picture for picture, _ in decode(path)]
    assert len(coded) == len(frames)
    assert sum(p.size for p in coded) == path.stat().st_size
    largest = sorted(range(8), key=lambda i: -coded[i].size)[:2]
    assert 5 in largest
