"""Writing frames as y4m, raw YUV, lossless Matroska or MP4, or PNG pictures."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal, cast, get_args

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.stream import VideoStream

from vireo.errors import UsageError
from vireo.video.convert import picture_of, rgb_picture
from vireo.video.frame import DEFAULT_RATE, ColorRange, Frame, VideoFormat
from vireo.video.matroska import reserve_display_size, set_display_size
from vireo.video.remux import TrackCopier, has_tracks_to_copy
from vireo.video.sink import StagedFile, VideoSink

SinkKind = Literal["y4m", "yuv", "ffv1", "x264", "png"]

_KIND_OF_SUFFIX: dict[str, SinkKind] = {
    ".y4m": "y4m",
    ".yuv": "yuv",
    ".mkv": "ffv1",
    ".mp4": "x264",
    ".png": "png",
}
_CONTAINERS: dict[SinkKind, dict[str, str]] = {
    "ffv1": {".mkv": "matroska"},
    "x264": {".mkv": "matroska", ".mp4": "mp4"},
}
_CHROMA_LOCATIONS = ("unspecified", "left", "center", "topleft", "top", "bottomleft", "bottom")
_Y4M_CHROMA = {1: "420mpeg2 XYSCSS=420MPEG2", 3: "420paldv XYSCSS=420PALDV"}
_Y4M_RANGE = {ColorRange.LIMITED: " XCOLORRANGE=LIMITED", ColorRange.FULL: " XCOLORRANGE=FULL"}


def open_sink(
    target: str | os.PathLike[str],
    format: VideoFormat,
    *,
    kind: SinkKind | None = None,
    sound_from: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    keep_partial: bool = False,
) -> VideoSink:
    """Open a file, a set of pictures or standard output for writing frames.

    | kind | target | holds |
    |---|---|---|
    | `y4m` | `.y4m`, `-` | samples, frame rate, sample aspect ratio, range |
    | `yuv` | `.yuv`, `-` | samples |
    | `ffv1` | `.mkv` | everything, losslessly, any size |
    | `x264` | `.mp4`, `.mkv` | everything, losslessly, even sizes |
    | `png` | a directory, or `name_%05d.png` | RGB pictures, converted by range and matrix |

    Files grow under a temporary name beside the target and get their own name when the sink
    is closed. Left by an exception, a sink removes what it wrote, unless `keep_partial`.

    Args:
        target: where to write; `-` is standard output.
        format: what holds for every frame.
        kind: what to write; by default the target's suffix tells, and `-` is y4m.
        sound_from: a media file whose sound, subtitles, attachments, chapters and metadata
            are copied beside the video. The kinds that hold pictures only leave them out,
            with a notice where there is sound or a subtitle.
        overwrite: whether a file of that name may be replaced.
        keep_partial: keep the frames written so far when a `VireoError` ends the writing.

    Raises:
        UsageError: the target exists, can't be made, or does not go with the kind.
        InputError: `sound_from` can't be read.
    """
    to_stdout = os.fspath(target) == "-"
    path = Path(target)
    chosen = kind or ("y4m" if to_stdout else _kind_of(path))
    if chosen not in get_args(SinkKind):
        raise UsageError(f"no output is called {chosen!r}: choose {', '.join(get_args(SinkKind))}")
    sink: VideoSink
    if chosen in ("y4m", "yuv"):
        sink = _PlanarSink(None if to_stdout else path, format, chosen, overwrite)
    elif to_stdout:
        raise UsageError(f"standard output takes y4m or yuv, not {chosen}")
    elif chosen == "png":
        sink = _PictureSink(path, format, overwrite)
    else:
        return _CodedSink(path, format, chosen, sound_from, overwrite, keep_partial)
    sink.keep_partial = keep_partial
    if sound_from is not None and has_tracks_to_copy(sound_from):
        sink.notices += (f"{chosen} holds pictures only: sound and subtitles are left out",)
    return sink


def _kind_of(path: Path) -> SinkKind:
    if path.is_dir() or not path.suffix:
        return "png"
    try:
        return _KIND_OF_SUFFIX[path.suffix.lower()]
    except KeyError:
        known = ", ".join(_KIND_OF_SUFFIX)
        raise UsageError(f"can't tell from {path} what to write: end it in {known}") from None


class _PlanarSink(VideoSink):
    """y4m or raw planar samples, to a file or to standard output."""

    def __init__(self, path: Path | None, format: VideoFormat, kind: str, overwrite: bool):
        super().__init__(format)
        self._staged = None if path is None else StagedFile(path, overwrite)
        self._file: BinaryIO = (
            sys.stdout.buffer if self._staged is None else self._staged.temporary.open("wb")
        )
        self._frame_header = b""
        lost = []
        if kind == "y4m":
            self._frame_header = b"FRAME\n"
            self._put(_y4m_header(format))
        elif format.sample_aspect_ratio != 1:
            lost.append("the sample aspect ratio")
        if format.frame_rate is None:
            lost.append("the varying time between frames")
        if format.rotation:
            lost.append(f"the rotation by {format.rotation} degrees")
        if (format.color.primaries, format.color.transfer, format.color.matrix) != (2, 2, 2):
            lost.append("the colour primaries, transfer and matrix")
        if lost:
            self.notices += (f"{kind} does not keep {', '.join(lost)}",)

    def _write(self, frame: Frame) -> None:
        self._put(self._frame_header + b"".join(plane.tobytes() for plane in frame.planes))

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except BrokenPipeError:
            self._silence_stdout()
            raise

    def _finish(self) -> None:
        if self._staged is not None:
            self._file.close()
            self._staged.publish()
            return
        try:
            self._file.flush()
        except BrokenPipeError:
            self._silence_stdout()
            raise

    def _discard(self) -> None:
        if self._staged is not None:
            self._file.close()
            self._staged.discard()

    def _silence_stdout(self) -> None:
        # Or the interpreter meets the broken pipe again at exit, and prints a traceback.
        if self._staged is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _y4m_header(format: VideoFormat) -> bytes:
    rate = "0:0" if format.frame_rate is None else _ratio(format.frame_rate)
    chroma = _Y4M_CHROMA.get(format.color.chroma_location, "420jpeg XYSCSS=420JPEG")
    return (
        f"YUV4MPEG2 W{format.width} H{format.height} F{rate} Ip "
        f"A{_ratio(format.sample_aspect_ratio)} C{chroma}{_Y4M_RANGE.get(format.color.range, '')}\n"
    ).encode()


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}:{value.denominator}"


class _CodedSink(VideoSink):
    """FFV1 or lossless H.264 in Matroska or MP4, with the tracks of another file."""

    def __init__(
        self,
        path: Path,
        format: VideoFormat,
        kind: SinkKind,
        sound_from: str | os.PathLike[str] | None,
        overwrite: bool,
        keep_partial: bool,
    ):
        super().__init__(format)
        self.keep_partial = keep_partial
        containers = _CONTAINERS[kind]
        self._container_name = containers.get(path.suffix.lower(), "")
        if not self._container_name:
            raise UsageError(f"{kind} goes into {' or '.join(containers)}, not {path.name}")
        if kind == "x264" and (format.width % 2 or format.height % 2):
            raise UsageError(
                f"H.264 in 4:2:0 needs even sizes, this is {format.width}x{format.height}: "
                "write FFV1 into .mkv"
            )
        self._reserved = kind == "ffv1" and format.sample_aspect_ratio != 1
        self._staged = StagedFile(path, overwrite)
        self._copier: TrackCopier | None = None
        self._waiting: Frame | None = None
        rate = format.frame_rate or DEFAULT_RATE
        self._duration = max(1, round(1 / (rate * format.time_base)))
        # Time stamps are kept as they are, negative ones of sound (an encoder's delay) too:
        # the muxer would move the video to make room for them.
        options = {"avoid_negative_ts": "disabled"} if self._container_name == "matroska" else {}
        if self._reserved:
            options["write_crc32"] = "0"
        self._container: OutputContainer = av.open(
            str(self._staged.temporary),
            "w",
            format=self._container_name,
            container_options=options,
        )
        try:
            self._stream = self._add_video(kind)
            if sound_from is not None:
                self._copier = TrackCopier(sound_from, self._container)
                self.notices = self._copier.notices
        except BaseException:
            self._discard()
            raise

    def _add_video(self, kind: SinkKind) -> VideoStream:
        format, color = self.format, self.format.color
        # FFmpeg can't divide tiny pictures into slices, which version 3 asks for.
        is_tiny = min(format.width, format.height) < 8
        codec, options = {
            "ffv1": ("ffv1", {"level": "1"} if is_tiny else {"level": "3", "slicecrc": "1"}),
            "x264": ("libx264", {"qp": "0", "preset": "fast"}),
        }[kind]
        options["chroma_sample_location"] = _CHROMA_LOCATIONS[color.chroma_location]
        stream = cast(
            VideoStream,
            self._container.add_stream(
                codec,
                rate=format.frame_rate,
                options=options,
                width=format.width,
                height=format.height,
                pix_fmt="yuv420p",
                time_base=format.time_base,
            ),
        )
        context = stream.codec_context
        context.flags |= Flags.frame_duration
        if format.frame_rate is None:
            context.framerate = Fraction(0)
        context.sample_aspect_ratio = format.sample_aspect_ratio
        context.color_range = int(color.range)
        context.color_primaries = color.primaries
        context.color_trc = color.transfer
        context.colorspace = color.matrix
        if format.rotation:
            stream.set_display_rotation(format.rotation)
        if self._reserved:
            reserve_display_size(stream)
        return stream

    def _write(self, frame: Frame) -> None:
        # One frame waits until the next one's time tells how long it lasts. Without a duration
        # MP4 takes the last frame for outside the video, and players leave it out.
        if self._waiting is not None:
            self._duration = frame.pts - self._waiting.pts
            self._encode(self._waiting)
        self._waiting = frame

    def _encode(self, frame: Frame) -> None:
        if self._copier is not None:
            self._copier.copy_until(frame.pts * self.format.time_base)
        picture = picture_of(frame, self.format.color, self.format.time_base)
        picture.duration = self._duration
        self._container.mux(self._stream.encode(picture))

    def _finish(self) -> None:
        if self._waiting is None:
            raise UsageError("there is no frame to write")
        self._encode(self._waiting)
        self._container.mux(self._stream.encode(None))
        if self._copier is not None:
            self._copier.finish()
            self.notices = self._copier.notices
        self._container.close()
        if self._reserved:
            set_display_size(self._staged.temporary, self.format)
        self._staged.publish()

    def _discard(self) -> None:
        if self._copier is not None:
            self._copier.close()
        try:
            self._container.close()
        except (av.FFmpegError, ValueError):
            pass
        finally:
            self._staged.discard()


class _PictureSink(VideoSink):
    """Numbered PNG pictures, numbered from 0 in a directory or as a pattern says."""

    def __init__(self, target: Path, format: VideoFormat, overwrite: bool):
        super().__init__(format)
        if target.suffix.lower() == ".png":
            self._directory, self._pattern = target.parent, target.name
        else:
            self._directory, self._pattern = target, "frame_%05d.png"
        try:
            distinct = self._pattern % 0 != self._pattern % 1
        except (TypeError, ValueError):
            distinct = False
        if not distinct:
            raise UsageError(f"{target} needs one number, as in frame_%05d.png")
        self._overwrite = overwrite
        self._made_directory = not self._directory.exists()
        try:
            self._directory.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self._directory} can't be made: {error.strerror}") from error
        self._staged: list[StagedFile] = []

    def _write(self, frame: Frame) -> None:
        path = self._directory / (self._pattern % self.frame_count)
        picture = rgb_picture(frame, self.format.color, self.format.time_base)
        codec = av.CodecContext.create("png", "w")
        codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, "rgb24"
        codec.time_base = self.format.time_base
        data = b"".join(bytes(packet) for packet in (*codec.encode(picture), *codec.encode(None)))
        staged = StagedFile(path, self._overwrite)
        self._staged.append(staged)
        staged.temporary.write_bytes(data)

    def _finish(self) -> None:
        for staged in self._staged:
            staged.publish()

    def _discard(self) -> None:
        for staged in self._staged:
            staged.discard()
        if self._made_directory:
            self._directory.rmdir()
