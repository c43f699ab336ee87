"""Keeps the tables of `docs/bitstream.md` equal to the declared structures.

    python -m vireo.container.document [--check] [FILE]

rewrites the regions between `<!-- table NAME -->` and `<!-- end -->`, each with the structure or
the codec's table of that name; with `--check` it writes nothing and exits with 1 where a table is
stale.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from vireo.codecs.codebook import document as codebook
from vireo.codecs.coolchic import document as coolchic
from vireo.codecs.dhvc import document as dhvc
from vireo.codecs.nvrc import document as nvrc
from vireo.codecs.ssf import document as ssf
from vireo.container.header import HEADER_BODY, HEADER_FRONT, HEADER_REST
from vireo.container.packet import PACKET, SECTION_START
from vireo.container.syntax import BitFields, Field, FixedBytes, PrefixedBytes, Structure

STRUCTURES: tuple[Structure, ...] = (
    HEADER_FRONT,
    HEADER_REST,
    HEADER_BODY,
    PACKET,
    SECTION_START,
    *coolchic.STRUCTURES,
    *ssf.STRUCTURES,
    *dhvc.STRUCTURES,
    *codebook.STRUCTURES,
    *nvrc.STRUCTURES,
)
"""Every structure of the format, the codecs' included."""

_REGION = re.compile(r"<!-- table (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)
_HEAD = "| field | type | values | present | meaning |\n|---|---|---|---|---|\n"


def table(structure: Structure) -> str:
    """The structure's fields as a Markdown table, in stream order."""
    rows: list[tuple[str, str, str, str, str]] = []
    for field in structure.fields:
        if isinstance(field, BitFields):
            rows.append(
                (f"`{field.name}`", "u8", "", _presence(field), "from the lowest bit upwards:")
            )
            rows += [
                (
                    f"– `{part.name}`",
                    f"{part.size} bit" + "s" * (part.size > 1),
                    _meanings(part.names) if part.names else f"0…{(1 << part.size) - 1}",
                    "",
                    part.description,
                )
                for part in field.parts
            ]
            rest = 8 - sum(part.size for part in field.parts)
            if rest:
                rows.append(("– reserved", f"{rest} bit" + "s" * (rest > 1), "0", "", ""))
        else:
            rows.append(_row(field))
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(field: Field) -> tuple[str, str, str, str, str]:
    return (
        f"`{field.name}`",
        field.type.label() + (f", {field.repeat.text} times" if field.repeat else ""),
        _values(field),
        _presence(field),
        field.description,
    )


def _presence(field: Field | BitFields) -> str:
    return f"if {field.when.text}" if field.when else ""


def _values(field: Field) -> str:
    if field.names is not None:
        return _meanings(field.names)
    if isinstance(field.type, FixedBytes):
        return ""
    ends = f"{_number(field.lowest)}…{_number(field.highest)}"
    return f"{ends} bytes" if isinstance(field.type, PrefixedBytes) else ends


def _meanings(names: Mapping[int, str]) -> str:
    return ", ".join(f"{number}: {meaning}" for number, meaning in names.items())


def _number(value: int) -> str:
    """A number as people write it: near a large power of two, by that power."""
    if value < 0:
        size = _number(-value)
        return f"−({size})" if " " in size else f"−{size}"
    for extra, suffix in ((0, ""), (1, " − 1")):
        power = value + extra
        if power >= 1 << 17 and power & power - 1 == 0:
            return f"2^{power.bit_length() - 1}{suffix}"
    return str(value)


def tables() -> dict[str, str]:
    """Every table of the specification by its name: the structures', and the codecs' others."""
    structures = {structure.name: table(structure) for structure in STRUCTURES}
    for codec in coolchic, ssf, dhvc, codebook, nvrc:
        structures |= codec.tables()
    return structures


def fill(text: str, known: Mapping[str, str]) -> str:
    """`text` with its tables made anew.

    Raises ValueError if it has a table of an unknown name, or lacks a known one.
    """
    found = [match["name"] for match in _REGION.finditer(text)]
    if sorted(found) != sorted(known):
        raise ValueError(f"the text has tables {sorted(found)}, declared are {sorted(known)}")
    return _REGION.sub(
        lambda match: f"<!-- table {match['name']} -->\n\n{known[match['name']]}\n<!-- end -->",
        text,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run as a command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Rewrite the tables of the specification.")
    parser.add_argument("--check", action="store_true", help="only say whether they are stale")
    parser.add_argument("file", nargs="?", type=Path, default=Path("docs/bitstream.md"))
    options = parser.parse_args(arguments)
    old = options.file.read_text(encoding="utf-8")
    new = fill(old, tables())
    if options.check:
        if new != old:
            print(f"{options.file}: tables are stale; run this without --check", file=sys.stderr)
        return int(new != old)
    options.file.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
