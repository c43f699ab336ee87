"""Cool-chic's part of the format: its configuration in the stream header, its sections."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from vireo import _core
from vireo.codecs.coolchic.config import NEAREST_12, Architecture
from vireo.container.syntax import U8, ByteReader, Field, Rule, Structure, Varint
from vireo.errors import HeaderError, StreamError

CONTEXTS = (NEAREST_12,)
PROFILES = ("paper",)  # by their numbers in the stream header

CONFIGURATION = Structure(
    "coolchic-configuration",
    "Configuration of a Cool-chic stream",
    (
        Field("grids", U8, "number of latent grids; grid k halves the picture k times", 1, 16),
        Field("context", U8, "context of the autoregressive model", names={0: "nearest 12"}),
        Field("arm_layers", U8, "hidden layers of the autoregressive model", 0, 7),
        Field(
            "arm_width",
            U8,
            "their widths",
            1,
            64,
            repeat=Rule("`arm_layers`", lambda values: values["arm_layers"]),
        ),
        Field("kernel", U8, "side of the upsampling kernel, even", 2, 16),
        Field("synthesis_layers", U8, "hidden layers of the synthesis before its last two", 0, 6),
        Field(
            "synthesis_width",
            U8,
            "their widths",
            1,
            64,
            repeat=Rule("`synthesis_layers`", lambda values: values["synthesis_layers"]),
        ),
        Field("band_rows_log2", U8, "log2 of the rows of a tile; 0: a grid is one tile", 0, 15),
        Field("block_log2", U8, "log2 of the side of a block", 2, 15),
    ),
)

LATENT_SECTION = Structure(
    "coolchic-latents",
    "Start of a section of latents",
    (Field("tiles", Varint(1 << 20), "tiles in this section", 1),),
)


class SectionKind(IntEnum):
    """Kinds of sections in a Cool-chic packet, in the order in which they come."""

    NETWORKS = 0
    LATENTS = 1


@dataclass(frozen=True)
class StreamShape:
    """What the configuration fixes.

    Attributes:
        architecture: the networks' shapes.
        band_rows_log2: latents are coded in bands of 2**n rows, each by itself; 0: whole.
        block_log2: blocks of 2**n x 2**n latents can be declared empty.
    """

    architecture: Architecture
    band_rows_log2: int = 0
    block_log2: int = 3

    def write(self) -> bytes:
        a = self.architecture
        return CONFIGURATION.write(
            {
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
        )

    @staticmethod
    def read(data: bytes) -> StreamShape:
        """Raises a StreamError where the configuration is damaged or not known."""
        reader = ByteReader(data)
        try:
            values = CONFIGURATION.read(reader)
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
            list(a.arm_widths()),
            a.upsampling_kernel,
            list(a.synthesis_hidden),
            self.band_rows_log2,
            self.block_log2,
        )


def coded_size(height: int, width: int) -> tuple[int, int]:
    """The even size at which pictures are coded; what is beyond the picture is cropped."""
    return height + height % 2, width + width % 2
