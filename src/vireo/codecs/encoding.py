"""Encoding a stream of GOPs: frames in, packets out.

The same for every codec with one picture per packet: which frame is coded when, from
which decoded pictures, what its packet says, and how an interrupted run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Protocol

import numpy as np

from vireo.codecs.base import Limits, Planes, parse_whole, picture_decoder
from vireo.container import (
    CodedFrame,
    FrameType,
    GopStart,
    Packet,
    Section,
    StreamHeader,
    picture_hash,
    read_packet,
    write_packet,
)
from vireo.errors import InputError
from vireo.gop import GopStructure, PlannedFrame, gop_frames, plan_gop
from vireo.metrics import plane_mse
from vireo.video.frame import Frame


@dataclass(frozen=True)
class PictureJob:
    """One picture to encode.

    Attributes:
        index: its place in the whole video in display order, from 0.
        coding_index: its place in coding order, from 0.
        frame_type: I, P or B.
        level: depth in the hierarchy of references.
        target: the source's planes at the coded size.
        references: decoded pictures at the coded size.
    """

    index: int
    coding_index: int
    frame_type: FrameType
    level: int
    target: Planes
    references: Sequence[Planes]


@dataclass(frozen=True)
class EncodedPicture:
    """What an encoder makes of a picture: its sections, and what a decoder makes of those."""

    sections: tuple[Section, ...]
    planes: Planes
    iterations: int


@dataclass(frozen=True)
class FrameReport:
    """What became of one frame.

    Attributes:
        index: display order, from 0.
        frame_type: I, P or B.
        size: bytes of the packet.
        mse: mean squared error of Y, U and V in squared sample values.
        seconds: time it took; 0 where a journal had it already.
        iterations: training steps.
    """

    index: int
    frame_type: FrameType
    size: int
    mse: tuple[float, float, float]
    seconds: float
    iterations: int


@dataclass(frozen=True)
class FrameProgress:
    """How far the frame at hand is: training steps done and planned."""

    index: int
    frame_type: FrameType
    iterations: int
    planned: int


Listener = Callable[[FrameReport | FrameProgress], None]


class PictureEncoder(Protocol):
    """How a codec with one picture per packet encodes; `GopEncoder` does the rest."""

    def encode(self, job: PictureJob, progress: Callable[[int, int], None]) -> EncodedPicture:
        """Encode one picture; calls `progress(iterations done, planned)` now and then."""


class Journal(Protocol):
    """Finished packets that outlive the process."""

    def packets(self) -> Sequence[bytes]:
        """Those of an earlier run, in coding order."""

    def append(self, packet: bytes) -> None:
        """Keep one more, durably."""


class GopEncoder:
    """Encodes frames GOP by GOP (see `codecs.base.Encoder`).

    Args:
        header: the stream header.
        pictures: the codec's picture encoder.
        structure, gop_size: the structure of GOPs; `gop_size` inter frames follow an I frame.
        journal: packets of an earlier run are taken over instead of being made again.
        listener: told of progress and of each finished frame.
    """

    def __init__(
        self,
        header: StreamHeader,
        pictures: PictureEncoder,
        structure: GopStructure,
        gop_size: int,
        *,
        journal: Journal | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.header = header
        self._pictures = pictures
        self._structure = structure
        self._gop_frames = gop_frames(structure, gop_size)
        self._journal = journal
        self._known = list(journal.packets()) if journal else []
        self._listener = listener or (lambda event: None)
        self._decoder = picture_decoder(header, Limits(pixels=2**32))

    def encode(self, frames: Iterable[Frame]) -> Iterator[Packet]:
        """Packets in coding order. Memory holds one GOP.

        Raises InputError for no frames, or for one that doesn't come after the one before.
        """
        source = _rising(frames)
        first = 0
        while gop := list(islice(source, self._gop_frames)):
            yield from self._encode_gop(gop, first)
            first += len(gop)
        if first == 0:
            raise InputError("the input has no frames")

    def _encode_gop(self, frames: list[Frame], first: int) -> Iterator[Packet]:
        start = GopStart(self.header, frames[0].pts, len(frames))
        decoded: dict[int, Planes] = {}
        for place, planned in enumerate(plan_gop(self._structure, len(frames))):
            coding_index = first + place
            frame = frames[planned.display_index]
            references = [decoded[r] for r in planned.references]
            began = perf_counter()
            if coding_index < len(self._known):
                data = self._known[coding_index]
                planes = self._decode(data, start, references)
                iterations, seconds = 0, 0.0
            else:
                picture = self._encode_picture(planned, frame, first, coding_index, references)
                planes, iterations = picture.planes, picture.iterations
                data = write_packet(self._coded(picture, planned, frame, start), start)
                if self._journal:
                    self._journal.append(data)
                seconds = perf_counter() - began
            decoded[planned.display_index] = planes
            for released in planned.released:
                decoded.pop(released, None)
            y, u, v = (
                plane_mse(a, b)
                for a, b in zip(self._decoder.crop(planes), frame.planes, strict=True)
            )
            self._listener(
                FrameReport(
                    first + planned.display_index,
                    FrameType(len(references)),
                    len(data),
                    (y, u, v),
                    seconds,
                    iterations,
                )
            )
            yield Packet(data, frame.pts, planned.display_index == 0)

    def _encode_picture(
        self,
        planned: PlannedFrame,
        frame: Frame,
        first: int,
        coding_index: int,
        references: Sequence[Planes],
    ) -> EncodedPicture:
        index = first + planned.display_index
        frame_type = FrameType(len(references))
        job = PictureJob(
            index, coding_index, frame_type, planned.level, _pad_to_even(frame), references
        )
        return self._pictures.encode(
            job,
            lambda done, of: self._listener(FrameProgress(index, frame_type, done, of)),
        )

    def _coded(
        self, picture: EncodedPicture, planned: PlannedFrame, frame: Frame, start: GopStart
    ) -> CodedFrame:
        is_key = planned.display_index == 0
        return CodedFrame(
            frame_type=FrameType(len(planned.references)),
            display_index=planned.display_index,
            pts=frame.pts,
            references=planned.references,
            picture_hash=picture_hash(self._decoder.crop(picture.planes)),
            sections=picture.sections,
            header=self.header if is_key else None,
            gop_frames=start.gop_frames if is_key else None,
            released=planned.released,
        )

    def _decode(self, data: bytes, start: GopStart, references: Sequence[Planes]) -> Planes:
        parsed = parse_whole(self._decoder, read_packet(data, start))
        return self._decoder.reconstruct(parsed, references)


def _rising(frames: Iterable[Frame]) -> Iterator[Frame]:
    before: int | None = None
    for index, frame in enumerate(frames):
        if before is not None and frame.pts <= before:
            raise InputError(f"frame {index} is not shown after the one before, by its time stamp")
        before = frame.pts
        yield frame


def _pad_to_even(frame: Frame) -> Planes:
    """The source at the size at which chroma has exactly half of luma's samples."""
    pad = [(0, frame.height % 2), (0, frame.width % 2)]
    y = np.ascontiguousarray(np.pad(frame.y, pad, mode="edge"))
    return y, np.ascontiguousarray(frame.u), np.ascontiguousarray(frame.v)
