"""NVRC streams: segments that come back, that resume, and that nothing breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import vireo
from benchmarks.fuzz import fuzz
from tests.clips import moving, packets_of, write_y4m
from tests.dhvc.streams import frames_of, packets
from vireo import probe
from vireo.cli import main
from vireo.codecs.base import Limits, picture_decoder
from vireo.codecs.encoding import FrameProgress
from vireo.codecs.nvrc.layout import Method
from vireo.codecs.nvrc.presets import PAPER, RECIPES, STANDARD, with_distortion
from vireo.codecs.nvrc.stream import NvrcShape, sections_of
from vireo.container import FrameType, MatroskaReader
from vireo.container.header import Exactness
from vireo.errors import HeaderError, LimitError, SyntaxElementError, UsageError
from vireo.metrics import plane_mse, psnr

WIDTH, HEIGHT, FRAMES, SEGMENT = 62, 46, 5, 3
OPTIONS = {
    "codec": "nvrc",
    "model": "xxs",
    "preset": "ultrafast",
    "gop_size": SEGMENT - 1,
    "threads": 1,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvrc")
    return write_y4m(folder / "a.y4m", moving(WIDTH, HEIGHT, FRAMES))


@pytest.fixture(scope="module")
def stream(source: Path) -> Path:
    target = source.with_name("a.mkv")
    vireo.encode(source, target, **OPTIONS)
    return target


def test_a_video_comes_back(stream: Path, tmp_path: Path) -> None:
    assert vireo.verify(stream).frames == FRAMES
    found, report = frames_of(stream, tmp_path / "a.y4m")
    assert report.beyond == ()
    assert len(found) == FRAMES
    frames = moving(WIDTH, HEIGHT, FRAMES)
    errors = [plane_mse(a[0], f.y) for a, f in zip(found, frames, strict=True)]
    assert psnr(float(np.mean(errors))) > 16  # grey has 14
    info = probe(stream)
    assert info.header.exactness is Exactness.BOUNDED
    assert info.gops == 2
    assert set(info.parts) >= {"side", "layers", "grids", "probes", "headers"}
    assert info.parts["layers"] > info.parts["side"] > info.parts["grids"] > 0


def test_any_frame_can_be_had_by_itself(stream: Path, tmp_path: Path) -> None:
    found, _ = frames_of(stream, tmp_path / "a.y4m")
    with vireo.open(stream) as video:
        for index in (4, 0, 2):
            assert np.array_equal(video[index].y, found[index][0])


def test_an_interrupted_segment_goes_on_to_the_same_stream(
    source: Path, stream: Path, tmp_path: Path
) -> None:
    target = tmp_path / "b.mkv"

    def interrupt_at(step: int) -> Callable[[object], None]:
        def listen(event: object) -> None:
            if isinstance(event, FrameProgress) and event.index == SEGMENT:
                assert event.iterations >= (0 if step < 20 else 12), "it started again"
                if event.iterations == step:
                    raise KeyboardInterrupt

        return listen

    for step in (12, 25):
        with pytest.raises(KeyboardInterrupt):
            vireo.encode(source, target, listener=interrupt_at(step), **OPTIONS)
        assert list(tmp_path.glob("b.mkv.vireo-adaptation/*/checkpoint.pt"))
    vireo.encode(source, target, **OPTIONS)
    again = tmp_path / "c.mkv"
    vireo.encode(source, again, **OPTIONS)
    assert packets_of(target) == packets_of(again)
    assert not list(tmp_path.glob("*.vireo-*"))


def test_more_time_makes_more_steps(source: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "gop_size": FRAMES - 1}

    def steps(seconds: float) -> int:
        planned: list[int] = []

        def listen(event: object) -> None:
            if isinstance(event, FrameProgress):
                planned.append(event.planned)

        target = tmp_path / f"{seconds}.mkv"
        vireo.encode(source, target, time_budget=seconds, listener=listen, **options)
        assert vireo.verify(target).frames == FRAMES
        return planned[-1]

    assert steps(0.1) == 27  # those that tell how long one takes
    assert steps(8.0) > 40


@pytest.mark.parametrize("profile", ["standard", "paper"])
@pytest.mark.parametrize("distortion", ["", "rgb"])
def test_profiles_and_distortions_make_streams(
    profile: str, distortion: str, tmp_path: Path
) -> None:
    source = write_y4m(tmp_path / "a.y4m", moving(70, 66, 2))
    options = {**OPTIONS, "gop_size": 1, "profile": profile, "distortion": distortion}
    if profile == "paper" or distortion == "rgb":
        pytest.importorskip("pytorch_msssim")
    vireo.encode(source, tmp_path / "a.mkv", **options)
    assert vireo.verify(tmp_path / "a.mkv").frames == 2


def test_profiles_are_recipes() -> None:
    assert RECIPES == {"standard": STANDARD, "paper": PAPER}
    assert with_distortion(PAPER, "").distortion == "yuv"
    assert with_distortion(STANDARD, "rgb") == replace(STANDARD, distortion="rgb")


def test_pictures_too_small_for_ms_ssim_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="MS-SSIM"):
        vireo.encode(source, tmp_path / "a.mkv", **{**OPTIONS, "distortion": "yuv"})


def test_an_i_frame_within_a_segment_is_refused(stream: Path) -> None:
    frames, _ = packets(stream)
    within = replace(frames[0], gop_frames=None, header=None)
    alone = replace(frames[1], references=(), frame_type=FrameType.I)
    for forged in (within, alone):
        with pytest.raises(SyntaxElementError):
            sections_of(forged)
    assert sections_of(frames[0]).layers


def test_mutated_streams_end_in_errors_or_in_pictures(stream: Path) -> None:
    findings = fuzz(stream, 120, seed=2, progress=lambda done: None)
    assert findings.failures == []
    assert findings.outcomes["SyntaxElementError"] > 1


def test_a_checkpoint_of_another_encode_is_not_gone_on_with(source: Path, tmp_path: Path) -> None:
    target, options = tmp_path / "a.mkv", {**OPTIONS, "frames": 2, "gop_size": 1}
    first: list[int] = []

    def listen(event: object) -> None:
        if isinstance(event, FrameProgress):
            first.append(event.iterations)
            if event.iterations == 9:
                raise KeyboardInterrupt

    for quality in (20, 60):
        with pytest.raises(KeyboardInterrupt):
            vireo.encode(source, target, quality=quality, listener=listen, **options)
    assert first.count(1) == 2


def test_there_is_no_precision_to_choose(stream: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="single precision"):
        vireo.decode(stream, tmp_path / "a.y4m", precision="float16")


def test_networks_that_are_too_large_are_refused(stream: Path) -> None:
    header = MatroskaReader(stream).header
    with pytest.raises(LimitError, match="numbers"):
        picture_decoder(header, Limits(network=10_000))
    for largest in (
        replace(header, max_gop_frames=65535),
        replace(header, video_format=replace(header.video_format, width=8000, height=4000)),
    ):
        with pytest.raises(LimitError, match="numbers"):
            picture_decoder(largest, Limits(network=300_000))
    # Blocks of few places, whose margins would take 173 GB; networks that take hours.
    config = NvrcShape.read(0, header.configuration).config
    for larger in (
        replace(config, grid_channels=60, contexts="all", context_width=8),
        replace(config, contexts="channel", context_width=32),
        replace(config, channels=(992, 496, 248, 124)),
    ):
        shape = NvrcShape(larger, Method.of(larger))
        video = replace(header.video_format, width=2000, height=2000)
        hostile = replace(
            header, configuration=shape.write(), max_gop_frames=2000, video_format=video
        )
        with pytest.raises(LimitError, match="numbers"):
            picture_decoder(hostile, Limits())
    assert NvrcShape.read(0, header.configuration).write() == header.configuration
    with pytest.raises(HeaderError, match="multiple of 8"):
        NvrcShape.read(0, b"\x21" + header.configuration[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "xl"}, "xxs"),
        ({"preset": "fastest"}, "ultrafast"),
        ({"distortion": "ssim"}, "yuv"),
        ({"gop": "low-delay"}, "segments"),
        ({"adapt": "full"}, "no more"),
        ({"codec": "coolchic", "model": "", "gop": "segment"}, "segments"),
        ({"codec": "coolchic", "model": "", "distortion": "yuv"}, "nvrc"),
    ],
)
def test_what_it_has_not_is_said(
    options: dict[str, str], message: str, source: Path, tmp_path: Path
) -> None:
    asked = {**OPTIONS, **options}
    if asked["codec"] != "nvrc":
        asked["gop_size"] = 4
    with pytest.raises(UsageError, match=message):
        vireo.encode(source, tmp_path / "x.mkv", **asked)


def test_a_segments_length_is_an_option_of_the_command(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.mkv"
    asked = [
        "--codec",
        "nvrc",
        "--model",
        "xxs",
        "--preset",
        "ultrafast",
        "--segment",
        "3",
        "--frames",
        "4",
    ]
    result = CliRunner().invoke(main, ["encode", str(source), str(target), *asked])
    assert result.exit_code == 0, result.output
    assert probe(target).gops == 2
    wrong = ["encode", str(source), str(tmp_path / "b.mkv"), "--segment", "3"]
    assert CliRunner().invoke(main, wrong).exit_code == 2
