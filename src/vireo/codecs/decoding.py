"""Decoding a stream of GOPs: references, display order, verification, damage.

The same for every codec with one picture per packet. Pictures decode in parallel: each
is a task that parses its packet, waits for its references and reconstructs. Tasks start
in coding order and depend on earlier ones only, so they can't wait for each other in
a circle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from vireo.codecs.base import Limits, PictureDecoder, Planes, picture_decoder
from vireo.container import (
    CodedFrame,
    GopStart,
    StoredPacket,
    StreamHeader,
    Timeline,
    picture_hash,
    read_packet,
)
from vireo.errors import (
    HeaderError,
    LimitError,
    MissingReferenceError,
    PictureHashError,
    StreamError,
    SyntaxElementError,
)
from vireo.video.frame import Frame


@dataclass(frozen=True)
class _Picture:
    frame: CodedFrame
    packet: int
    planes: Future[Planes]


@dataclass
class _Gop:
    start: GopStart
    decoder: PictureDecoder
    shift: int  # ticks from the stream's clock to the file's
    references: dict[int, Future[Planes]] = field(default_factory=dict)
    waiting: dict[int, _Picture] = field(default_factory=dict)  # for their turn to be shown
    shown: int = 0  # display index of the next frame to give out


class GopDecoder:
    """Decodes packets to frames in display order.

    Args:
        threads: pictures decoded at a time, at least 1.
        limits: what to refuse; a header beyond them raises LimitError.
        conceal: go on after damage. A frame that can't be decoded is replaced by the one
            shown before it, or left out if there is none. Otherwise the first damage
            raises, after all frames before it.

    Attributes:
        damage: the errors met so far.
        concealed: frames that were replaced or left out.
    """

    def __init__(
        self, *, threads: int = 1, limits: Limits | None = None, conceal: bool = False
    ) -> None:
        self.threads = threads
        self.limits = limits or Limits()
        self.conceal = conceal
        self.damage: list[StreamError] = []
        self.concealed = 0
        self._opened: tuple[StreamHeader, PictureDecoder] | None = None
        self._timeline: Timeline | None = None
        self._last: Frame | None = None

    def decode(self, packets: Iterable[StoredPacket]) -> Iterator[Frame]:
        """Frames in display order, each verified against its packet's hash.

        Their times are on the file's clock, in ticks of the stream's time base. Raises a
        StreamError that names the packet, after every frame before the damage.
        """
        gops: deque[_Gop] = deque()
        source = iter(packets)
        pool = ThreadPoolExecutor(self.threads, "vireo-decode")
        try:
            while (packet := self._next(source)) is not None:
                try:
                    self._submit(packet, gops, pool)
                except StreamError as error:
                    self.damage.append(error.at(packet=packet.index))
                    if not self.conceal:
                        break
                yield from self._show(gops, ended=False)
            yield from self._show(gops, ended=True)
        finally:
            pool.shutdown(cancel_futures=True)
        if self.damage and not self.conceal:
            raise self.damage[0]

    def _next(self, source: Iterator[StoredPacket]) -> StoredPacket | None:
        """The next packet; None at the end, or where the file is damaged beyond reading on."""
        try:
            return next(source, None)
        except StreamError as error:
            self.damage.append(error)
            return None

    def _submit(self, packet: StoredPacket, gops: deque[_Gop], pool: ThreadPoolExecutor) -> None:
        frame = read_packet(packet.data, gops[-1].start if gops else None)
        if frame.header is not None:
            decoder = self._open(frame.header)
            time_base = frame.header.video_format.time_base
            if self._timeline is None:
                self._timeline = Timeline(time_base)
            self._timeline.start_gop(frame.pts, packet.time)
            shift = round(self._timeline.offset / time_base)
            gops.append(_Gop(frame.gop_start, decoder, shift))
        gop = gops[-1]
        if frame.display_index in gop.waiting or frame.display_index < gop.shown:
            raise SyntaxElementError(f"display index {frame.display_index} comes twice")
        missing = [r for r in frame.references if r not in gop.references]
        if missing:
            raise MissingReferenceError(f"reference {missing[0]} was not decoded")
        if len(gop.waiting) >= self.limits.pictures:
            raise LimitError(f"over {self.limits.pictures} pictures wait to be shown")
        references = [gop.references[r] for r in frame.references]
        planes = pool.submit(_decode_picture, gop.decoder, frame, references)
        gop.waiting[frame.display_index] = _Picture(frame, packet.index, planes)
        if frame.display_index not in frame.released:
            gop.references[frame.display_index] = planes
        for released in frame.released:
            gop.references.pop(released, None)
        if len(gop.references) > gop.start.header.max_references:
            gop.references.clear()
            raise SyntaxElementError("more reference pictures than the header announces")

    def _open(self, header: StreamHeader) -> PictureDecoder:
        if self._opened is None or header != self._opened[0]:
            if self._opened is not None and self._opened[0].video_format != header.video_format:
                raise HeaderError("the video's format changes within the stream")
            self._opened = header, picture_decoder(header, self.limits)
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
                error: StreamError = MissingReferenceError(
                    f"frame {gop.shown} of a GOP of {gop.start.gop_frames} is missing"
                )
            else:
                running = sum(not p.planes.done() for g in gops for p in g.waiting.values())
                if not ended and not picture.planes.done() and running <= 2 * self.threads:
                    return
                try:
                    planes = gop.decoder.crop(picture.planes.result())
                except StreamError as failure:
                    error = failure.at(packet=picture.packet)
                else:
                    del gop.waiting[gop.shown]
                    gop.shown += 1
                    self._last = Frame(*planes, pts=picture.frame.pts + gop.shift)
                    yield self._last
                    continue
            yield from self._missing(gop, error)

    def _missing(self, gop: _Gop, error: StreamError) -> Iterator[Frame]:
        if not self.conceal:
            raise self.damage[0] if self.damage else error
        self.damage.append(error)
        self.concealed += 1
        gop.waiting.pop(gop.shown, None)
        pts = gop.start.implied_pts(gop.shown) + gop.shift
        gop.shown += 1
        if self._last is not None and pts > self._last.pts:
            self._last = replace(self._last, pts=pts)
            yield self._last


def _decode_picture(
    decoder: PictureDecoder, frame: CodedFrame, references: Sequence[Future[Planes]]
) -> Planes:
    parsed = decoder.parse(frame)
    try:
        pictures = [r.result() for r in references]
    except StreamError as error:
        raise MissingReferenceError("a reference could not be decoded") from error
    planes = decoder.reconstruct(parsed, pictures)
    if picture_hash(decoder.crop(planes)) != frame.picture_hash:
        raise PictureHashError("the decoded picture is not the one that was encoded")
    return planes
