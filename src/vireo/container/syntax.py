"""A declarative layer for byte-aligned syntax: write, read and documentation from one table.

A `Structure` lists its fields in stream order. Each `Field` has a type (how it is written), a
permitted range, a description, and optionally a presence condition or a repeat count that depends
on fields before it; a `BitFields` packs several small values into one byte. `Structure.write` and
`Structure.read` follow from the list, and `vireo.container.document` makes the tables of
`docs/bitstream.md` from the same list.

>>> size = Structure("size", "Picture size", (
...     Field("width", Varint(), "luma samples per row", low=1, high=65535),
...     Field("height", Varint(), "luma rows", low=1, high=65535),
... ))
>>> size.write({"width": 300, "height": 2}).hex()
'ac0202'
>>> size.read(ByteReader(b"\\xac\\x02\\x02"))
{'width': 300, 'height': 2}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vireo.errors import SyntaxElementError, TruncatedError

Values = dict[str, Any]
"""Field values by name: `int` for numbers, `bytes` for byte strings, a tuple where repeated."""


class ByteReader:
    """Reads a byte string from front to back, never past its end.

    Attributes:
        base: what to add to positions in `data` for the offsets in error messages; for a
            structure inside another one, its offset there.
    """

    def __init__(self, data: bytes, *, base: int = 0):
        self._data = data
        self._position = 0
        self.base = base

    @property
    def offset(self) -> int:
        """Offset of the next byte, as errors report it."""
        return self.base + self._position

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._position

    def since(self, offset: int) -> bytes:
        """The bytes from `offset` (as errors report it) up to the reader's position."""
        return self._data[offset - self.base : self._position]

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes. Raises TruncatedError, which names `what`, if there are fewer."""
        if count > self.remaining:
            raise TruncatedError(
                f"{what} needs {count} bytes, {self.remaining} are left", offset=self.offset
            )
        start = self._position
        self._position += count
        return self._data[start : self._position]


class ElementType(Protocol):
    """How one value is written."""

    @property
    def low(self) -> int:
        """The smallest value that the type can hold; for byte strings, the shortest length."""

    @property
    def high(self) -> int:
        """The largest value that the type can hold; for byte strings, the longest length."""

    def label(self) -> str:
        """The type's name in the specification's tables."""

    def write(self, value: Any, out: bytearray) -> None:
        """Append `value`, which is within the field's range."""

    def read(self, reader: ByteReader, name: str) -> Any:
        """The next value. Raises TruncatedError or SyntaxElementError, which name the field."""


@dataclass(frozen=True)
class Unsigned:
    """An unsigned little-endian integer of `size` bytes."""

    size: int
    low: int = 0

    @property
    def high(self) -> int:
        return (1 << 8 * self.size) - 1

    def label(self) -> str:
        return f"u{8 * self.size}"

    def write(self, value: int, out: bytearray) -> None:
        out += value.to_bytes(self.size, "little")

    def read(self, reader: ByteReader, name: str) -> int:
        return int.from_bytes(reader.take(self.size, name), "little")


U8, U16, U32 = Unsigned(1), Unsigned(2), Unsigned(4)


@dataclass(frozen=True)
class Varint:
    """An unsigned LEB128 integer in its shortest form: 7 bits a byte, low bits first.

    Attributes:
        high: largest value that can be read, at most 2**63 - 1; it bounds the length.
    """

    high: int = (1 << 32) - 1
    low: int = 0

    def label(self) -> str:
        return "varint"

    def write(self, value: int, out: bytearray) -> None:
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)

    def read(self, reader: ByteReader, name: str) -> int:
        start = reader.offset
        value = shift = 0
        while True:
            byte = reader.take(1, name)[0]
            value |= (byte & 0x7F) << shift
            if value > self.high:
                raise SyntaxElementError(f"{name} is over {self.high}", offset=start)
            if byte < 0x80:
                break
            shift += 7
            if self.high >> shift == 0:
                raise SyntaxElementError(f"{name} is longer than its range needs", offset=start)
        if byte == 0 and shift:
            raise SyntaxElementError(f"{name} is not in its shortest form", offset=start)
        return value


@dataclass(frozen=True)
class SignedVarint:
    """A signed integer, zigzag-mapped (0, -1, 1, -2, … to 0, 1, 2, 3, …) to a `Varint`.

    Attributes:
        high: largest magnitude, at most 2**62 - 1.
    """

    high: int = (1 << 31) - 1

    @property
    def low(self) -> int:
        return -self.high

    def label(self) -> str:
        return "svarint"

    def write(self, value: int, out: bytearray) -> None:
        Varint().write(2 * value if value >= 0 else -2 * value - 1, out)

    def read(self, reader: ByteReader, name: str) -> int:
        mapped = Varint(2 * self.high).read(reader, name)
        return -(mapped >> 1) - 1 if mapped & 1 else mapped >> 1


@dataclass(frozen=True)
class FixedBytes:
    """A byte string of `size` bytes."""

    size: int

    @property
    def low(self) -> int:
        return self.size

    @property
    def high(self) -> int:
        return self.size

    def label(self) -> str:
        return f"{self.size} bytes"

    def write(self, value: bytes, out: bytearray) -> None:
        out += value

    def read(self, reader: ByteReader, name: str) -> bytes:
        return reader.take(self.size, name)


@dataclass(frozen=True)
class PrefixedBytes:
    """A byte string after its length, a `Varint` of at most `high`."""

    high: int = (1 << 31) - 1
    low: int = 0

    def label(self) -> str:
        return "varint length, bytes"

    def write(self, value: bytes, out: bytearray) -> None:
        Varint().write(len(value), out)
        out += value

    def read(self, reader: ByteReader, name: str) -> bytes:
        return reader.take(Varint(self.high).read(reader, f"length of {name}"), name)


@dataclass(frozen=True)
class Rule:
    """A number that depends on the fields before: whether a field is there, or how often.

    Attributes:
        text: how the specification words it.
        of: the number (or truth value), from the values of the fields before.
    """

    text: str
    of: Callable[[Mapping[str, Any]], int]


@dataclass(frozen=True)
class Field:
    """One field of a structure.

    Attributes:
        name: key of its value.
        type: how it is written.
        description: its meaning, with units; Markdown.
        low, high: permitted range, inclusive (of the length, for byte strings); None where the
            type's own range is meant.
        names: permitted values with their meaning; takes the place of `low` and `high`.
        when: presence condition; None: always there. An absent field has no value.
        repeat: number of values that follow each other; the value is then a tuple.
    """

    name: str
    type: ElementType
    description: str
    low: int | None = None
    high: int | None = None
    names: Mapping[int, str] | None = None
    when: Rule | None = None
    repeat: Rule | None = None

    @property
    def lowest(self) -> int:
        return self.type.low if self.low is None else self.low

    @property
    def highest(self) -> int:
        return self.type.high if self.high is None else self.high

    def problem(self, value: Any) -> str | None:
        """Why `value` is not permitted, or None."""
        if self.names is not None:
            if value in self.names:
                return None
            known = ", ".join(f"{number} ({meaning})" for number, meaning in self.names.items())
            return f"{self.name} is {value}, known are {known}"
        size = len(value) if isinstance(value, bytes) else value
        if self.lowest <= size <= self.highest:
            return None
        measured = (
            f"{self.name} has {size} bytes" if size is not value else f"{self.name} is {size}"
        )
        return f"{measured}, permitted are {self.lowest} to {self.highest}"

    def write(self, values: Mapping[str, Any], out: bytearray) -> None:
        if self.when is not None and not self.when.of(values):
            return
        given = values[self.name]
        items = (given,) if self.repeat is None else tuple(given)
        if self.repeat is not None and len(items) != self.repeat.of(values):
            raise ValueError(f"{self.name} has {len(items)} values, not {self.repeat.of(values)}")
        for item in items:
            problem = self.problem(item)
            if problem is not None:
                raise ValueError(problem)
            self.type.write(item, out)

    def read(self, reader: ByteReader, values: Values) -> None:
        if self.when is not None and not self.when.of(values):
            return
        if self.repeat is None:
            values[self.name] = self._read_one(reader)
        else:
            # Each value takes at least a byte, so the loop ends with the data.
            values[self.name] = tuple(self._read_one(reader) for _ in range(self.repeat.of(values)))

    def _read_one(self, reader: ByteReader) -> Any:
        start = reader.offset
        value = self.type.read(reader, self.name)
        problem = self.problem(value)
        if problem is not None:
            raise SyntaxElementError(problem, offset=start)
        return value


@dataclass(frozen=True)
class Bits:
    """A value of a few bits within `BitFields`; `names` and `high` as in `Field`."""

    name: str
    size: int
    description: str
    names: Mapping[int, str] | None = None

    def permits(self, value: int) -> bool:
        return 0 <= value < 1 << self.size and (self.names is None or value in self.names)


@dataclass(frozen=True)
class BitFields:
    """One byte that holds several values, from the lowest bit upwards; the bits left over are 0.

    `when` is as in `Field`.
    """

    name: str
    parts: tuple[Bits, ...]
    when: Rule | None = None

    def mask(self, name: str) -> int:
        """The bits of the byte that hold the part `name`; KeyError where there is none."""
        shift = 0
        for part in self.parts:
            if part.name == name:
                return (1 << part.size) - 1 << shift
            shift += part.size
        raise KeyError(name)

    def write(self, values: Mapping[str, Any], out: bytearray) -> None:
        if self.when is not None and not self.when.of(values):
            return
        byte = shift = 0
        for part in self.parts:
            value = int(values[part.name])
            if not part.permits(value):
                raise ValueError(f"{part.name} is {value}, which is not permitted")
            byte |= value << shift
            shift += part.size
        out.append(byte)

    def read(self, reader: ByteReader, values: Values) -> None:
        if self.when is not None and not self.when.of(values):
            return
        start = reader.offset
        byte = reader.take(1, self.name)[0]
        for part in self.parts:
            values[part.name] = byte & (1 << part.size) - 1
            byte >>= part.size
            if not part.permits(values[part.name]):
                known = ", ".join(f"{n} ({meaning})" for n, meaning in (part.names or {}).items())
                raise SyntaxElementError(
                    f"{part.name} is {values[part.name]}, known are {known}", offset=start
                )
        if byte:
            raise SyntaxElementError(f"reserved bits of {self.name} are set", offset=start)


@dataclass(frozen=True)
class Structure:
    """Fields in stream order, under a name (its mark in the specification) and a title."""

    name: str
    title: str
    fields: tuple[Field | BitFields, ...]

    def write(self, values: Mapping[str, Any]) -> bytes:
        """The bytes of `values`.

        Raises ValueError where a value is outside its range, KeyError where one is missing.
        """
        out = bytearray()
        for field in self.fields:
            field.write(values, out)
        return bytes(out)

    def read(self, reader: ByteReader, known: Mapping[str, Any] | None = None) -> Values:
        """The values at the reader's position, which moves behind them.

        `known` are values from elsewhere that rules ask for; the result has them too.
        Raises TruncatedError or SyntaxElementError with the field's name and offset.
        """
        values: Values = dict(known or {})
        for field in self.fields:
            field.read(reader, values)
        return values
