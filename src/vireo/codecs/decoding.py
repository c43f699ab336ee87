"""Decoding a stream of GOPs: references, display order, verification, damage.

The same for every codec with one picture per packet. Whatever can be done next is done by
whichever thread is free, earlier pictures first: parts and stages of one picture
(`decoding_job`), pictures of one level of the hierarchy and pictures of different GOPs run at the
same time.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from vireo.codecs.base import Limits, PictureDecoder, Precision, StandsIn, picture_decoder
from vireo.codecs.decoding_job import DecodingJob, Pending
from vireo.codecs.workers import Workers
from vireo.container import (
    CodedFrame,
    GopStart,
    StoredPacket,
    StreamHeader,
    Timeline,
    read_packet,
)
from vireo.container.packet import MAX_PTS
from vireo.errors import (
    HeaderError,
    LimitError,
    MissingReferenceError,
    StreamError,
    SyntaxElementError,
)
from vireo.profiling import TimeProfile, measured
from vireo.stream.losses import Losses
from vireo.video.frame import Frame


@dataclass(frozen=True)
class _Picture:
    frame: CodedFrame
    packet: int
    decoded: Future[Any]


@dataclass
class _Gop:
    start: GopStart
    decoder: PictureDecoder
    shift: int  # ticks from the stream's clock to the file's
    next_packet: int  # behind its last packet so far
    references: dict[int, Pending] = field(default_factory=dict)
    waiting: dict[int, _Picture] = field(default_factory=dict)  # for their turn to be shown
    met: set[int] = field(default_factory=set)  # display indices of packets so far
    shown: int = 0  # display index of the next frame to give out


class GopDecoder:
    """Decodes packets to frames in display order.

    Args:
        threads: how many to decode with, at least 1.
        limits: what to refuse; a header beyond them raises LimitError.
        conceal: go on after damage. A frame that can't be decoded is replaced by the one
            shown before it, or left out if there is none; so is, where the codec can
            (`base.StandsIn`), one that others refer to. Otherwise the first damage raises, after
            all frames before it.
        timeline: the file's clock, where decoding doesn't start at the file's first frame.
        times: told where the time goes.
        losses: sections to do without (`stream.losses`).
        precision: of a bounded codec's arithmetic; raises UsageError for exact ones.
        device: where networks compute; raises UsageError where it isn't here or of no use.

    Attributes:
        damage: the errors met so far, in the packets' order.
        concealed: frames that were replaced or left out.
        verified: frames given out that are what the encoder made, by their hash.
        partial: of frames that aren't, as some of their layers were missing or referred to what
            was missing, how many were used; by their place in what was given out, from 0. That is
            a frame's place in the file (`Losses.by_frame`) where decoding starts at its first
            packet and damage leaves no frame out.
        beyond: frames whose samples are not as near to the encoder's as their packets say, by the
            same places.
    """

    def __init__(
        self,
        *,
        threads: int = 1,
        limits: Limits | None = None,
        conceal: bool = False,
        timeline: Timeline | None = None,
        times: TimeProfile | None = None,
        losses: Losses | None = None,
        precision: Precision | None = None,
        device: str = "cpu",
    ) -> None:
        self.threads = threads
        self.limits = limits or Limits()
        self.conceal = conceal
        self.damage: list[StreamError] = []
        self.concealed = 0
        self.verified = 0
        self.partial: dict[int, int] = {}
        self.beyond: list[int] = []
        self._precision = precision
        self._device = device
        self._given = 0
        self._losses = losses or Losses()
        self._opened: tuple[StreamHeader, PictureDecoder] | None = None
        self._timeline = timeline
        self._times = times
        self._last: Frame | None = None

    def decode(self, packets: Iterable[StoredPacket]) -> Iterator[Frame]:
        """Frames in display order, each verified against its packet's hash.

        Their times are on the file's clock, in ticks of the stream's time base, and rise.
        Raises a StreamError that names the packet, after every frame before the damage; with
        `conceal` only where damage leaves no frame at all.
        """
        gops: deque[_Gop] = deque()
        source = iter(packets)
        pool = Workers(self.threads, "vireo-decode")
        try:
            while (packet := self._next(source)) is not None:
                try:
                    with measured(self._times, "reading"):
                        self._submit(packet, gops, pool)
                except StreamError as error:
                    self._note(error.at(packet=packet.index))
                    if not self.conceal:
                        break
                yield from self._show(gops, ended=False)
            yield from self._show(gops, ended=True)
        finally:
            pool.close()
        if self.damage and not (self.conceal and self._last):
            raise self.damage[0]

    def prime(self, packet: StoredPacket) -> bool:
        """Take from a key packet what GOPs need that are behind it; its picture isn't decoded.

        Returns whether there was anything.
        """
        frame = read_packet(packet.data, None)
        if frame.header is None or not (decoder := self._open(frame.header)).provides(frame):
            return False
        decoder.gop_decoder(frame)
        return True

    def needs_earlier(self, packet: StoredPacket) -> bool:
        """Whether a key packet's GOP needs what an earlier key packet has (`prime`)."""
        frame = read_packet(packet.data, None)
        return frame.header is not None and self._open(frame.header).needs_earlier(frame)

    def _note(self, error: StreamError) -> None:
        # A traceback would keep alive the pictures of the frames that it passed through.
        error.__cause__ = error.__context__ = None
        insort(self.damage, error.with_traceback(None), key=_packet_of)

    def _next(self, source: Iterator[StoredPacket]) -> StoredPacket | None:
        """The next packet; None at the end, or where the file is damaged beyond reading on."""
        try:
            with measured(self._times, "reading"):
                return next(source, None)
        except StreamError as error:
            self._note(error)
            return None

    def _submit(self, packet: StoredPacket, gops: deque[_Gop], pool: Workers) -> None:
        frame = read_packet(packet.data, gops[-1].start if gops else None)
        frame = self._losses.apply(packet.index, frame)
        if frame.header is not None:
            decoder = self._open(frame.header)
            time_base = frame.header.video_format.time_base
            if self._timeline is None:
                self._timeline = Timeline(time_base)
            self._timeline.start_gop(frame.pts, packet.time)
            shift = round(self._timeline.offset / time_base)
            gops.append(_Gop(frame.gop_start, decoder, shift, packet.index))
        gop = gops[-1]
        gop.next_packet = packet.index + 1
        if frame.header is not None:
            gop.decoder = gop.decoder.gop_decoder(frame)
        if frame.display_index in gop.waiting or frame.display_index < gop.shown:
            raise SyntaxElementError(f"display index {frame.display_index} comes twice")
        for reference in frame.references:
            if reference not in gop.references:
                self._stand_in(gop, frame, reference)
        gop.met.add(frame.display_index)
        if _waiting(gops) >= self.limits.pictures:
            raise LimitError(f"over {self.limits.pictures} pictures wait to be shown")
        references = [gop.references[r] for r in frame.references]
        job = DecodingJob(pool, packet.index, gop.decoder, frame, references, self._times)
        coming = job.start()
        gop.waiting[frame.display_index] = _Picture(frame, packet.index, coming.decoded)
        if frame.display_index not in frame.released:
            if (standing_in := self._standing_in(gop, frame)) is not None:
                coming = coming.or_else(references[0].stand_in(standing_in))
            gop.references[frame.display_index] = coming
        for released in frame.released:
            gop.references.pop(released, None)
        if len(gop.references) > gop.start.header.max_references:
            gop.references.clear()
            raise SyntaxElementError("more reference pictures than the header announces")

    def _stand_in(self, gop: _Gop, frame: CodedFrame, lost: int) -> None:
        """Has the reference before a lost one take its place, or raises MissingReferenceError.

        That is for a packet that never came, not for a picture that was released.
        """
        before = max((r for r in gop.references if r < lost), default=None)
        decoder = self._standing_in(gop, frame)
        if before is None or decoder is None or lost in gop.met:
            raise MissingReferenceError(f"reference {lost} was not decoded")
        gop.references[lost] = gop.references.pop(before).stand_in(decoder)

    def _standing_in(self, gop: _Gop, frame: CodedFrame) -> StandsIn | None:
        """The decoder, where it is to conceal and can, for frames with one reference."""
        can = self.conceal and len(frame.references) == 1
        return gop.decoder if can and isinstance(gop.decoder, StandsIn) else None

    def _open(self, header: StreamHeader) -> PictureDecoder:
        if self._opened is None or header != self._opened[0]:
            if self._opened is not None and self._opened[0].video_format != header.video_format:
                raise HeaderError("the video's format changes within the stream")
            decoder = picture_decoder(header, self.limits, self._precision, self._device)
            self._opened = header, decoder
        return self._opened[1]

    def _show(self, gops: deque[_Gop], *, ended: bool) -> Iterator[Frame]:
        """Gives out what is next in display order: as it is ready, or when too much waits."""
        while gops:
            gop = gops[0]
            if gop.shown == gop.start.gop_frames:
                gops.popleft()
                continue
            picture = gop.waiting.get(gop.shown)
            if picture is None:
                if not ended and len(gops) == 1:
                    return
                yield from self._missing(gop)
                continue
            if not (ended or picture.decoded.done() or self._is_far_ahead(gops)):
                return
            try:
                decoded = picture.decoded.result()
                frame = Frame(*gop.decoder.crop(decoded), pts=picture.frame.pts + gop.shift)
                self._check_time(frame.pts)
            except StreamError as error:
                yield from self._damaged(gop, error.at(packet=picture.packet), gop.shown + 1)
                continue
            del gop.waiting[gop.shown]
            gop.shown += 1
            layers = gop.decoder.layers(decoded)
            if not layers.whole:
                self.partial[self._given] = layers.used
            elif not layers.within:
                self.beyond.append(self._given)
            else:
                self.verified += 1
            self._last = frame
            self._given += 1
            yield frame

    def _is_far_ahead(self, gops: deque[_Gop]) -> bool:
        """Whether enough is under way, so that the next picture should be waited for."""
        running = sum(not p.decoded.done() for g in gops for p in g.waiting.values())
        return running > 3 * self.threads or _waiting(gops) >= self.limits.pictures

    def _check_time(self, pts: int) -> None:
        if abs(pts) > MAX_PTS:
            raise SyntaxElementError("the presentation time is out of range")
        if self._last is not None and pts <= self._last.pts:
            raise SyntaxElementError("the presentation time is not after that of the frame before")

    def _missing(self, gop: _Gop) -> Iterator[Frame]:
        """Passes over frames that have no packet, up to one that has."""
        first, stop = gop.shown, min(gop.waiting, default=gop.start.gop_frames)
        what = f"frame {first} of a GOP of {gop.start.gop_frames} is missing"
        if stop - first > 1:
            what = f"frames {first} to {stop - 1} of a GOP of {gop.start.gop_frames} are missing"
        error = MissingReferenceError(what, packet=gop.next_packet)
        yield from self._damaged(gop, error, stop)

    def _damaged(self, gop: _Gop, error: StreamError, stop: int) -> Iterator[Frame]:
        """Passes over frames up to `stop`, with the last one shown in their place."""
        self._note(error)
        if not self.conceal:
            raise self.damage[0]
        while gop.shown < stop:
            self.concealed += 1
            picture = gop.waiting.pop(gop.shown, None)
            pts = picture.frame.pts if picture else gop.start.implied_pts(gop.shown)
            pts += gop.shift
            gop.shown += 1
            if self._last is not None and self._last.pts < pts <= MAX_PTS:
                self._last = replace(self._last, pts=pts)
                self._given += 1
                yield self._last


def _waiting(gops: Iterable[_Gop]) -> int:
    """Pictures decoded or under way that are not shown yet."""
    return sum(len(g.waiting) for g in gops)


def _packet_of(error: StreamError) -> float:
    return inf if error.packet is None else error.packet
