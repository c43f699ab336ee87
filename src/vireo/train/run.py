"""Puts a training run together: the model that a recipe names, clips, a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from vireo.errors import UsageError
from vireo.train.data import open_clips
from vireo.train.loop import CHECKPOINT, Run, Worker
from vireo.train.recipe import read_recipe


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
    from vireo.codecs.ssf.config import CONFIGS
    from vireo.codecs.ssf.training import ClipLoss, describe, loss_of

    if recipe.model not in CONFIGS:
        raise UsageError(f"there is no model {recipe.model!r}; there is {', '.join(CONFIGS)}")
    if len(recipe.lambdas) != (rates := CONFIGS[recipe.model].rates):
        raise UsageError(f"{recipe.model} has {rates} rate points; give as many lambdas")
    torch.manual_seed(recipe.seed)
    loss = ClipLoss(recipe.model)
    if recipe.start is not None and not (folder / CHECKPOINT).exists():
        from vireo import weights

        weights.named(recipe.start).load_into(loss.model)
    return Run(
        recipe,
        loss,
        loss_of,
        describe,
        clips,
        folder,
        device=device,
        worker=worker,
        say=say,
    )
