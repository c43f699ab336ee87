from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from tests.video.media import (
    assert_same,
    noise,
    picture,
    rows,
    write_frames,
    write_movie,
    write_pictures,
)
from vireo.errors import InputError, UsageError
from vireo.video import ColorDescription, ColorRange, open_source


def ramp(path, count, options):
    """A video with B frames whose frame i is a flat grey of about 16 + 5 i."""
    pictures = [flat("yuv420p", 16 + 5 * i, 128, 128) for i in range(count)]
    for index, item in enumerate(pictures):
        item.pts = index
    # Not qp 0: x264 makes no B frames in its lossless mode.
    fixed = {"qp": "2", "bf": "3", "x264-params": "scenecut=0:b-adapt=0:weightp=0"}
    write_pictures(path, pictures, "libx264", options=fixed | options)
    with av.open(str(path)) as container:
        kinds = [picture.pict_type for picture in container.decode(video=0)]
    assert PictureType.B in kinds


def places(frames):
    """Which frames of a ramp these are."""
    return [round((int(frame.y[5, 5]) - 16) / 5) for frame in frames]


def flat(pixel_format, *values, width=36, height=28):
    """A picture whose planes each hold one value (in 16 bits where the format has more than 8)."""
    result = av.VideoFrame(width, height, pixel_format)
    wide = result.format.components[0].bits > 8
    for index, value in enumerate(values):
        plane = rows(result, index)
        (plane.view(np.uint16) if wide else plane)[:] = value
    result.pts = 0
    return result


@pytest.mark.parametrize("name", ["film_cut_176x144_49f.mkv", "carphone_176x144_97f.mkv"])
def test_a_real_clip_gives_the_decoder_s_samples_and_times(clips, name):
    with av.open(str(clips / name)) as container:
        expected = [(p.pts, p.to_ndarray()) for p in container.decode(video=0)]
    with open_source(clips / name) as source:
        frames = list(source)
        assert source.frame_count == len(frames) == len(expected)
        assert source.notices == ()
        assert (source.start_time, source.end_time) == (0, None)
    for frame, (pts, samples) in zip(frames, expected, strict=True):
        assert frame.pts == pts
        joined = np.concatenate([plane.ravel() for plane in frame.planes])
        np.testing.assert_array_equal(joined, samples.ravel())


def test_nominal_rate_survives_millisecond_ticks(clips):
    with open_source(clips / "carphone_176x144_97f.mkv") as source:
        assert source.format.frame_rate == Fraction(30000, 1001)
        assert source.format.time_base == Fraction(1, 1000)


@pytest.mark.parametrize(("start", "count"), [(0, 7), (40, 5), (90, 99), (96, 1)])
def test_start_and_frames_select_exactly(clips, start, count):
    path = clips / "carphone_176x144_97f.mkv"
    everything = list(open_source(path))
    with open_source(path, start=start, frames=count) as source:
        expected = everything[start : start + count]
        assert_same(list(source), expected)
        assert source.frame_count == len(expected)
        assert source.start_time == Fraction(expected[0].pts, 1000)
        after = everything[start + count : start + count + 1]
        assert source.end_time == (Fraction(after[0].pts, 1000) if after else None)
        assert source.format.frame_rate == Fraction(30000, 1001)


def test_seeking_into_reordered_pictures_is_exact(tmp_path):
    path = tmp_path / "b.mp4"
    ramp(path, 40, {"g": "8", "flags": "-cgop"})
    everything = list(open_source(path))
    assert places(everything) == list(range(40))
    for start in range(40):
        with open_source(path, start=start, frames=2) as source:
            assert_same(list(source), everything[start : start + 2])


def test_a_source_can_be_read_again(tmp_path):
    frames = noise(16, 16, range(5))
    write_frames(tmp_path / "a.mkv", frames)
    with open_source(tmp_path / "a.mkv") as source:
        first = iter(source)
        next(first)
        assert_same(list(source), frames, times=False)
        assert_same(list(source), frames, times=False)
        assert list(first) == []


@pytest.mark.parametrize("suffix", ["mkv", "avi", "nut"])
def test_odd_sizes_are_exact_in_every_container(tmp_path, suffix):
    frames = noise(35, 27, range(4))
    path = tmp_path / f"a.{suffix}"
    write_frames(path, frames)
    with open_source(path) as source:
        assert (source.format.width, source.format.height) == (35, 27)
        assert source.format.chroma_size == (18, 14)
        assert source.format.frame_rate == 25
        assert source.frame_count == 4
        found = list(source)
    assert_same(found, frames, times=False)
    assert [f.pts * source.format.time_base for f in found] == [Fraction(i, 25) for i in range(4)]


def test_avi_without_presentation_times_counts_frames(tmp_path):
    ramp(tmp_path / "a.avi", 20, {})
    with open_source(tmp_path / "a.avi") as source:
        frames = list(source)
        assert places(frames) == [f.pts for f in frames] == list(range(20))
        assert source.format.frame_rate == 25
    with open_source(tmp_path / "a.avi", start=7, frames=4) as source:
        assert_same(list(source), frames[7:11])
        assert (source.start_time, source.end_time) == (Fraction(7, 25), Fraction(11, 25))


def test_y4m_carries_range_aspect_and_chroma_location(tmp_path):
    frames = noise(35, 27, range(3))
    header = b"YUV4MPEG2 W35 H27 F30000:1001 Ip A4:3 C420paldv XCOLORRANGE=FULL\n"
    body = b"".join(b"FRAME\n" + b"".join(p.tobytes() for p in f.planes) for f in frames)
    (tmp_path / "a.y4m").write_bytes(header + body)
    with open_source(tmp_path / "a.y4m") as source:
        assert source.format.frame_rate == Fraction(30000, 1001)
        assert source.format.time_base == Fraction(1001, 30000)
        assert source.format.sample_aspect_ratio == Fraction(4, 3)
        assert source.format.color == ColorDescription(ColorRange.FULL, chroma_location=3)
        assert_same(list(source), frames)


def test_raw_video(tmp_path):
    frames = noise(35, 27, range(6))
    data = b"".join(b"".join(p.tobytes() for p in f.planes) for f in frames)
    path = tmp_path / "a.bin"
    path.write_bytes(data + b"rest")
    with open_source(path, size=(35, 27), fps=Fraction(50)) as source:
        assert source.notices == ("the last 4 bytes are no whole frame and are left out",)
        assert source.format.frame_rate == 50
        assert source.format.time_base == Fraction(1, 50)
        assert source.frame_count == 6
        assert_same(list(source), frames)
    path = path.rename(tmp_path / "a.yuv")
    with open_source(path, size=(35, 27), start=2, frames=3) as source:
        assert any("25" in notice for notice in source.notices)
        assert_same(list(source), frames[2:5])
    with pytest.raises(UsageError, match="size"):
        open_source(path)
    with pytest.raises(UsageError, match="no pixel format"):
        open_source(path, size=(35, 27), pix_fmt="nonsense")
    with pytest.raises(UsageError, match="can't be"):
        open_source(path, size=(10**12, 2))
    with pytest.raises(UsageError, match="planar"):
        open_source(path, size=(35, 27), pix_fmt="rgb24")
    with pytest.raises(InputError, match="no whole frame"):
        open_source(path, size=(3500, 2700))
    with pytest.raises(InputError, match="frame 6"):
        open_source(path, size=(35, 27), start=6)


def test_raw_video_of_another_layout(tmp_path):
    planes = [np.full(shape, value, "<u2") for shape, value in (((4, 6), 400), ((4, 3), 512))]
    data = b"".join(p.tobytes() for p in (*planes, planes[1])) * 2
    (tmp_path / "a.yuv").write_bytes(data)
    with open_source(tmp_path / "a.yuv", size=(6, 4), fps=25, pix_fmt="yuv422p10le") as source:
        assert source.notices == ("10-bit yuv422p10le is converted to 8-bit 4:2:0",)
        frames = list(source)
    assert len(frames) == 2
    assert (frames[1].y == 100).all()
    assert (frames[1].u == 128).all()
    assert frames[1].u.shape == (2, 3)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "values", "expected"),
    [
        ("ffv1", "yuv420p10le", (400, 480, 560), (100, 120, 140)),
        ("ffv1", "yuv422p", (100, 120, 140), (100, 120, 140)),
        ("ffv1", "yuv444p", (100, 120, 140), (100, 120, 140)),
        ("ffv1", "yuv444p16le", (25600, 30720, 35840), (100, 120, 140)),
        ("ffv1", "gray", (100,), (100, 128, 128)),
        ("ffv1", "gray10le", (400,), (100, 128, 128)),
        # Red, by BT.709 in limited range.
        ("ffv1", "gbrp10le", (0, 0, 1023), (63, 102, 240)),
    ],
)
@pytest.mark.parametrize("size", [(36, 28), (35, 27)])
def test_other_layouts_are_converted_and_said_to_be(
    tmp_path, codec, pixel_format, values, expected, size
):
    path = tmp_path / "a.mkv"
    write_pictures(path, [flat(pixel_format, *values, width=size[0], height=size[1])], codec)
    with open_source(path) as source:
        assert len(source.notices) == 1
        assert pixel_format in source.notices[0]
        assert "converted to 8-bit 4:2:0" in source.notices[0]
        (frame,) = source
        assert source.format.color.matrix == (1 if "gbr" in pixel_format else 2)
    assert frame.y.shape == (size[1], size[0])
    assert frame.u.shape == ((size[1] + 1) // 2, (size[0] + 1) // 2)
    # swscale dithers when it reduces the depth of RGB.
    allowed = 1 if "gbr" in pixel_format else 0
    for plane, value in zip(frame.planes, expected, strict=True):
        np.testing.assert_allclose(plane, value, atol=allowed)


def test_conversion_keeps_range_and_matrix(tmp_path):
    def setup(stream):
        stream.codec_context.color_range = 2
        stream.codec_context.color_primaries = 9
        stream.codec_context.color_trc = 16
        stream.codec_context.colorspace = 9

    write_pictures(tmp_path / "a.mkv", [flat("yuv422p10le", 1020, 8, 800)], "ffv1", setup=setup)
    with open_source(tmp_path / "a.mkv") as source:
        assert source.format.color == ColorDescription(ColorRange.FULL, 9, 16, 9, 1)
        (frame,) = source
    assert [int(plane[0, 0]) for plane in frame.planes] == [255, 2, 200]


def test_chroma_of_444_lands_where_the_description_says(tmp_path):
    # U rises by 4 a column and 2 a row, so its value tells where swscale sampled it.
    item = flat("yuv444p", 100, 0, 0)
    rows(item, 1)[:] = np.arange(48) * 4 + np.arange(28)[:, None] * 2
    for codec, location, column in (("ffv1", 2, 8.5), ("libx264", 1, 8)):
        options = {"qp": "0"} if codec == "libx264" else {}
        write_pictures(tmp_path / "a.mkv", [item], codec, options=options)
        with open_source(tmp_path / "a.mkv") as source:
            assert source.format.color.chroma_location == location
            (frame,) = source
        assert frame.u[4, 4] == 4 * column + 2 * 8.5


def test_jpeg_pictures_are_full_range_and_native(tmp_path):
    write_pictures(tmp_path / "a.avi", [flat("yuvj420p", 255, 128, 128)], "mjpeg")
    with open_source(tmp_path / "a.avi") as source:
        assert source.format.color.range is ColorRange.FULL
        assert source.notices == ()
        (frame,) = source
    assert (frame.y == 255).all()


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_aspect_and_color_come_through(tmp_path, suffix, degrees):
    def setup(stream):
        stream.set_display_rotation(degrees)
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.codec_context.color_range = 2
        stream.codec_context.color_primaries = 9
        stream.codec_context.color_trc = 16
        stream.codec_context.colorspace = 9

    options = {"qp": "0", "chroma_sample_location": "topleft"}
    path = tmp_path / f"a.{suffix}"
    write_frames(path, noise(36, 28, range(2)), "libx264", options=options, setup=setup)
    with open_source(path) as source:
        assert source.format.rotation == degrees
        assert source.format.sample_aspect_ratio == Fraction(4, 3)
        assert source.format.color == ColorDescription(ColorRange.FULL, 9, 16, 9, 3)
        assert_same(list(source), noise(36, 28, range(2)), times=False)


def test_a_mirrored_picture_is_said_to_lose_its_mirroring(tmp_path):
    path = tmp_path / "a.mp4"
    frames = noise(36, 28, range(2))
    write_frames(path, frames, "libx264", setup=lambda s: s.set_display_rotation(0, hflip=True))
    with open_source(path) as source:
        assert any("mirrored" in notice for notice in source.notices)


@pytest.mark.parametrize("suffix", ["mkv", "mov"])
def test_variable_frame_rate(tmp_path, suffix):
    times = [0, 40, 100, 110, 150, 300, 301, 400, 440]
    path = tmp_path / f"a.{suffix}"
    codec = "ffv1" if suffix == "mkv" else "mjpeg"
    pictures = [flat("yuvj420p" if codec == "mjpeg" else "yuv420p", 50, 60, 70) for _ in times]
    for item, pts in zip(pictures, times, strict=True):
        item.pts = pts
    write_pictures(path, pictures, codec, time_base=Fraction(1, 1000))
    with open_source(path) as source:
        assert source.format.frame_rate is None
        found = [f.pts * source.format.time_base * 1000 for f in source]
    assert found[:8] == times[:8]
    with open_source(path, start=7) as source:
        assert source.format.frame_rate == 25


def test_one_dropped_frame_makes_the_rate_variable(tmp_path):
    times = [i for i in range(60) if i != 31]
    write_frames(tmp_path / "a.mkv", noise(16, 16, times), rate=30)
    with open_source(tmp_path / "a.mkv") as source:
        assert source.format.frame_rate is None
    with open_source(tmp_path / "a.mkv", frames=31) as source:
        assert source.format.frame_rate == 30


def test_what_can_t_be_opened_says_so_in_one_line(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("not a video " * 99)
    empty = tmp_path / "empty.mkv"
    empty.touch()
    sound = tmp_path / "a.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "stereo")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
    cases = {
        tmp_path / "absent.mkv": "does not exist",
        tmp_path: "is a directory",
        text: "no video track",
        empty: "can't be read",
        sound: "no video track",
    }
    for path, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            open_source(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_options_out_of_range(tmp_path):
    path = tmp_path / "a.mkv"
    write_frames(path, noise(16, 16, range(3)))
    for options in ({"start": -1}, {"frames": 0}, {"fps": 25}, {"size": (0, 4)}):
        with pytest.raises(UsageError):
            open_source(path, **options)
    with pytest.raises(InputError, match="can't start at frame 99, the video has 3 frames"):
        open_source(path, start=99)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_truncated_file_gives_its_frames_then_an_error(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    options = {"qp": "0", "bf": "0", "movflags": "faststart"}
    with av.open(str(path), "w", options=options if suffix == "mp4" else {}) as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=64, options=options)
        for frame in noise(64, 64, range(30)):
            item = picture(frame)
            item.time_base = Fraction(1, 25)
            container.mux(stream.encode(item))
        container.mux(stream.encode(None))
    whole = list(open_source(path))
    assert len(whole) == 30
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = []
    with (
        open_source(path) as source,
        pytest.raises(InputError, match=r"truncated|damaged"),
    ):
        frames.extend(source)
    assert 10 < len(frames) < 20
    assert_same(frames, whole[: len(frames)])
    with open_source(path, frames=5) as source:
        assert len(list(source)) == 5


def test_damage_inside_the_file_is_found(clips, tmp_path):
    data = bytearray((clips / "carphone_176x144_97f.mkv").read_bytes())
    whole = list(open_source(clips / "carphone_176x144_97f.mkv"))
    middle = len(data) // 2
    data[middle : middle + 200] = np.random.default_rng(3).bytes(200)
    (tmp_path / "a.mkv").write_bytes(data)
    frames = []
    with open_source(tmp_path / "a.mkv") as source, pytest.raises(InputError, match="damaged"):
        frames.extend(source)
    assert 40 < len(frames) < 60
    assert_same(frames, whole[: len(frames)])


def test_a_change_of_size_names_the_frame(tmp_path):
    parts = []
    for size in ((32, 32), (48, 32)):
        path = tmp_path / "part.h264"
        write_frames(path, noise(*size, range(3)), "libx264", options={"bf": "0"})
        parts.append(path.read_bytes())
    (tmp_path / "a.h264").write_bytes(b"".join(parts))
    with (
        open_source(tmp_path / "a.h264") as source,
        pytest.raises(InputError, match=r"frame 3 changes from 32x32 yuv420p to 48x32"),
    ):
        list(source)


def test_interlaced_video_is_said_to_be_woven(tmp_path):
    path = tmp_path / "a.mkv"
    frames = noise(32, 32, range(2))
    write_frames(path, frames, "libx264", options={"x264-params": "interlaced=1"})
    with open_source(path) as source:
        assert any("interlaced" in notice for notice in source.notices)


def test_sound_beside_the_video_does_not_matter(tmp_path):
    write_movie(tmp_path / "a.mp4", "aac", subtitles="mov_text")
    with open_source(tmp_path / "a.mp4") as source:
        assert source.frame_count == len(list(source)) == 50
        assert source.format.frame_rate == 25
        assert source.notices == ()
