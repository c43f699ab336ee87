"""Copying sound, subtitles and the rest of a media file beside a new video track."""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterator
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, cast

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Stream

from vireo.errors import InputError

if TYPE_CHECKING:
    from av.container.core import Chapter

# What describes the old file or its making, not its content.
_FILE_METADATA = frozenset(
    ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "software")
)
_STREAM_METADATA = frozenset(
    ("encoder", "duration", "handler_name", "vendor_id", "bps", "number_of_frames")
)


class TrackCopier:
    """Copies every track but video from a source file into an output container.

    Sound and subtitle packets are copied byte for byte; attachments, chapters, the tracks'
    names, languages and flags, and the file's metadata come along. Subtitles of MP4
    (`mov_text`) become SubRip text where the output can't hold them as they are.

    Create it after the output's video track is added and before the first packet is muxed:
    it adds its tracks at once. Then call `copy_until` as the video advances, so that the
    output is interleaved by time, and `finish` at the end.

    Attributes:
        notices: what could not be copied, a sentence each.
    """

    notices: tuple[str, ...]

    def __init__(
        self,
        source: str | os.PathLike[str],
        output: OutputContainer,
        *,
        start_time: Fraction | int = 0,
        end_time: Fraction | int | None = None,
    ):
        """Add the tracks of `source` to `output`.

        Args:
            source: the media file to copy from.
            output: a PyAV container, open for writing, whose header is not yet written.
            start_time: seconds in the source that become 0 in the output. What begins before
                is left out; a subtitle that is still shown then is cut. At 0 everything is
                kept, what a codec plays before time 0 too.
            end_time: seconds in the source from which nothing is copied; None for its end.

        Raises:
            InputError: the source can't be read.
        """
        self._output = output
        self._start = Fraction(start_time)
        self._end = end_time
        notices: list[str] = []
        self._input = _open(source)
        try:
            self._targets = self._add_streams(notices)
        except BaseException:
            self._input.close()
            raise
        self.notices = tuple(notices)
        output.metadata.update(_without(self._input.metadata, _FILE_METADATA))
        output.set_chapters(list(self._chapters()))
        self._packets = self._timed_packets()
        self._next = next(self._packets, None)

    def __enter__(self) -> TrackCopier:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def track_count(self) -> int:
        """How many sound and subtitle tracks are copied."""
        return len(self._targets)

    def copy_until(self, seconds: Fraction | float) -> None:
        """Mux all packets that begin before a time of the output, in seconds."""
        while self._next is not None and self._next[0] < seconds:
            self._output.mux_one(self._next[1])
            self._next = next(self._packets, None)

    def finish(self) -> None:
        """Mux what is left, and close the source."""
        self.copy_until(float("inf"))
        self.close()

    def close(self) -> None:
        """Close the source; what is not muxed yet is left out."""
        self._next = None
        self._packets.close()
        self._input.close()

    def _add_streams(self, notices: list[str]) -> dict[int, Stream]:
        targets = {}
        for stream in self._input.streams:
            if stream.type == "video":
                stream.discard = Discard.all
                continue
            if stream.type == "attachment":
                attachment = cast(AttachmentStream, stream)
                if _can_hold_attachments(self._output):
                    self._output.add_attachment(
                        attachment.name or f"attachment{stream.index}",
                        attachment.mimetype or "application/octet-stream",
                        attachment.data,
                    )
                    continue
            elif stream.type in ("audio", "subtitle") and _has_codec(stream):
                target = self._add_track(stream)
                if target is not None:
                    target.metadata.update(_without(stream.metadata, _STREAM_METADATA))
                    target.disposition = stream.disposition
                    targets[stream.index] = target
                    continue
            stream.discard = Discard.all
            if stream.type == "data" and stream.name == "bin_data" and self._input.chapters():
                continue  # MP4's second copy of the chapters
            name = stream.codec_context.name if _has_codec(stream) else stream.name or "unknown"
            notices.append(
                f"track {stream.index} ({stream.type}, {name}) does not fit into "
                f"{self._output.format.name} and is left out"
            )
        return targets

    def _add_track(self, stream: Stream) -> Stream | None:
        if _can_hold(self._output, stream):
            return self._output.add_stream_from_template(stream, opaque=True)
        if stream.codec_context.name == "mov_text" and self._output.format.name == "matroska":
            return self._output.add_mux_stream("subrip", time_base=stream.time_base)
        return None

    def _chapters(self) -> Iterator[Chapter]:
        for chapter in self._input.chapters():
            base = chapter["time_base"]
            if not base:
                continue
            shift = round(self._start / base)
            limit = None if self._end is None else round(self._end / base)
            start = max(chapter["start"], shift)
            end = chapter["end"] if limit is None else min(chapter["end"], limit)
            if start < end:
                yield {**chapter, "start": start - shift, "end": end - shift}

    def _timed_packets(self) -> Generator[tuple[Fraction, Packet[Stream]]]:
        """Packets ready to mux, with their time in the output in seconds."""
        if not self._targets:
            return
        streams = [self._input.streams[index] for index in self._targets]
        try:
            for packet in self._input.demux(streams):
                timed = self._prepare(packet)
                if timed is not None:
                    yield timed
        except av.FFmpegError as error:
            self.notices += (
                f"the sound and subtitles end early: the source is damaged "
                f"({error.strerror or error})",
            )

    def _prepare(self, packet: Packet[Stream]) -> tuple[Fraction, Packet[Stream]] | None:
        begin = packet.dts if packet.pts is None else packet.pts
        if begin is None:
            return None
        base = packet.time_base
        target = self._targets[packet.stream.index]
        is_subtitle = target.type == "subtitle"
        if self._end is not None and begin * base >= self._end:
            return None
        if packet.stream.codec_context.name == "mov_text":
            text = _text_of(packet)
            if not text:
                return None  # a gap between subtitles, which the output's muxer makes itself
        if packet.stream.codec_context.name == "mov_text" and not _has_codec(target):
            plain: Packet[Stream] = Packet(text)
            plain.pts, plain.dts, plain.duration = packet.pts, packet.dts, packet.duration
            plain.time_base = base
            packet = plain
        if self._start:
            begin -= round(self._start / base)
            late = -begin
            if late > 0:
                if not is_subtitle or (packet.duration or 0) <= late:
                    return None
                packet.duration = (packet.duration or 0) - late
                begin = 0
            if packet.dts is not None and packet.pts is not None:
                packet.dts = packet.dts + begin - packet.pts
            elif packet.dts is not None:
                packet.dts = begin
            if packet.pts is not None:
                packet.pts = begin
        packet.stream = target
        return begin * base, packet


def has_tracks_to_copy(source: str | os.PathLike[str]) -> bool:
    """Whether a media file has sound or subtitles; InputError where it can't be read."""
    with _open(source) as container:
        return any(stream.type in ("audio", "subtitle") for stream in container.streams)


def _open(source: str | os.PathLike[str]) -> InputContainer:
    try:
        return av.open(str(source), "r", metadata_errors="replace")
    except av.FFmpegError as error:
        raise InputError(f"{source} can't be read: {error.strerror or error}") from error


def _has_codec(stream: Stream) -> bool:
    # The stubs say that every stream has a codec context; those of unknown codecs have none.
    return cast(object, stream.codec_context) is not None


def _without(metadata: dict[str, str], dropped: frozenset[str]) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in dropped and not key.startswith("_STATISTICS")
    }


def _can_hold(output: OutputContainer, stream: Stream) -> bool:
    """Whether the output's format takes a track: found out by writing a header for it.

    FFmpeg's table of formats and codecs has gaps that only show when a header is written.
    """
    try:
        with av.open(io.BytesIO(), "w", format=output.format.name) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _can_hold_attachments(output: OutputContainer) -> bool:
    return output.format.name == "matroska"


def _text_of(packet: Packet[Stream]) -> bytes:
    """The text of a `mov_text` packet: a 16-bit length, the text, then styles."""
    data = bytes(packet)
    return data[2 : 2 + int.from_bytes(data[:2], "big")]
