"""A Vireo file as a sequence of frames."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from types import TracebackType
from typing import overload

from vireo.codecs.base import Limits
from vireo.codecs.decoding import GopDecoder
from vireo.container import MatroskaReader, StoredPacket, Timeline
from vireo.errors import StreamError
from vireo.options import checked_threads
from vireo.video.frame import Frame, VideoFormat


class Video(Sequence[Frame]):
    """Frames by index, with seeking by GOP; use it as a context manager.

    >>> with vireo.open("clip.mkv") as video:  # doctest: +SKIP
    ...     video[12], video[-1], video[10:20], len(video)

    A frame costs the decoding of its GOP up to it; frames in rising order cost each once.

    Attributes:
        format: size, time base, colour.
    """

    format: VideoFormat

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Raises InputError or StreamError if `path` can't be opened as a Vireo file."""
        self._threads = checked_threads(threads)
        self._limits = limits or Limits()
        self._reader = MatroskaReader(path)
        try:
            self._limits.check(self._reader.header)
        except StreamError:
            self._reader.close()
            raise
        self.format = self._reader.header.video_format
        self._points = self._reader.key_points()
        counts = [p.gop.gop_frames if p.gop else 0 for p in self._points]
        self._starts = [0, *accumulate(counts)]
        self._frames: Iterator[Frame] = iter(())
        self._next = -1  # index of the frame that `_frames` gives next

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        """A frame, or a list of them. Raises IndexError, or StreamError for damage."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of a video of {len(self)} frames")
        index %= len(self)
        gop = bisect_right(self._starts, index) - 1
        if not self._starts[gop] <= self._next <= index:
            self._seek(gop)
        try:
            for frame in self._frames:
                self._next += 1
                if self._next > index:
                    return frame
        except StreamError:
            self._next = -1  # what comes behind the damage is found by seeking
            raise
        raise StreamError(f"the file ends before frame {index}")

    def __iter__(self) -> Iterator[Frame]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Video({self.format.width}x{self.format.height}, {len(self)} frames)"

    def _seek(self, gop: int) -> None:
        self._frames = iter(())  # ends the decoder that reads the file now
        # The clock as it runs where the file is decoded from its start.
        timeline = Timeline(self.format.time_base)
        for point in self._points[:gop]:
            if point.gop:
                timeline.start_gop(point.gop.pts, point.time)
        decoder = GopDecoder(threads=self._threads, limits=self._limits, timeline=timeline)
        self._prime(decoder, gop)
        self._reader.seek(self._points[gop].time)
        self._frames = decoder.decode(self._reader)
        self._next = self._starts[gop]

    def _prime(self, decoder: GopDecoder, gop: int) -> None:
        """Lets a decoder have what the GOP needs of an earlier key packet."""
        with suppress(StreamError):  # decoding says where the damage is
            if gop == 0 or not decoder.needs_earlier(self._key_packet(gop)):
                return
        for earlier in reversed(range(gop)):
            with suppress(StreamError):
                if decoder.prime(self._key_packet(earlier)):
                    return

    def _key_packet(self, gop: int) -> StoredPacket:
        self._reader.seek(self._points[gop].time)
        return next(iter(self._reader))

    def close(self) -> None:
        """Close the file."""
        self._frames = iter(())
        self._reader.close()

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open(
    path: str | os.PathLike[str], *, threads: int | None = None, limits: Limits | None = None
) -> Video:
    """Open a Vireo file for reading frames by index (see `Video`)."""
    return Video(path, threads=threads, limits=limits)
