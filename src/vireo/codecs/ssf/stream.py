"""What a scale-space-flow stream says of itself, and the parts of its packets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from vireo.codecs.ssf.config import STRIDE
from vireo.container import CodedFrame, Section
from vireo.container.checksum import bytes_crc
from vireo.container.syntax import U8, U32, ByteReader, Field, FixedBytes, Structure, Varint
from vireo.errors import HeaderError, StreamError, SyntaxElementError

HASH_BYTES = 16  # as in `vireo.weights`, which needs PyTorch

CONFIGURATION = Structure(
    "ssf-configuration",
    "Configuration of a scale-space-flow stream",
    (
        Field("weights", FixedBytes(HASH_BYTES), "hash of the weights"),
        Field("intra_place", U8, "of I frames: place between the model's rate points"),
        Field("inter_place", U8, "of P frames"),
    ),
)

SECTION = Structure(
    "ssf-section",
    "Start of a section",
    (Field("hyperlatents", Varint(1 << 28), "bytes of the hyperlatents; the latents' follow"),),
)


UPDATES = Structure(
    "ssf-updates",
    "Start of a section of updates",
    (Field("checksum", U32, "CRC-32C of the updates, which follow or came in an earlier packet"),),
)


class SectionKind(IntEnum):
    """Sections of a packet: updates and intra in I frames, flow and residual in P frames."""

    INTRA = 0
    FLOW = 1
    RESIDUAL = 2
    UPDATES = 3


@dataclass(frozen=True)
class SentUpdates:
    """What an I frame says of the weights of its GOP.

    Attributes:
        checksum: CRC-32C of the updates.
        data: the updates; None where an earlier packet had them.
    """

    checksum: int
    data: bytes | None

    @staticmethod
    def of(frame: CodedFrame) -> SentUpdates | None:
        """Those of a packet; None where the weights are the file's.

        Raises SyntaxElementError for updates whose checksum is another.
        """
        first = frame.sections[0] if frame.sections else None
        if first is None or first.kind != SectionKind.UPDATES:
            return None
        reader = ByteReader(first.data, base=first.offset or 0)
        checksum = UPDATES.read(reader)["checksum"]
        data = reader.take(reader.remaining, "updates") if reader.remaining else None
        if data is not None and bytes_crc(data) != checksum:
            raise SyntaxElementError("the updates don't match their checksum", offset=first.offset)
        return SentUpdates(checksum, data)

    @staticmethod
    def section(data: bytes, *, again: bool) -> Section:
        """For updates that are sent now, or were sent before."""
        start = UPDATES.write({"checksum": bytes_crc(data)})
        return Section(SectionKind.UPDATES, start if again else start + data)


class Places(NamedTuple):
    """Where between the model's rate points frames lie, in sixteenths from the lowest."""

    intra: int
    inter: int


@dataclass(frozen=True)
class StreamShape:
    """What the configuration fixes.

    Attributes:
        weights: their hash.
        places: of its frames.
    """

    weights: bytes
    places: Places

    @property
    def profile(self) -> int:
        """Its number in the stream header."""
        return 0

    def write(self) -> bytes:
        intra, inter = self.places
        return CONFIGURATION.write(
            {"weights": self.weights, "intra_place": intra, "inter_place": inter}
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
        return StreamShape(values["weights"], Places(values["intra_place"], values["inter_place"]))


def coded_size(height: int, width: int) -> tuple[int, int]:
    """The size at which pictures are coded: whole latents; what is beyond them is cropped."""
    return -(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE
