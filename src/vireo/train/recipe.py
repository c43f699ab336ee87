"""What a training run does, from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from math import cos, pi
from pathlib import Path
from typing import Any

from vireo.errors import UsageError


@dataclass(frozen=True)
class Stage:
    """Some steps with clips of so many frames.

    Attributes:
        steps: how many.
        frames: of a clip, the first one an I frame.
    """

    steps: int
    frames: int


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes:
        model: its name, such as ssf1.
        codec: whose, where several have a model of that name.
        lambdas: what a bit per luma sample costs against the mean squared error (samples
            between 0 and 1), one per rate point, the most (the lowest rate) first.
        stages: one after another.
        batch, crop: clips of a step, and the side of their frames in luma samples.
        learning_rate: at first; it falls to a hundredth by the end, as half a cosine.
        warm_up: steps in which the learning rate rises from nothing.
        gradient_clip: the largest norm of a step's gradient.
        average: of the weights, how much of the average a step keeps.
        seed: of weights, data and noise.
        held_out: clips that are only validated on, every `validate_every` steps.
        distortion: what is lowered, of those that the codec's training has: the mean squared error
            ("mse"), or "ms-ssim".
        start: weights to go on from, by the model's name or a file's; what another model has in
            common is taken. Else fresh ones.
    """

    model: str
    lambdas: tuple[float, ...]
    stages: tuple[Stage, ...]
    batch: int = 4
    crop: int = 256
    learning_rate: float = 2e-4
    warm_up: int = 200
    gradient_clip: float = 1.0
    average: float = 0.999
    seed: int = 0
    held_out: int = 24
    validate_every: int = 1000
    start: str | None = None
    codec: str | None = None
    distortion: str = "mse"

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def frames_at(self, step: int) -> int:
        """Frames of the clips of a step, counted from 0."""
        for stage in self.stages:
            if step < stage.steps:
                return stage.frames
            step -= stage.steps
        return self.stages[-1].frames

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / max(1, self.warm_up))
        fall = 0.5 * (1 + cos(pi * min(step / self.steps, 1)))
        return self.learning_rate * rise * (0.01 + 0.99 * fall)

    def values(self) -> dict[str, Any]:
        """As plain values: what a checkpoint remembers."""
        values = asdict(self)
        for name in ("codec", "distortion"):  # younger than some runs that may go on
            if values[name] == getattr(Recipe, name):
                del values[name]
        return values


def read_recipe(path: Path) -> Recipe:
    """Raises UsageError for what is no recipe."""
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML file: {error}") from error
    known = {f.name for f in fields(Recipe)}
    if unknown := sorted(values.keys() - known):
        raise UsageError(f"{path}: there is no {unknown[0]!r}; there is {', '.join(sorted(known))}")
    try:
        stages = tuple(Stage(**stage) for stage in values.pop("stages"))
        recipe = Recipe(stages=stages, lambdas=tuple(values.pop("lambdas")), **values)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path}: {error}") from error
    _check(recipe, path)
    return recipe


def _check(recipe: Recipe, path: Path) -> None:
    wrong = None
    whole: list[Any] = [recipe.batch, recipe.crop, recipe.warm_up, recipe.seed, recipe.held_out]
    whole += [recipe.validate_every, *(n for s in recipe.stages for n in (s.steps, s.frames))]
    real = recipe.learning_rate, recipe.gradient_clip, recipe.average, *recipe.lambdas
    if not all(type(n) is int for n in whole):
        wrong = "counts, sides and the seed are whole numbers"
    elif not all(type(x) in (int, float) for x in real):
        wrong = "rates, lambdas and the average are numbers"
    elif not (recipe.learning_rate > 0 and recipe.gradient_clip > 0 and 0 <= recipe.average < 1):
        wrong = "rates and the gradient's clip are above 0, and the average keeps less than all"
    elif recipe.start is not None and type(recipe.start) is not str:
        wrong = "a start is a name or a file"
    elif recipe.codec is not None and type(recipe.codec) is not str:
        wrong = "a codec is a name"
    elif type(recipe.distortion) is not str:
        wrong = "a distortion is a name"
    elif recipe.distortion == "ms-ssim" and recipe.crop < 192:
        wrong = "MS-SSIM needs crops of 192 or 256"
    elif not 0 <= recipe.seed < 1 << 20 or recipe.warm_up < 0:
        wrong = "the seed is 0 to 1048575, and there is no warm-up of less than nothing"
    elif not recipe.stages or any(s.steps < 1 or not 1 <= s.frames <= 7 for s in recipe.stages):
        wrong = "stages have steps, and clips of 1 to 7 frames"
    elif not recipe.lambdas or any(not 0 < value <= 1 for value in recipe.lambdas):
        wrong = "lambdas are above 0, and 1 at most"
    elif list(recipe.lambdas) != sorted(recipe.lambdas, reverse=True):
        wrong = "lambdas fall, the lowest rate's first"
    elif recipe.batch < 1 or not 64 <= recipe.crop <= 256 or recipe.crop % 64:
        wrong = "a batch has clips, and crops a side of 64, 128, 192 or 256"
    elif recipe.validate_every < 1 or recipe.held_out < 1:
        wrong = "some clips are validated on now and then"
    if wrong:
        raise UsageError(f"{path}: {wrong}")
