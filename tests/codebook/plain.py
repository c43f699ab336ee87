"""A decoder of indices in plain Python, as docs/bitstream.md has it (6.4 and 9.4)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Bit:
    one: int = 32768


@dataclass
class Book:
    frequencies: list[int]
    as_before: list[Bit] = field(default_factory=lambda: [Bit() for _ in range(6)])
    as_left: Bit = field(default_factory=Bit)
    as_above: Bit = field(default_factory=Bit)


class RangeDecoder:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 6
        self.range = 1 << 48
        self.code = int.from_bytes(data[:6].ljust(6, b"\0"), "big")

    def take(self, unit: int, start: int, size: int) -> None:
        self.code -= unit * start
        self.range = unit * size
        while self.range < 1 << 40:
            self.range *= 256
            following = self._data[self._at] if self._at < len(self._data) else 0
            self._at += 1
            self.code = (self.code * 256 + following) % (1 << 49)

    def bit(self, state: Bit) -> int:
        unit = self.range >> 16
        if self.code < unit * state.one:
            self.take(unit, 0, state.one)
            state.one += (65536 - state.one) >> 5
            return 1
        self.take(unit, state.one, 65536 - state.one)
        state.one -= state.one >> 5
        return 0

    def symbol(self, book: Book, excluded: set[int]) -> int:
        left = [(k, f) for k, f in enumerate(book.frequencies) if k not in excluded]
        if not left:
            left = list(enumerate(book.frequencies))
        total = sum(f for _, f in left)
        unit = self.range // total
        at = min(self.code // unit, total - 1)
        start = 0
        while start + left[0][1] <= at:
            start += left.pop(0)[1]
        k, f = left[0]
        self.take(unit, start, f)
        book.frequencies[k] += 32
        if sum(book.frequencies) > 1 << 18:
            book.frequencies = [(f + 1) >> 1 for f in book.frequencies]
        return k


Stage = tuple[int, int, int, int]  # rows, columns, books, entries


class IndexDecoder:
    """Keeps its state from frame to frame."""

    def __init__(self, stages: list[Stage], frequencies: list[list[int]]) -> None:
        self._stages = stages
        books = iter([Book(list(f)) for f in frequencies])
        self._books = [[next(books) for _ in range(count)] for _, _, count, _ in stages]
        self._skip = [Bit() for _ in range(3)]

    def decode(self, data: bytes, before: list[int] | None) -> tuple[list[int], list[int]]:
        """Indices and skips; `before` is None for an I frame."""
        coder = RangeDecoder(data)
        rows, columns = self._stages[-1][:2]
        skips = [[0] * columns for _ in range(rows)]
        if before is not None:
            for y in range(rows):
                for x in range(columns):
                    context = (skips[y][x - 1] if x else 0) + (skips[y - 1][x] if y else 0)
                    skips[y][x] = coder.bit(self._skip[context])
        found: list[int] = []
        for (height, width, count, _), books in zip(self._stages, self._books, strict=True):
            first = len(found)
            same: list[int] = []
            for y in range(height):
                for x in range(width):
                    skipped = skips[y * rows // height][x * columns // width]
                    for n in range(count):
                        at = first + len(same)
                        left = at - count if x else None
                        above = at - count * width if y else None
                        neighbours = [
                            None if p is None else (found[p], same[p - first])
                            for p in (left, above)
                        ]
                        index, as_before = self._index(
                            coder,
                            books[n],
                            before[at] if before else None,
                            skipped,
                            neighbours,
                            same[-1] if n else 0,
                        )
                        found.append(index)
                        same.append(as_before)
        return found, [s for row in skips for s in row]

    @staticmethod
    def _index(
        coder: RangeDecoder,
        book: Book,
        before: int | None,
        skipped: int,
        neighbours: list[tuple[int, int] | None],
        book_before: int,
    ) -> tuple[int, int]:
        excluded: set[int] = set()
        if before is not None:
            if skipped:
                return before, 1
            context = sum(n[1] for n in neighbours if n) + 3 * book_before
            if coder.bit(book.as_before[context]):
                return before, 1
            excluded.add(before)
        for neighbour, state in zip(neighbours, (book.as_left, book.as_above), strict=True):
            if neighbour and neighbour[0] not in excluded:
                if coder.bit(state):
                    return neighbour[0], 0
                excluded.add(neighbour[0])
        return coder.symbol(book, excluded), 0
