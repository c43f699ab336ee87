"""The little of EBML (RFC 8794) and Matroska (RFC 9559) that libavformat can't do for Vireo.

It doesn't write a track of an unknown codec, so its track entry is rewritten in place; and it
doesn't say that a file ends early.
"""

from __future__ import annotations

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
        id_size = 9 - data[start].bit_length()
        size_at = start + id_size
        if id_size > 4 or size_at >= len(data):
            return
        size_size = 9 - data[size_at].bit_length()
        payload = size_at + size_size
        if size_size > 8 or payload > len(data):
            return
        unmarked = (1 << 7 * size_size) - 1
        size = int.from_bytes(data[size_at:payload], "big") & unmarked
        stop = len(data) + 1 if size == unmarked else payload + size
        yield Element(int.from_bytes(data[start:size_at], "big"), payload, stop)
        start = stop


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
