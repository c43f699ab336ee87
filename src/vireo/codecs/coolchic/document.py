"""Cool-chic's generated tables in `docs/bitstream.md` (see `container.document`)."""

from __future__ import annotations

from vireo.codecs.coolchic.config import NEAREST_12
from vireo.codecs.coolchic.reference import DECAYS, TABLES
from vireo.codecs.coolchic.stream import CONFIGURATION, LATENT_SECTION, SectionKind

STRUCTURES = (CONFIGURATION, LATENT_SECTION)

_COLUMNS = 4


def tables() -> dict[str, str]:
    """The tables that are no structure, by name, as Markdown."""
    return {
        "coolchic-sections": _sections(),
        "coolchic-context": _context(),
        "coolchic-decays": _decays(),
    }


def _sections() -> str:
    rows = "".join(f"| {kind.value} | {kind.name.lower()} |\n" for kind in SectionKind)
    return f"| kind | section |\n|---|---|\n{rows}"


def _context() -> str:
    order = " | ".join(str(i) for i in range(len(NEAREST_12)))
    dy = " | ".join(str(y).replace("-", "−") for y, _ in NEAREST_12)
    dx = " | ".join(str(x).replace("-", "−") for _, x in NEAREST_12)
    rule = "|---" * (len(NEAREST_12) + 1)
    return f"| input | {order} |\n{rule}|\n| rows down | {dy} |\n| columns right | {dx} |\n"


def _decays() -> str:
    head = "| scale | decay | reach " * _COLUMNS + "|\n" + "|---|---|---" * _COLUMNS + "|\n"
    rows = len(DECAYS) // _COLUMNS
    return head + "".join(
        "".join(f"| {i} | {DECAYS[i]} | {TABLES[i].reach} " for i in range(r, len(DECAYS), rows))
        + "|\n"
        for r in range(rows)
    )
