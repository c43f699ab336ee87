"""`vireo train` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import vireo
from tests.clips import moving, write_y4m
from vireo import weights
from vireo.cli import main
from vireo.train.data import FRAMES, SIDE

RECIPE = """
model = "ssf1"
lambdas = [8e-3, 2e-3, 5e-4, 1.25e-4]
batch = 1
crop = 64
held_out = 1
validate_every = 20
stages = [{ steps = 40, frames = 1 }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    write_y4m(tmp_path / "videos" / "a.y4m", moving(SIDE, SIDE, 2 * FRAMES))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def test_a_run_ends_in_weights_that_encode(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    command = "train recipe.toml --data videos --resume run --minutes 9 --export my.safetensors"
    done = CliRunner().invoke(main, command.split())
    assert done.exit_code == 0, done.output
    assert "40 of 40 steps done" in done.output
    kinds = [json.loads(line)["kind"] for line in Path("run/log.jsonl").read_text().splitlines()]
    assert kinds.count("step") == 2
    # Twice on the way, and for the record.
    assert kinds.count("validation") == 3 * 4
    assert "PSNR" in Path("run/curves.html").read_text()
    record = json.loads(Path("my.json").read_text())
    assert record["steps"] == 40
    assert record["recipe"]["batch"] == 1
    assert len(record["validation"]) == 4
    assert weights.load(Path("my.safetensors")).name == "ssf1"
    write_y4m(folder / "b.y4m", moving(32, 32, 3))
    vireo.encode("b.y4m", "b.mkv", codec="ssf", model="my.safetensors")
    assert vireo.verify("b.mkv").frames == 3
    further = RECIPE.replace("steps = 40", "steps = 1").replace("validate_every = 20\n", "")
    further += 'start = "my.safetensors"\n'
    Path("further.toml").write_text("learning_rate = 1e-9\nvalidate_every = 1\n" + further)
    command = "train further.toml --data videos --resume run2 --minutes 9"
    done = CliRunner().invoke(main, command.split())
    assert done.exit_code == 0, done.output
    again = [json.loads(line) for line in Path("run2/log.jsonl").read_text().splitlines()]
    for before, now in zip(record["validation"], again, strict=True):
        assert now["psnr"] == pytest.approx(before["psnr"], abs=0.1), "it starts where that ended"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train none.toml --data videos --resume run", "can't be read"),
        ("train recipe.toml --data videos --resume run --export x.json", ".safetensors"),
        ("train recipe.toml --data videos --resume run --export no/x.safetensors", "no folder"),
        ("train recipe.toml --data videos --resume run --device cuda", "no CUDA device"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, message: str
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, command.split())
    assert done.exit_code == 2
    assert message in done.output


def test_another_model_s_recipe_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for wrong, message in (
        ('"ssf9"', "no model 'ssf9'"),
        ('"ssf3"', "has 1 rate points"),
        ('"ssf1"\ndistortion = "ms-ssim"', "ssf has no distortion 'ms-ssim'"),
    ):
        recipe = RECIPE.replace("crop = 64", "crop = 192").replace('"ssf1"', wrong)
        Path("wrong.toml").write_text(recipe)
        done = CliRunner().invoke(
            main, ["train", "wrong.toml", "--data", "videos", "--resume", "run"]
        )
        assert done.exit_code == 2
        assert message in done.output
