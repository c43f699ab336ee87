"""Reading any video as 8-bit 4:2:0 frames in display order."""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from vireo.errors import InputError, UsageError
from vireo.video.convert import FrameConverter, color_of
from vireo.video.details import chroma_location, is_mirrored, missing_bytes
from vireo.video.frame import Frame, VideoFormat
from vireo.video.media_file import MediaFile, video_stream, video_streams
from vireo.video.timing import constant_rate


def open_source(
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    fps: Fraction | int | None = None,
    pix_fmt: str | None = None,
    start: int = 0,
    frames: int | None = None,
) -> VideoSource:
    """Open a media file, or a file of raw planar YUV, for reading its first video track.

    A path that ends in `.yuv`, or any path with a `size`, is raw video.

    Args:
        path: a file that FFmpeg's demuxers know (mp4, mkv, webm, mov, avi, y4m, …).
        size: width and height of raw video, in luma samples.
        fps: frames per second of raw video; 25 with a notice where not given.
        pix_fmt: FFmpeg's name of raw video's planar sample layout; `yuv420p` where not given.
        start: how many frames to skip, at least 0.
        frames: how many frames to deliver at most, at least 1; None for all.

    Raises:
        UsageError: an option is out of range, or does not go with this kind of file.
        InputError: the file can't be read, holds no video, or ends before frame `start`.
    """
    if start < 0:
        raise UsageError(f"start is {start}: it counts frames to skip, so it can't be negative")
    if frames is not None and frames < 1:
        raise UsageError(f"frames is {frames}: at least one frame must be asked for")
    file = MediaFile.of(Path(path), size, fps, pix_fmt)
    return VideoSource(file, start, frames)


class VideoSource:
    """A video that can be read from its first frame to its last, more than once.

    Iterating gives `Frame`s in display order, with the source's own time stamps (moved where
    they don't rise), in memory that does not grow with the length of the video. Each `iter()`
    starts anew; an earlier iterator ends. Use it as a context manager, or call `close`.

    Iterating raises `InputError` after the last good frame where the file is damaged or
    truncated, or where the picture's size or pixel format changes midway.

    Attributes:
        path: the file.
        format: what holds for every frame delivered.
        notices: what is converted, assumed or left out, a sentence each.
        frame_count: how many frames to expect after `start` and `frames`. Exact where each
            of the container's packets holds one frame, as nearly always; None where unknown.
        start_time: presentation time of the first frame delivered, in seconds.
        end_time: presentation time in seconds of the first frame after those delivered,
            where `frames` leaves some out; None where the video is read to its end.
    """

    path: Path
    format: VideoFormat
    notices: tuple[str, ...]
    frame_count: int | None
    start_time: Fraction
    end_time: Fraction | None

    def __init__(self, file: MediaFile, start: int, frames: int | None):
        self.path = file.path
        self._file = file
        self._start = start
        self._limit = frames
        self._live: Generator[Frame] | None = None
        with file.open() as container:
            self._probe(container)

    @property
    def is_raw(self) -> bool:
        """Whether the file holds samples and nothing else."""
        return self._file.frame_total is not None

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VideoSource({str(self.path)!r}, {self.format.width}x{self.format.height})"

    def close(self) -> None:
        """End the reading that is under way, if any."""
        if self._live is not None:
            self._live.close()
            self._live = None

    def __iter__(self) -> Iterator[Frame]:
        self.close()
        self._live = self._read()
        return self._live

    def _probe(self, container: InputContainer) -> None:
        stream = video_stream(container, self.path)
        self._packets = 0
        first, times, is_timed = self._scan(container, stream)
        color = color_of(first, chroma_location(self.path, stream))
        self._picture = (first.width, first.height, first.format.name)
        self._converter = FrameConverter(first.format.name, color)
        self._promised = stream.frames if "mp4" in container.format.name else 0
        total = len(times)
        time_base = stream.time_base
        assert time_base is not None  # FFmpeg gives every stream one
        declared = (stream.average_rate, stream.guessed_rate, stream.base_rate)

        end = None if self._limit is None else self._start + self._limit
        if self._start >= total:
            raise InputError(
                f"{self.path}: can't start at frame {self._start}, the video has {total} frames"
            )
        self.frame_count = len(range(total)[self._start : end])
        self.end_time = None
        self._times = np.sort(np.frombuffer(times, np.int64)) if is_timed else None
        if self._times is None:
            rate = next((r for r in declared if r), None)
            self._origin = 0
        else:
            rate = constant_rate(self._times[self._start : end], time_base, declared)
            self._origin = int(self._times[0])
        self._period = 1 / (rate * time_base) if rate else Fraction(1)
        self.start_time = self._expected_time(self._start) * time_base
        if end is not None and end < total:
            self.end_time = self._expected_time(end) * time_base
        self.format = VideoFormat(
            width=first.width,
            height=first.height,
            frame_rate=rate,
            time_base=time_base,
            sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
            rotation=first.rotation % 360,
            color=self._converter.color,
        )
        self.notices = tuple(self._notices(container, first))

    def _expected_time(self, index: int) -> int:
        """Time stamp of a frame, from the packets' time stamps or else from the frame rate."""
        if self._times is not None and index < len(self._times):
            return int(self._times[index])
        return self._origin + round(index * self._period)

    def _scan(
        self, container: InputContainer, stream: VideoStream
    ) -> tuple[av.VideoFrame, array[int], bool]:
        """The first picture, the time stamps of all packets, and whether they mean anything.

        Reads the whole file once without decoding past the first picture: only that tells
        a constant rate from a variable one.
        """
        times = array("q")
        is_timed = True
        is_avi = container.format.name == "avi"
        first: av.VideoFrame | None = None
        reason = "it holds no picture"
        with contextlib.suppress(av.FFmpegError):  # iterating meets the damage again, and tells
            for packet in container.demux(stream):
                self._packets += packet.size > 0
                if packet.size and not packet.is_discard and not _is_hidden(packet, stream):
                    # AVI counts packets. Where FFmpeg gives H.264 there another time for display,
                    # it guesses, and is wrong.
                    guessed = is_avi and packet.pts != packet.dts
                    is_timed = is_timed and packet.pts is not None and not guessed
                    times.append(packet.pts or 0)
                if first is None:
                    try:
                        first = next(iter(packet.decode()), None)
                    except av.FFmpegError as error:
                        reason = error.strerror or str(error)
        if first is None:
            raise InputError(f"{self.path}: the video can't be decoded: {reason}")
        if self._file.frame_total is not None:
            del times[self._file.frame_total :]
        return first, times, is_timed

    def _notices(self, container: InputContainer, first: av.VideoFrame) -> Iterator[str]:
        yield from self._file.notices
        if self._converter.notice:
            yield self._converter.notice
        if first.interlaced_frame:
            yield "the video is interlaced: its fields stay woven together in each frame"
        if is_mirrored(first):
            yield "the video is mirrored for display: only its rotation is kept"
        if self._times is not None and not np.diff(self._times).all():
            yield "some frames have the time stamp of the one before: they come a tick later"
        others = len(video_streams(container)) - 1
        if others:
            yield f"only the first of {others + 1} video tracks is read"

    def _read(self) -> Generator[Frame]:
        can_seek = self._start > 0 and self._times is not None
        for find in (self._sought, self._counted) if can_seek else (self._counted,):
            with self._file.open() as container:
                pictures = find(container)
                if pictures is not None:
                    yield from self._deliver(pictures)
                    return

    def _counted(self, container: InputContainer) -> Iterator[av.VideoFrame]:
        """Pictures from frame `start` on, found by decoding all before it."""
        stream = video_stream(container, self.path)
        return islice(self._pictures(container, stream), self._start, None)

    def _sought(self, container: InputContainer) -> Iterator[av.VideoFrame] | None:
        """Pictures from frame `start` on, found by seeking; None where that misses it."""
        assert self._times is not None
        target = int(self._times[self._start])
        stream = video_stream(container, self.path)
        try:
            container.seek(target, stream=stream)
        except av.FFmpegError:
            return None
        pictures = self._pictures(container, stream)
        for picture in pictures:
            if picture.pts is None or picture.pts > target:
                return None
            if picture.pts == target:
                return chain((picture,), pictures)
        return None

    def _deliver(self, pictures: Iterator[av.VideoFrame]) -> Iterator[Frame]:
        index = self._start
        end = None if self._limit is None else self._start + self._limit
        before: int | None = None
        for picture in pictures:
            found = (picture.width, picture.height, picture.format.name)
            if found != self._picture:
                was, now = (f"{w}x{h} {name}" for w, h, name in (self._picture, found))
                raise InputError(f"{self.path}: frame {index} changes from {was} to {now}")
            if picture.is_corrupt:
                raise InputError(f"{self.path}: frame {index} is damaged")
            if self._times is None or picture.pts is None:
                pts = self._expected_time(index)
            else:
                pts = picture.pts
            if before is not None:
                pts = max(pts, before + 1)
            before = pts
            try:
                frame = self._converter(picture, pts)
            except av.FFmpegError as error:
                raise InputError(f"{self.path}: frame {index} can't be converted") from error
            yield frame
            index += 1
            if index == end:
                return
        self._check_whole(index)

    def _pictures(self, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        """Decoded pictures; InputError after the last one that could be decoded."""
        left = self._file.frame_total
        try:
            for packet in container.demux(stream):
                if left is not None and packet.size:
                    if not left:
                        break
                    left -= 1
                yield from packet.decode()
        except av.FFmpegError as error:
            with contextlib.suppress(av.FFmpegError):
                yield from stream.decode(None)
            reason = error.strerror or str(error)
            raise InputError(f"{self.path}: the video is damaged: {reason}") from error

    def _check_whole(self, count: int) -> None:
        missing = missing_bytes(self.path)
        if missing:
            raise InputError(
                f"{self.path}: the file is truncated: {missing} bytes are missing "
                f"after frame {count - 1}"
            )
        if self._packets < self._promised:
            raise InputError(
                f"{self.path}: the file is truncated: it lists {self._promised} frames "
                f"and holds {self._packets}"
            )


def _is_hidden(packet: av.Packet[VideoStream], stream: VideoStream) -> bool:
    """Whether a packet shows no picture: VP8 keeps hidden references in packets of their own."""
    return stream.codec_context.name.startswith(("vp8", "libvpx")) and not bytes(packet)[0] & 0x10
