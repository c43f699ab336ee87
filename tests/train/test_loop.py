"""Training that stops goes on as if it hadn't; what breaks is said, and loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.clips import moving
from vireo.codecs.ssf.training import ClipLoss, describe, loss_of
from vireo.errors import UsageError
from vireo.train import loop
from vireo.train.data import FRAMES, SIDE, Clips
from vireo.train.loop import CHECKPOINT, LOG, Run, TrainingError
from vireo.train.recipe import Recipe, Stage, read_recipe

RECIPE = Recipe(
    model="ssf1",
    lambdas=(8e-3, 2e-3, 5e-4, 1.25e-4),
    stages=(Stage(4, 1), Stage(8, 2)),
    batch=2,
    crop=64,
    held_out=1,
    validate_every=6,
)


@pytest.fixture(scope="module")
def clips() -> Clips:
    frames = [np.concatenate([p.ravel() for p in f.planes]) for f in moving(SIDE, SIDE, 3 * FRAMES)]
    return Clips(np.array(frames).reshape(3, FRAMES, -1), held_out=1)


def run(clips: Clips, folder: Path, recipe: Recipe = RECIPE) -> Run:
    torch.manual_seed(recipe.seed)
    return Run(recipe, ClipLoss(recipe.model), loss_of, describe, clips, folder)


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next runs' time is over after so many steps."""
    left = [steps]

    def goes_on(self: Run, began: float, minutes: float) -> bool:
        left[0] -= 1
        return left[0] >= 0

    monkeypatch.setattr(Run, "_goes_on", goes_on)


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_training_stopped_five_times_is_the_same_as_one_run(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(clips, tmp_path / "whole")
    whole.train(minutes=60)
    assert whole.step == RECIPE.steps
    for steps in (1, 3, 2, 1, 4, 9):
        stop_after(steps, monkeypatch)
        part = run(clips, tmp_path / "parts")
        part.train(minutes=60)
    assert part.step == RECIPE.steps
    for name, weight in whole.loss.state_dict().items():
        assert torch.equal(weight, part.loss.state_dict()[name]), name
    for name, weight in whole.average.items():
        assert torch.equal(weight, part.average[name]), name
    validated = [line for line in lines(tmp_path / "whole") if line["kind"] == "validation"]
    assert len(validated) == 2 * len(RECIPE.lambdas)


def test_training_learns(clips: Clips, tmp_path: Path) -> None:
    recipe = replace(RECIPE, stages=(Stage(60, 1),), learning_rate=2e-3, warm_up=5, average=0.9)
    learning = run(clips, tmp_path, recipe)
    before = learning.validate()
    learning.train(minutes=60)
    after = learning.validate()
    assert after[3]["psnr"][0] > before[3]["psnr"][0] + 1


def test_minutes_end_a_run(clips: Clips, tmp_path: Path) -> None:
    short = run(clips, tmp_path)
    short.train(minutes=0)
    assert short.step == 0
    assert (tmp_path / CHECKPOINT).exists()


def test_a_step_without_a_gradient_is_left_out(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST_BROKEN", 3)
    broken = run(clips, tmp_path)
    weights = {k: v.clone() for k, v in broken.loss.state_dict().items()}

    def no_number(results: Tensor, lambda_: float) -> Tensor:
        return (results * float("nan")).sum()

    monkeypatch.setattr(broken, "_cost", no_number)
    with pytest.raises(TrainingError, match="no finite gradient"):
        broken.train(minutes=60)
    assert [line["kind"] for line in lines(tmp_path)] == ["broken"] * 3
    for name, weight in weights.items():
        assert torch.equal(weight, broken.loss.state_dict()[name])
    assert (tmp_path / CHECKPOINT).exists()


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = run(clips, tmp_path)
    full.save()
    before = (tmp_path / CHECKPOINT).read_bytes()

    def no_room(state: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", no_room)
    with pytest.raises(TrainingError, match="the one before is kept"):
        full.save()
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_another_recipe_s_folder_is_refused(clips: Clips, tmp_path: Path) -> None:
    run(clips, tmp_path).save()
    with pytest.raises(UsageError, match="another recipe"):
        run(clips, tmp_path, replace(RECIPE, batch=4))
    (tmp_path / CHECKPOINT).write_bytes(b"junk")
    with pytest.raises(UsageError, match="no checkpoint"):
        run(clips, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = ", "no TOML"),
        ('model = "ssf1"\nlambdas = [1e-3]', "stages"),
        ('model = "ssf1"\nlambdas = [1e-3]\nspeed = 1\nstages = []', "no 'speed'"),
        ('model = "ssf1"\nlambdas = [1e-3]\nstages = []', "stages have steps"),
        ('model = "ssf1"\nlambdas = [1e-3, 1e-2]\nstages = [{steps = 1, frames = 1}]', "fall"),
        ('model = "ssf1"\nlambdas = [2.0]\nstages = [{steps = 1, frames = 1}]', "above 0"),
        (
            'model = "ssf1"\nlambdas = [0.1]\ncrop = 100\nstages = [{steps = 1, frames = 1}]',
            "crops",
        ),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recipe(path)


def test_training_needs_neither_pyav_nor_the_core() -> None:
    """A machine with a GPU may have neither."""
    program = (
        "import sys\n"
        "for name in ('av', 'vireo._core', 'vireo._train', 'click', 'rich'):\n"
        "    sys.modules[name] = None\n"
        "import vireo.train.run, vireo.codecs.ssf.training\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
