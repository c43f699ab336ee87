"""The display size of a Matroska track, which PyAV's muxer can't be told.

FFmpeg writes Matroska's DisplayWidth and DisplayHeight from a field of the stream that
PyAV does not expose. A stream with a field order, a stereo mode and no aspect ratio gets
eleven bytes of elements that say nothing in particular; these make room for the two that do.
"""

from __future__ import annotations

from pathlib import Path

from av.video.stream import VideoStream

from vireo.video.frame import VideoFormat

# FlagInterlaced 2 (progressive), StereoMode 0 (mono), DisplayUnit 4 (unknown).
_ROOM = bytes.fromhex("9a8102 53b88100 54b28104")
_HEADER_BYTES = 1 << 16
_MAX_WIDTH, _MAX_HEIGHT = (1 << 24) - 1, (1 << 16) - 1
_PROGRESSIVE = 1


def reserve_display_size(stream: VideoStream) -> None:
    """Make the muxer leave room in a video track's header for `set_display_size`.

    The container must be opened with the option `write_crc32=0`.
    """
    stream.codec_context.field_order = _PROGRESSIVE
    stream.metadata["stereo_mode"] = "0"


def set_display_size(path: Path, format: VideoFormat) -> None:
    """Write a video's sample aspect ratio into a finished file, in the room reserved.

    Raises:
        RuntimeError: the file has no such room.
    """
    with path.open("r+b") as file:
        at = file.read(_HEADER_BYTES).find(_ROOM)
        if at < 0:
            raise RuntimeError(f"{path} has no room for a display size")
        file.seek(at)
        width, height = _display_size(format)
        file.write(b"\x54\xb0\x83" + width.to_bytes(3, "big"))
        file.write(b"\x54\xba\x82" + height.to_bytes(2, "big"))


def _display_size(format: VideoFormat) -> tuple[int, int]:
    """Width and height for display: exact where 24 and 16 bits can hold an exact pair."""
    ratio = format.sample_aspect_ratio
    shown = format.width * ratio
    if shown.denominator == 1 and shown <= _MAX_WIDTH:
        return int(shown), format.height
    width, height = format.width * ratio.numerator, format.height * ratio.denominator
    if width <= _MAX_WIDTH and height <= _MAX_HEIGHT:
        return width, height
    return min(round(shown), _MAX_WIDTH), format.height
