"""Encodes Cool-chic's pictures: trains a frame's latents and networks, and codes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.base import UNLIMITED, PictureDecoder, picture_decoder
from vireo.codecs.coolchic.coding import latent_sections, round_latents
from vireo.codecs.coolchic.initialise import Start, initial_parameters
from vireo.codecs.coolchic.motion import estimate_flow
from vireo.codecs.coolchic.presets import RECIPE, Preset, Recipe
from vireo.codecs.coolchic.quantise import FrameCost, float_parameters, quantise_networks
from vireo.codecs.coolchic.schedule import final_stage, main_stage, warm_up
from vireo.codecs.coolchic.skip import best_skip
from vireo.codecs.coolchic.stream import SectionKind, StreamShape
from vireo.codecs.coolchic.training import Budget, Trainer, TrainerFactory, Training, account
from vireo.codecs.encoding import EncodedPicture, HasOwnThreads, PictureJob, Progress
from vireo.container import Section, StreamHeader
from vireo.gop import GopStructure, PlannedFrame, held_pictures, plan_gop
from vireo.profiling import TimeProfile, measured
from vireo.video import Frame

Floats = NDArray[np.float32]

LEAST_BITS = 8 * 250  # no trained frame takes fewer: its networks alone take more
LOSS, BITS = 0, 4  # columns of the trainer's metrics


@dataclass(frozen=True)
class Settings:
    """How pictures are encoded.

    Attributes:
        lambda_: cost of a bit per luma sample against mean squared error (samples in 0…1).
        preset, recipe: the training's length and schedule.
        seed: of everything random; the same seed gives the same stream.
        threads: for what is done of a GOP beforehand.
    """

    lambda_: float
    preset: Preset
    recipe: Recipe = RECIPE
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class _Coded:
    """A frame's quantised networks and latents, and their rate-distortion cost."""

    networks: _core.Networks
    grids: list[NDArray[np.int16]]
    cost: float


class CoolchicEncoder(HasOwnThreads):
    """A stream's picture encoder (see `codecs.encoding.PictureEncoder`)."""

    identity = ""  # shape and options say all

    def __init__(
        self,
        shape: StreamShape,
        settings: Settings,
        make_trainer: TrainerFactory,
        budget: Budget | None = None,
        times: TimeProfile | None = None,
    ) -> None:
        self.shape = shape
        self.settings = settings
        self._make_trainer = make_trainer
        self._budget = budget
        self._times = times
        self._core = shape.core()

    def encode(self, job: PictureJob, progress: Progress) -> EncodedPicture:
        """Train, quantise and code one picture; on a CPU the same seed and job give the same."""
        lambda_ = self.settings.lambda_
        with measured(self._times, "motion search"):
            flows = [estimate_flow(job.target[0], r[0]) for r in job.references]
        with measured(self._times, "moved references"):
            skip = self._skip(job, flows, lambda_) if flows else None
        if skip and skip.cost < lambda_ * LEAST_BITS / job.target[0].size:
            if self._budget:
                self._budget.skip(job)
            return self._finish(job, skip, iterations=0)
        began = perf_counter()
        trainer = self._make_trainer(self.shape.architecture, job, job.references)
        training = _Training(self, trainer, job, flows, lambda_, progress)
        training.run()
        if self._times:
            account(self._times, trainer, job.threads * (perf_counter() - began))
        after = perf_counter()
        with measured(self._times, "number formats"):
            grids = round_latents(trainer.latents)
            cost = FrameCost(self._core, job.frame_type, grids, job.target, job.references, lambda_)
            networks = quantise_networks(trainer.parameters, self.shape.architecture, cost)
            chosen = _Coded(networks, grids, cost.total(networks))
        if skip and skip.cost < chosen.cost:
            chosen = skip
        coded = self._finish(job, chosen, training.steps.done)
        if self._budget:
            self._budget.settle(job, perf_counter() - after)
        return coded

    def plan(self, structure: GopStructure, gop: Sequence[Frame]) -> tuple[PlannedFrame, ...]:
        """As the paper has it: a GOP has one P frame, and all frames the same lambda."""
        return plan_gop(structure, len(gop))

    def decoder(self, header: StreamHeader, index: int) -> PictureDecoder:
        """Any stream's."""
        return picture_decoder(header, UNLIMITED)

    def held_pictures(self, structure: GopStructure, frames: int) -> int:
        """As many as in the longest GOP."""
        return held_pictures(plan_gop(structure, frames))

    def _skip(self, job: PictureJob, flows: list[Floats], lambda_: float) -> _Coded:
        grids = [
            np.zeros(size, np.int16)
            for size in self.shape.architecture.grid_sizes(*job.target[0].shape)
        ]
        cost = FrameCost(self._core, job.frame_type, grids, job.target, job.references, lambda_)
        networks = best_skip(self.shape.architecture, cost, _translations(flows))
        return _Coded(networks, grids, cost.total(networks))

    def _finish(self, job: PictureJob, coded: _Coded, iterations: int) -> EncodedPicture:
        with measured(self._times, "coding"):
            return self._code(job, coded, iterations)

    def _code(self, job: PictureJob, coded: _Coded, iterations: int) -> EncodedPicture:
        planes = _core.reconstruct(self._core, coded.networks, coded.grids, job.references)
        sections = [
            Section(SectionKind.NETWORKS, coded.networks.encode()),
            *latent_sections(self._core, coded.networks, coded.grids, []),
        ]
        return EncodedPicture(tuple(sections), planes, iterations)


class _Training:
    """The steps of one frame."""

    def __init__(
        self,
        encoder: CoolchicEncoder,
        trainer: Trainer,
        job: PictureJob,
        flows: list[Floats],
        lambda_: float,
        progress: Progress,
    ) -> None:
        self._settings = encoder.settings
        self._architecture = encoder.shape.architecture
        self._budget = encoder._budget
        self._trainer = trainer
        self._job = job
        self._flows = flows
        self._lambda = lambda_
        self.steps = Training(
            trainer,
            job,
            seed=encoder.settings.seed,
            preset=encoder.settings.preset,
            recipe=encoder.settings.recipe,
            progress=progress,
        )

    def run(self) -> None:
        began = perf_counter()
        preset, recipe = self._settings.preset, self._settings.recipe
        self._warm_up()
        if self._budget:
            seconds = perf_counter() - began
            preset = self._budget.preset(self._job, seconds / self.steps.done, seconds)
            self.steps.planned = self.steps.done + preset.main + preset.final
        self.steps.run(main_stage(preset, recipe, self._lambda))
        self._trainer.reset_optimiser()
        self.steps.run(final_stage(preset, recipe, self._lambda))

    def _warm_up(self) -> None:
        """Each candidate's first steps; the one of the lowest loss goes on."""
        preset, recipe = self._settings.preset, self._settings.recipe
        translations = _translations(self._flows)
        if self._flows:
            self._trainer.set_flow_targets(np.concatenate(self._flows))
        zeros = [np.zeros_like(g) for g in self._trainer.latents]
        best_loss, best_state = np.inf, None
        neighbour = self._neighbour()
        for candidate, start in enumerate(self._starts(neighbour is not None)):
            rng = np.random.default_rng([self.steps.seed, candidate])
            self._trainer.latents = zeros
            if start is Start.NEIGHBOUR:
                assert neighbour is not None
                self._trainer.parameters = neighbour
            else:
                self._trainer.parameters = initial_parameters(
                    self._architecture,
                    self._job.frame_type,
                    self._job.target,
                    start,
                    translations,
                    rng,
                )
            self._trainer.reset_optimiser()
            motion = start is Start.MOTION
            metrics = self.steps.run(warm_up(preset, recipe, self._lambda, motion))
            loss = float(metrics[-10:, LOSS].mean())
            if best_state is None or loss < best_loss:
                best_loss, best_state = loss, self._trainer.state()
        self._trainer.restore(best_state)

    def _neighbour(self) -> Floats | None:
        """The networks of a reference of the same type, where it has trained ones."""
        for parsed in self._job.parsed:
            networks = parsed.networks
            if networks.references == self._job.frame_type and networks.arm[0].any():
                return float_parameters(networks, self._architecture, self._job.frame_type)
        return None

    def _starts(self, has_neighbour: bool) -> list[Start]:
        """What the candidates start from."""
        count = self._settings.preset.candidates
        if not self._job.references:
            return [Start.MEAN] * count
        others = islice(cycle((Start.TRANSLATION, Start.MEAN, Start.MOTION)), count + 1)
        if not has_neighbour:
            return list(others)
        # Of two starts a neighbour is better than the means; it adds to three or more.
        return [Start.NEIGHBOUR, *islice(others, 1 if count == 1 else None)]


def _translations(flows: Sequence[Floats]) -> list[Floats]:
    """The median motion (x, y) to each reference."""
    return [np.median(f.reshape(2, -1), axis=1).astype(np.float32) for f in flows]
