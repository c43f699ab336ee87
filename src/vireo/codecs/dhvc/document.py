"""The hierarchical codec's generated tables in `docs/bitstream.md` (see `container.document`)."""

from __future__ import annotations

from vireo.codecs.dhvc.config import CONFIGS
from vireo.codecs.dhvc.stream import CONFIGURATION

STRUCTURES = (CONFIGURATION,)


def tables() -> dict[str, str]:
    """The tables that are no structure, by name, as Markdown."""
    head = (
        "| model | widths *W* | latents *L* | kernels *K* | embedding *E* | mixing | prediction |"
        " spatial | decode | auxiliary | tail | smooth | direct |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    rows = "".join(
        f"| {c.name} | {_list(c.widths)} | {_list(c.latents)} | {_list(c.kernels)} | "
        f"{c.embedding} | {c.mixing_blocks} | {c.prediction_blocks} | {c.spatial_blocks} | "
        f"{c.decoder_blocks} | {c.auxiliary_blocks} | {c.tail_blocks} | {_yes(c.smooth)} | "
        f"{_yes(c.direct)} |\n"
        for c in CONFIGS.values()
    )
    return {"dhvc-models": head + rows}


def _list(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))


def _yes(value: bool) -> str:
    return "yes" if value else "no"
