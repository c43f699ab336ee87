"""Puts a training run together: the model that a recipe names, clips, a folder."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from vireo.errors import UsageError
from vireo.nn.losses import describe
from vireo.train.data import open_clips
from vireo.train.loop import CHECKPOINT, Run, Worker
from vireo.train.recipe import Recipe, read_recipe

CODECS = "ssf", "dhvc", "codebook"  # with a `training` module beside their `config`


def open_run(
    path: Path,
    data: Path,
    folder: Path,
    cache: Path,
    *,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> Run:
    """A new run by the recipe at `path`, or what the folder holds of it.

    Raises UsageError or InputError for what can't be had.
    """
    recipe = read_recipe(path)
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch finds no CUDA device here")
    worker = Worker.here(device)
    clips = open_clips(data, cache, held_out=recipe.held_out, say=say)
    torch.manual_seed(recipe.seed)
    training, loss = _training_of(recipe)
    if len(recipe.lambdas) != (rates := loss.model.config.rates):
        raise UsageError(f"{recipe.model} has {rates} rate points; give as many lambdas")
    if recipe.start is not None and not (folder / CHECKPOINT).exists():
        from vireo import weights

        if left := weights.named(recipe.start, recipe.codec).start(loss.model):
            say(f"{recipe.start} has not all of {recipe.model}: {len(left)} tensors start afresh")
    elif hasattr(loss, "prepare") and not (folder / CHECKPOINT).exists():
        say("preparing the model on the clips")
        loss.prepare(clips, recipe.seed)
    return Run(
        recipe,
        loss,
        training.loss_of,
        getattr(training, "describe", describe),
        clips,
        folder,
        device=device,
        worker=worker,
        say=say,
    )


def _training_of(recipe: Recipe) -> tuple[ModuleType, Any]:
    """The codec's training module, and its ClipLoss of the model."""
    model, codec = recipe.model, recipe.codec
    if codec is not None and codec not in CODECS:
        raise UsageError(f"there is no codec {codec!r} to train; there is {', '.join(CODECS)}")
    known: list[str] = []
    for name in CODECS if codec is None else (codec,):
        configs = import_module(f"vireo.codecs.{name}.config").CONFIGS
        if model in configs:
            training = import_module(f"vireo.codecs.{name}.training")
            distortions = getattr(training, "DISTORTIONS", ("mse",))
            if recipe.distortion not in distortions:
                there = ", ".join(distortions)
                raise UsageError(f"{name} has no distortion {recipe.distortion!r}; it has {there}")
            chosen = {} if len(distortions) == 1 else {"distortion": recipe.distortion}
            return training, training.ClipLoss(model, **chosen)
        known += configs
    raise UsageError(f"there is no model {model!r}; there is {', '.join(known)}")
