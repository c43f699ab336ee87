"""Samples by which a bounded codec's pictures are checked: they need not be the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireo.container import Section
from vireo.container.syntax import U8, ByteReader, Field, FixedBytes, Structure
from vireo.errors import SyntaxElementError

PROBES = 16

PROBE = Structure(
    "probes",
    "Probes",
    (
        Field("bound", U8, "the largest difference of samples that is to be expected"),
        Field("samples", FixedBytes(PROBES), "luma samples, as the encoder decoded them"),
    ),
)


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

    def section(self, kind: int) -> Section:
        """What a packet holds of them; codecs number their sections themselves."""
        data = PROBE.write({"bound": self.bound, "samples": self.samples.tobytes()})
        return Section(kind, data, droppable=True)

    @staticmethod
    def read(section: Section) -> Probes:
        """Raises SyntaxElementError or TruncatedError for a section of another length."""
        reader = ByteReader(section.data, base=section.offset or 0)
        values = PROBE.read(reader)
        if reader.remaining:
            raise SyntaxElementError("probes are longer than their fields", offset=section.offset)
        return Probes(values["bound"], np.frombuffer(values["samples"], np.uint8))
