"""How long a segment is trained, and how: data, not code (paper, section 3.4 and appendix A.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

DISTORTIONS = "mse", "yuv", "rgb"
DEFAULT_PRESET = "medium"


@dataclass(frozen=True)
class Preset:
    """How often a segment's frames are seen in the first stage, and in the second."""

    first: int
    second: int

    @property
    def epochs(self) -> int:
        return self.first + self.second

    def of(self, epochs: float) -> Preset:
        """As long, in the same proportion; at least one of each."""
        second = max(1, round(epochs * self.second / self.epochs))
        return Preset(max(1, round(epochs) - second), second)


PRESETS = {
    "ultrafast": Preset(17, 3),
    "faster": Preset(44, 6),
    "fast": Preset(110, 10),
    "medium": Preset(220, 20),
    "slow": Preset(360, 30),
    "slower": Preset(720, 60),
    "placebo": Preset(1800, 150),
}
"""`slow` is the paper's."""


@dataclass(frozen=True)
class Recipe:
    """A segment's training, whatever its length.

    Attributes:
        distortion: what is lowered: weighted mean squared error as the other codecs ("mse"), the
            paper's for YUV (equation 11) or for RGB (equation 10).
        rate_every: steps between those that lower the rate, itself counted (the paper's K + 1).
        learning_rates: at the beginning and the end of each stage.
        temperatures, noise: of the first stage's soft rounding, at its beginning and end.
        ratios: of the second stage's Quant-Noise.
        decay: of weights, at first; it falls to nothing over the first stage.
        clip: the largest norm of a step's gradient.
        side_rate: the learning rate of side information, in octaves, against that of the rest.
        linear_rate: the same of side information that isn't in octaves: means and context models.
        grid_rate: the same of feature grids.
        matrix_rate: the same of matrices, whose updates are orthogonal (`optimiser`); 0 where they
            are Adam's, as the paper has it.
        straight: whether distortion is that of rounded numbers, whose gradient passes as if they
            were not, in place of soft rounding and Quant-Noise.
        grid_steps: whether grids' steps are learned.
    """

    distortion: str = "mse"
    rate_every: int = 9
    learning_rates: tuple[tuple[float, float], tuple[float, float]] = ((2e-3, 1e-4), (1e-4, 1e-5))
    temperatures: tuple[float, float] = (0.5, 0.3)
    noise: tuple[float, float] = (2.0, 1.0)
    ratios: tuple[float, float] = (0.5, 1.0)
    decay: float = 1e-6
    clip: float = 1.0
    side_rate: float = 1.0
    linear_rate: float = 1.0
    grid_rate: float = 1.0
    matrix_rate: float = 0.0
    straight: bool = False
    grid_steps: bool = True


PAPER = Recipe(distortion="yuv")
STANDARD = Recipe(side_rate=30.0, linear_rate=4.0, grid_rate=10.0, matrix_rate=8.0, straight=True)
RECIPES = {"standard": STANDARD, "paper": PAPER}


def with_distortion(recipe: Recipe, distortion: str) -> Recipe:
    """The same for another measure, if one is named."""
    return replace(recipe, distortion=distortion) if distortion else recipe
