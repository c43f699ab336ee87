"""Reads the Vireo track of a Matroska file, or of a QuickTime file that ffmpeg remuxed to.

libavformat demuxes. It knows no codec for the track, so the track is found, and its header read,
through its packets: tools may lose or change private data, but not those.
"""

from __future__ import annotations

import itertools
import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from vireo.container.ebml import broken_at, missing_bytes
from vireo.container.header import StreamHeader
from vireo.container.packet import GopStart, is_key_packet, read_packet
from vireo.errors import (
    HeaderError,
    InputError,
    LimitError,
    StreamError,
    TruncatedError,
)

MAX_PACKET_SIZE = 1 << 26
_PROBED_PACKETS = 64
_QUICKTIME_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}
_HALF_TICK = Fraction(1, 2000)


@dataclass(frozen=True)
class StoredPacket:
    """A packet as a file holds it.

    Attributes:
        data: its bytes, not checked.
        time: presentation time in seconds by the container; None if it has
            none. Right to 1 ms for key packets; for
            others, remuxing may have changed it (see `vireo.container.Timeline`).
        is_key: whether the container says that it starts a GOP.
        index: its place in coding order, from 0.
        position: byte offset of its block in the file, or None.
    """

    data: bytes
    time: Fraction | None
    is_key: bool
    index: int
    position: int | None


@dataclass(frozen=True)
class KeyPoint:
    """Where a GOP starts in a file.

    Attributes:
        time, index, position: as in `StoredPacket`.
        gop: what the key packet says, or None if it is damaged.
    """

    time: Fraction
    index: int
    position: int | None
    gop: GopStart | None


class MatroskaReader:
    """Iterates over the packets of a file's Vireo track; use it as a context manager.

    Memory doesn't grow with the file's length. Iterating goes on from where the last iteration
    or `seek` left off. It raises a StreamError behind the last packet that can be had where the
    file is cut short or damaged, and LimitError for a packet over `max_packet_size` bytes.

    Attributes:
        header: the stream header, from the first undamaged key packet.
    """

    header: StreamHeader

    def __init__(self, path: str | os.PathLike[str], *, max_packet_size: int = MAX_PACKET_SIZE):
        """Open `path`.

        Raises InputError if the file can't be opened, HeaderError if it has no Vireo track or
        no undamaged key packet, another StreamError if it is damaged at the front.
        """
        self._path = Path(path)
        self._max_packet_size = max_packet_size
        self._key_points: tuple[KeyPoint, ...] | None = None
        with _open(self._path) as container:
            track = _find_track(container, None)
        if track is None:
            raise HeaderError(f"{self._path} has no Vireo track with an undamaged key packet")
        self._stream_index, self.header = track
        self._rewind()

    @staticmethod
    def is_vireo(path: str | os.PathLike[str]) -> bool:
        """Whether a file has a Vireo track, by its first packets; False if it can't be read."""
        try:
            with _open(Path(path)) as container:
                return _find_track(container, _PROBED_PACKETS) is not None
        except InputError:
            return False
        except StreamError as error:
            return isinstance(error, HeaderError)

    def __iter__(self) -> Iterator[StoredPacket]:
        while (packet := self._next()) is not None:
            yield packet

    def key_points(self) -> tuple[KeyPoint, ...]:
        """Where the GOPs start, in coding order.

        The first call reads the whole file without decoding. A damaged file gives those before
        the damage.
        """
        if self._key_points is None:
            points = []
            with MatroskaReader(self._path, max_packet_size=self._max_packet_size) as reader:
                try:
                    for packet in reader:
                        if packet.is_key and packet.time is not None:
                            gop = _gop_start(packet.data)
                            points.append(KeyPoint(packet.time, packet.index, packet.position, gop))
                except StreamError:
                    pass  # Reading for real raises it again, behind the packets.
            self._key_points = tuple(points)
        return self._key_points

    def key_times(self) -> tuple[Fraction, ...]:
        """Container times of the key packets in seconds, in coding order."""
        return tuple(point.time for point in self.key_points())

    def seek(self, seconds: float | Fraction) -> None:
        """Go on with the last key packet at or before `seconds`, or the first one if none is.

        Times are the container's. Raises StreamError if there is no key packet.
        """
        points = self.key_points()
        if not points:
            raise StreamError(f"{self._path} has no key packet to seek to")
        place = bisect_right(self.key_times(), Fraction(seconds) + _HALF_TICK)
        point = points[max(0, place - 1)]
        if not self._seek_by_index(point):
            self._container.close()
            self._rewind()
            for _ in range(point.index):
                self._next()

    def close(self) -> None:
        """Close the file. Reading after that is an error."""
        self._container.close()

    def __enter__(self) -> MatroskaReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _rewind(self) -> None:
        self._container = _open(self._path)
        self._is_quicktime = "mov" in self._container.format.name
        self._stream = _video(self._container, self._stream_index)
        self._packets: Iterator[Any] = self._container.demux(self._stream)
        self._index = 0

    def _seek_by_index(self, point: KeyPoint) -> bool:
        """Seek with the container's own index, and check that it led to `point`."""
        time_base = self._stream.time_base or Fraction(1, 1000)
        ticks = round(point.time / time_base)
        try:
            self._container.seek(ticks, stream=self._stream)
            packets = self._container.demux(self._stream)
            for packet in packets:
                if packet.is_keyframe and packet.pts == ticks:
                    self._packets = itertools.chain([packet], packets)
                    self._index = point.index
                    return True
                if packet.pts is not None and packet.is_keyframe and packet.pts > ticks:
                    return False
        except av.FFmpegError:
            return False
        return False

    def _next(self) -> StoredPacket | None:
        try:
            # Flushing packets at the end have no data.
            packet = next((packet for packet in self._packets if packet.size), None)
        except av.FFmpegError as error:
            raise StreamError(
                f"{self._path} is damaged: {error.strerror}", packet=self._index
            ) from error
        if packet is None:
            missing = missing_bytes(self._path)
            if missing:
                raise TruncatedError(
                    f"{self._path} lacks its last {missing} bytes", packet=self._index
                )
            # FFmpeg passes over damage between packets, and over whole GOPs, without a word.
            broken = None if self._is_quicktime else broken_at(self._path)
            if broken is not None:
                raise StreamError(
                    f"{self._path} is damaged at byte {broken}: packets may be missing there",
                )
            return None
        if packet.size > self._max_packet_size:
            raise LimitError(
                f"a packet of {packet.size} bytes, the limit is {self._max_packet_size}",
                packet=self._index,
            )
        stored = StoredPacket(
            data=bytes(packet),
            time=None if packet.pts is None else packet.pts * packet.time_base,
            is_key=packet.is_keyframe,
            index=self._index,
            position=packet.pos,
        )
        self._index += 1
        return stored


def _open(path: Path) -> InputContainer:
    """Open a file with the demuxer that fits its first bytes.

    No other demuxer is tried: some of them open further files that a text names.
    """
    try:
        with path.open("rb") as file:
            front = file.read(8)
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error
    name = "mov" if front[4:8] in _QUICKTIME_ATOMS else "matroska"
    try:
        return av.open(str(path.absolute()), format=name, metadata_errors="replace")
    except av.FFmpegError as error:
        raise StreamError(f"{path} is no Matroska file, or damaged: {error.strerror}") from error


def _video(container: InputContainer, index: int) -> VideoStream:
    return next(stream for stream in container.streams.video if stream.index == index)


def _find_track(container: InputContainer, limit: int | None) -> tuple[int, StreamHeader] | None:
    """Index and header of the first video stream that has a Vireo key packet.

    `limit` is the number of packets to look at. Raises StreamError for a key packet whose
    checksum is right and whose header is not: one of a newer format.
    """
    candidates = [stream for stream in container.streams.video if stream.codec_context is None]
    if not candidates:
        return None
    try:
        for packet in itertools.islice(container.demux(candidates), limit):
            data = bytes(packet) if packet.size <= MAX_PACKET_SIZE else b""
            if packet.is_keyframe and is_key_packet(data):
                return packet.stream.index, read_packet(data).gop_start.header
    except av.FFmpegError:
        return None
    return None


def _gop_start(data: bytes) -> GopStart | None:
    try:
        return read_packet(data).gop_start
    except (StreamError, ValueError):
        return None
