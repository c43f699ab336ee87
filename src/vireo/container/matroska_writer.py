"""Writes a Vireo track, and the tracks copied beside it, to a Matroska file.

libavformat muxes, so that everything it knows about sound and subtitles is at hand. It has no
codec for Vireo and refuses the label `V_MS/VFW/FOURCC`, so the track goes in as MPEG-4 and its
entry in the file's head is rewritten on the way to the disk.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

import av
from av.container import OutputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vireo.container.ebml import SPARE_BYTES, find_track, relabelled_track
from vireo.container.header import StreamHeader
from vireo.container.packet import Packet, packet_display_index
from vireo.errors import UsageError
from vireo.video.frame import VideoFormat

FOURCC = b"VIRE"
_TEMPLATE_CODEC = b"V_MPEG4/ISO/ASP"
# The head up to the end of the first track entry must arrive in one piece.
_BUFFER_SIZE = 1 << 20


class TrackCopier(Protocol):
    """Copies other tracks beside the Vireo track."""

    def copy_until(self, seconds: float) -> None:
        """Copy all packets before `seconds`."""

    def finish(self) -> None:
        """Copy the rest."""


class MatroskaWriter:
    """Writes packets in coding order; use it as a context manager.

    The file appears under its name when it is closed; until then it is `.NAME.part` beside it.
    Where the block is left by an exception, nothing remains. The bytes depend on the packets
    and the copied tracks alone.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: StreamHeader,
        *,
        copier: Callable[[OutputContainer], TrackCopier] | None = None,
    ):
        """Start a file at `path`.

        `copier` is called with the output after the Vireo track has been added and before
        anything has been written: it may add streams, chapters and metadata. Raises UsageError
        if the file can't be created.
        """
        self._path = Path(path)
        self._temporary = self._path.with_name(f".{self._path.name}.part")
        self._video = header.video_format
        private = _private_data(header)
        if self._path.is_dir():
            raise UsageError(f"can't write {self._path}: it is a directory")
        try:
            self._file = _RelabellingFile(self._temporary, private, _display_size(self._video))
        except OSError as error:
            raise UsageError(f"can't write {self._path}: {error.strerror}") from error
        try:
            self._output = av.open(
                self._file,
                "w",
                format="matroska",
                buffer_size=_BUFFER_SIZE,
                # Checksums of the head would not match after it has been rewritten; bitexact
                # leaves out the date and random numbers.
                container_options={"write_crc32": "0", "fflags": "+bitexact"},
            )
            self._stream = _add_track(self._output, self._video, private)
            self._copier = copier(self._output) if copier is not None else None
            self._output.start_encoding()
        except BaseException:
            self.abort()
            raise
        self._times = _DecodingTimes()
        self._duration = _frame_duration(self._video)

    def write(self, packet: Packet) -> None:
        """Append a packet.

        Raises ValueError if the times don't rise in display order, UsageError where Matroska
        can't hold it or a packet copied beside it.
        """
        dts = self._times.of(packet)
        if self._copier is not None:
            with self._translated():
                self._copier.copy_until(float(dts * self._video.time_base))
        block = av.Packet(packet.data)
        block.stream = self._stream
        block.time_base = self._video.time_base
        block.pts = packet.pts
        block.dts = dts
        block.duration = self._duration
        block.is_keyframe = packet.is_key
        with self._translated():
            self._output.mux(block)

    def close(self) -> None:
        """Copy what is left of the other tracks, finish the file and give it its name."""
        try:
            with self._translated():
                if self._copier is not None:
                    self._copier.finish()
                self._output.close()
            self._file.close()
            self._file.check()
            os.replace(self._temporary, self._path)
        except BaseException:
            self.abort()
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            reason = error.strerror or error
            raise UsageError(f"{self._path} can't be written: {reason}") from error

    def abort(self) -> None:
        """Drop the unfinished file."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> MatroskaWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class _DecodingTimes:
    """Decoding times: libavformat wants them rising and never behind a presentation time to come.

    The best such time is that of the frame up to which the GOP is complete in display order.
    """

    def __init__(self) -> None:
        self._time = 0
        self._next = 0
        self._early: dict[int, int] = {}

    def of(self, packet: Packet) -> int:
        index = packet_display_index(packet.data)
        if packet.is_key:
            self._early.clear()
            self._next = 0
            self._time = packet.pts
        time = self._time
        if packet.pts < time:
            raise ValueError(f"presentation time {packet.pts} comes after {time} was complete")
        self._early[index] = packet.pts
        while self._next in self._early:
            self._time = self._early.pop(self._next)
            self._next += 1
        return time


class _RelabellingFile:
    """A file that puts Vireo's track entry in the place of the template's."""

    def __init__(self, path: Path, private: bytes, display_size: tuple[int, int]):
        self._file = path.open("w+b")
        self._private = private
        self._display_size = display_size
        self._entry = b""
        self._entry_at = 0

    def write(self, data: bytes) -> int:
        at = self._file.tell()
        if at == 0 and not self._entry:
            self._find_entry(data)
        # The muxer writes the head again when it closes the file.
        start = max(at, self._entry_at)
        stop = min(at + len(data), self._entry_at + len(self._entry))
        if start < stop:
            entry = self._entry[start - self._entry_at : stop - self._entry_at]
            data = data[: start - at] + entry + data[stop - at :]
        return self._file.write(data)

    def _find_entry(self, head: bytes) -> None:
        track = find_track(head, _TEMPLATE_CODEC)
        if track is not None:
            self._entry_at = track.start
            self._entry = relabelled_track(
                head[track.start : track.end],
                private=self._private,
                display_size=self._display_size,
            )

    def check(self) -> None:
        """Raises RuntimeError if no track was relabelled."""
        if not self._entry:
            raise RuntimeError("libavformat wrote no track entry within the first MiB")

    @property
    def closed(self) -> bool:
        """PyAV asks, before it finishes a file that was dropped."""
        return self._file.closed

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def _private_data(header: StreamHeader) -> bytes:
    """The track's private data: a BITMAPINFOHEADER, then the stream header."""
    video, extra = header.video_format, header.write()
    # `ffmpeg -c copy` pads to an even length; so that it changes nothing, this does too.
    extra += bytes(len(extra) % 2)
    planes, bits_per_pixel, size = 1, 12, video.width * video.height * 3 // 2
    bitmap_info = struct.pack(
        "<IiiHH4sI16x",
        40 + len(extra),
        video.width,
        video.height,
        planes,
        bits_per_pixel,
        FOURCC,
        min(size, (1 << 32) - 1),
    )
    return bitmap_info + extra


def _display_size(video: VideoFormat) -> tuple[int, int]:
    """Width and height in square samples; neither is smaller than the coded one."""
    ratio = video.sample_aspect_ratio
    if ratio >= 1:
        return min(round(video.width * ratio), (1 << 32) - 1), video.height
    return video.width, min(round(video.height / ratio), (1 << 32) - 1)


def _frame_duration(video: VideoFormat) -> int:
    """Duration of a frame in ticks, 0 where the rate varies."""
    if video.frame_rate is None:
        return 0
    return round(1 / (video.frame_rate * video.time_base))


def _add_track(output: OutputContainer, video: VideoFormat, private: bytes) -> VideoStream:
    # PyAV makes a stream without an encoder only from another one; this one's file is never
    # written. The rate is set below, since a template must have one.
    template = av.open(io.BytesIO(), "w", format="matroska").add_stream("mpeg4", rate=1)
    stream = output.add_stream_from_template(template, opaque=True)
    context = stream.codec_context
    context.width = video.width
    context.height = video.height
    context.framerate = video.frame_rate if video.frame_rate is not None else Fraction(0)
    context.extradata = private + bytes(SPARE_BYTES)
    context.color_range = video.color.range
    context.color_primaries = video.color.primaries
    context.color_trc = video.color.transfer
    context.colorspace = video.color.matrix
    stream.time_base = video.time_base
    stream.disposition = Disposition.default
    return stream
