"""Streams to test with: real structure, random payload."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from vireo.container import (
    Codec,
    CodedFrame,
    FrameType,
    GopStart,
    Packet,
    Section,
    StreamHeader,
    write_packet,
)
from vireo.errors import StreamError
from vireo.video.frame import ColorDescription, ColorRange, VideoFormat

FORMAT = VideoFormat(
    width=176,
    height=144,
    frame_rate=Fraction(30000, 1001),
    time_base=Fraction(1, 30000),
    sample_aspect_ratio=Fraction(12, 11),
    rotation=90,
    color=ColorDescription(ColorRange.LIMITED, primaries=6, transfer=6, matrix=6),
)


def make_header(video: VideoFormat = FORMAT, gop_frames: int = 8) -> StreamHeader:
    return StreamHeader.for_video(
        video, codec=Codec.COOLCHIC, max_gop_frames=gop_frames, max_references=4
    )


def coded_order(frames: int) -> list[tuple[int, tuple[int, ...]]]:
    """Display index and references of a GOP's frames: I, P at the end, then B by halving."""
    order: list[tuple[int, tuple[int, ...]]] = [(0, ())]

    def between(low: int, high: int) -> None:
        middle = (low + high) // 2
        if low < middle:
            order.append((middle, (low, high)))
            between(low, middle)
            between(middle, high)

    if frames > 1:
        order.append((frames - 1, (0,)))
        between(0, frames - 1)
    return order


def make_frames(
    header: StreamHeader, *, gops: int, gop_frames: int, first_pts: int = 0, seed: int = 1
) -> list[CodedFrame]:
    """Frames in coding order, at a constant rate also where the header says that it varies."""
    chance = random.Random(seed)
    video = header.video_format
    rate = video.frame_rate or Fraction(25)
    frames = []
    for gop in range(gops):
        starts = [
            first_pts + round((gop * gop_frames + index) / (rate * video.time_base))
            for index in range(gop_frames)
        ]
        for index, references in coded_order(gop_frames):
            frames.append(
                CodedFrame(
                    frame_type=FrameType(len(references)),
                    display_index=index,
                    pts=starts[index],
                    references=references,
                    picture_hash=chance.getrandbits(32),
                    sections=(
                        Section(0, chance.randbytes(20)),
                        Section(1, chance.randbytes(chance.randint(1, 400))),
                    ),
                    header=header if index == 0 else None,
                    gop_frames=gop_frames if index == 0 else None,
                )
            )
    return frames


def make_packets(frames: list[CodedFrame]) -> list[Packet]:
    packets = []
    gop: GopStart | None = None
    for frame in frames:
        if frame.is_key:
            gop = frame.gop_start
        packets.append(Packet(write_packet(frame, gop), frame.pts, frame.is_key))
    return packets


def attempt(read: Callable[[], Any]) -> tuple[Any, StreamError | None]:
    """What `read` returns, or the stream error that it ends in."""
    try:
        return read(), None
    except StreamError as error:
        return None, error
