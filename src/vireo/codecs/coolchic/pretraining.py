"""Makes networks that come with the format (`networks.npz`) from a training set.

Pictures of short clips are coded as an encoder would code them, many at a time, each with
latents of its own; the networks of a frame type are passed from picture to picture, a few
steps each. Every clip is a small GOP whose references are the pictures trained so far. Then the
autoregressive models are fitted to latents as they were coded, which takes PyTorch, and the loop
filters to all pictures.

    python -m vireo.codecs.coolchic.pretraining clips.mkv … --out networks.npz

A clip is a run of `CLIP` consecutive frames of a file.

At small lambdas latents of I frames grow for longer than that training lasts, and their networks
come to suit ones that are too small. Sets that start from that of `INTRA_FROM`, scaled, and see
longer trainings of I frames alone take their place:

    python -m vireo.codecs.coolchic.pretraining clips.mkv … --intra networks.npz --out better.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.base import Planes
from vireo.codecs.coolchic.coding import round_latents
from vireo.codecs.coolchic.config import FILTER_WEIGHTS, STANDARD, Architecture
from vireo.codecs.coolchic.fitting import CodedLatents, fit_models
from vireo.codecs.coolchic.initialise import initial_networks
from vireo.codecs.coolchic.loop_filter import PooledEquations
from vireo.codecs.coolchic.model import split_parameters
from vireo.codecs.coolchic.motion import predict, search_fields, temporal_contexts
from vireo.codecs.coolchic.networks import (
    NetworkSets,
    frame_probabilities,
    motion_probabilities,
    read_sets,
    temporal_parameters,
)
from vireo.codecs.coolchic.parts_encoder import SEARCH_LAMBDA, SWEEPS
from vireo.codecs.coolchic.presets import STANDARD_RECIPES, Preset
from vireo.codecs.coolchic.schedule import final_stage, main_stage
from vireo.codecs.coolchic.stream import StreamShape
from vireo.codecs.coolchic.trainer import Trainer
from vireo.codecs.coolchic.training import optimiser
from vireo.codecs.coolchic.updates import to_floats, to_integers
from vireo.gop import FrameType
from vireo.video import open_source

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
_Filters = tuple[PooledEquations, PooledEquations]  # of luma, of chroma

CLIP = 7  # frames
TURN = 10  # steps of a picture before the networks are passed on
FITTED = 0.5  # of the pictures, the last ones: their latents are what models are fitted to
RATES = (3e-3, 2e-4)  # of the networks, from the first picture to the last, by their logarithm

# (frame, references) in coding order.
Structure = tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Course:
    """What networks are trained with.

    Attributes:
        steps: of a picture, whose networks are other pictures' as well.
        structures: of the clips, in turn.
        pool: clips at a time.
        crop: side of the pictures, at a random place of the clip's.
        pictures: per lambda, unless asked otherwise.
    """

    steps: Preset
    structures: tuple[Structure, ...]
    pool: int
    crop: int
    pictures: int


COURSE = Course(
    Preset(candidates=1, warmup=0, main=250, final=50),
    (
        ((0, ()), (6, (0,)), (3, (0, 6)), (1, (0, 3)), (5, (3, 6)), (2, (1, 3))),
        ((0, ()), (1, (0,)), (2, (1,)), (3, (2,)), (4, (3,))),
        ((0, ()), (6, (0,)), (3, (0, 6)), (1, (0, 3)), (5, (3, 6)), (2, (1, 3))),
        ((0, ()), (4, (0,)), (2, (0, 4)), (3, (2, 4))),
    ),
    pool=16,
    crop=192,
    pictures=400,
)
INTRA = Course(
    Preset(candidates=1, warmup=0, main=600, final=60),
    (((0, ()),),),
    pool=8,
    crop=160,
    pictures=48,
)
INTRA_FROM = 1e-3
# Sets that are only scaled: lambda, and by which power of how many times less it is. Short
# trainings don't follow by the whole power, 1/2, that fine latents would ask for.
INTRA_SCALED = (5e-4, 0.25), (1.5625e-5, 0.4)

# Lambdas of the sets, in the order of training, each from the one named with it.
LAMBDAS: tuple[tuple[float, float | None], ...] = (
    (1e-3, None),
    (2.5e-4, 1e-3),
    (6.25e-5, 2.5e-4),
    (4e-3, 1e-3),
    (1.6e-2, 4e-3),
)


class _Picture:
    """One picture in training."""

    def __init__(
        self,
        architecture: Architecture,
        target: Planes,
        references: list[Planes],
        lambda_: float,
        steps: Preset,
    ) -> None:
        assert architecture.parts is not None
        self.type = FrameType(len(references))
        self.target = target
        prediction = None
        self.temporal: list[NDArray[np.int16]] = []
        self.fields: list[NDArray[np.int16]] = []
        if references:
            scaled = SEARCH_LAMBDA * lambda_
            self.fields = search_fields(target, references, scaled, architecture.parts).fields
            prediction = predict(self.fields, references, architecture.parts)
            core = StreamShape(architecture).core()
            self.temporal = temporal_contexts(core, self.fields, references, architecture.parts)
        self.trainer = Trainer(
            architecture, self.type, target, prediction=prediction, temporal=self.temporal
        )
        recipe = self._recipe = STANDARD_RECIPES[self.type]
        self._soft = steps.main
        self._turns = [
            (stage.hard, stage.steps[at : at + TURN])
            for stage in (main_stage(steps, recipe, lambda_), final_stage(steps, recipe, lambda_))
            for at in range(0, len(stage.steps), TURN)
        ]
        self._done = 0

    @property
    def finished(self) -> bool:
        return not self._turns

    def turn(self, networks: Floats, rate: float, seed: int) -> tuple[Floats, float]:
        """The networks after some steps, and the last one's loss."""
        hard, steps = self._turns.pop(0)
        if hard and self._done == self._soft:
            self.trainer.reset_optimiser()
        steps = steps.copy()
        steps[:, 3] = rate
        self.trainer.parameters = networks
        metrics = self.trainer.run(
            steps,
            hard=hard,
            seed=seed,
            first_iteration=self._done,
            adam=optimiser(self._recipe, parameter_rate=0.0),
        )
        self._done += len(steps)
        return self.trainer.parameters, float(metrics[-1, 0])

    def coded(self, lambda_: float) -> CodedLatents:
        """Its latents, refined."""
        self.trainer.refine(lambda_, SWEEPS)
        return CodedLatents(round_latents(self.trainer.latents), self.temporal)

    def decoded(self, filters: _Filters) -> Planes:
        """The picture through the filters, which have then seen it too."""
        y, u, v = (np.rint(p * 255).clip(0, 255).astype(np.uint8) for p in self.trainer.decode()[0])
        luma, chroma = (pooled.best() for pooled in filters)
        for pooled, planes in zip(filters, ((0,), (1, 2)), strict=True):
            pooled.add([(y, u, v)[p] for p in planes], [self.target[p] for p in planes])
        return (
            _core.filter_plane(y, luma),
            _core.filter_plane(u, chroma),
            _core.filter_plane(v, chroma),
        )


@dataclass(eq=False)
class _Clip:
    frames: list[Planes]
    seed: int
    plan: list[tuple[int, tuple[int, ...]]]
    decoded: dict[int, Planes] = field(default_factory=dict)
    picture: _Picture | None = None

    def next(self, architecture: Architecture, lambda_: float, steps: Preset) -> _Picture:
        if self.picture is None:
            frame, references = self.plan[0]
            self.picture = _Picture(
                architecture,
                self.frames[frame],
                [self.decoded[r] for r in references],
                lambda_,
                steps,
            )
        return self.picture

    def finish(self, filters: _Filters) -> None:
        """Keep the picture that is done; the next one of the plan follows."""
        assert self.picture is not None
        frame, _ = self.plan.pop(0)
        self.decoded[frame] = self.picture.decoded(filters)
        self.picture = None


def clips(paths: Sequence[Path], rng: np.random.Generator, crop: int) -> Iterator[list[Planes]]:
    """Crops of the files' clips, in order; which file comes next is drawn, without end."""
    while True:
        with open_source(paths[int(rng.integers(len(paths)))]) as source:
            run: list[Planes] = []
            top = left = 0
            for frame in source:
                height, width = frame.y.shape
                if not run:
                    top = 2 * int(rng.integers((height - crop) // 2 + 1))
                    left = 2 * int(rng.integers((width - crop) // 2 + 1))
                y, u, v = (
                    np.ascontiguousarray(
                        p[top // s : (top + crop) // s, left // s : (left + crop) // s]
                    )
                    for p, s in zip((frame.y, frame.u, frame.v), (1, 2, 2), strict=True)
                )
                run.append((y, u, v))
                if len(run) == CLIP:
                    if rng.random() < 0.5:  # so that not all runs see the same clips
                        yield run
                    run = []


def pretrain(
    source: Iterator[list[Planes]],
    start: dict[FrameType, Floats],
    lambda_: float,
    pictures: int,
    course: Course = COURSE,
    architecture: Architecture = STANDARD,
) -> tuple[dict[FrameType, Floats], dict[FrameType, Integers]]:
    """Networks and filters' weights per frame type after coding `pictures` pictures at `lambda_`.

    In the end autoregressive models are fitted to what the last pictures have coded.
    """
    networks = dict(start)
    pool: list[_Clip] = []
    made = done = 0
    losses: dict[FrameType, list[float]] = {t: [] for t in FrameType}
    coded: dict[FrameType, list[CodedLatents]] = {t: [] for t in FrameType}
    luma, chroma = FILTER_WEIGHTS
    filters = {t: (PooledEquations(luma), PooledEquations(chroma)) for t in FrameType}
    while done < pictures:
        while len(pool) < course.pool:
            plan = list(course.structures[made % len(course.structures)])
            pool.append(_Clip(next(source), made, plan))
            made += 1
        for clip in list(pool):
            picture = clip.next(architecture, lambda_, course.steps)
            first, last = RATES
            rate = first * (last / first) ** min(1.0, done / pictures)
            networks[picture.type], loss = picture.turn(networks[picture.type], rate, clip.seed)
            if not picture.finished:
                continue
            done += 1
            losses[picture.type].append(loss)
            if done > (1 - FITTED) * pictures:
                coded[picture.type].append(picture.coded(lambda_))
            clip.finish(filters[picture.type])
            if not clip.plan:
                pool.remove(clip)
            if done % 50 == 0:
                means = {t.name: f"{np.mean(v[-50:]):.6f}" for t, v in losses.items() if v}
                print(
                    f"lambda {lambda_:g}: {done} of {pictures} pictures, loss {means}", flush=True
                )
    fitted = {
        t: fit_models(own, coded[t], architecture) if coded[t] else own
        for t, own in networks.items()
    }
    return fitted, {t: np.concatenate([f.best() for f in own]) for t, own in filters.items()}


def scaled(
    parameters: NDArray[np.floating], factor: float, architecture: Architecture = STANDARD
) -> Floats:
    """Networks that make of `factor` times as large latents what these make of latents."""
    result = np.array(parameters, np.float32)
    layers, _ = split_parameters(torch.from_numpy(result), architecture, FrameType.I)  # views
    for name, network in layers.items():
        weights, _ = network[0]
        if name == "arm_luma":
            weights = weights[:, :-1]  # temporal contexts stay
        weights /= factor
        if name.startswith("arm"):
            weights, biases = network[-1]  # of the mean, and of the scale's logarithm
            weights[0] *= factor
            biases[0] *= factor
            biases[1] += np.log2(factor)
    return result


def retrain_intra(
    sets: NetworkSets, files: Sequence[Path], seed: int, pictures: int
) -> NetworkSets:
    """The sets, with those of I frames at lambdas below `INTRA_FROM` made anew, and others."""
    start = sets.parameters[sets.nearest(FrameType.I, INTRA_FROM)]
    networks = to_floats(start.astype(np.int32), STANDARD)
    at_scaled = np.array([at for at, _ in INTRA_SCALED], np.float32)
    kept = ~np.isin(sets.lambdas, at_scaled)  # those that an earlier call has scaled go
    parameters, types, lambdas = (
        rows[kept] for rows in (sets.parameters, sets.frame_types, sets.lambdas)
    )
    for row in np.flatnonzero((types == FrameType.I) & (lambdas < np.float32(INTRA_FROM))):
        lambda_ = float(lambdas[row])
        source = clips(files, np.random.default_rng(seed), INTRA.crop)
        begin = {t: scaled(networks, (INTRA_FROM / lambda_) ** 0.5) for t in FrameType}
        made, weights = pretrain(source, begin, lambda_, pictures, course=INTRA)
        found = to_integers(made[FrameType.I], STANDARD)
        parameters[row] = np.concatenate([found, weights[FrameType.I]])
    more = []
    for lambda_, power in INTRA_SCALED:
        found = to_integers(scaled(networks, (INTRA_FROM / lambda_) ** power), STANDARD)
        more.append(np.concatenate([found, start[-sum(FILTER_WEIGHTS) :]]))
    return replace(
        sets,
        parameters=np.concatenate([parameters, np.array(more, np.int16)]),
        frame_types=np.append(types, [np.int8(FrameType.I)] * len(more)),
        lambdas=np.append(lambdas, at_scaled),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--pictures",
        type=int,
        help=f"per lambda ({COURSE.pictures}; {INTRA.pictures} with --intra)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--intra", type=Path, help="sets, of which only those of I frames are made")
    asked = parser.parse_args()
    if asked.intra:
        pictures = asked.pictures or INTRA.pictures
        made_anew = retrain_intra(read_sets(asked.intra), asked.files, asked.seed, pictures)
        made_anew.write(asked.out)
        return
    pictures = asked.pictures or COURSE.pictures
    rng = np.random.default_rng(asked.seed)
    source = clips(asked.files, rng, COURSE.crop)
    made: dict[float, dict[FrameType, Floats]] = {}
    weights: dict[float, dict[FrameType, Integers]] = {}
    for lambda_, parent in LAMBDAS:
        start = (
            made[parent] if parent else {t: initial_networks(STANDARD, t, rng) for t in FrameType}
        )
        made[lambda_], weights[lambda_] = pretrain(source, start, lambda_, pictures)
        kept = [
            (t, value, np.concatenate([to_integers(made[value][t], STANDARD), weights[value][t]]))
            for value in sorted(made)
            for t in FrameType
        ]
        NetworkSets(
            np.array([p for _, _, p in kept]).astype(np.int16),
            np.array([t for t, _, _ in kept], np.int8),
            np.array([value for _, value, _ in kept], np.float32),
            motion_probabilities(),
            frame_probabilities(),
            temporal_parameters(),
        ).write(asked.out)


if __name__ == "__main__":
    main()
