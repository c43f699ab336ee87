"""Streams of dhvc on a GPU: the same samples, whatever the process allows there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vireo
from tests.clips import moving, write_y4m
from tests.cuda import PRECISIONS, caller_allows, needs_cuda
from tests.dhvc.streams import frames_of

STREAM = Path(__file__).parent / "shipped.mkv"


@needs_cuda
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_shipped_stream_decodes_to_the_same_samples(precision: str, tmp_path: Path) -> None:
    expected, _ = frames_of(STREAM, tmp_path / "a.y4m")
    with caller_allows(precision):
        found, report = frames_of(STREAM, tmp_path / "b.y4m", device="cuda", threads=4)
        assert vireo.verify(STREAM, device="cuda").frames == len(expected)
    assert report.frames == len(expected)
    assert all(
        np.array_equal(a, b)
        for x, y in zip(found, expected, strict=True)
        for a, b in zip(x, y, strict=True)
    )


@needs_cuda
@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_what_one_device_encodes_the_other_decodes(model: str, tmp_path: Path) -> None:
    source = write_y4m(tmp_path / "a.y4m", moving(150, 90, 6))
    reports = {}
    for device, other in (("cpu", "cuda"), ("cuda", "cpu")):
        target = tmp_path / f"{device}.mkv"
        reports[device] = vireo.encode(
            source, target, codec="dhvc", model=model, gop_size=2, device=device
        )
        assert vireo.verify(target, device=other).frames == 6
        assert vireo.verify(target, device=device).frames == 6
    cpu, cuda = reports["cpu"], reports["cuda"]
    # Symbols come of floats: some few may be others.
    assert cuda.video_size == pytest.approx(cpu.video_size, rel=0.05)
    assert cuda.psnr == pytest.approx(cpu.psnr, abs=0.2)
