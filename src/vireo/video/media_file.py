"""Files of video before they are decoded: what they are, and how to open them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from vireo.errors import InputError, UsageError
from vireo.video.frame import DEFAULT_RATE

DEFAULT_RAW_PIXEL_FORMAT = "yuv420p"


@dataclass(frozen=True)
class MediaFile:
    """What it takes to open a file, as often as wanted.

    Attributes:
        path: the file.
        demuxer, options: what FFmpeg must be told to read it; None where it can tell itself.
        frame_total: whole frames in raw video; None for other files.
        notices: what is assumed or left out, a sentence each.
    """

    path: Path
    demuxer: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    frame_total: int | None = None
    notices: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        path: Path,
        size: tuple[int, int] | None,
        fps: Fraction | int | None,
        pix_fmt: str | None,
    ) -> MediaFile:
        """A file of video: raw where its name ends in `.yuv`, or a size is given.

        Raises:
            UsageError: an option is out of range, missing or out of place.
            InputError: the path is no file, or too short for one frame.
        """
        if path.is_dir():
            raise InputError(f"{path} is a directory, not a video file")
        if not path.exists():
            raise InputError(f"{path} does not exist")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file")
        if size is None and path.suffix.lower() != ".yuv":
            if fps is not None or pix_fmt is not None:
                raise UsageError(f"{path}: a frame rate or pixel format is for raw video only")
            return cls(path)
        if size is None:
            raise UsageError(f"{path} is raw video: give its size as WIDTHxHEIGHT")
        width, height = size
        if width < 1 or height < 1:
            raise UsageError(f"a raw video of {width}x{height} samples can't be")
        if fps is not None and fps <= 0:
            raise UsageError(f"a frame rate of {fps} can't be: it must be above 0")
        pix_fmt = pix_fmt or DEFAULT_RAW_PIXEL_FORMAT
        try:
            layout = av.VideoFormat(pix_fmt, width, height)
        except OverflowError as error:
            raise UsageError(f"a raw video of {width}x{height} samples can't be") from error
        except ValueError as error:
            raise UsageError(f"FFmpeg knows no pixel format {pix_fmt!r}") from error
        if not layout.is_planar and len(layout.components) > 1:
            raise UsageError(f"raw video must be planar, {pix_fmt} is not")
        frame_size = sum(c.width * c.height * -(-c.bits // 8) for c in layout.components)
        total, rest = divmod(path.stat().st_size, frame_size)
        if not total:
            raise InputError(
                f"{path} holds no whole frame: one of {width}x{height} {pix_fmt} takes "
                f"{frame_size} bytes, the file has {rest}"
            )
        notices = []
        if fps is None:
            notices.append(f"raw video names no frame rate: {DEFAULT_RATE} per second assumed")
        if rest:
            notices.append(f"the last {rest} bytes are no whole frame and are left out")
        options = {
            "video_size": f"{width}x{height}",
            "pixel_format": pix_fmt,
            "framerate": str(fps or DEFAULT_RATE),
        }
        return cls(path, "rawvideo", tuple(options.items()), total, tuple(notices))

    def open(self) -> InputContainer:
        """A new reading of the file, from its start; InputError where FFmpeg can't."""
        try:
            return av.open(
                str(self.path),
                "r",
                format=self.demuxer,
                options=dict(self.options),
                metadata_errors="replace",
            )
        except av.FFmpegError as error:
            reason = error.strerror or str(error)
            raise InputError(f"{self.path} can't be read as video: {reason}") from error


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The video tracks that are not cover pictures."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video track, made ready to decode; the demuxer skips the others."""
    streams = video_streams(container)
    # FFmpeg renders plain text to pictures of a terminal: nobody means that.
    if not streams or container.format.name == "tty":
        raise InputError(f"{path} holds no video track")
    chosen = streams[0]
    if chosen.codec_context is None:
        raise InputError(f"{path}: FFmpeg has no decoder for its video track")
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    chosen.thread_type = "AUTO"
    return chosen
