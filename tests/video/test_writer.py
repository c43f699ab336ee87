from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.media import assert_same, noise, packets, write_movie
from vireo.errors import InputError, StreamError, UsageError
from vireo.video import ColorDescription, ColorRange, Frame, VideoFormat, open_sink, open_source

HDR = ColorDescription(ColorRange.FULL, 9, 16, 9, 3)
NTSC = Fraction(30000, 1001)
ODD = VideoFormat(35, 27, NTSC, 1 / NTSC, Fraction(4, 3), 90, HDR)
EVEN = replace(ODD, width=36, height=28)
VARIABLE = replace(EVEN, frame_rate=None, time_base=Fraction(1, 1000))


def write(target, format, frames, **options):
    with open_sink(target, format, **options) as sink:
        for frame in frames:
            sink.write(frame)
    return sink


def failing(frames, error):
    yield from frames
    raise error


def partial_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("name", "kind", "format"),
    [
        ("a.mkv", None, ODD),
        ("a.mkv", None, EVEN),
        ("a.mkv", "x264", EVEN),
        ("a.mp4", None, EVEN),
        ("a.mkv", None, replace(EVEN, rotation=270, sample_aspect_ratio=Fraction(1))),
        ("a.mp4", None, replace(EVEN, color=ColorDescription(ColorRange.LIMITED, 1, 1, 1, 1))),
        ("a.mkv", None, replace(ODD, sample_aspect_ratio=Fraction(1, 2))),
    ],
)
def test_video_files_keep_everything(tmp_path, name, kind, format):
    frames = noise(format.width, format.height, range(10))
    sink = write(tmp_path / name, format, frames, kind=kind)
    assert sink.notices == ()
    assert not partial_files(tmp_path)
    with open_source(tmp_path / name) as source:
        assert source.notices == ()
        assert source.format == replace(format, time_base=source.format.time_base)
        found = list(source)
    assert_same(found, frames, times=False)
    tick = source.format.time_base
    for index, frame in enumerate(found):
        assert abs(frame.pts * tick - index / NTSC) <= tick / 2


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_variable_times_are_kept(tmp_path, name):
    times = [0, 40, 100, 110, 150, 300, 301, 400, 500]
    frames = noise(36, 28, times)
    write(tmp_path / name, VARIABLE, frames)
    with open_source(tmp_path / name) as source:
        assert source.format.frame_rate is None
        found = list(source)
    assert_same(found, frames, times=False)
    assert [f.pts * source.format.time_base * 1000 for f in found] == times


def test_one_frame_makes_a_video(tmp_path):
    for name in ("a.mkv", "a.mp4", "a.y4m"):
        frames = noise(36, 28, [0])
        write(tmp_path / name, EVEN, frames)
        assert_same(list(open_source(tmp_path / name)), frames)


def test_a_real_clip_survives_every_lossless_kind(clips, tmp_path):
    with open_source(clips / "film_cut_176x144_49f.mkv", frames=12) as source:
        frames = list(source)
        for name in ("a.mkv", "a.mp4", "a.y4m"):
            write(tmp_path / name, source.format, frames)
            with open_source(tmp_path / name) as copy:
                assert copy.format.frame_rate == source.format.frame_rate == 24
                assert_same(list(copy), frames, times=name == "a.mkv")


@pytest.mark.parametrize("location", [1, 2, 3])
def test_y4m(tmp_path, location):
    color = ColorDescription(ColorRange.LIMITED, chroma_location=location)
    format = replace(ODD, rotation=0, color=color)
    frames = noise(35, 27, range(4))
    sink = write(tmp_path / "a.y4m", format, frames)
    assert sink.notices == ()
    with open_source(tmp_path / "a.y4m") as source:
        assert source.format == format
        assert_same(list(source), frames)


def test_what_a_kind_can_t_keep_is_said(tmp_path):
    sink = write(tmp_path / "a.y4m", VARIABLE, noise(36, 28, [0, 7]))
    (notice,) = sink.notices
    for word in ("rotation by 90", "time between frames", "primaries"):
        assert word in notice
    sink = write(tmp_path / "a.yuv", EVEN, noise(36, 28, [0, 1]))
    assert "aspect" in sink.notices[0]


def test_raw_samples(tmp_path):
    frames = noise(35, 27, range(3))
    write(tmp_path / "a.yuv", ODD, frames)
    assert (tmp_path / "a.yuv").read_bytes() == b"".join(
        plane.tobytes() for frame in frames for plane in frame.planes
    )


@pytest.mark.parametrize(
    ("color", "yuv", "rgb"),
    [
        (ColorDescription(), (63, 102, 240), (255, 0, 0)),
        (ColorDescription(ColorRange.LIMITED, matrix=1), (63, 102, 240), (255, 0, 0)),
        (ColorDescription(ColorRange.LIMITED, matrix=6), (81, 90, 240), (255, 0, 0)),
        (ColorDescription(ColorRange.FULL, matrix=6), (76, 85, 255), (255, 0, 0)),
        (ColorDescription(ColorRange.FULL, matrix=9), (67, 92, 255), (255, 0, 0)),
        (ColorDescription(ColorRange.LIMITED), (235, 128, 128), (255, 255, 255)),
        (ColorDescription(ColorRange.FULL), (235, 128, 128), (235, 235, 235)),
    ],
)
def test_png_pictures_have_the_right_colours(tmp_path, color, yuv, rgb):
    planes = [
        np.full(s, v, np.uint8) for s, v in zip(((27, 35), *[(14, 18)] * 2), yuv, strict=True)
    ]
    format = replace(ODD, color=color)
    write(tmp_path / "out", format, [Frame(*planes, i) for i in range(2)])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "frame_00000.png",
        "frame_00001.png",
    ]
    with av.open(str(tmp_path / "out" / "frame_00001.png")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == (27, 35, 3)
    assert np.abs(picture.astype(int) - rgb).max() <= 2


def test_png_pattern(tmp_path):
    write(tmp_path / "p_%02d.png", EVEN, noise(36, 28, range(2)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p_00.png", "p_01.png"]
    with pytest.raises(UsageError, match=r"p_00\.png exists"):
        write(tmp_path / "p_%02d.png", EVEN, noise(36, 28, range(2)))
    with pytest.raises(UsageError, match="needs one number"):
        open_sink(tmp_path / "p.png", EVEN)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.y4m", "a.yuv", "pictures"])
def test_an_aborted_write_leaves_nothing(tmp_path, name):
    frames = noise(36, 28, range(3))
    for error in (RuntimeError, StreamError, KeyboardInterrupt):
        with pytest.raises(error):
            write(tmp_path / name, EVEN, failing(frames, error("stop")))
        assert list(tmp_path.iterdir()) == []
    sink = open_sink(tmp_path / name, EVEN)
    sink.abort()
    sink.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.y4m"])
def test_frames_before_damage_can_be_kept(tmp_path, name):
    frames = noise(36, 28, range(3))
    with pytest.raises(StreamError):
        write(tmp_path / name, EVEN, failing(frames, StreamError("bad")), keep_partial=True)
    assert_same(list(open_source(tmp_path / name)), frames, times=False)
    with (
        pytest.raises(StreamError),
        open_sink(tmp_path / name, EVEN, overwrite=True, keep_partial=True),
    ):
        raise StreamError("bad header")
    assert_same(list(open_source(tmp_path / name)), frames, times=False)
    assert not partial_files(tmp_path)


def test_overwriting_is_asked_for_and_whole(tmp_path):
    path = tmp_path / "a.y4m"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists"):
        open_sink(path, EVEN)
    with open_sink(path, EVEN, overwrite=True) as sink:
        sink.write(noise(36, 28, [0])[0])
        assert path.read_bytes() == b"precious"
    assert path.read_bytes().startswith(b"YUV4MPEG2")


def test_requests_that_can_t_be_met(tmp_path):
    cases = [
        (("a.xyz", EVEN), {}, "what to write"),
        (("a.mp4", ODD), {}, "even sizes"),
        (("a.mp4", EVEN), {"kind": "ffv1"}, "goes into"),
        (("a.y4m", EVEN), {"kind": "av1"}, "no output is called"),
        (("absent/a.y4m", EVEN), {}, "does not exist"),
        (("absent/deeper", EVEN), {}, "can't be made"),
    ]
    for (name, format), options, message in cases:
        with pytest.raises(UsageError, match=message):
            open_sink(tmp_path / name, format, **options)
    with pytest.raises(UsageError, match="standard output"):
        open_sink("-", EVEN, kind="png")
    with pytest.raises(InputError, match="can't be read"):
        open_sink(tmp_path / "a.mkv", EVEN, sound_from=tmp_path / "absent.mkv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_video_without_frames_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="no frame"):
        write(tmp_path / name, EVEN, [])
    assert list(tmp_path.iterdir()) == []


def test_frames_must_fit_the_format(tmp_path):
    with open_sink(tmp_path / "a.y4m", EVEN) as sink:
        with pytest.raises(ValueError, match="16x16"):
            sink.write(noise(16, 16, [0])[0])
        sink.write(noise(36, 28, [0])[0])
    with pytest.raises(ValueError, match="closed"):
        sink.write(noise(36, 28, [0])[0])


def test_times_that_go_back_are_refused(tmp_path):
    with pytest.raises(UsageError, match="can't be written"):
        write(tmp_path / "a.mkv", EVEN, noise(36, 28, [5, 4, 3, 2, 1]))
    assert list(tmp_path.iterdir()) == []


PIPE_PROGRAM = """
import sys, numpy as np
from fractions import Fraction
from vireo.video import Frame, VideoFormat, open_sink
format = VideoFormat(64, 48, Fraction(25), Fraction(1, 25))
frame = Frame(np.zeros((48, 64), np.uint8), *[np.zeros((24, 32), np.uint8)] * 2)
try:
    with open_sink("-", format, kind=sys.argv[1]) as sink:
        for _ in range(int(sys.argv[2])):
            sink.write(frame)
except BrokenPipeError:
    sys.exit(7)
"""


def test_standard_output():
    for kind, head, size in (("y4m", b"YUV4MPEG2 W64 H48 F25:1 ", 6), ("yuv", b"\0\0", 0)):
        program = [sys.executable, "-c", PIPE_PROGRAM, kind, "3"]
        result = subprocess.run(program, capture_output=True, check=True)
        assert result.stdout.startswith(head)
        frames = result.stdout.split(b"\n", 1)[1] if kind == "y4m" else result.stdout
        assert len(frames) == 3 * (64 * 48 * 3 // 2 + size)


def test_a_broken_pipe_is_quiet():
    program = [sys.executable, "-c", PIPE_PROGRAM, "y4m", "2000"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1000)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 7


@pytest.mark.parametrize("audio", ["aac", "libopus", "flac"])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_sound_subtitles_and_chapters_come_along(tmp_path, audio, name):
    movie = tmp_path / "movie.mkv"
    write_movie(movie, audio, attachment=True)
    with (
        open_source(movie) as source,
        open_sink(tmp_path / name, source.format, sound_from=movie) as sink,
    ):
        frames = list(source)
        for frame in frames:
            sink.write(frame)
    with open_source(tmp_path / name) as copy:
        assert_same(list(copy), frames, times=name == "a.mkv")
        assert copy.start_time == 0
    assert packets(tmp_path / name, "audio") == packets(movie, "audio")
    with av.open(str(tmp_path / name)) as container:
        assert container.metadata["title"] == "A film"
        assert container.streams.audio[0].metadata["language"] == "swe"
        chapters = [
            (c["start"] * c["time_base"], c["metadata"]["title"]) for c in container.chapters()
        ]
        assert chapters == [(0, "First"), (1, "Second")]
        if name == "a.mkv":
            assert container.streams.attachments[0].data == b"not really a font"
            assert container.streams.subtitles[0].metadata["language"] == "deu"
    if name == "a.mkv":
        assert packets(tmp_path / name, "subtitle") == packets(movie, "subtitle")
        assert sink.notices == ()
    else:
        assert [n.split(" does")[0] for n in sink.notices] == [
            "track 2 (subtitle, srt)",
            "track 3 (attachment, font.ttf)",
        ]


def test_sound_is_interleaved_with_the_video(tmp_path):
    movie = tmp_path / "movie.mkv"
    write_movie(movie, "flac", seconds=4)
    with (
        open_source(movie) as source,
        open_sink(tmp_path / "a.mkv", source.format, sound_from=movie) as sink,
    ):
        for frame in source:
            sink.write(frame)
    newest = {"video": 0.0, "audio": 0.0}
    with av.open(str(tmp_path / "a.mkv")) as container:
        for packet in container.demux(container.streams.video[0], container.streams.audio[0]):
            if packet.size:
                newest[packet.stream.type] = float(packet.pts * packet.time_base)
                assert abs(newest["video"] - newest["audio"]) < 0.5


def test_kinds_without_sound_say_so(tmp_path):
    write_movie(tmp_path / "movie.mkv", "flac")
    sink = write(
        tmp_path / "a.y4m",
        VideoFormat(36, 28, Fraction(25), Fraction(1, 25)),
        noise(36, 28, [0]),
        sound_from=tmp_path / "movie.mkv",
    )
    assert sink.notices == ("y4m holds pictures only: sound and subtitles are left out",)
