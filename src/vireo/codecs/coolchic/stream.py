"""Cool-chic's part of the format: its configuration in the stream header, its sections."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from vireo import _core
from vireo.codecs.coolchic.config import NEAREST_12, Architecture, Parts
from vireo.codecs.coolchic.networks import (
    frame_probabilities,
    motion_probabilities,
    temporal_parameters,
)
from vireo.container.syntax import U8, ByteReader, Field, Rule, Structure, Varint
from vireo.errors import HeaderError, StreamError

CONTEXTS = (NEAREST_12,)
PROFILES = ("paper", "standard")  # by their numbers in the stream header


def _layers(network: str, description: str, most: int) -> tuple[Field, Field]:
    """A count of hidden layers, and their widths."""
    count = f"{network}_layers"
    repeat = Rule(f"`{count}`", lambda values: values[count])
    return (
        Field(count, U8, description, 0, most),
        Field(f"{network}_width", U8, "their widths", 1, 64, repeat=repeat),
    )


_KERNEL = Field("kernel", U8, "side of the upsampling kernel, even", 2, 16)
_TILES = (
    Field("band_rows_log2", U8, "log2 of the rows of a tile; 0: a grid is one tile", 0, 15),
    Field("block_log2", U8, "log2 of the side of a block", 2, 15),
)

CONFIGURATION = Structure(
    "coolchic-configuration",
    "Configuration of a Cool-chic stream",
    (
        Field("grids", U8, "number of latent grids; grid k halves the picture k times", 1, 16),
        Field("context", U8, "context of the autoregressive model", names={0: "nearest 12"}),
        *_layers("arm", "hidden layers of the autoregressive model", 7),
        _KERNEL,
        *_layers("synthesis", "hidden layers of the synthesis before its last two", 6),
        *_TILES,
    ),
)

STANDARD_CONFIGURATION = Structure(
    "coolchic-standard-configuration",
    "Configuration of a Cool-chic stream of profile standard",
    (
        Field("grids", U8, "luma grids; grid k halves the picture k times", 2, 16),
        Field("context", U8, "context of luma's and chroma's models", names={0: "nearest 12"}),
        *_layers("arm", "hidden layers of luma's and chroma's models", 7),
        _KERNEL,
        *_layers("synthesis", "hidden layers of the luma synthesis", 7),
        Field("chroma_first", U8, "level of the finest chroma grids, below `grids`", 1, 15),
        *_layers("chroma", "hidden layers of the chroma synthesis", 7),
        Field("motion_first", U8, "level of a field's finest grid", 2, 15),
        Field("motion_grids", U8, "grids of a field; the coarsest has a level below 16", 1, 14),
        *_TILES,
    ),
)

LATENT_SECTION = Structure(
    "coolchic-latents",
    "Start of a section of latents",
    (
        Field(
            "tiles",
            Varint(1 << 20),
            "tiles in this section",
            low=1,
            when=Rule("the section's `last` is 0", lambda values: not values["last"]),
        ),
    ),
)


class SectionKind(IntEnum):
    """Kinds of sections in a Cool-chic packet."""

    LATENTS = 0
    NETWORKS = 1


@dataclass(frozen=True)
class StreamShape:
    """What the configuration fixes; its profile follows from the architecture.

    Attributes:
        architecture: the networks' shapes.
        band_rows_log2: latents are coded in bands of 2**n rows, each by itself; 0: whole.
        block_log2: blocks of 2**n x 2**n latents can be declared empty.
    """

    architecture: Architecture
    band_rows_log2: int = 0
    block_log2: int = 3

    @property
    def profile(self) -> int:
        """Its number in the stream header."""
        return PROFILES.index("standard" if self.architecture.parts else "paper")

    def write(self) -> bytes:
        a = self.architecture
        values: dict[str, Any] = {
            "grids": a.grids,
            "context": CONTEXTS.index(a.context),
            "arm_layers": len(a.arm_hidden),
            "arm_width": a.arm_hidden,
            "kernel": a.upsampling_kernel,
            "synthesis_layers": len(a.synthesis_hidden),
            "synthesis_width": a.synthesis_hidden,
            "band_rows_log2": self.band_rows_log2,
            "block_log2": self.block_log2,
        }
        if a.parts:
            values |= {
                "chroma_first": a.parts.chroma_first,
                "chroma_layers": len(a.parts.chroma_hidden),
                "chroma_width": a.parts.chroma_hidden,
                "motion_first": a.parts.motion_first,
                "motion_grids": a.parts.motion_grids,
            }
        return _CONFIGURATIONS[self.profile].write(values)

    @staticmethod
    def read(data: bytes, profile: int) -> StreamShape:
        """Raises a StreamError where the configuration is damaged or not known."""
        reader = ByteReader(data)
        try:
            values = _CONFIGURATIONS[profile].read(reader)
        except StreamError as error:  # Its offset is within the configuration.
            raise HeaderError(f"the codec's configuration is damaged: {error.reason}") from error
        if values["kernel"] % 2:
            raise HeaderError("the upsampling kernel has an odd side")
        if reader.remaining:
            raise HeaderError("the codec's configuration is longer than its fields")
        return StreamShape(
            Architecture(
                grids=values["grids"],
                context=CONTEXTS[values["context"]],
                arm_hidden=values["arm_width"],
                upsampling_kernel=values["kernel"],
                synthesis_hidden=values["synthesis_width"],
                parts=_read_parts(values) if PROFILES[profile] == "standard" else None,
            ),
            values["band_rows_log2"],
            values["block_log2"],
        )

    def core(self) -> _core.Architecture:
        """The same for the compiled core."""
        a = self.architecture
        return _core.Architecture(
            a.grids,
            list(a.context),
            [len(a.context), *a.arm_hidden, 2],
            a.upsampling_kernel,
            list(a.synthesis_hidden),
            self.band_rows_log2,
            self.block_log2,
            _core_parts(a.parts) if a.parts else None,
        )


_CONFIGURATIONS = (CONFIGURATION, STANDARD_CONFIGURATION)  # by profile


def _read_parts(values: dict[str, Any]) -> Parts:
    if values["chroma_first"] >= values["grids"]:
        raise HeaderError("chroma has no grids")
    if values["motion_first"] + values["motion_grids"] > 16:
        raise HeaderError("the fields have too many grids")
    return Parts(
        chroma_first=values["chroma_first"],
        chroma_hidden=values["chroma_width"],
        motion_first=values["motion_first"],
        motion_grids=values["motion_grids"],
    )


def _core_parts(parts: Parts) -> _core.Parts:
    return _core.Parts(
        parts.chroma_first,
        list(parts.chroma_hidden),
        parts.motion_first,
        parts.motion_grids,
        motion_probabilities(),
        frame_probabilities(),
        temporal_parameters(),
    )


def coded_size(height: int, width: int) -> tuple[int, int]:
    """The even size at which pictures are coded; what is beyond the picture is cropped."""
    return height + height % 2, width + width % 2
