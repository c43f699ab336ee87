"""From quantised latents to a packet's sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic.stream import LATENT_SECTION, SectionKind
from vireo.container import Section

SECTION_BYTES = 4096  # tiles share a section up to this size; larger ones decode in parallel
MAX_LATENT = 4095


@dataclass(frozen=True)
class Base:
    """Networks that a frame can start from: their number in the stream, and what they are."""

    number: int
    parameters: NDArray[np.int32]


def round_latents(latents: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int16]]:
    """What is coded of trained latents."""
    return [np.rint(g).clip(-MAX_LATENT, MAX_LATENT).astype(np.int16) for g in latents]


def latent_sections(
    core: _core.Architecture,
    networks: _core.Networks,
    grids: list[NDArray[np.int16]],
    temporal: list[NDArray[np.int16]],
    base: Base | None = None,
) -> list[Section]:
    """Tiles in coding order, small ones together, in a packet's last sections.

    `temporal` holds luma's temporal contexts, of frames with references. With a base the first
    section begins with how the networks differ from it.
    """
    height, width = grids[0].shape
    tiles = _core.tile_count(core, height, width, networks.references)

    def coded(first: int, count: int) -> bytes:
        if base is None or first:
            return _core.encode_latents(core, networks, grids, first, count, temporal)
        return _core.encode_latents(
            core, networks, grids, first, count, temporal, base.number, base.parameters
        )

    alone = [len(coded(tile, 1)) for tile in range(tiles)]
    sections: list[Section] = []
    first = 0
    while first < tiles:
        count = 1
        while first + count < tiles and sum(alone[first : first + count + 1]) <= SECTION_BYTES:
            count += 1
        data = coded(first, count)
        first += count
        start = LATENT_SECTION.write({"tiles": count, "last": first == tiles})
        sections.append(Section(SectionKind.LATENTS, start + data))
    return sections
