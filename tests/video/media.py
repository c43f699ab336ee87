"""Small media files, made by code with PyAV alone: not by what is under test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vireo.video import Frame

Plane = NDArray[np.uint8]


def noise(width: int, height: int, times: Sequence[int]) -> list[Frame]:
    """Frames of random samples, which no lossy step leaves alone."""
    rng = np.random.default_rng(5)
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return [
        Frame(
            *(rng.integers(0, 256, shape, np.uint8) for shape in ((height, width), chroma, chroma)),
            pts,
        )
        for pts in times
    ]


def assert_same(found: Sequence[Frame], expected: Sequence[Frame], *, times: bool = True) -> None:
    assert len(found) == len(expected)
    for index, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert not times or a.pts == b.pts, index
        for plane, twin in zip(a.planes, b.planes, strict=True):
            assert plane.dtype == np.uint8
            np.testing.assert_array_equal(plane, twin, err_msg=f"frame {index}")


def rows(picture: av.VideoFrame, index: int) -> Plane:
    """A writable view of one plane, padding included, uint8."""
    plane = picture.planes[index]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)


def picture(frame: Frame) -> av.VideoFrame:
    result = av.VideoFrame(frame.width, frame.height, "yuv420p")
    for index, plane in enumerate(frame.planes):
        rows(result, index)[:, : plane.shape[1]] = plane
    result.pts = frame.pts
    return result


def write_pictures(
    path: Path,
    pictures: Sequence[av.VideoFrame],
    codec: str,
    *,
    rate: Fraction | int = 25,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    setup: Callable[[VideoStream], None] | None = None,
) -> None:
    """Encode pictures whose `pts` count ticks of `time_base` (one frame by default)."""
    base = time_base or 1 / Fraction(rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            codec,
            rate=rate,
            options=options or {},
            width=pictures[0].width,
            height=pictures[0].height,
            pix_fmt=pictures[0].format.name,
            time_base=base,
        )
        if setup:
            setup(stream)
        for item in pictures:
            item.time_base = base
            container.mux(stream.encode(item))
        container.mux(stream.encode(None))


def write_frames(path: Path, frames: Sequence[Frame], codec: str = "ffv1", **options) -> None:
    write_pictures(path, [picture(frame) for frame in frames], codec, **options)


def write_movie(
    path: Path,
    audio_codec: str,
    *,
    seconds: int = 2,
    subtitles: str | None = "subrip",
    chapters: bool = True,
    attachment: bool = False,
) -> None:
    """A film of 25 frames a second with sound, subtitles, chapters and a title."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "A film"
        video = container.add_stream(
            "libx264", rate=25, width=32, height=32, pix_fmt="yuv420p", options={"bf": "0"}
        )
        sound = container.add_stream(audio_codec, rate=48000)
        sound.metadata["language"] = "swe"
        text = None
        if subtitles:
            text = container.add_mux_stream(subtitles, time_base=Fraction(1, 1000))
            text.metadata["language"] = "deu"
        if attachment:
            container.add_attachment("font.ttf", "font/ttf", b"not really a font")
        if chapters:
            container.set_chapters(
                [
                    _chapter(1, 0, 1000, "First"),
                    _chapter(2, 1000, seconds * 1000, "Second"),
                ]
            )
        for frame in noise(32, 32, range(25 * seconds)):
            item = picture(frame)
            item.time_base = Fraction(1, 25)
            container.mux(video.encode(item))
        container.mux(video.encode(None))
        _write_sound(container, sound, seconds)
        if text is not None:
            for begin, line in ((200, b"Hello"), (800, b"through one second"), (1500, b"Bye")):
                if subtitles == "mov_text":
                    line = len(line).to_bytes(2, "big") + line
                packet = av.Packet(line)
                packet.stream = text
                packet.pts = packet.dts = begin
                packet.duration = 400
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)


def _chapter(number: int, start: int, end: int, title: str):
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def _write_sound(container, stream, seconds: int) -> None:
    size = stream.codec_context.frame_size
    if not size:
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 1024
    layout = stream.codec_context.layout.name
    rng = np.random.default_rng(9)
    for begin in range(0, 48000 * seconds, size):
        noise_ = rng.integers(-9000, 9000, (1, 2 * size)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(noise_, format="s16", layout=layout)
        frame.sample_rate = 48000
        frame.pts = begin
        frame.time_base = Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time in seconds and payload of all packets of the first track of a kind."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None
        ]
