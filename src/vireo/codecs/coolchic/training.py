"""Runs the steps of one frame's training, in pieces that can be watched and interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.base import Planes
from vireo.codecs.coolchic.config import Architecture
from vireo.codecs.coolchic.presets import Preset, Recipe
from vireo.codecs.coolchic.schedule import Stage
from vireo.codecs.coolchic.trainer import Adam, Prediction
from vireo.codecs.encoding import PictureJob, Progress
from vireo.profiling import TimeProfile

Floats = NDArray[np.float32]


class Trainer(Protocol):
    """What trains a frame: `trainer.Trainer` or `torch_trainer.TorchTrainer`.

    Attributes:
        steps_at_a_time: between reports of progress, and chances to interrupt.
    """

    latents: list[Floats]
    parameters: Floats
    base: Floats

    @property
    def steps_at_a_time(self) -> int: ...
    def state(self) -> Any: ...
    def restore(self, state: Any) -> None: ...
    def set_flow_targets(self, flows: Floats) -> None: ...
    def set_weights(self, weights: Floats) -> None: ...
    def reset_optimiser(self) -> None: ...
    def refine(self, lambda_: float, sweeps: int) -> int: ...
    def stage_seconds(self) -> dict[str, float]: ...
    def run(
        self, steps: Floats, *, hard: bool, seed: int, first_iteration: int, adam: Adam
    ) -> Floats: ...


class TrainerFactory(Protocol):
    """Makes what trains a picture: from references, or with parts what a prediction leaves.

    `temporal` holds luma's temporal contexts then.
    """

    def __call__(
        self,
        architecture: Architecture,
        job: PictureJob,
        references: Sequence[Planes] = (),
        prediction: Prediction | None = None,
        temporal: Sequence[NDArray[np.int16]] | None = None,
    ) -> Trainer: ...


class Budget(Protocol):
    """Decides how many steps a frame gets."""

    def skip(self, job: PictureJob) -> None: ...
    def preset(
        self, job: PictureJob, seconds_per_step: float, spent: float, promise: float = 1.0
    ) -> Preset: ...
    def settle(self, job: PictureJob, seconds: float) -> None: ...


def account(times: TimeProfile, trainer: Trainer, seconds: float) -> None:
    """Divide what the training's threads had among its stages."""
    stages = trainer.stage_seconds()
    for name, busy in stages.items():
        times.add(f"training: {name}", busy)
    times.add("training: the rest", max(0.0, seconds - sum(stages.values())))


def optimiser(recipe: Recipe, parameter_rate: float) -> Adam:
    """What takes a recipe's steps; `parameter_rate` is a preset's."""
    beta1, beta2 = recipe.latent_betas
    return Adam(
        clip=recipe.gradient_clip,
        latent_beta1=beta1,
        latent_beta2=beta2,
        pooling=recipe.latent_pooling,
        parameter_rate=parameter_rate,
    )


class Training:
    """A frame's trainer and how far it is.

    Attributes:
        seed: of the frame's noise.
        done: steps so far.
        planned: steps in all, as far as known.
    """

    def __init__(
        self,
        trainer: Trainer,
        job: PictureJob,
        *,
        seed: int,
        preset: Preset,
        recipe: Recipe,
        progress: Progress,
    ) -> None:
        self.trainer = trainer
        self.seed = seed * 1_000_003 + job.coding_index
        self.done = 0
        self.planned = preset.steps
        self._adam = optimiser(recipe, preset.parameter_rate)
        self._progress = progress

    def run(self, stage: Stage) -> Floats:
        """The stage's steps; their metrics."""
        metrics = []
        at_a_time = self.trainer.steps_at_a_time
        for first in range(0, len(stage.steps), at_a_time):
            rows = stage.steps[first : first + at_a_time]
            metrics.append(
                self.trainer.run(
                    rows,
                    hard=stage.hard,
                    seed=self.seed,
                    first_iteration=self.done,
                    adam=self._adam,
                )
            )
            self.done += len(rows)
            self._progress(self.done, self.planned)
        return np.concatenate(metrics)
