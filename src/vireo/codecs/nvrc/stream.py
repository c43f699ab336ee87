"""What an NVRC stream says of itself, and the parts of its packets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from vireo.codecs.nvrc.config import Config
from vireo.codecs.nvrc.layout import Method
from vireo.codecs.pretrained import read_configuration
from vireo.codecs.probes import Probes
from vireo.container import CodedFrame, FrameType
from vireo.container.syntax import U8, Field, Structure, Varint
from vireo.errors import HeaderError, SyntaxElementError

PROFILES = "standard", "paper"
"""By their numbers in the stream header; they differ in how they are trained."""

_FEW, _MANY = 1 << 8, 1 << 12
MOST_WIDTH = 32  # doubles hold all sums of so many channels: 63 x 32 x 2**42
_CONTEXTS = "all", "level", "channel"

CONFIGURATION = Structure(
    "nvrc-configuration",
    "Configuration of an NVRC stream",
    (
        Field("channels", Varint(_MANY), "of the first stage; the next has half, and so on", low=8),
        Field("grid_channels", Varint(_FEW), "of the finest feature grid", low=1),
        Field("local_channels", Varint(_FEW), "of the finest local grids", low=1),
        Field("period", Varint(_FEW), "frames to a step of the finest feature grid", low=1),
        Field(
            "contexts",
            U8,
            "what has a context model of its own",
            names={0: "nothing: all have one", 1: "each level", 2: "each channel", 3: "no models"},
        ),
        Field("context_width", Varint(MOST_WIDTH), "channels of context models", low=1),
        Field("axis", Varint(1 << 20), "numbers of a row or column that has its own step", low=1),
        Field(
            "side",
            U8,
            "how side information is sent",
            names={0: "coded", 1: "in half precision"},
        ),
    ),
)


class SectionKind(IntEnum):
    """What a section holds."""

    SIDE = 0
    LAYERS = 1
    GRIDS = 2
    PROBES = 3


@dataclass(frozen=True)
class NvrcShape:
    """What a configuration fixes (see `codecs.base.Shape`)."""

    config: Config
    method: Method
    profile: int = 0

    def write(self) -> bytes:
        config, method = self.config, self.method
        contexts = _CONTEXTS.index(config.contexts) if method.contexts else len(_CONTEXTS)
        return CONFIGURATION.write(
            {
                "channels": config.channels[0],
                "grid_channels": config.grid_channels,
                "local_channels": config.local_channels,
                "period": config.period,
                "contexts": contexts,
                "context_width": config.context_width,
                "axis": method.axis,
                "side": 0 if method.coded else 1,
            }
        )

    @staticmethod
    def read(profile: int, data: bytes) -> NvrcShape:
        """Raises HeaderError where the configuration is damaged."""
        found = read_configuration(CONFIGURATION, data)
        first = found["channels"]
        if first % 8:
            raise HeaderError(f"channels of the first stage are a multiple of 8, not {first}")
        contexts = found["contexts"]
        config = Config(
            "",
            (first, first // 2, first // 4, first // 8),
            found["grid_channels"],
            found["local_channels"],
            found["period"],
            _CONTEXTS[min(contexts, len(_CONTEXTS) - 1)],
            found["context_width"],
            found["axis"],
        )
        method = Method(contexts < len(_CONTEXTS), found["axis"], found["side"] == 0)
        return NvrcShape(config, method, profile)


@dataclass(frozen=True)
class Sections:
    """A packet's.

    Attributes:
        side, layers, grids: of a key packet; else empty.
        probes: what its picture is checked by, if anything.
    """

    side: bytes
    layers: bytes
    grids: bytes
    probes: Probes | None


def sections_of(frame: CodedFrame) -> Sections:
    """Raises SyntaxElementError for sections and references that a frame can't have."""
    if frame.frame_type is FrameType.B or any(frame.references):
        raise SyntaxElementError("frames of a segment refer to its first one")
    if frame.is_key == bool(frame.references):
        raise SyntaxElementError("a segment's first frame is its only I frame")
    parts = [SectionKind.SIDE, SectionKind.LAYERS, SectionKind.GRIDS]
    kinds = [s.kind for s in frame.sections]
    expected = [] if frame.references else [int(kind) for kind in parts]
    if kinds not in (expected, [*expected, SectionKind.PROBES]):
        raise SyntaxElementError(f"a frame's sections are {expected} and probes, not {kinds}")
    for section in frame.sections:
        if section.droppable != (section.kind == SectionKind.PROBES):
            raise SyntaxElementError("probes are droppable, and nothing else")
    found = {SectionKind(s.kind): s for s in frame.sections}
    side, layers, grids = (found[k].data if k in found else b"" for k in parts)
    last = found.get(SectionKind.PROBES)
    return Sections(side, layers, grids, Probes.read(last) if last else None)
