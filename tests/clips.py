"""Tiny moving pictures made in code, and Vireo files of them that many tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

import vireo
from vireo.container import (
    CodedFrame,
    GopStart,
    MatroskaReader,
    MatroskaWriter,
    Packet,
    StreamHeader,
    read_packet,
    write_packet,
)
from vireo.video import open_source
from vireo.video.frame import Frame


def moving(width: int, height: int, frames: int) -> list[Frame]:
    """Two patterns that drift apart while one of them changes; `pts` counts frames.

    No shift of one frame predicts another, so that inter frames have something to code.
    """
    y, x = np.mgrid[0:height, 0:width].astype(float)
    u, v = np.mgrid[0 : (height + 1) // 2, 0 : (width + 1) // 2].astype(float)

    def plane(values: np.ndarray) -> np.ndarray:
        return values.clip(0, 255).round().astype(np.uint8)

    return [
        Frame(
            plane(
                128
                + 60 * np.sin((x + 2 * t) / 7) * np.cos((y + t) / 9)
                + 50 * np.sin(1.7 * t) * np.sin((x - 3 * t) / 5 + y / 4)
            ),
            plane(128 + 40 * np.sin((v + t) / 6)),
            plane(128 + 40 * np.cos((u + t) / 7)),
            t,
        )
        for t in range(frames)
    ]


def write_y4m(path: Path, frames: Sequence[Frame], tags: str = "F25:1 Ip A1:1 C420jpeg") -> Path:
    head = f"YUV4MPEG2 W{frames[0].width} H{frames[0].height} {tags}\n".encode()
    body = (b"FRAME\n" + b"".join(p.tobytes() for p in f.planes) for f in frames)
    path.write_bytes(head + b"".join(body))
    return path


def middle(source: Path, target: Path, width: int, height: int, frames: int) -> Path:
    """The middle of a video's first frames, as y4m."""
    with open_source(source) as video:
        shown = list(islice(video, frames))
    top, left = ((n - own) // 4 for n, own in zip(shown[0].y.shape, (height, width), strict=True))
    luma = slice(2 * top, 2 * top + height), slice(2 * left, 2 * left + width)
    chroma = slice(top, top + height // 2), slice(left, left + width // 2)
    cut = [Frame(f.y[luma], f.u[chroma], f.v[chroma], f.pts) for f in shown]
    return write_y4m(target, cut)


@dataclass(frozen=True)
class Sample:
    """A clip and its encode.

    Attributes:
        source, path: the clip as y4m, and the Vireo file.
        options: what `vireo.encode` was asked for.
        report: what it said.
        header, packets: what is in the file.
    """

    source: Path
    path: Path
    options: dict[str, object]
    report: vireo.EncodeReport
    header: StreamHeader
    packets: tuple[Packet, ...]

    @property
    def coded(self) -> list[CodedFrame]:
        """The packets' content, in coding order."""
        frames = []
        gop: GopStart | None = None
        for packet in self.packets:
            frames.append(read_packet(packet.data, gop))
            if packet.is_key:
                gop = frames[-1].gop_start
        return frames


def make_sample(folder: Path, name: str, frames: Sequence[Frame], **options) -> Sample:
    source = write_y4m(folder / f"{name}.y4m", frames)
    path = folder / f"{name}.mkv"
    options = {"preset": "ultrafast", **options}
    report = vireo.encode(source, path, **options)
    header, packets = packets_of(path)
    return Sample(source, path, options, report, header, packets)


def packets_of(path: Path) -> tuple[StreamHeader, tuple[Packet, ...]]:
    packets = []
    gop: GopStart | None = None
    with MatroskaReader(path) as reader:
        for stored in reader:
            frame = read_packet(stored.data, gop)
            gop = frame.gop_start if frame.is_key else gop
            packets.append(Packet(stored.data, frame.pts, frame.is_key))
    return reader.header, tuple(packets)


def write_packets(path: Path, header: StreamHeader, packets: Iterable[Packet]) -> Path:
    with MatroskaWriter(path, header) as writer:
        for packet in packets:
            writer.write(packet)
    return path


def repacked(path: Path, target: Path, change: Callable[[CodedFrame], CodedFrame]) -> Path:
    """A Vireo file of another's frames, changed; checksums are right."""
    header, packets = packets_of(path)
    changed = []
    gop: GopStart | None = None
    for packet in packets:
        frame = read_packet(packet.data, gop)
        gop = frame.gop_start if frame.is_key else gop
        changed.append(replace(packet, data=write_packet(change(frame), gop)))
    return write_packets(target, header, changed)


def repeated(sample: Sample, times: int) -> list[Packet]:
    """The sample's GOPs again and again, each time later: a long video at no cost."""
    video = sample.header.video_format
    assert video.frame_rate is not None
    count = len(sample.packets)
    packets: list[Packet] = []
    for turn in range(times):
        shift = round(Fraction(turn * count) / (video.frame_rate * video.time_base))
        gop: GopStart | None = None
        for frame in sample.coded:
            moved = shifted(frame, shift)
            gop = moved.gop_start if moved.is_key else gop
            packets.append(Packet(write_packet(moved, gop), moved.pts, moved.is_key))
    return packets


def shifted(frame: CodedFrame, ticks: int) -> CodedFrame:
    return replace(frame, pts=frame.pts + ticks)


def same(a: Frame, b: Frame) -> bool:
    return a.pts == b.pts and all(
        np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True)
    )
