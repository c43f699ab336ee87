"""The codebook codec's generated tables in `docs/bitstream.md` (see `container.document`)."""

from __future__ import annotations

from vireo.codecs.codebook.config import CONFIGS
from vireo.codecs.codebook.stream import CONFIGURATION
from vireo.codecs.probes import PROBE

STRUCTURES = CONFIGURATION, PROBE


def tables() -> dict[str, str]:
    """The tables that are no structure, by name, as Markdown."""
    head = (
        "| model | channels | patch | decoder blocks | codebooks | channels of stages |"
        " stage blocks | I frames | P frames | context |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n"
    )
    rows = "".join(
        f"| {c.name} | {c.channels} | {c.patch} | {_list(c.decoder_blocks)} | {c.codebooks} | "
        f"{_list(c.quantised)} | {_list(c.stage_blocks)} | {_list(c.key)} | "
        f"{'; '.join(map(_list, c.predicted))} | {c.context} |\n"
        for c in CONFIGS.values()
    )
    return {"codebook-models": head + rows}


def _list(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))
