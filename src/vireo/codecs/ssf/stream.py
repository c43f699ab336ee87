"""What a scale-space-flow stream says of itself, and the parts of its packets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from vireo.codecs.ssf.config import STRIDE
from vireo.container.syntax import U8, U32, ByteReader, Field, FixedBytes, Structure, Varint
from vireo.errors import HeaderError, StreamError

HASH_BYTES = 16  # as in `vireo.weights`, which needs PyTorch

CONFIGURATION = Structure(
    "ssf-configuration",
    "Configuration of a scale-space-flow stream",
    (
        Field("weights", FixedBytes(HASH_BYTES), "hash of the weights"),
        Field("place", U8, "place between the model's rate points, in sixteenths from the lowest"),
        Field("updates", U32, "CRC-32C of the updates of the weights; 0: there are none"),
    ),
)

SECTION = Structure(
    "ssf-section",
    "Start of a section",
    (Field("hyperlatents", Varint(1 << 28), "bytes of the hyperlatents; the latents' follow"),),
)


class SectionKind(IntEnum):
    """Sections of a packet: updates and intra in I frames, flow and residual in P frames."""

    INTRA = 0
    FLOW = 1
    RESIDUAL = 2
    UPDATES = 3


@dataclass(frozen=True)
class StreamShape:
    """What the configuration fixes.

    Attributes:
        weights: their hash.
        place: between the rate points, in sixteenths from the lowest.
        updates: CRC-32C of what changes of the weights; 0 if nothing does.
    """

    weights: bytes
    place: int
    updates: int = 0

    @property
    def profile(self) -> int:
        """Its number in the stream header."""
        return 0

    def write(self) -> bytes:
        return CONFIGURATION.write(
            {"weights": self.weights, "place": self.place, "updates": self.updates}
        )

    @staticmethod
    def read(data: bytes) -> StreamShape:
        """Raises HeaderError where the configuration is damaged."""
        reader = ByteReader(data)
        try:
            values = CONFIGURATION.read(reader)
        except StreamError as error:  # Its offset is within the configuration.
            raise HeaderError(f"the codec's configuration is damaged: {error.reason}") from error
        if reader.remaining:
            raise HeaderError("the codec's configuration is longer than its fields")
        return StreamShape(values["weights"], values["place"], values["updates"])


def coded_size(height: int, width: int) -> tuple[int, int]:
    """The size at which pictures are coded: whole latents; what is beyond them is cropped."""
    return -(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE
