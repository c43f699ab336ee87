"""Cool-chic's generated tables in `docs/bitstream.md` (see `container.document`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.coolchic.config import NEAREST_12, STANDARD
from vireo.codecs.coolchic.networks import (
    frame_probabilities,
    motion_probabilities,
    shipped_sets,
    temporal_parameters,
)
from vireo.codecs.coolchic.reference import DECAYS, TABLES
from vireo.codecs.coolchic.reference_standard import CHROMA_FILTERS, LUMA_FILTERS
from vireo.codecs.coolchic.stream import (
    CONFIGURATION,
    LATENT_SECTION,
    STANDARD_CONFIGURATION,
    SectionKind,
)
from vireo.container.checksum import bytes_crc

STRUCTURES = (CONFIGURATION, LATENT_SECTION, STANDARD_CONFIGURATION)

_COLUMNS = 4
_MOTION_ROWS = "P", "B", "P, beginning with motion", "B, beginning with motion"


def tables() -> dict[str, str]:
    """The tables that are no structure, by name, as Markdown."""
    return {
        "coolchic-sections": _sections(),
        "coolchic-context": _context(NEAREST_12),
        "coolchic-decays": _decays(),
        "coolchic-frame": _frame(),
        "coolchic-motion": _motion(),
        "coolchic-sets": _sets(),
        "coolchic-filters": _filters(),
        "coolchic-temporal": _temporal(),
    }


def _sections() -> str:
    rows = "".join(f"| {kind.value} | {kind.name.lower()} |\n" for kind in SectionKind)
    return f"| kind | section |\n|---|---|\n{rows}"


def _context(context: Sequence[tuple[int, int]]) -> str:
    order = " | ".join(str(i) for i in range(len(context)))
    dy = " | ".join(str(y).replace("-", "−") for y, _ in context)
    dx = " | ".join(str(x).replace("-", "−") for _, x in context)
    rule = "|---" * (len(context) + 1)
    return f"| input | {order} |\n{rule}|\n| rows down | {dy} |\n| columns right | {dx} |\n"


def _sets() -> str:
    head = "| set | parameters | their sum | CRC-32C |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {i} | {_checked(s)} |\n" for i, s in enumerate(shipped_sets(STANDARD).parameters)
    )


def _motion() -> str:
    head = "| frames | probabilities | their sum | CRC-32C |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {name} | {_checked(p)} |\n"
        for name, p in zip(_MOTION_ROWS, motion_probabilities(), strict=True)
    )


def _frame() -> str:
    head = "| frames | probabilities | their sum | CRC-32C |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {name} | {_checked(p)} |\n"
        for name, p in zip("IPB", frame_probabilities(), strict=True)
    )


def _temporal() -> str:
    head = "| parameters | their sum | CRC-32C |\n|---|---|---|\n"
    return f"{head}| {_checked(temporal_parameters())} |\n"


def _checked(numbers: NDArray[np.integer]) -> str:
    """How many, their sum and checksum, of 16 bits each."""
    crc = bytes_crc(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes())
    return f"{numbers.size} | {numbers.sum(dtype=int)} | {crc:08x}"


def _filters() -> str:
    places = [f"{n}{t}" for n, taps in (("L", 8), ("C", 4)) for t in range(taps)]
    head = f"| fraction | {' | '.join(places)} |\n{'|---' * (len(places) + 1)}|\n"
    return head + "".join(
        f"| {f} | {' | '.join(str(tap) for tap in (*LUMA_FILTERS[f], *CHROMA_FILTERS[f]))} |\n"
        for f in range(33)
    )


def _decays() -> str:
    head = "| scale | decay | reach " * _COLUMNS + "|\n" + "|---|---|---" * _COLUMNS + "|\n"
    rows = len(DECAYS) // _COLUMNS
    return head + "".join(
        "".join(f"| {i} | {DECAYS[i]} | {TABLES[i].reach} " for i in range(r, len(DECAYS), rows))
        + "|\n"
        for r in range(rows)
    )
