"""What a codebook stream says of itself, and the parts of its packets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.pretrained import HASH_BYTES, check_reference, read_configuration
from vireo.codecs.probes import Probes
from vireo.container import CodedFrame, Section
from vireo.container.syntax import U8, Field, FixedBytes, Structure
from vireo.errors import SyntaxElementError, TruncatedError

PROFILES = "paper", "entropy"
"""By their numbers in the stream header: indices of fixed length, or under adaptive frequencies."""

CONFIGURATION = Structure(
    "codebook-configuration",
    "Configuration of a codebook stream",
    (
        Field("weights", FixedBytes(HASH_BYTES), "hash of the weights"),
        Field("rate", U8, "which of the model's sets of codebooks P frames have", high=15),
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
    probes = [Probes.read(s) for s in frame.sections[1:]]
    return Sections(frame.sections[0], probes[0] if probes else None)


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
