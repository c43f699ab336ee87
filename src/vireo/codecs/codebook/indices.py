"""Frames' indices to bytes and back. All of it is integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.codebook.config import STRIDES, Config
from vireo.codecs.codebook.stream import SectionKind, packed, unpacked
from vireo.container import Section
from vireo.errors import MissingReferenceError, SyntaxElementError

Flat = NDArray[np.uint16]
"""A frame's indices: those of the highest resolution first, place by place, book by book."""


@dataclass(frozen=True)
class Indices:
    """What a frame sends.

    Attributes:
        values: uint16; those of skipped windows are the frame's before.
        skips: of each window of 64 x 64 samples, 1 where it is as in the frame before; uint8.
    """

    values: Flat
    skips: NDArray[np.uint8]

    def crc(self, before: int) -> int:
        """The CRC-32C of the GOP's indices so far; `before` is that of the frames before."""
        return _core.crc32c(
            self.skips, _core.crc32c(self.values.astype("<u2").view(np.uint8), before)
        )


@dataclass(frozen=True)
class Layout:
    """How many indices a frame has, and where.

    Args:
        size: of the coded picture in luma samples, rows and columns, multiples of 64.
        sizes: of each stage's codebooks.
    """

    size: tuple[int, int]
    books: int
    sizes: tuple[int, int, int]

    @staticmethod
    def of(config: Config, size: tuple[int, int], rate: int | None) -> Layout:
        """That of a key frame, or of a P frame at a rate point."""
        return Layout(size, config.codebooks, config.sizes(rate))

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Rows and columns of each stage."""
        return [(self.size[0] // stride, self.size[1] // stride) for stride in STRIDES]

    @property
    def windows(self) -> tuple[int, int]:
        """Rows and columns of windows: the places of the last stage."""
        return self.grids[-1]

    @property
    def window_count(self) -> int:
        rows, columns = self.windows
        return rows * columns

    @property
    def stages(self) -> list[tuple[int, int, int, int]]:
        """As `_core.IndexCoder` has them."""
        return [
            (*grid, self.books, size) for grid, size in zip(self.grids, self.sizes, strict=True)
        ]

    def bits(self) -> NDArray[np.uint8]:
        """Of each index, at a fixed length."""
        parts = [
            np.full(rows * columns * books, size.bit_length() - 1, np.uint8)
            for rows, columns, books, size in self.stages
        ]
        return np.concatenate(parts)

    @property
    def fixed_bytes(self) -> int:
        """What a frame's indices take at a fixed length."""
        return -(-int(self.bits().sum()) // 8)

    def split(self, values: Flat) -> list[Flat]:
        """Each stage's, `[rows, columns, books]`."""
        ends = np.cumsum([r * c * b for r, c, b, _ in self.stages])
        parts = np.split(values, ends[:-1])
        return [p.reshape(r, c, b) for p, (r, c, b, _) in zip(parts, self.stages, strict=True)]


@dataclass(frozen=True)
class Past:
    """What parsing a frame's indices needs of the frame before.

    Attributes:
        values: its indices; of a key frame, whose codebooks are others, the usual ones.
        coder: adapted to the frames of the GOP so far.
    """

    values: Flat | None
    coder: _core.IndexCoder | None


class IndexCode(Protocol):
    """How indices stand in a section. Frames of a GOP are coded in their order."""

    def adapted(self, past: Past | None) -> _core.IndexCoder | None:
        """What codes a frame's indices, if they don't all cost the same; only to look at."""

    def encode(self, indices: Indices, past: Past | None) -> Section:
        """A frame's; `past` is None for a key frame."""

    def decode(self, section: Section, past: Past | None) -> tuple[Indices, Past]:
        """What `encode` was given, and what the next frame needs of it; raises a StreamError."""

    def lost(self, past: Past) -> Past:
        """In place of what frames behind one that is lost need of it.

        `past` is of the frame before that. Raises MissingReferenceError where there is none.
        """


class FixedLength:
    """Profile `paper`: every index takes the bits of its codebook's size.

    Args:
        key, predicted: frames' layouts.
    """

    def __init__(self, key: Layout, predicted: Layout) -> None:
        self._bits = predicted.bits(), key.bits()
        self._sizes = predicted.fixed_bytes, key.fixed_bytes
        self._none = _no_skips(predicted)

    def size(self, past: Past | None) -> int:
        """Bytes of a frame's."""
        return self._sizes[past is None]

    def adapted(self, past: Past | None) -> None:
        return None

    def encode(self, indices: Indices, past: Past | None) -> Section:
        return Section(SectionKind.FIXED, packed(indices.values, self._bits[past is None]))

    def decode(self, section: Section, past: Past | None) -> tuple[Indices, Past]:
        if section.kind != SectionKind.FIXED:
            raise SyntaxElementError("all indices are of fixed length", offset=section.offset)
        return Indices(unpacked(section.data, self._bits[past is None]), self._none), _NOTHING

    def lost(self, past: Past) -> Past:
        return past


_NOTHING = Past(None, None)


class Adaptive:
    """Profile `entropy`: under frequencies that start as in training and adapt within a GOP.

    Where that takes more, a frame's are of fixed length nonetheless.

    Args:
        key, predicted: frames' layouts.
        key_frequencies, frequencies: of their books, stage by stage; at least 1 each.
    """

    def __init__(
        self,
        key: Layout,
        predicted: Layout,
        key_frequencies: list[list[int]],
        frequencies: list[list[int]],
    ) -> None:
        self._key = _core.IndexCoder(key.stages, key_frequencies)
        self._first = Past(
            _usual(predicted, frequencies), _core.IndexCoder(predicted.stages, frequencies)
        )
        self._none = _no_skips(predicted)
        self._fixed = FixedLength(key, predicted)

    def adapted(self, past: Past | None) -> _core.IndexCoder:
        if past is None:
            return self._key
        assert past.coder is not None
        return past.coder

    def encode(self, indices: Indices, past: Past | None) -> Section:
        coder = self.adapted(past).copy()
        if past is None:
            data = coder.encode(indices.values)
        else:
            data = coder.encode(indices.values, past.values, indices.skips)
        if self._fixed.size(past) <= len(data) and not indices.skips.any():
            return self._fixed.encode(indices, past)
        return Section(SectionKind.ADAPTIVE, data)

    def decode(self, section: Section, past: Past | None) -> tuple[Indices, Past]:
        if section.kind == SectionKind.FIXED:
            indices, _ = self._fixed.decode(section, past)
            if past is None:
                return indices, self._first
            coder = self.adapted(past).copy()
            coder.encode(indices.values, past.values, indices.skips)  # to adapt
            return indices, Past(indices.values, coder)
        if past is None:
            values, _ = self._key.copy().decode(section.data)
            return Indices(values, self._none), self._first
        coder = self.adapted(past).copy()
        values, skips = coder.decode(section.data, past.values, skips=True)
        return Indices(values, skips), Past(values, coder)

    def lost(self, past: Past) -> Past:
        raise MissingReferenceError("indices depend on those of a frame that was lost")


def _no_skips(layout: Layout) -> NDArray[np.uint8]:
    return np.zeros(layout.window_count, np.uint8)


def _usual(layout: Layout, frequencies: list[list[int]]) -> Flat:
    """Each book's most frequent entry, everywhere; of several the first."""
    books = iter([int(np.argmax(f)) for f in frequencies])
    parts = []
    for rows, columns, count, _ in layout.stages:
        own = np.array([next(books) for _ in range(count)], np.uint16)
        parts.append(np.tile(own, rows * columns))
    return np.concatenate(parts)
