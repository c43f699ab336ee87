"""What a codebook stream says of itself, and the parts of its packets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.pretrained import HASH_BYTES, check_reference, read_configuration
from vireo.container import CodedFrame, Section
from vireo.container.syntax import U8, ByteReader, Field, FixedBytes, Structure
from vireo.errors import SyntaxElementError, TruncatedError

PROFILES = "paper", "entropy"
"""By their numbers in the stream header: indices of fixed length, or under adaptive frequencies."""

PROBES = 16

CONFIGURATION = Structure(
    "codebook-configuration",
    "Configuration of a codebook stream",
    (
        Field("weights", FixedBytes(HASH_BYTES), "hash of the weights"),
        Field("rate", U8, "which of the model's sets of codebooks P frames have", high=15),
    ),
)

PROBE = Structure(
    "codebook-probes",
    "Probes",
    (
        Field("bound", U8, "the largest difference of samples that is to be expected"),
        Field("samples", FixedBytes(PROBES), "luma samples, as the encoder decoded them"),
    ),
)


class SectionKind(IntEnum):
    """What a section holds."""

    FIXED = 0  # indices of fixed length
    ADAPTIVE = 1  # indices under adaptive frequencies
    PROBES = 2


@dataclass(frozen=True)
class CodebookShape:
    """What a configuration fixes (see `codecs.base.Shape`).

    Attributes:
        profile: its number, a place in PROFILES.
        weights: their hash.
        rate: of P frames.
    """

    profile: int
    weights: bytes
    rate: int

    def write(self) -> bytes:
        return CONFIGURATION.write({"weights": self.weights, "rate": self.rate})

    @staticmethod
    def read(profile: int, data: bytes) -> CodebookShape:
        """Raises HeaderError where the configuration is damaged."""
        return CodebookShape(profile, **read_configuration(CONFIGURATION, data))


@dataclass(frozen=True)
class Probes:
    """Some of a picture's samples, to tell whether another decoder's are about the same.

    Attributes:
        bound: the largest difference of any samples of the picture that is to be expected.
        samples: luma at `places`, uint8 `[PROBES]`.
    """

    bound: int
    samples: NDArray[np.uint8]

    @staticmethod
    def of(luma: NDArray[np.uint8], bound: int) -> Probes:
        """Those of a picture's luma `[H, W]`."""
        return Probes(bound, luma.ravel()[Probes.places(*luma.shape)])

    @staticmethod
    def places(height: int, width: int) -> NDArray[np.int64]:
        """Which samples are probed, row after row: spread over the picture."""
        count = np.arange(1, PROBES + 1)
        row = (count * 0xC13FA9A9 % (1 << 32)) * height >> 32
        column = (count * 0x91E10DA5 % (1 << 32)) * width >> 32
        return row * width + column

    def hold(self, luma: NDArray[np.uint8]) -> bool:
        """Whether a decoded picture's luma `[H, W]` is within the bound where it is probed."""
        found = luma.ravel()[Probes.places(*luma.shape)].astype(int)
        return bool((abs(found - self.samples) <= self.bound).all())

    def section(self) -> Section:
        """What a packet holds of them."""
        data = PROBE.write({"bound": self.bound, "samples": self.samples.tobytes()})
        return Section(SectionKind.PROBES, data, droppable=True)


@dataclass(frozen=True)
class Sections:
    """A packet's."""

    indices: Section
    probes: Probes | None


def sections_of(frame: CodedFrame) -> Sections:
    """Raises SyntaxElementError for sections and references that a frame can't have."""
    check_reference(frame, "a codebook")
    kinds = [s.kind for s in frame.sections]
    if not kinds or kinds[0] == SectionKind.PROBES or kinds[1:] not in ([], [SectionKind.PROBES]):
        raise SyntaxElementError(f"a frame's sections are indices and perhaps probes, not {kinds}")
    if kinds[0] not in set(SectionKind):
        raise SyntaxElementError(f"there is no section of kind {kinds[0]}")
    for section in frame.sections:
        if section.droppable != (section.kind == SectionKind.PROBES):
            raise SyntaxElementError("probes are droppable, and nothing else")
    probes = [_read_probes(s) for s in frame.sections[1:]]
    return Sections(frame.sections[0], probes[0] if probes else None)


def _read_probes(section: Section) -> Probes:
    reader = ByteReader(section.data, base=section.offset or 0)
    values = PROBE.read(reader)
    if reader.remaining:
        raise SyntaxElementError("probes are longer than their fields", offset=section.offset)
    return Probes(values["bound"], np.frombuffer(values["samples"], np.uint8))


def packed(indices: NDArray[np.uint16], bits: NDArray[np.uint8]) -> bytes:
    """Numbers of so many bits each, the highest first, one after the other; then zeros."""
    places = np.arange(16)[::-1]
    spread = (indices[:, None] >> places) & 1
    return np.packbits(spread[places < bits[:, None]].astype(np.uint8)).tobytes()


def unpacked(data: bytes, bits: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """What `packed` packed.

    Raises TruncatedError for too few bytes, SyntaxElementError for more or others than it makes.
    """
    total = int(bits.sum())
    size = -(-total // 8)
    if len(data) < size:
        raise TruncatedError(f"indices take {size} bytes, and there are {len(data)}")
    flat = np.unpackbits(np.frombuffer(data[:size], np.uint8))
    if len(data) > size or flat[total:].any():
        raise SyntaxElementError("there are more bits than indices have")
    places = np.arange(16)[::-1]
    spread = np.zeros((len(bits), 16), np.uint16)
    spread[places < bits[:, None]] = flat[:total]
    found: NDArray[np.uint16] = (spread << places.astype(np.uint16)).sum(1, dtype=np.uint16)
    return found
