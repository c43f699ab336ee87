"""Encodes pictures of profile `standard`: latents of their own for luma, chroma and motion.

Motion is found first, by a search, and stays: what it leaves of the picture is trained.
Training starts from networks that are known already, of a shipped set or of a reference. What
changes of them is coded where it pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log
from statistics import fmean
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.base import UNLIMITED, PictureDecoder, Planes, picture_decoder
from vireo.codecs.coolchic.coding import Base, latent_sections, round_latents
from vireo.codecs.coolchic.config import FILTER_WEIGHTS
from vireo.codecs.coolchic.encoder import Settings
from vireo.codecs.coolchic.global_motion import GlobalMotion, global_motion
from vireo.codecs.coolchic.importance import per_sample, worth
from vireo.codecs.coolchic.inheritance import (
    Inherited,
    MovedPicture,
    inherited_motion,
    motion_of,
)
from vireo.codecs.coolchic.loop_filter import Equations, choose
from vireo.codecs.coolchic.motion import (
    FoundFields,
    predict,
    search_fields,
    temporal_contexts,
)
from vireo.codecs.coolchic.networks import shipped_sets
from vireo.codecs.coolchic.presets import STANDARD_RECIPES, Preset, promise
from vireo.codecs.coolchic.quantise import FrameCost
from vireo.codecs.coolchic.schedule import final_stage, main_stage, warm_up
from vireo.codecs.coolchic.stream import StreamShape
from vireo.codecs.coolchic.structure import prediction_interval
from vireo.codecs.coolchic.temporal_filter import filtered, neighbourhoods
from vireo.codecs.coolchic.training import Budget, Trainer, TrainerFactory, Training, account
from vireo.codecs.coolchic.updates import (
    Integers,
    UpdateCost,
    begin_with,
    choose_update,
    magnitude_bits,
    to_floats,
    with_parameters,
)
from vireo.codecs.encoding import EncodedPicture, HasOwnThreads, PictureJob, Progress, pad_to_even
from vireo.container import StreamHeader
from vireo.gop import (
    FrameType,
    GopStructure,
    PlannedFrame,
    held_pictures,
    plan_gop,
)
from vireo.metrics.psnr import PEAK, PLANE_WEIGHTS
from vireo.profiling import TimeProfile, measured
from vireo.video import Frame

REFERENCE_BASE = 254  # number of the first reference's networks
LOSS = 0  # column of the trainer's metrics
# Of lambda in the motion search, which takes the residual's rate for more than it is: 1.5, 2 and
# 3 cost the same within 0.3 % on 60 frames of a training set.
SEARCH_LAMBDA = 2.0
# Squared errors are weighted by a power of what they are worth, which goes with lambda's logarithm
# between these two: at low rates other frames keep less of an error than is assumed. A frame's
# importance is the weights' mean. A bit may cost so many times lambda, divided by that; in I
# frames lambda at most, so that videos without references look as is expected of their quality.
WORTH_POWERS = ((1.7e-4, 1.0), (2e-3, 0.6))  # (lambda, power)
LAMBDA_MOST = 2.0
# Of low delay, frames from one that is kept as a second reference to the next.
LOW_DELAY_INTERVAL = 8
SWEEPS = 3  # over the latents, of each refinement
LEAST_BITS = 8 * 12  # a frame that costs less as moved references alone isn't trained


@dataclass(frozen=True)
class _Motion:
    """The fields' latents, and what vectors begin with: of an I frame nothing."""

    fields: list[NDArray[np.int16]]
    inherited: Inherited = ()


@dataclass(frozen=True)
class Coded:
    """A frame as it would be coded, with its cost D + lambda R."""

    base: Base
    networks: _core.Networks
    grids: list[NDArray[np.int16]]
    temporal: list[NDArray[np.int16]]
    inherited: Inherited
    cost: float


class PartsEncoder(HasOwnThreads):
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
        assert shape.architecture.parts is not None
        self.shape = shape
        self.settings = settings
        self._parts = shape.architecture.parts
        self._make_trainer = make_trainer
        self._budget = budget
        self._times = times
        self._sets = shipped_sets(shape.architecture)
        self._core = shape.core()

    def encode(self, job: PictureJob, progress: Progress) -> EncodedPicture:
        """Train, quantise and code one picture; on a CPU the same seed and job give the same."""
        lambda_ = self._lambda(job)
        with measured(self._times, "motion search"):
            motion = self._search(job, lambda_)
        with measured(self._times, "moved references"):
            moved = self._moved(job, motion, lambda_) if job.references else None
        if moved and moved.cost < lambda_ * LEAST_BITS / job.target[0].size:
            if self._budget:
                self._budget.skip(job)
            return self._code(job, self._filter(job, moved), 0)
        began = perf_counter()
        prediction = None
        if job.references:
            prediction = predict(motion.fields, job.references, self._parts, motion.inherited)
        temporal = self._temporal(job, motion)
        trainer = self._make_trainer(
            self.shape.architecture, job, prediction=prediction, temporal=temporal
        )
        if (weights := _weights(job)) is not None:
            trainer.set_weights(weights)
        preset = self.settings.preset.stretched(job.effort)
        training = Training(
            trainer,
            job,
            seed=self.settings.seed,
            preset=preset,
            recipe=STANDARD_RECIPES[job.frame_type],
            progress=progress,
        )
        base = self._train(training, job, preset, began)
        if self._times:
            seconds = job.threads * (perf_counter() - began)
            account(self._times, trainer, seconds)
        after = perf_counter()
        trained = trainer.parameters
        with measured(self._times, "network updates"):
            grids = round_latents(trainer.latents) + motion.fields
            chosen = self._quantise(job, base, grids, trained, temporal, motion.inherited)
        chosen = self._refine(job, trainer, chosen, trained, motion)
        trials = [self._filter(job, trial) for trial in (chosen, moved) if trial]
        chosen = min(trials, key=lambda trial: trial.cost)
        coded = self._code(job, chosen, training.done)
        if self._budget:
            self._budget.settle(job, perf_counter() - after)
        return coded

    def _lambda(self, job: PictureJob) -> float:
        """What a bit may cost in this frame: less where other frames depend on it."""
        share = LAMBDA_MOST / job.importance
        if job.frame_type == FrameType.I:
            share = min(share, 1.0)
        return self.settings.lambda_ * share

    def plan(self, structure: GopStructure, gop: Sequence[Frame]) -> tuple[PlannedFrame, ...]:
        """P frames as far apart as they still predict each other, and all by what they are worth,
        as frames and in their parts. Those that others refer to are filtered in time.
        """
        pictures = [pad_to_even(frame) for frame in gop]
        parts, lambda_, threads = self._parts, self.settings.lambda_, self.settings.threads
        with measured(self._times, "structure"):
            interval: int | None = LOW_DELAY_INTERVAL
            if structure is GopStructure.RANDOM_ACCESS:
                interval = prediction_interval(pictures, parts, lambda_)
            plan = plan_gop(structure, len(gop), interval)
        with measured(self._times, "importance"):
            found = worth(plan, pictures, parts, lambda_, threads)
        power = _worth_power(lambda_)
        around = neighbourhoods(plan)
        height, width = pictures[0][1].shape
        weights = {index: blocks**power for index, blocks in found.items()}
        importance = {i: float(per_sample(w, height, width).mean()) for i, w in weights.items()}
        mean = fmean(importance.get(frame.display_index, 1.0) for frame in plan)

        def planned(frame: PlannedFrame) -> PlannedFrame:
            i = frame.display_index
            if i not in weights:
                return replace(frame, effort=1 / mean)
            return replace(
                frame,
                importance=importance[i],
                effort=importance[i] / mean,
                block_weights=weights[i] / np.float32(importance[i]),
                target=partial(self._target, gop, i, around[i]),
            )

        return tuple(planned(frame) for frame in plan)

    def _target(self, gop: Sequence[Frame], index: int, around: range, threads: int) -> Planes:
        """What is coded of one of a GOP's frames that others refer to."""
        with measured(self._times, "temporal filter"):
            pictures = [pad_to_even(gop[i]) for i in around]
            place = around.index(index)
            return filtered(pictures, place, self._parts, self.settings.lambda_, threads)

    def decoder(self, header: StreamHeader, index: int) -> PictureDecoder:
        """Any stream's."""
        return picture_decoder(header, UNLIMITED)

    def held_pictures(self, structure: GopStructure, frames: int) -> int:
        """As many as in the longest GOP, and of random access in that with one P frame."""
        interval = LOW_DELAY_INTERVAL if structure is GopStructure.LOW_DELAY else None
        return held_pictures(plan_gop(structure, frames, interval))

    def _search(self, job: PictureJob, lambda_: float) -> _Motion:
        if not job.references:
            return _Motion([])
        inherited = inherited_motion(job.display_index, [r.motion for r in job.references])
        searched = SEARCH_LAMBDA * lambda_
        found = search_fields(job.target, job.references, searched, self._parts, inherited)
        begins = inherited if found.inherits else ()
        shared = self._shared(job, found, begins)
        if shared is None:
            return _Motion(found.fields, begins)
        other = search_fields(
            job.target, job.references, searched, self._parts, shared, always=True
        )
        if other.cost + searched * shared.bits < found.cost:
            return _Motion(other.fields, shared)
        return _Motion(found.fields, begins)

    def _shared(
        self, job: PictureJob, found: FoundFields, begins: Inherited
    ) -> GlobalMotion | None:
        """The motion of the whole picture, by that of the blocks that are predicted."""
        (height, width), count = job.target[0].shape, len(job.references)
        first = self._parts.motion_first
        values = _core.block_fields(found.fields, first, height, width, count, begins)
        vectors, alpha = values[: 2 * count], values[2 * count]
        shares = [alpha]
        if count == 2:
            beta = values[2 * count + 1]
            shares = [alpha * beta, alpha * (64 - beta)]
        weights = [share.astype(np.float64) for share in shares]
        return global_motion(vectors, weights, (height, width))

    def _temporal(self, job: PictureJob, motion: _Motion) -> list[NDArray[np.int16]]:
        """Luma's temporal contexts."""
        if not job.references:
            return []
        return temporal_contexts(
            self._core, motion.fields, job.references, self._parts, motion.inherited
        )

    def _moved(self, job: PictureJob, motion: _Motion, lambda_: float) -> Coded:
        """The references, moved, and nothing else: networks of a base, all other latents 0."""
        layout = self.shape.architecture.latent_grids(job.frame_type, *job.target[0].shape)
        zeros = [np.zeros((g.height, g.width), np.int16) for g in layout]
        trials = []
        fields = motion.fields
        still = _Motion(zeros[len(zeros) - len(fields) :])
        tried = [still, motion]
        if motion.inherited:
            tried.append(replace(still, inherited=motion.inherited))
        for m in tried:
            grids = zeros[: len(zeros) - len(fields)] + m.fields
            cost = self._cost(job, grids, lambda_, [], m.inherited)  # luma's grids are empty
            for base in self._bases(job):
                magnitudes = magnitude_bits(grids, self.shape.architecture)
                networks = with_parameters(base.parameters, cost, magnitudes)
                total = UpdateCost(base, cost).total(networks)
                trials.append(Coded(base, networks, grids, [], m.inherited, total))
        return min(trials, key=lambda trial: trial.cost)

    def _cost(
        self,
        job: PictureJob,
        grids: list[NDArray[np.int16]],
        lambda_: float,
        temporal: list[NDArray[np.int16]],
        inherited: Inherited,
    ) -> FrameCost:
        return FrameCost(
            self._core,
            job.frame_type,
            grids,
            job.target,
            job.references,
            lambda_,
            temporal,
            _weights(job),
            inherited,
        )

    def _bases(self, job: PictureJob) -> list[Base]:
        """What the networks may be an update of: a shipped set, those of the references."""
        number = self._sets.nearest(job.frame_type, self._lambda(job))
        bases = [Base(number, self._sets.parameters[number].astype(np.int32))]
        for i, parsed in enumerate(job.parsed):
            parameters = parsed.networks.parameters
            if not any(np.array_equal(parameters, b.parameters) for b in bases):
                bases.append(Base(REFERENCE_BASE + i, parameters))
        return bases

    def _train(
        self,
        training: Training,
        job: PictureJob,
        preset: Preset,
        began: float,
    ) -> Base:
        """All steps; the base that promised the lowest cost."""
        recipe, lambda_ = STANDARD_RECIPES[job.frame_type], self._lambda(job)
        trainer = training.trainer
        start = trainer.latents
        bases = self._bases(job)
        best_loss, best_state, best_base, worth = np.inf, None, bases[0], 1.0
        for base in bases:
            parameters = to_floats(base.parameters, self.shape.architecture)
            trainer.latents = start
            trainer.parameters = parameters
            trainer.base = parameters
            trainer.reset_optimiser()
            metrics = training.run(warm_up(preset, recipe, lambda_, motion=False))
            loss = float(metrics[-10:, LOSS].mean())
            if best_state is None or loss < best_loss:
                best_loss, best_state, best_base = loss, trainer.state(), base
                worth = promise(float(metrics[0, LOSS]), loss)
        trainer.restore(best_state)
        trainer.base = to_floats(best_base.parameters, self.shape.architecture)
        if self._budget:
            seconds = perf_counter() - began
            preset = self._budget.preset(job, seconds / training.done, seconds, worth)
        else:
            preset = preset.stretched(worth)
        training.planned = training.done + preset.main + preset.final
        training.run(main_stage(preset, recipe, lambda_))
        trainer.reset_optimiser()
        training.run(final_stage(preset, recipe, lambda_))
        return best_base

    def _quantise(
        self,
        job: PictureJob,
        base: Base,
        grids: list[NDArray[np.int16]],
        parameters: NDArray[np.float32],
        temporal: list[NDArray[np.int16]],
        inherited: Inherited,
    ) -> Coded:
        frame = self._cost(job, grids, self._lambda(job), temporal, inherited)
        cost = UpdateCost(base, frame)
        networks = choose_update(parameters, self.shape.architecture, cost)
        return Coded(base, networks, grids, temporal, inherited, cost.total(networks))

    def _refine(
        self,
        job: PictureJob,
        trainer: Trainer,
        coded: Coded,
        trained: NDArray[np.float32],
        motion: _Motion,
    ) -> Coded:
        """Latents moved one by one for the networks that are coded; then these once more."""
        for _ in range(self.settings.preset.refinements):
            with measured(self._times, "refinement"):
                parameters = coded.networks.parameters
                trainer.parameters = to_floats(parameters, self.shape.architecture)
                trainer.refine(self._lambda(job), SWEEPS)
            with measured(self._times, "network updates"):
                grids = round_latents(trainer.latents) + motion.fields
                again = self._quantise(
                    job, coded.base, grids, trained, coded.temporal, motion.inherited
                )
            if again.cost >= coded.cost:
                break
            coded = again
        return coded

    def _filter(self, job: PictureJob, coded: Coded) -> Coded:
        """With the loop filters that lower the cost; they take all errors for worth the same."""
        with measured(self._times, "loop filter"):
            picture = self._reconstruct(job, coded)
            base, parameters = coded.base.parameters, coded.networks.parameters
            # A squared error weighs as much in chroma as in luma: a sixth for a quarter of the
            # samples, for luma's four sixths.
            error_cost = PLANE_WEIGHTS[0] / (PEAK**2 * job.target[0].size)
            bit_cost = self._lambda(job) / job.target[0].size / error_cost
            change = 0.0
            on: list[bool] = []
            first = len(parameters) - sum(FILTER_WEIGHTS)
            for count, planes in zip(FILTER_WEIGHTS, ((0,), (1, 2)), strict=True):
                mine = slice(first, first + count)
                first += count

                def rate(weights: Integers | None, mine: slice = mine) -> float:
                    parameters[mine] = base[mine] if weights is None else weights
                    networks = self._with(coded, parameters)
                    luma, chroma, *_ = *on, weights is not None, False
                    networks.filtered = luma, chroma
                    return networks.update_bits(coded.base.number, base)

                equations = Equations.of(
                    [picture[p] for p in planes], [job.target[p] for p in planes], count
                )
                weights, found = choose(equations, base[mine], bit_cost, rate)
                parameters[mine] = base[mine] if weights is None else weights
                on.append(weights is not None)
                change += found
            networks = self._with(coded, parameters)
            networks.filtered = on[0], on[1]
            return replace(coded, networks=networks, cost=coded.cost + error_cost * change)

    def _with(self, coded: Coded, parameters: Integers) -> _core.Networks:
        """A frame's networks with other parameters."""
        old = coded.networks
        networks = _core.Networks(self._core, old.references, old.magnitude_bits, parameters)
        begin_with(networks, coded.inherited)
        return networks

    def _code(self, job: PictureJob, coded: Coded, iterations: int) -> EncodedPicture:
        with measured(self._times, "coding"):
            networks, grids = coded.networks, coded.grids
            size = job.target[0].shape
            sections = latent_sections(self._core, networks, grids, coded.temporal, coded.base)
            motion = motion_of(
                job.display_index,
                [r.motion for r in job.references],
                grids[len(self.shape.architecture.latent_grids(FrameType.I, *size)) :],
                coded.inherited,
                self._parts,
                size,
            )
            decoded = MovedPicture(self._reconstruct(job, coded), motion)
            return EncodedPicture(tuple(sections), decoded, iterations)

    def _reconstruct(self, job: PictureJob, coded: Coded) -> Planes:
        return _core.reconstruct(
            self._core, coded.networks, coded.grids, job.references, inherited=coded.inherited
        )


def _worth_power(lambda_: float) -> np.float32:
    """Of what errors are worth, to weigh them by."""
    lambdas, powers = zip(*WORTH_POWERS, strict=True)
    return np.float32(np.interp(log(lambda_), np.log(lambdas), powers))


def _weights(job: PictureJob) -> NDArray[np.float32] | None:
    """Of its squared errors, per sample of chroma."""
    if job.block_weights is None:
        return None
    return per_sample(job.block_weights, *job.target[1].shape)
