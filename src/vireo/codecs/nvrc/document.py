"""NVRC's generated tables in `docs/bitstream.md` (see `container.document`)."""

from __future__ import annotations

from vireo.codecs.nvrc.stream import CONFIGURATION

STRUCTURES = (CONFIGURATION,)


def tables() -> dict[str, str]:
    """The tables that are no structure, by name, as Markdown."""
    return {}
