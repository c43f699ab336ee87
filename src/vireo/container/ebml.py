"""The little of EBML (RFC 8794) and Matroska (RFC 9559) that libavformat can't do for Vireo.

It doesn't write a track of an unknown codec, so its track entry is rewritten in place; and it
doesn't say that a file ends early.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EBML_ID = 0x1A45DFA3
SEGMENT_ID = 0x18538067
TRACKS_ID = 0x1654AE6B
_TRACK_ENTRY_ID = 0xAE
_CODEC_ID_ID = 0x86
_CODEC_PRIVATE_ID = 0x63A2
_VIDEO_ID = 0xE0
_DISPLAY_WIDTH_ID = 0x54B0
_DISPLAY_HEIGHT_ID = 0x54BA
_DISPLAY_UNIT_ID = 0x54B2
_VOID_ID = 0xEC

_CLUSTER_ID = 0x1F43B675
# SeekHead, Info, Tracks, Chapters, Cluster, Cues, Attachments, Tags, Void, CRC-32
_SEGMENT_CHILDREN = frozenset(
    (
        *(0x114D9B74, 0x1549A966, TRACKS_ID, 0x1043A770, _CLUSTER_ID, 0x1C53BB6B, 0x1941A469),
        *(0x1254C367, _VOID_ID, 0xBF),
    )
)
# Timestamp, SilentTracks, Position, PrevSize, SimpleBlock, BlockGroup, EncryptedBlock, …
_CLUSTER_CHILDREN = frozenset((0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, _VOID_ID, 0xBF))
_LONGEST_HEAD = 12
_UNKNOWN = 1 << 62  # end of an element that doesn't say its size

TRACK_CODEC = b"V_MS/VFW/FOURCC"
SPARE_BYTES = 16
"""Zero bytes to add to the private data of a track that `relabelled_track` will rewrite: room
for what the rewritten entry has in addition (its display size, a Void element)."""


@dataclass(frozen=True)
class Element:
    """An element's place in a byte string: `[start, end)` of its payload; `end` may lie behind
    the string's end, and does where the size is unknown."""

    id: int
    start: int
    end: int


def elements(data: bytes, start: int, end: int) -> Iterator[Element]:
    """The elements of `data[start:end]`, one level deep; ends early where a head is cut off."""
    while start < end:
        head = _head(data, start)
        if head is None:
            return
        identifier, payload, size = head
        stop = len(data) + 1 if size is None else payload + size
        yield Element(identifier, payload, stop)
        start = stop


def _head(data: bytes, start: int) -> tuple[int, int, int | None] | None:
    """An element's id, where its payload starts, and the payload's size (None: unknown)."""
    if start >= len(data):
        return None
    id_size = 9 - data[start].bit_length()
    size_at = start + id_size
    if id_size > 4 or size_at >= len(data):
        return None
    size_size = 9 - data[size_at].bit_length()
    payload = size_at + size_size
    if size_size > 8 or payload > len(data):
        return None
    unmarked = (1 << 7 * size_size) - 1
    size = int.from_bytes(data[size_at:payload], "big") & unmarked
    identifier = int.from_bytes(data[start:size_at], "big")
    return identifier, payload, None if size == unmarked else size


def write_element(identifier: int, payload: bytes) -> bytes:
    """An element with its id, the shortest size and `payload`."""
    size_size = 1
    while len(payload) >= (1 << 7 * size_size) - 1:
        size_size += 1
    size = len(payload) | 1 << 7 * size_size
    id_size = (identifier.bit_length() + 7) // 8
    return identifier.to_bytes(id_size, "big") + size.to_bytes(size_size, "big") + payload


def find_track(data: bytes, codec: bytes) -> Element | None:
    """The first track entry with codec id `codec` in the front of a Matroska file."""
    for segment in elements(data, 0, len(data)):
        if segment.id != SEGMENT_ID:
            continue
        for tracks in elements(data, segment.start, min(segment.end, len(data))):
            if tracks.id != TRACKS_ID:
                continue
            for entry in elements(data, tracks.start, min(tracks.end, len(data))):
                if entry.id == _TRACK_ENTRY_ID and entry.end <= len(data):
                    for child in elements(data, entry.start, entry.end):
                        if child.id == _CODEC_ID_ID and data[child.start : child.end] == codec:
                            return entry
    return None


def relabelled_track(entry: bytes, *, private: bytes, display_size: tuple[int, int]) -> bytes:
    """A track entry's payload with `TRACK_CODEC`, `private` and a display size, as long as before.

    `entry` has `SPARE_BYTES` more private data than `private`, or more.
    """
    out = bytearray()
    for child in elements(entry, 0, len(entry)):
        payload = entry[child.start : child.end]
        if child.id == _VOID_ID:
            continue
        if child.id == _CODEC_ID_ID:
            payload = TRACK_CODEC
        elif child.id == _CODEC_PRIVATE_ID:
            payload = private
        elif child.id == _VIDEO_ID:
            payload = _with_display_size(payload, display_size)
        out += write_element(child.id, payload)
    return bytes(out) + _void(len(entry) - len(out))


def _with_display_size(video: bytes, display_size: tuple[int, int]) -> bytes:
    shown = {_DISPLAY_WIDTH_ID, _DISPLAY_HEIGHT_ID, _DISPLAY_UNIT_ID}
    kept = b"".join(
        write_element(child.id, video[child.start : child.end])
        for child in elements(video, 0, len(video))
        if child.id not in shown
    )
    width, height = (side.to_bytes(4, "big").lstrip(b"\0") for side in display_size)
    return (
        kept + write_element(_DISPLAY_WIDTH_ID, width) + write_element(_DISPLAY_HEIGHT_ID, height)
    )


def _void(size: int) -> bytes:
    """A Void element of `size` bytes in all; the callers leave room for it."""
    if size < 2 or size > 126:
        raise ValueError(f"no room for a Void element: {size} bytes")
    return write_element(_VOID_ID, bytes(size - 2))


def missing_bytes(path: Path) -> int:
    """How many bytes a Matroska file lacks at its end; 0 where that can't be known."""
    with path.open("rb") as file:
        front = file.read(4096)
    for element in elements(front, 0, len(front)):
        # An unknown size ends one byte behind `front`: no byte is missed then.
        if element.id == SEGMENT_ID and element.end > len(front) + 1:
            return max(0, element.end - path.stat().st_size)
    return 0


def broken_at(path: Path) -> int | None:
    """Where a Matroska file's elements stop following each other; None if they don't.

    Looks at the heads of clusters and blocks only. What follows the segment doesn't count, nor
    does the end of a file that was never finished: its segment's size is unknown.
    """
    with path.open("rb", buffering=0) as file:
        length = file.seek(0, io.SEEK_END)

        def head_at(at: int) -> tuple[int, int, int] | None:
            """Id, start and end of the payload at an offset."""
            file.seek(at)
            head = _head(file.read(_LONGEST_HEAD), 0)
            if head is None:
                return None
            identifier, start, size = head
            return identifier, at + start, _UNKNOWN if size is None else at + start + size

        front = head_at(0)
        segment = head_at(front[2]) if front else None
        if front is None or segment is None or segment[0] != SEGMENT_ID:
            return 0
        _, at, end = segment
        cluster_end = 0
        while at < min(end, length):
            found = head_at(at)
            if found is None:
                return None if end == _UNKNOWN and length - at < _LONGEST_HEAD else at
            identifier, start, stop = found
            in_cluster = at < cluster_end and identifier in _CLUSTER_CHILDREN
            # A cluster of unknown size ends where the next child of the segment starts.
            in_segment = identifier in _SEGMENT_CHILDREN and (
                at >= cluster_end or cluster_end == _UNKNOWN
            )
            if not in_cluster and not in_segment:
                return at
            if identifier == _CLUSTER_ID:
                cluster_end, at = stop, start
            elif stop > min(length, cluster_end if in_cluster else end):
                return None if end == _UNKNOWN and stop > length else at
            else:
                at = stop
    return None
