"""What is in a Vireo file, and where its bytes went."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

from vireo.codecs.base import Complexity, Limits, parse_whole, picture_decoder
from vireo.container import GopStart, MatroskaReader, StreamHeader, read_packet
from vireo.errors import MissingReferenceError, StreamError

CONTAINER = "container and other tracks"
HEADERS = "headers"


@dataclass(frozen=True)
class PacketInfo:
    """One packet: its place, and bytes by part."""

    index: int
    frame_type: str
    display_index: int
    pts: int
    key: bool
    references: tuple[int, ...]
    size: int
    parts: dict[str, float]


@dataclass(frozen=True)
class StreamInfo:
    """A Vireo file's content.

    Attributes:
        header: the stream header.
        size: bytes of the file.
        frames, gops: how many there are.
        parts: bytes by part; they add up to `size`. What stands in no packet of the Vireo
            track counts as container; packets' own fields count as headers.
        complexity: of the networks, averaged over the frames.
        packets: each packet.
    """

    header: StreamHeader
    size: int
    frames: int
    gops: int
    parts: dict[str, float]
    complexity: Complexity
    packets: tuple[PacketInfo, ...] = field(repr=False)

    @property
    def duration(self) -> Fraction | None:
        """Seconds, where the frame rate is constant."""
        rate = self.header.video_format.frame_rate
        return self.frames / rate if rate else None

    def to_json(self, *, packets: bool) -> dict[str, Any]:
        """Plain values for JSON."""
        video = self.header.video_format
        content = {
            "codec": self.header.codec.name.lower(),
            "profile": self.header.profile,
            "exactness": self.header.exactness.name.lower(),
            "width": video.width,
            "height": video.height,
            "frame_rate": str(video.frame_rate) if video.frame_rate else None,
            "time_base": str(video.time_base),
            "sample_aspect_ratio": str(video.sample_aspect_ratio),
            "rotation": video.rotation,
            "color": {
                "range": video.color.range.name.lower(),
                "primaries": video.color.primaries,
                "transfer": video.color.transfer,
                "matrix": video.color.matrix,
                "chroma_location": video.color.chroma_location,
            },
            "frames": self.frames,
            "gops": self.gops,
            "duration": float(self.duration) if self.duration is not None else None,
            "size": self.size,
            "bytes": {name: round(size) for name, size in self.parts.items()},
            "parameters": round(self.complexity.parameters, 1),
            "multiplications": round(self.complexity.multiplications, 1),
        }
        if packets:
            content["packets"] = [vars(p) for p in self.packets]
        return content


def probe(
    path: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
    listener: Callable[[int], None] | None = None,
) -> StreamInfo:
    """Read a file and account for its bytes; makes pictures only where reading them needs it.

    `listener` is called with the number of packets done. Raises InputError or StreamError.
    """
    parts: Counter[str] = Counter()
    packets = []
    complexities = []
    gop: GopStart | None = None
    states: dict[int, Any] = {}  # of the GOP's pictures, by display index
    pictures: dict[int, Any] = {}  # the same, where reading needs them
    limits = limits or Limits()
    with MatroskaReader(path) as reader:
        decoder = picture_decoder(reader.header, limits)
        for stored in reader:
            try:
                frame = read_packet(stored.data, gop)
                if frame.header is not None:
                    if gop is not None and frame.header != gop.header:
                        decoder = picture_decoder(frame.header, limits)
                    gop = frame.gop_start
                    states.clear()
                    pictures.clear()
                missing = [r for r in frame.references if r not in states]
                if missing:
                    raise MissingReferenceError(f"reference {missing[0]} is not in the file")
                parsed = parse_whole(decoder, frame, [states[r] for r in frame.references])
                states[frame.display_index] = parsed.state
                if decoder.needs_pictures:
                    references = [pictures[r] for r in frame.references]
                    pictures[frame.display_index] = decoder.reconstruct(parsed, references)
                for released in frame.released:
                    states.pop(released, None)
                    pictures.pop(released, None)
                own = dict(decoder.account(frame, parsed))
                complexities.append(decoder.complexity(frame))
            except StreamError as error:
                raise error.at(packet=stored.index) from error.__cause__
            own[HEADERS] = len(stored.data) - sum(own.values())
            parts.update(own)
            packets.append(
                PacketInfo(
                    stored.index,
                    frame.frame_type.name,
                    frame.display_index,
                    frame.pts,
                    frame.is_key,
                    frame.references,
                    len(stored.data),
                    {name: round(size, 1) for name, size in own.items()},
                )
            )
            if listener:
                listener(len(packets))
    size = Path(path).stat().st_size
    parts[CONTAINER] = size - sum(p.size for p in packets)
    return StreamInfo(
        reader.header,
        size,
        len(packets),
        sum(p.key for p in packets),
        dict(parts),
        Complexity(
            fmean(c.parameters for c in complexities) if complexities else 0.0,
            fmean(c.multiplications for c in complexities) if complexities else 0.0,
        ),
        tuple(packets),
    )
