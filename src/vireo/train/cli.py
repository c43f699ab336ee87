"""`vireo train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vireo.errors import UsageError
from vireo.terminal import errors, say


@click.command()
@click.argument("recipe", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of videos to train on.",
)
@click.option(
    "--resume",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the run: made, or gone on from.",
)
@click.option("--minutes", type=float, default=60, show_default=True, help="Then it stops.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the decoded clips, 1 MB each.  [default: the run's]",
)
@click.option(
    "--export",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.safetensors",
    help="Then write the averaged weights there, and beside them how they were made.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def train(**asked: Any) -> None:
    """Train a pretrained codec by RECIPE, a TOML file, until its steps or the minutes are over.

    What a run needs to go on is in its folder: give the same command again. `log.jsonl` there has
    a line every 20 steps, and `curves.html` draws it. With torchrun, several processes share a
    batch.

    \b
      vireo train recipes/ssf1.toml --data clips/ --resume runs/ssf1 --minutes 60
    """
    with errors():
        open_run, export = _training_code()
        if asked["export"]:
            _check_export(asked["export"])
        run = open_run(
            asked["recipe"],
            asked["data"],
            asked["folder"],
            asked["cache"] or asked["folder"],
            device=asked["device"],
            say=say,
        )
        run.train(asked["minutes"])
        say(f"{run.step} of {run.recipe.steps} steps done, in {run.seconds / 60:.0f} minutes")
        if run.leads:
            _draw(asked["folder"])
        if asked["export"] and run.leads:
            export(run, asked["export"])
            say(f"{asked['export']} written")


def _draw(folder: Path) -> None:
    """Curves, where what draws them is installed."""
    from vireo.train.loop import LOG

    try:
        from vireo.train.curves import CURVES, draw
    except ImportError:
        say("for curves of the log, install vireo[bench]")
        return
    if (folder / LOG).exists():
        draw(folder / LOG, folder / CURVES)
        say(f"curves: {folder / CURVES}")


def _training_code() -> tuple[Any, Any]:
    try:
        from vireo.train.export import export
        from vireo.train.run import open_run
    except ImportError as error:
        raise UsageError(
            f"training needs {error.name}, which is not installed: install vireo[torch]"
        ) from error
    return open_run, export


def _check_export(path: Path) -> None:
    """Before the time is spent."""
    if path.suffix != ".safetensors":
        raise UsageError(f"weights are kept in .safetensors files, not {path.suffix or 'such'}")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}")
