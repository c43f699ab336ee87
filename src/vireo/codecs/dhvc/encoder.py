"""Encodes pictures of a hierarchical stream: one pass of the networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vireo.codecs.base import PictureDecoder
from vireo.codecs.dhvc.coding import Coder
from vireo.codecs.dhvc.config import STRIDE
from vireo.codecs.dhvc.decoder import DhvcDecoder
from vireo.codecs.dhvc.stream import section_of
from vireo.codecs.encoding import EncodedPicture, PictureJob
from vireo.codecs.pretrained import padded
from vireo.container import StreamHeader
from vireo.gop import GopStructure, PlannedFrame, held_pictures, plan_gop
from vireo.profiling import TimeProfile, measured
from vireo.video.frame import Frame


class DhvcEncoder:
    """A stream's picture encoder (see `codecs.encoding.PictureEncoder`)."""

    identity = ""

    def __init__(self, coder: Coder, times: TimeProfile | None = None) -> None:
        self._coder = coder
        self._times = times

    def encode(self, job: PictureJob, progress: Callable[[int, int], None]) -> EncodedPicture:
        """One picture, from the one before as it was decoded."""
        reference = job.references[0] if job.references else None
        with measured(self._times, "networks"):
            data, decoded = self._coder.encode(padded(job.target, STRIDE), reference)
        sections = (section_of(level, data[level], resynchronised=False) for level in data)
        return EncodedPicture(tuple(sections), decoded, 0)

    def plan(self, structure: GopStructure, gop: Sequence[Frame]) -> tuple[PlannedFrame, ...]:
        """Each frame from the one before, which has with it what it kept of those before it."""
        return plan_gop(structure, len(gop))

    def decoder(self, header: StreamHeader, index: int) -> PictureDecoder:
        """The same for all pictures."""
        return DhvcDecoder(header, self._coder)

    def held_pictures(self, structure: GopStructure, frames: int) -> int:
        """One, where there are P frames."""
        return held_pictures(plan_gop(structure, frames))
