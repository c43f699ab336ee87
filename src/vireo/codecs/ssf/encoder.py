"""Encodes pictures of scale-space flow: by the analysis networks, and by gradients if asked to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from vireo.codecs.base import PictureDecoder, Planes
from vireo.codecs.devices import ComputesWithPyTorch
from vireo.codecs.encoding import EncodedPicture, PictureJob, Progress
from vireo.codecs.pretrained import padded
from vireo.codecs.ssf.autoencoder import Symbols
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.config import STRIDE
from vireo.codecs.ssf.decoder import SsfDecoder
from vireo.codecs.ssf.refinement import Refinement, worth
from vireo.codecs.ssf.stream import SectionKind, SentUpdates
from vireo.container import Section, StreamHeader
from vireo.exact import full_precision
from vireo.gop import GopStructure, PlannedFrame, held_pictures, plan_gop
from vireo.nn.picture import Picture, picture_of
from vireo.profiling import TimeProfile, measured
from vireo.video.frame import Frame

INTRA_FINER = 12
"""Places by which I frames are finer: three quarters of a rate point, or a factor of 1.7."""


class Coders(Protocol):
    """Of each picture its coder; those of a GOP have the same.

    Attributes:
        identity: changes with what they make of the same pictures.
    """

    identity: str

    def of(self, index: int) -> Coder:
        """Of the picture at that place in display order."""

    def is_first(self, index: int) -> bool:
        """Whether it is the first picture of those of its coder."""


class SameCoder:
    """One for all pictures."""

    identity = ""

    def __init__(self, coder: Coder) -> None:
        self._coder = coder

    def of(self, index: int) -> Coder:
        return self._coder

    def is_first(self, index: int) -> bool:
        return index == 0


class SsfEncoder(ComputesWithPyTorch):
    """A stream's picture encoder (see `codecs.encoding.PictureEncoder`).

    Args:
        coders: of each picture its coder.
        refinement: of pictures' symbols; one pass of the analysis networks if there is none.
        times: told where the time goes.
    """

    def __init__(
        self,
        coders: Coders,
        refinement: Refinement | None = None,
        times: TimeProfile | None = None,
    ) -> None:
        super().__init__()
        self._coders = coders
        self._refinement = refinement
        self._times = times

    @property
    def identity(self) -> str:
        return self._coders.identity

    def encode(self, job: PictureJob, progress: Progress) -> EncodedPicture:
        """One picture, from its reference as it was decoded."""
        coder = self._coders.of(job.index)
        target = padded(job.target, STRIDE)
        picture = self.picture(coder, target, job.references, job.importance, progress)
        if coder.updates and not job.references:
            again = not self._coders.is_first(job.index)
            first = SentUpdates.section(coder.updates, again=again)
            picture = replace(picture, sections=(first, *picture.sections))
        return picture

    def picture(
        self,
        coder: Coder,
        target: Planes,
        references: Sequence[Planes],
        importance: float = 1.0,
        progress: Progress = lambda done, planned: None,
    ) -> EncodedPicture:
        """One picture at the coded size, without updates of the weights."""
        steps = self._refinement.steps if self._refinement else 0
        with torch.inference_mode():
            if references:
                sections, planes = self._inter(coder, target, references[0], importance, progress)
            else:
                sections, planes = self._intra(coder, target, importance, progress)
        return EncodedPicture(sections, planes, steps)

    def _intra(
        self, coder: Coder, target: Planes, importance: float, progress: Progress
    ) -> tuple[tuple[Section, ...], Planes]:
        model = coder.model
        if self._refinement:
            with measured(self._times, "refinement"):
                symbols = self._refinement.intra(coder, target, importance, progress)
        else:
            with measured(self._times, "analysis"), full_precision(coder.device.type):
                wanted = picture_of(target, coder.device)
                symbols = model.intra.encode(model.intra_input(wanted), coder.places.intra)
        with measured(self._times, "coding"):
            section = coder.write(SectionKind.INTRA, symbols)
        with measured(self._times, "synthesis"):
            planes = coder.intra(coder.latents(SectionKind.INTRA, symbols))
        return (section,), planes

    def _inter(
        self,
        coder: Coder,
        target: Planes,
        reference: Planes,
        importance: float,
        progress: Progress,
    ) -> tuple[tuple[Section, ...], Planes]:
        if self._refinement:
            with measured(self._times, "refinement"):
                flow, rest = self._refinement.inter(coder, target, reference, importance, progress)
            flow_latents, moved = self._moved(coder, reference, flow)
        else:
            model, place = coder.model, coder.places.inter
            with measured(self._times, "analysis"), full_precision(coder.device.type):
                wanted = picture_of(target, coder.device)
                pair = model.flow_input(wanted, picture_of(reference, coder.device))
                flow = model.flow.encode(pair, place)
            flow_latents, moved = self._moved(coder, reference, flow)
            with measured(self._times, "analysis"), full_precision(coder.device.type):
                rest = model.residual.encode(model.residual_input(wanted, moved), place)
        with measured(self._times, "coding"):
            sections = (
                coder.write(SectionKind.FLOW, flow),
                coder.write(SectionKind.RESIDUAL, rest),
            )
        with measured(self._times, "synthesis"):
            planes = coder.inter(moved, flow_latents, coder.latents(SectionKind.RESIDUAL, rest))
        return sections, planes

    def _moved(self, coder: Coder, reference: Planes, flow: Symbols) -> tuple[Tensor, Picture]:
        """A flow's latents, and the reference where they move it."""
        with measured(self._times, "flow and warp"):
            latents = coder.latents(SectionKind.FLOW, flow)
            return latents, coder.moved(reference, latents)

    def plan(self, structure: GopStructure, gop: Sequence[Frame]) -> tuple[PlannedFrame, ...]:
        """Each frame from the one before (InstA, section 3.1)."""
        plan = plan_gop(structure, len(gop))
        last = 0 if structure is GopStructure.INTRA else len(gop) - 1
        return tuple(
            replace(f, importance=worth(max(last - f.display_index, 0), intra=not f.references))
            for f in plan
        )

    def decoder(self, header: StreamHeader, index: int) -> PictureDecoder:
        """That of the picture's coder."""
        return SsfDecoder(header, self._coders.of(index))

    def held_pictures(self, structure: GopStructure, frames: int) -> int:
        """One, where there are P frames."""
        return held_pictures(plan_gop(structure, frames))
