"""Encodes segments of NVRC: trains a network on each, and sends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

from vireo.codecs.base import UNLIMITED, PictureDecoder, picture_decoder
from vireo.codecs.encoding import EncodedPicture, HasOwnThreads, PictureJob, Progress, pad_to_even
from vireo.codecs.nvrc import coding
from vireo.codecs.nvrc.decoder import Decoded
from vireo.codecs.nvrc.network import Network
from vireo.codecs.nvrc.presets import Preset, Recipe
from vireo.codecs.nvrc.stream import NvrcShape, SectionKind
from vireo.codecs.nvrc.training import Job, Trainer
from vireo.codecs.probes import Probes
from vireo.container import Section, StreamHeader
from vireo.exact import PROCESSOR
from vireo.gop import GopStructure, PlannedFrame, held_pictures, plan_gop
from vireo.profiling import TimeProfile, measured
from vireo.video.frame import Frame

BOUND = 1  # how far samples may be from those of this machine: what rounding can make of a half
_WARM, _MEASURED = 9, 18  # steps before, and those that tell how long one takes


@dataclass(frozen=True)
class Settings:
    """How segments are encoded.

    Attributes:
        lambda_: what a bit per luma sample costs against distortion.
        preset, recipe: how they are trained.
        seconds: for each frame, in place of the preset's length.
        seed: of everything random.
        device: where they are trained.
        threads: for each segment; they don't depend on what else is encoded, so that an interrupted
            encode goes on to the same stream.
    """

    lambda_: float
    preset: Preset
    recipe: Recipe
    seconds: float | None = None
    seed: int = 0
    device: torch.device = PROCESSOR
    threads: int = 1


class NvrcEncoder(HasOwnThreads):
    """A stream's picture encoder (see `codecs.encoding.PictureEncoder`).

    Args:
        folder: for checkpoints of what is being trained.
        source: identity of everything that determines what is made.
    """

    identity = ""

    def __init__(
        self,
        shape: NvrcShape,
        settings: Settings,
        shown: tuple[int, int],
        folder: Path,
        source: str,
        times: TimeProfile | None = None,
    ) -> None:
        self._shape = shape
        self._settings = settings
        self._shown = shown
        self._folder = folder
        self._source = source
        self._times = times
        torch.set_num_threads(settings.threads)  # of the process: there is one encode at a time

    def encode(self, job: PictureJob, progress: Progress) -> EncodedPicture:
        """A key picture's network is trained on its segment; the others are made by that."""
        sections: list[Section] = []
        steps = 0
        if job.references:
            network = job.references[0].network
        else:
            network, own, steps = self._segment(job, progress)
            sections += own
        with measured(self._times, "networks"):
            planes = network.picture(job.display_index, job.target[0].shape)
        if job.is_last:
            luma = planes[0][: self._shown[0], : self._shown[1]]
            sections.append(Probes.of(luma, BOUND).section(SectionKind.PROBES))
        return EncodedPicture(tuple(sections), Decoded(network, planes), steps)

    def _segment(
        self, job: PictureJob, progress: Progress
    ) -> tuple[Network, Sequence[Section], int]:
        settings = self._settings
        training = Job(
            self._shape.config,
            self._shape.method,
            [pad_to_even(frame) for frame in job.gop],
            settings.lambda_,
            settings.preset,
            settings.recipe,
            settings.seed + job.index,
        )
        folder = self._folder / f"segment-{job.index}"
        trainer = Trainer(training, settings.device, folder, self._source, threads=settings.threads)
        with measured(self._times, "training"):
            if settings.seconds is not None and trainer.step == 0:
                self._fit(trainer, settings.seconds * len(job.gop), progress)
            trainer.train(progress)
        with measured(self._times, "coding"):
            coded = trainer.coded()
            sections = coding.encode(trainer.layout, coded)
            network = Network.of(trainer.layout, coded, settings.device, settings.threads)
            return network, sections, trainer.step

    def _fit(self, trainer: Trainer, seconds: float, progress: Progress) -> None:
        """Chooses a length for the time that there is, by that of the first steps."""
        first = perf_counter()
        trainer.preset = self._settings.preset.of(1e6)  # learning rates as at the beginning
        for step in range(_WARM + _MEASURED):
            if step == _WARM:
                began = trainer.now()
            trainer.one()
            progress(trainer.step, _WARM + _MEASURED)
        spent = trainer.now() - began
        seconds -= began - first
        epochs = _MEASURED * max(seconds, 0.0) / spent / len(trainer.job.frames)
        trainer.preset = self._settings.preset.of(epochs)

    def plan(self, structure: GopStructure, gop: Sequence[Frame]) -> tuple[PlannedFrame, ...]:
        """All frames by the network that comes with the first."""
        return plan_gop(structure, len(gop))

    def decoder(self, header: StreamHeader, index: int) -> PictureDecoder:
        """The same for all pictures."""
        return picture_decoder(header, UNLIMITED, device=self._settings.device.type)

    def held_pictures(self, structure: GopStructure, frames: int) -> int:
        """One, which has the network."""
        return held_pictures(plan_gop(structure, frames))
