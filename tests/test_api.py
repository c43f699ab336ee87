"""Encoding and decoding whole files."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

import vireo
from tests.clips import Sample, make_sample, moving, packets_of, write_y4m
from tests.video.media import packets, picture, write_movie, write_pictures
from vireo.codecs.encoding import FrameReport
from vireo.container import FrameType
from vireo.errors import InputError, UsageError
from vireo.metrics import PLANE_WEIGHTS, plane_mse, psnr, weighted_mse
from vireo.video import open_source
from vireo.video.frame import ColorRange, Frame

FAST = {"preset": "ultrafast"}


def frames_of(path: Path, **options) -> list[Frame]:
    with open_source(path, **options) as source:
        return list(source)


def decoded(path: Path) -> list[Frame]:
    with vireo.open(path) as video:
        return list(video)


@pytest.mark.parametrize("name", ["random-access", "low-delay", "intra"])
def test_the_reported_psnr_is_that_of_the_decoded_frames(
    samples: dict[str, Sample], name: str
) -> None:
    sample = samples[name]
    out = decoded(sample.path)
    source = frames_of(sample.source)
    assert [f.pts for f in out] == [f.pts for f in source]
    mse = np.mean(
        [
            [plane_mse(a, b) for a, b in zip(f.planes, g.planes, strict=True)]
            for f, g in zip(out, source, strict=True)
        ],
        axis=0,
    )
    report = sample.report
    assert report.psnr == pytest.approx(psnr(weighted_mse(tuple(mse))), abs=1e-9)
    assert (report.psnr_y, report.psnr_u, report.psnr_v) == pytest.approx([psnr(m) for m in mse])
    assert report.psnr > 22, "the clip should be recognisable"
    assert PLANE_WEIGHTS == (4 / 6, 1 / 6, 1 / 6)


def test_reported_sizes_are_those_of_the_file(samples: dict[str, Sample]) -> None:
    for sample in samples.values():
        video = sample.header.video_format
        count = len(sample.packets)
        assert sample.report.size == sample.path.stat().st_size
        assert sample.report.video_size == sum(len(p.data) for p in sample.packets)
        assert sample.report.bits_per_pixel == pytest.approx(
            8 * sample.report.size / (count * video.width * video.height)
        )
        assert sample.report.bit_rate == pytest.approx(8 * sample.report.video_size / (count / 25))


def test_gops_and_frame_types(samples: dict[str, Sample]) -> None:
    def types(name: str) -> str:
        return "".join(f.frame_type.name for f in samples[name].coded)

    assert types("random-access") == "IPBBBIPB"
    assert types("low-delay") == "IPBIP"  # from one reference, then from two
    assert types("intra") == "II"
    assert [p.is_key for p in samples["low-delay"].packets] == [True, False, False, True, False]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("gop", ["random-access", "low-delay"])
def test_the_shortest_clips(tmp_path: Path, count: int, gop: str) -> None:
    sample = make_sample(tmp_path, "short", moving(18, 16, count), gop=gop)
    assert len(decoded(sample.path)) == count
    assert vireo.verify(sample.path).frames == count
    assert [f.frame_type for f in sample.coded] == [FrameType.I, FrameType.P][:count]


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (17, 64), (65, 3)])
def test_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    sample = make_sample(tmp_path, "odd", moving(*size, 2), gop_size=1)
    out = decoded(sample.path)
    assert [(f.width, f.height) for f in out] == [size] * 2
    assert vireo.decode(sample.path, tmp_path / "out.mkv").frames == 2
    back = frames_of(tmp_path / "out.mkv")
    assert all(np.array_equal(a.y, b.y) for a, b in zip(out, back, strict=True))


def test_threads_do_not_change_the_bytes_and_the_seed_does(sample: Sample, tmp_path: Path) -> None:
    def encode(**options) -> bytes:
        target = tmp_path / f"{len(list(tmp_path.iterdir()))}.mkv"
        vireo.encode(sample.source, target, **{**sample.options, "frames": 3, **options})
        return target.read_bytes()

    one = encode(threads=1)
    assert encode(threads=2) == one
    assert encode(threads=3) == one
    assert encode(seed=1) != one


def test_start_and_frames(sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "part.mkv"
    report = vireo.encode(sample.source, target, **FAST, start=3, frames=2)
    assert report.frames == 2
    out = decoded(target)
    source = frames_of(sample.source)[3:5]
    assert [f.pts for f in out] == [0, 1], "a part starts at time 0"
    for a, b in zip(out, source, strict=True):
        assert psnr(plane_mse(a.y, b.y)) > 25


def test_what_describes_the_video_comes_through(tmp_path: Path) -> None:
    """Varying times, sample aspect ratio, rotation, colour, range."""
    source = tmp_path / "in.mp4"
    times = [100, 140, 200, 1000]

    def setup(stream) -> None:
        context = stream.codec_context
        context.sample_aspect_ratio = Fraction(16, 11)
        context.color_range, context.color_primaries = 2, 9
        context.color_trc, context.colorspace = 16, 9
        stream.set_display_rotation(90)

    pictures = [picture(replace(f, pts=t)) for f, t in zip(moving(24, 18, 4), times, strict=True)]
    write_pictures(source, pictures, "libx264", time_base=Fraction(1, 1000), setup=setup)
    with open_source(source) as opened:
        expected = opened.format
    assert expected.frame_rate is None
    assert expected.color.range == ColorRange.FULL
    assert (expected.rotation, expected.sample_aspect_ratio) == (90, Fraction(16, 11))
    coded, back = tmp_path / "out.mkv", tmp_path / "back.mkv"
    vireo.encode(source, coded, **FAST, gop_size=2)
    with vireo.open(coded) as video:
        assert video.format == expected
        assert [f.pts * video.format.time_base for f in video] == [Fraction(t, 1000) for t in times]
    vireo.decode(coded, back)
    with open_source(back) as opened:
        assert replace(opened.format, time_base=expected.time_base) == expected
        base = opened.format.time_base
        assert [f.pts * base for f in opened] == [Fraction(t, 1000) for t in times]


def test_frames_with_the_same_time_are_moved_apart(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    pictures = [
        picture(replace(f, pts=t)) for f, t in zip(moving(18, 16, 4), [0, 1, 1, 2], strict=True)
    ]
    for item in pictures:
        item.time_base = Fraction(1, 1000)
    import av

    with av.open(str(source), "w") as container:
        stream = container.add_stream("rawvideo", rate=25, width=18, height=16, pix_fmt="yuv420p")
        data = []
        for item in pictures:
            data += stream.encode(item)
        for packet, time in zip(data, [0, 40, 40, 80], strict=True):
            packet.pts = packet.dts = time
            packet.time_base = Fraction(1, 1000)
            container.mux(packet)
    notices: list[str] = []
    target = tmp_path / "out.mkv"
    report = vireo.encode(source, target, **FAST, gop_size=2, notify=notices.append)
    assert report.frames == 4
    pts = [f.pts for f in decoded(target)]
    assert len(pts) == 4
    assert all(a < b for a, b in pairwise(pts))
    assert any("time stamp" in n for n in notices)


def test_sound_and_subtitles_are_copied_byte_for_byte(tmp_path: Path) -> None:
    source, coded = tmp_path / "film.mkv", tmp_path / "coded.mkv"
    write_movie(source, "aac", seconds=1)
    vireo.encode(source, coded, **FAST, gop="intra")
    for kind in ("audio", "subtitle"):
        original = packets(source, kind)
        assert packets(coded, kind) == original
        assert original
    back = tmp_path / "back.mkv"
    vireo.decode(coded, back)
    assert packets(back, "audio") == packets(coded, "audio")


def test_quality_moves_size_and_psnr(tmp_path: Path) -> None:
    source = write_y4m(tmp_path / "in.y4m", moving(48, 40, 1))
    coarse, fine = (vireo.encode(source, tmp_path / f"{q}", **FAST, quality=q) for q in (0, 100))
    assert fine.video_size > 1.5 * coarse.video_size
    assert fine.psnr > coarse.psnr + 1


def test_a_time_budget_is_kept(tmp_path: Path) -> None:
    source = write_y4m(tmp_path / "in.y4m", moving(64, 48, 3))
    began = perf_counter()
    done: list[FrameReport] = []

    def listen(event: object) -> None:
        if isinstance(event, FrameReport):
            done.append(event)

    vireo.encode(source, tmp_path / "out.mkv", time_budget=4.0, listener=listen, gop="intra")
    assert 3.0 < perf_counter() - began < 10.0
    assert max(e.iterations for e in done) > 200


def test_a_source_that_ends_within_a_frame(sample: Sample, tmp_path: Path) -> None:
    content = sample.source.read_bytes()
    source = tmp_path / "cut.y4m"
    source.write_bytes(content[:-100])
    target = tmp_path / "out.mkv"
    report = vireo.encode(source, target, **FAST, gop_size=2, start=5)
    assert report.frames == 2, "FFmpeg drops an incomplete picture at the end"


def test_wrong_calls(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quality"):
        vireo.encode(sample.source, tmp_path / "out.mkv", quality=-1)
    with pytest.raises(InputError, match="not exist"):
        vireo.encode(tmp_path / "none.mp4", tmp_path / "out.mkv")
    with pytest.raises(InputError, match="not exist"):
        vireo.decode(tmp_path / "none.mkv", tmp_path / "out.y4m")
    with pytest.raises(UsageError, match="threads"):
        vireo.verify(sample.path, threads=-1)
    with pytest.raises(TypeError):
        vireo.encode(sample.source, tmp_path / "out.mkv", speed=3)
    assert list(tmp_path.iterdir()) == []


def test_overwriting_replaces_the_file_when_the_new_one_is_whole(
    sample: Sample, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    target.write_bytes(b"old")
    with pytest.raises(UsageError, match="exists"):
        vireo.encode(sample.source, target, **FAST)
    seen = []
    vireo.encode(
        sample.source,
        target,
        **FAST,
        frames=1,
        overwrite=True,
        listener=lambda event: seen.append(target.read_bytes()),
    )
    assert set(seen) == {b"old"}
    assert len(packets_of(target)[1]) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]


def test_a_target_is_met_by_trials(clips: Path, tmp_path: Path) -> None:
    source = clips / "carphone_176x144_97f.mkv"
    said: list[str] = []
    wanted = {"gop": "intra", "preset": "ultrafast", "frames": 1}
    plain = vireo.encode(source, tmp_path / "plain.mkv", quality=40, **wanted)
    aimed = vireo.encode(
        source,
        tmp_path / "out.mkv",
        target_psnr=plain.psnr + 2.6,
        notify=said.append,
        **wanted,
    )
    assert aimed.psnr == pytest.approx(plain.psnr + 2.6, abs=0.1)
    assert aimed.trials == sum(s.startswith("trial") for s in said) > 1
    assert vireo.verify(tmp_path / "out.mkv").frames == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mkv", "plain.mkv"]


def test_finished_trials_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_y4m(tmp_path / "in.y4m", moving(64, 48, 1))
    wanted = {"gop": "intra", "preset": "ultrafast", "target_bitrate": 120e3}
    made: list[FrameReport] = []

    def count(event: object) -> None:
        if isinstance(event, FrameReport):
            made.append(event)

    def interrupted(event: object) -> None:
        count(event)
        if len(made) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vireo.encode(source, tmp_path / "out.mkv", listener=interrupted, **wanted)
    resumed: list[str] = []
    report = vireo.encode(
        source, tmp_path / "out.mkv", listener=count, notify=resumed.append, **wanted
    )
    whole = vireo.encode(source, tmp_path / "whole.mkv", **wanted)
    assert (tmp_path / "out.mkv").read_bytes() == (tmp_path / "whole.mkv").read_bytes()
    assert report.trials == whole.trials
    assert len(made) <= 2 + whole.trials
    assert (tmp_path / "out.mkv.vireo-trials").exists() is False


def test_a_bit_rate_of_a_varying_frame_rate_is_refused_at_once(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    times = (0, 40, 250, 270)
    pictures = [picture(replace(f, pts=t)) for f, t in zip(moving(32, 32, 4), times, strict=True)]
    write_pictures(source, pictures, "ffv1", time_base=Fraction(1, 1000))
    made: list[object] = []
    with pytest.raises(UsageError, match="frame rate varies"):
        vireo.encode(source, tmp_path / "out.mkv", target_bitrate=1e5, listener=made.append)
    assert made == []
    assert [p.name for p in tmp_path.iterdir()] == ["in.mkv"]
