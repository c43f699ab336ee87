"""A point's figures are those that ffmpeg's own filters give by hand."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from vireo.bench import stages
from vireo.bench.anchors import ANCHORS, ffmpeg_binary
from vireo.bench.clips import Clip
from vireo.bench.process import Stage
from vireo.metrics.quality import MEASURES
from vireo.metrics.vmaf import vmaf_available

FRAMES = 5
PAIRED = f"[0:v]setpts=N/TB[a];[1:v]trim=end_frame={FRAMES},setpts=N/TB[b];[a][b]"


def ffmpeg(stream: Path, clip: Path, comparison: str) -> str:
    """What ffmpeg says of a stream beside its clip's first frames."""
    binary = ffmpeg_binary()
    assert binary
    command = [binary, "-nostdin", "-i", str(stream), "-i", str(clip)]
    command += ["-lavfi", PAIRED + comparison, "-f", "null", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr


@pytest.mark.parametrize("name", ["x264-insta-default", "x265-dhvc", "svtav1-8"])
@pytest.mark.parametrize("clip_name", ["carphone_176x144_97f", "mobile_calendar_352x288_30f"])
def test_quality_equals_ffmpeg_by_hand(
    clips: Path, tmp_path: Path, clip_name: str, name: str
) -> None:
    if not vmaf_available():
        pytest.skip("imageio-ffmpeg is not installed")
    anchor = ANCHORS[name]
    clip = Clip.open(clips / f"{clip_name}.mkv", FRAMES, tmp_path)
    clip.prepare()
    stream = tmp_path / f"out.{anchor.encoder.muxer}"
    Stage().run(stages.encode_anchor, anchor, 34, clip, stream, 1)
    measured = stages.measure(stream, clip, ("vmaf",), 1)

    said = ffmpeg(stream, clip.path, "psnr")
    match = re.search(r"PSNR y:([\d.]+) u:([\d.]+) v:([\d.]+)", said)
    assert match
    for plane, value in zip(("psnr-y", "psnr-u", "psnr-v"), match.groups(), strict=True):
        assert MEASURES[plane].of(measured.frames) == pytest.approx(float(value), abs=0.01)

    log = tmp_path / "vmaf.json"
    ffmpeg(
        stream,
        clip.path,
        f"libvmaf=model=version=vmaf_v0.6.1neg:log_fmt=json:log_path={log}",
    )
    mean = json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"]
    assert MEASURES["vmaf-neg"].of(measured.frames) == pytest.approx(mean, abs=0.01)
