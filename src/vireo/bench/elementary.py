"""What is in an elementary stream: each picture's bytes and type, and encoders' remarks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from vireo.errors import InputError
from vireo.video import Frame

_START_CODE = re.compile(rb"\x00?\x00\x00\x01")
_H264_SEI = 6
_HEVC_PREFIX_SEI = 39
_USER_DATA_UNREGISTERED = 5


@dataclass(frozen=True)
class CodedPicture:
    """One picture of an elementary stream.

    Attributes:
        type: "I", "P" or "B".
        size: bytes of the packet that holds it, with all that comes with it.
    """

    type: str
    size: int


def decode(path: Path, *, threads: int | None = None) -> Iterator[tuple[CodedPicture, Frame]]:
    """Every picture of a stream in display order, and what it took.

    10-bit samples, which VVenC codes whatever it is given, are rounded to 8 bits. `threads`
    are FFmpeg's; by default as many as there are processors. Raises InputError where the
    file can't be decoded.

    A packet carries its number through the decoder as its time stamp, so that the decoder
    tells which picture came from which packet, where the stream itself has no times.
    """
    sizes: list[int] = []
    count = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads or 0
            for packet in container.demux(stream):
                if packet.size:
                    packet.pts = packet.dts = len(sizes)
                    sizes.append(packet.size)
                for picture in packet.decode():
                    assert picture.pts is not None  # its packet has one
                    kind = PictureType(picture.pict_type).name
                    yield CodedPicture(kind, sizes[picture.pts]), _frame(picture, count)
                    count += 1
    except (av.FFmpegError, IndexError) as error:
        raise InputError(f"{path}: the stream can't be decoded: {error}") from error


def _frame(picture: av.VideoFrame, index: int) -> Frame:
    bits = picture.format.components[0].bits
    planes = []
    for plane in picture.planes:
        kind = np.uint8 if bits == 8 else np.dtype("<u2")
        rows = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)[:, : plane.width]
        if bits > 8:
            wide = (rows.astype(np.uint32) + (1 << (bits - 9))) >> (bits - 8)
            rows = np.minimum(wide, 255)
        planes.append(rows.astype(np.uint8))
    y, u, v = planes
    return Frame(y, u, v, index)


def remarks(data: bytes, muxer: str) -> int:
    """Bytes of the text that x264 and x265 put into their streams about themselves.

    These are units of supplemental information with unregistered user data (H.264 and
    H.265, annex D). `muxer` is "h264", "hevc" or a format whose encoders write none.
    """
    if muxer not in ("h264", "hevc"):
        return 0
    return sum(len(unit) for unit in units(data) if _is_remark(unit, muxer))


def encoder_version(data: bytes) -> str | None:
    """How x264 or x265 names itself in a stream; None where it doesn't."""
    match = re.search(rb"x26[45] (?:- core \d+[^-]*|\(build \d+\) - [^:\s]+)", data)
    return match[0].decode().strip() if match else None


def units(data: bytes) -> Iterator[bytes]:
    """The units of a byte stream (H.264 and H.265, annex B), each with its start code."""
    starts = [m.start() for m in _START_CODE.finditer(data)]
    for begin, end in zip(starts, [*starts[1:], len(data)], strict=True):
        yield data[begin:end]


def _is_remark(unit: bytes, muxer: str) -> bool:
    start = _START_CODE.match(unit)
    assert start is not None
    body = unit[start.end() : start.end() + 3]
    if muxer == "h264":
        return len(body) > 1 and body[0] & 31 == _H264_SEI and body[1] == _USER_DATA_UNREGISTERED
    is_sei = len(body) > 2 and body[0] >> 1 & 63 == _HEVC_PREFIX_SEI
    return is_sei and body[2] == _USER_DATA_UNREGISTERED
