"""Encodes pictures of a hierarchical stream: one pass of the networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vireo.codecs.base import PictureDecoder
from vireo.codecs.devices import ComputesWithPyTorch
from vireo.codecs.dhvc.coding import Coder
from vireo.codecs.dhvc.config import SCALES, STRIDE
from vireo.codecs.dhvc.decoder import DhvcDecoder
from vireo.codecs.dhvc.stream import section_of
from vireo.codecs.encoding import EncodedPicture, PictureJob, Progress
from vireo.codecs.pretrained import padded
from vireo.container import StreamHeader
from vireo.errors import UsageError
from vireo.gop import GopStructure, PlannedFrame, held_pictures, plan_gop
from vireo.profiling import TimeProfile, measured
from vireo.video.frame import Frame


class DhvcEncoder(ComputesWithPyTorch):
    """A stream's picture encoder (see `codecs.encoding.PictureEncoder`).

    Args:
        coder: the model, at its places.
        resynchronised: asked before each P frame is coded, by its place in the video: from which
            scale on, counted from 1, it shall refer to no frame before; None if all may. By the
            thread that codes the frame: where GOPs are coded side by side, at the same time as
            others and for later frames first, but in order within a GOP.
    """

    identity = ""

    def __init__(
        self,
        coder: Coder,
        resynchronised: Callable[[int], int | None] = lambda frame: None,
        times: TimeProfile | None = None,
    ) -> None:
        super().__init__()
        self._coder = coder
        self._resynchronised = resynchronised
        self._times = times

    def encode(self, job: PictureJob, progress: Progress) -> EncodedPicture:
        """One picture, from the one before as it was decoded."""
        reference = job.references[0] if job.references else None
        alone = self._alone(job.index) if reference else frozenset()
        with measured(self._times, "networks"):
            data, decoded = self._coder.encode(padded(job.target, STRIDE), reference, alone)
        sections = (section_of(n, data[n], resynchronised=n in alone) for n in data)
        return EncodedPicture(tuple(sections), decoded, 0)

    def _alone(self, index: int) -> frozenset[int]:
        """Scales, from 0, of a frame that refer to none before; raises UsageError."""
        lowest = self._resynchronised(index)
        if lowest is None:
            return frozenset()
        if lowest not in range(1, SCALES + 1):
            raise UsageError(
                f"frame {index} can't be resynchronised from scale {lowest!r} on; it has scales 1 "
                f"to {SCALES}"
            )
        return self._coder.scales_alone(lowest - 1)

    def plan(self, structure: GopStructure, gop: Sequence[Frame]) -> tuple[PlannedFrame, ...]:
        """Each frame from the one before, which has with it what it kept of those before it."""
        return plan_gop(structure, len(gop))

    def decoder(self, header: StreamHeader, index: int) -> PictureDecoder:
        """The same for all pictures."""
        return DhvcDecoder(header, self._coder)

    def held_pictures(self, structure: GopStructure, frames: int) -> int:
        """One, where there are P frames."""
        return held_pictures(plan_gop(structure, frames))
