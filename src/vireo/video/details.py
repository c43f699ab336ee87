"""Facts about a media file that PyAV does not tell."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

_EBML_MAGIC = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_Y4M_LOCATIONS = {b"jpeg": 2, b"mpeg2": 1, b"paldv": 3}
# Matroska's ChromaSitingHorz and ChromaSitingVert to ffmpeg's AVChromaLocation.
_SITING_LOCATIONS = {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4}
_SITING = re.compile(rb"\x55\xb7\x81(.)\x55\xb8\x81(.)", re.DOTALL)


def chroma_location(path: Path, stream: VideoStream) -> int:
    """Where a track's chroma samples lie: ffmpeg's `AVChromaLocation`, 0 where not known.

    PyAV does not expose the field. For y4m it stands in the first line of the file; for any
    other track we let FFmpeg write a Matroska header for it and read the field there.
    """
    with path.open("rb") as file:
        line = file.readline(256)
    if line.startswith(b"YUV4MPEG2 "):
        tag = re.search(rb" C420(\w*)", line)
        return _Y4M_LOCATIONS.get(tag[1], 0) if tag else 0
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (av.FFmpegError, ValueError):
        return 0
    siting = _SITING.search(header.getvalue())
    return _SITING_LOCATIONS.get((siting[1][0], siting[2][0]), 0) if siting else 0


def is_mirrored(picture: av.VideoFrame) -> bool:
    """Whether the picture's display matrix flips it, beyond rotating it."""
    # The stubs know only motion vectors among a picture's side data.
    data = cast(bytes | None, picture.side_data.get("DISPLAYMATRIX"))
    if data is None:
        return False
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(float)
    return bool(a * d - b * c < 0)


def missing_bytes(path: Path) -> int:
    """How many bytes a Matroska file lacks of the size it states; 0 for any other file.

    FFmpeg takes the end of a truncated Matroska file for the end of the video.
    """
    with path.open("rb") as file:
        head = file.read(256)
        length = path.stat().st_size
    if not head.startswith(_EBML_MAGIC):
        return 0
    header_size, at = _ebml_size(head, 4)
    at += header_size or 0
    if head[at : at + 4] != _SEGMENT:
        return 0
    size, at = _ebml_size(head, at + 4)
    return 0 if size is None else max(0, at + size - length)


def _ebml_size(data: bytes, at: int) -> tuple[int | None, int]:
    """An EBML element's size (None: unknown), and the position after it."""
    if at >= len(data) or not data[at]:
        return None, at
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), at + width
