"""Training that stops goes on as if it hadn't; what breaks is said, and loses nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.clips import moving
from vireo.codecs.ssf.training import ClipLoss, loss_of
from vireo.errors import UsageError
from vireo.nn.losses import describe
from vireo.train import loop
from vireo.train.data import FRAMES, SIDE, Batch, Clips
from vireo.train.loop import CHECKPOINT, LOG, Run, TrainingError
from vireo.train.recipe import Recipe, Stage, read_recipe

RECIPE = Recipe(
    model="ssf1",
    lambdas=(8e-3, 2e-3, 5e-4, 1.25e-4),
    stages=(Stage(3, 1), Stage(5, 2)),
    batch=2,
    crop=64,
    held_out=1,
    validate_every=4,
)


class FewSamples(Clips):
    """Validation is on the middle of its pictures."""

    def validation(self, frames: int, crop: int = 64) -> Batch:
        return super().validation(frames, crop)


@pytest.fixture(scope="module")
def clips() -> Clips:
    frames = [np.concatenate([p.ravel() for p in f.planes]) for f in moving(SIDE, SIDE, 3 * FRAMES)]
    return FewSamples(np.array(frames).reshape(3, FRAMES, -1), held_out=1)


@pytest.fixture(scope="module")
def whole(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupts."""
    whole = run(clips, tmp_path_factory.mktemp("whole"))
    whole.train(minutes=60)
    assert whole.step == RECIPE.steps
    return whole


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
    clips: Clips, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for steps in (1, 2, 1, 1, 2, 9):
        stop_after(steps, monkeypatch)
        part = run(clips, tmp_path / "parts")
        part.train(minutes=60)
    assert part.step == RECIPE.steps
    for name, weight in whole.loss.state_dict().items():
        assert torch.equal(weight, part.loss.state_dict()[name]), name
    for name, weight in whole.average.items():
        assert torch.equal(weight, part.average[name]), name
    for folder in (whole._folder, tmp_path / "parts"):
        validated = [line for line in lines(folder) if line["kind"] == "validation"]
        assert len(validated) == 2 * len(RECIPE.lambdas)


def test_training_learns(clips: Clips, tmp_path: Path) -> None:
    recipe = replace(
        RECIPE,
        model="ssf3",  # which starts from nothing
        lambdas=(1e-3,),
        stages=(Stage(40, 1),),
        learning_rate=1e-3,
        warm_up=5,
        average=0.9,
    )
    learning = run(clips, tmp_path, recipe)
    before = learning.validate()
    learning.train(minutes=60)
    after = learning.validate()
    assert after[0]["psnr"][0] > before[0]["psnr"][0] + 1


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
    clips: Clips, tmp_path: Path
) -> None:
    full = run(clips, tmp_path)
    full.save()
    before = (tmp_path / CHECKPOINT).read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))  # like a disk that is full
    try:
        with pytest.raises(TrainingError, match="the one before is kept"):
            full.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_an_interrupt_ends_it_behind_the_step_at_hand(
    clips: Clips, whole: Run, tmp_path: Path
) -> None:
    stopped = run(clips, tmp_path / "parts")
    update = stopped._optimiser.step

    def interrupted(*arguments: object) -> None:
        if stopped.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        update(*arguments)

    stopped._optimiser.step = interrupted  # type: ignore[method-assign]
    stopped.train(minutes=60)
    assert stopped.step == 3
    again = run(clips, tmp_path / "parts")
    assert again.step == 3
    again.train(minutes=60)
    for name, weight in whole.loss.state_dict().items():
        assert torch.equal(weight, again.loss.state_dict()[name]), name


def test_two_processes_share_a_batch(clips: Clips, tmp_path: Path) -> None:
    """Each has its part, and both end with the same weights."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, torch\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from vireo.codecs.ssf.training import ClipLoss, loss_of\n"
        "from vireo.nn.losses import describe\n"
        "from vireo.train.data import Clips\n"
        "from vireo.train.loop import Run, Worker\n"
        "from vireo.train.recipe import Recipe, Stage\n"
        "clips = Clips(np.load(sys.argv[1]), held_out=1)\n"
        "recipe = Recipe('ssf1', (8e-3, 2e-3, 5e-4, 1.25e-4), (Stage(1, 1), Stage(2, 2)),\n"
        "                batch=2, crop=64, held_out=1, validate_every=9)\n"
        "torch.manual_seed(0)\n"
        "torch.set_num_threads(1)\n"
        "worker = Worker.here('cpu')\n"
        "run = Run(recipe, ClipLoss('ssf1'), loss_of, describe, clips, Path(sys.argv[2]),\n"
        "          worker=worker)\n"
        "run.train(9)\n"
        "total = sum(float(p.double().sum()) for p in run.loss.parameters())\n"
        "Path(sys.argv[2], f'{worker.rank}.txt').write_text(f'{run.step} {total!r}')\n"
    )
    np.save(tmp_path / "clips.npy", clips._samples)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", str(program), str(tmp_path / "clips.npy"), str(tmp_path / "run")]
    (tmp_path / "run").mkdir()
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    first, second = ((tmp_path / "run" / f"{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    assert first.startswith("3 ")


def test_another_recipe_s_folder_is_refused(clips: Clips, tmp_path: Path) -> None:
    run(clips, tmp_path).save()
    with pytest.raises(UsageError, match="another recipe"):
        run(clips, tmp_path, replace(RECIPE, batch=4))
    other = Clips(clips._samples, held_out=1, identity="others")
    with pytest.raises(UsageError, match="other clips"):
        run(other, tmp_path)
    for content in (b"junk", None):
        if content is None:
            torch.save({"weights": {}}, tmp_path / CHECKPOINT)
        else:
            (tmp_path / CHECKPOINT).write_bytes(content)
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
        ('model = "ssf1"\nlambdas = ["a"]\nstages = [{steps = 1, frames = 1}]', "numbers"),
        ('model = "ssf1"\nlambdas = [0.1]\nstages = [{steps = "1", frames = 1}]', "whole"),
        (
            'model = "ssf1"\nlambdas = [0.1]\nbatch = 2.5\nstages = [{steps = 1, frames = 1}]',
            "whole",
        ),
        ('model = "ssf1"\nlambdas = [0.1]\nseed = -1\nstages = [{steps = 1, frames = 1}]', "seed"),
        (
            'model = "ssf1"\nlambdas = [0.1]\naverage = 3\nstages = [{steps = 1, frames = 1}]',
            "average",
        ),
        (
            'model = "ssf1"\nlambdas = [0.1]\ndistortion = 1\nstages = [{steps = 1, frames = 1}]',
            "distortion is a name",
        ),
        (
            'model = "small"\nlambdas = [0.1]\ndistortion = "ms-ssim"\ncrop = 128\n'
            "stages = [{steps = 1, frames = 1}]",
            "crops of 192",
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
        "import vireo.train.run, vireo.codecs.ssf.training, vireo.codecs.dhvc.training\n"
        "import vireo.codecs.codebook.training\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
