"""Scale-space flow's generated tables in `docs/bitstream.md` (see `container.document`)."""

from __future__ import annotations

from vireo.codecs.ssf.config import CONFIGS
from vireo.codecs.ssf.stream import CONFIGURATION, SECTION, UPDATES, SectionKind

STRUCTURES = (CONFIGURATION, SECTION, UPDATES)


def tables() -> dict[str, str]:
    """The tables that are no structure, by name, as Markdown."""
    return {"ssf-sections": _sections(), "ssf-models": _models()}


def _sections() -> str:
    rows = "".join(f"| {kind.value} | {kind.name.lower()} |\n" for kind in SectionKind)
    return f"| kind | section |\n|---|---|\n{rows}"


def _models() -> str:
    head = (
        "| model | latents *L* | flow's *F* | hyperlatents *Z* | codec *C* | hyper *H* | light |"
        " rate points |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {c.name} | {c.latent} | {c.flow_latent} | {c.hyperlatent} | {c.codec} | {c.hyper} | "
        f"{'yes' if c.light else 'no'} | {c.rates} |\n"
        for c in CONFIGS.values()
    )
