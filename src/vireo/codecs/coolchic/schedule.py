"""The training schedule: what each step's temperature, noise and learning rates are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.coolchic.presets import Preset, Recipe
from vireo.codecs.coolchic.trainer import schedule

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Stage:
    """Steps of one kind.

    Attributes:
        steps: `[n, 6]` per step: temperature, noise shape, learning rate of the latents and
            of the networks, lambda, weight of the flow error.
        hard: round latents, with straight-through gradients, instead of noise.
    """

    steps: Floats
    hard: bool


def warm_up(preset: Preset, recipe: Recipe, lambda_: float, motion: bool) -> Stage:
    """A candidate's first steps; with `motion`, half of them pull the flow to its target."""
    n = preset.warmup
    steps = schedule(
        n,
        lambda_=lambda_,
        latents_rate=recipe.latent_rate_at(lambda_),
        networks_rate=recipe.network_rate,
        temperature=recipe.temperature[0],
        noise_shape=recipe.noise[0],
        flow_weight=np.where(np.arange(n) < n // 2 * motion, recipe.flow_weight, 0.0),
    )
    return Stage(steps, hard=False)


def main_stage(preset: Preset, recipe: Recipe, lambda_: float) -> Stage:
    """Annealed soft rounding with noise; learning rates fall along a cosine."""
    progress, cosine = _progress(preset.main)

    def between(ends: tuple[float, float]) -> NDArray[np.float64]:
        return ends[0] + (ends[1] - ends[0]) * progress

    steps = schedule(
        preset.main,
        lambda_=lambda_,
        latents_rate=recipe.final_latent_rate
        + (recipe.latent_rate_at(lambda_) - recipe.final_latent_rate) * cosine,
        networks_rate=recipe.final_network_rate
        + (recipe.network_rate - recipe.final_network_rate) * cosine,
        temperature=between(recipe.temperature),
        noise_shape=between(recipe.noise),
    )
    return Stage(steps, hard=False)


def final_stage(preset: Preset, recipe: Recipe, lambda_: float) -> Stage:
    """Hard rounding: networks and latents settle on what will be decoded."""
    _, cosine = _progress(preset.final)
    steps = schedule(
        preset.final,
        lambda_=lambda_,
        latents_rate=recipe.final_latent_rate * cosine,
        networks_rate=recipe.final_network_rate * cosine,
    )
    return Stage(steps, hard=True)


def _progress(steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far each of a stage's steps is, from 0, and a cosine that falls from 1 to 0 with it."""
    progress = np.arange(steps) / max(1, steps)
    return progress, 0.5 * (1 + np.cos(np.pi * progress))
