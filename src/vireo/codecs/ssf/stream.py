"""What a scale-space-flow stream says of itself, and the parts of its packets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from vireo.codecs.pretrained import configuration
from vireo.container import CodedFrame, Section
from vireo.container.checksum import bytes_crc
from vireo.container.syntax import U32, ByteReader, Field, Structure, Varint
from vireo.errors import SyntaxElementError

CONFIGURATION = configuration("ssf", "scale-space-flow")

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
