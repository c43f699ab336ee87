"""The training schedule: what each step's temperature, noise and learning rates are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.coolchic.presets import Preset, Recipe

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
    flow_weight = np.where(np.arange(n) < n // 2 * motion, recipe.flow_weight, 0.0)
    return Stage(
        _columns(
            np.full(n, recipe.temperature[0]),
            np.full(n, recipe.noise[0]),
            np.full(n, recipe.latent_rate),
            np.full(n, recipe.network_rate),
            lambda_,
            flow_weight,
        ),
        hard=False,
    )


def main_stage(preset: Preset, recipe: Recipe, lambda_: float) -> Stage:
    """Annealed soft rounding with noise; learning rates fall along a cosine."""
    progress = np.arange(preset.main) / max(1, preset.main)
    cosine = 0.5 * (1 + np.cos(np.pi * progress))

    def between(ends: tuple[float, float]) -> NDArray[np.float64]:
        return ends[0] + (ends[1] - ends[0]) * progress

    return Stage(
        _columns(
            between(recipe.temperature),
            between(recipe.noise),
            recipe.final_latent_rate + (recipe.latent_rate - recipe.final_latent_rate) * cosine,
            recipe.final_network_rate + (recipe.network_rate - recipe.final_network_rate) * cosine,
            lambda_,
            np.zeros(preset.main),
        ),
        hard=False,
    )


def final_stage(preset: Preset, recipe: Recipe, lambda_: float) -> Stage:
    """Hard rounding: networks and latents settle on what will be decoded."""
    progress = np.arange(preset.final) / max(1, preset.final)
    cosine = 0.5 * (1 + np.cos(np.pi * progress))
    return Stage(
        _columns(
            np.full(preset.final, recipe.temperature[1]),
            np.ones(preset.final),
            recipe.final_latent_rate * cosine,
            recipe.final_network_rate * cosine,
            lambda_,
            np.zeros(preset.final),
        ),
        hard=True,
    )


def _columns(
    temperature: NDArray[np.float64],
    noise: NDArray[np.float64],
    latent_rate: NDArray[np.float64],
    network_rate: NDArray[np.float64],
    lambda_: float,
    flow_weight: NDArray[np.float64],
) -> Floats:
    lambdas = np.full(len(temperature), lambda_)
    columns = (temperature, noise, latent_rate, network_rate, lambdas, flow_weight)
    return np.stack(columns, axis=1).astype(np.float32)
