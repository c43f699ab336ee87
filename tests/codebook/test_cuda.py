"""Streams of codebook on a GPU: about the same samples, in every precision."""

from __future__ import annotations

from pathlib import Path

import pytest

import vireo
from tests.clips import moving, write_y4m
from tests.cuda import PRECISIONS, caller_allows, needs_cuda
from tests.dhvc.streams import frames_of, packets
from vireo.codecs.base import Precision

STREAM = Path(__file__).parent / "shipped.mkv"


@needs_cuda
@pytest.mark.parametrize("caller", PRECISIONS)
@pytest.mark.parametrize("precision", list(Precision))
def test_the_shipped_stream_decodes_within_its_bound(
    precision: Precision, caller: str, tmp_path: Path
) -> None:
    """Half precisions are the device's own there, not those that the encoder tried."""
    expected, _ = frames_of(STREAM, tmp_path / "a.y4m")
    with caller_allows(caller):
        found, report = frames_of(
            STREAM, tmp_path / "b.y4m", precision=precision, device="cuda", threads=4
        )
        assert vireo.verify(STREAM, precision=precision, device="cuda").beyond == ()
    assert report.beyond == ()
    farthest = max(
        int(abs(a.astype(int) - b).max())
        for x, y in zip(found, expected, strict=True)
        for a, b in zip(x, y, strict=True)
    )
    bound = max(f.sections[1].data[0] for f in packets(STREAM)[0] if len(f.sections) == 2)
    limits = {Precision.FLOAT32: 1, Precision.FLOAT16: bound, Precision.BFLOAT16: 2 * bound}
    assert farthest <= limits[precision]


@needs_cuda
@pytest.mark.parametrize("profile", ["entropy", "paper"])
def test_what_one_device_encodes_the_other_decodes(profile: str, tmp_path: Path) -> None:
    source = write_y4m(tmp_path / "a.y4m", moving(150, 90, 6))
    reports = {}
    for device, other in (("cpu", "cuda"), ("cuda", "cpu")):
        target = tmp_path / f"{device}.mkv"
        reports[device] = vireo.encode(
            source, target, codec="codebook", profile=profile, gop_size=2, device=device
        )
        for where in (device, other):
            report = vireo.verify(target, device=where)
            assert report.frames == 6
            assert report.beyond == ()
    # Which entry is the nearest comes of floats: some few may be others.
    cpu, cuda = reports["cpu"], reports["cuda"]
    assert cuda.video_size == pytest.approx(cpu.video_size, rel=0.05)
    assert cuda.psnr == pytest.approx(cpu.psnr, abs=0.2)
