"""How much training a frame gets, and on what schedule: data, not code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log, sqrt

from vireo.gop import FrameType


@dataclass(frozen=True)
class Preset:
    """Training of one frame.

    Attributes:
        candidates: different starts of an I frame, of which the best goes on; inter frames
            get one more.
        warmup: steps of each candidate.
        main: steps with soft rounding and noise.
        final: steps with hard rounding, straight-through gradients.
        parameter_rate: weight of the networks' own rate while they are trained; 1 counts it
            like the latents' rate. More suits all but the longest trainings, since gradient
            descent is slow to move a parameter that hardly matters.
        refinements: in profile `standard`, how often latents are refined one by one for the
            networks that are coded, at most.
    """

    candidates: int
    warmup: int
    main: int
    final: int
    parameter_rate: float = 4.0
    refinements: int = 2

    @property
    def steps(self) -> int:
        """All steps of an inter frame, those of candidates that are given up included."""
        return (self.candidates + 1) * self.warmup + self.main + self.final

    def stretched(self, factor: float) -> Preset:
        """As many candidates, with `factor` times the main and final steps (at least 20)."""
        return replace(
            self,
            main=max(20, round(self.main * factor)),
            final=max(20, round(self.final * factor)),
        )


PRESETS: dict[str, Preset] = {
    "ultrafast": Preset(1, 30, 100, 20, refinements=1),
    "faster": Preset(1, 50, 290, 40, refinements=1),
    "fast": Preset(2, 60, 670, 80),
    "medium": Preset(2, 80, 1700, 100),
    "slow": Preset(3, 120, 4400, 200),
    "slower": Preset(4, 200, 10700, 300, 2.0),
    "placebo": Preset(5, 400, 31600, 400, 2.0),
}
DEFAULT_PRESET = "medium"


# Of profile `standard`: what more training gains goes with how far a frame's loss falls in the
# warm-up. On 149 frames of a training set, 112 steps instead of 1,800 cost 4.8 % per unit of the
# fall's natural logarithm (correlation 0.85): 24 % in I frames, 4 % in P and 0.7 % in B frames.
# What is lost goes with the steps' power -1/2, so that the last step is worth the same in frames
# whose steps go with the fall's power 2/3. Of `medium`, whose warm-up has 80 steps.
FULL_FALL = 3.5  # of an I frame
FALL_POWER = 2 / 3
LEAST_PROMISE = 0.01
INTER_PROMISE = 0.2  # in the mean, of P and B frames there


def promise(first: float, last: float) -> float:
    """Steps that a frame is worth, of those of an I frame, by its loss before and after warm-up."""
    fall = log(first / last) if first > last > 0 else 0.0
    share: float = (fall / FULL_FALL) ** FALL_POWER
    return min(1.0, max(LEAST_PROMISE, share))


@dataclass(frozen=True)
class Recipe:
    """The schedule's constants, the same for all presets.

    Temperature, noise and the networks' rate are C3's (temperature 0.3 to 0.1, Kumaraswamy
    noise 2 to 1, rate 1e-2 along a cosine). The other figures were found on clips of a
    training set: latents need larger steps than networks, and have to settle at the end
    (at 1e-3, 300 steps of the final stage undid what 1,500 before had gained); with a flow
    weight of 1e-3 frames got stuck in wrong motion. The latents' moments are short, since
    gradients change with the noise and few steps are taken.

    Attributes:
        temperature, noise: (first, last) of soft rounding's temperature and of the
            Kumaraswamy noise's shape, linear over the warm-up and the main stage.
        latent_rate, network_rate: Adam's learning rates at the start of the main stage.
        fine_lambda: below this lambda latents, which are larger there, are moved as much further
            as they are larger: their rate grows with (fine_lambda / lambda)^1/2.
        latent_betas, latent_pooling: Adam's constants of the latents (`trainer.Adam`).
        final_latent_rate, final_network_rate: those at the start of the final stage.
        gradient_clip: largest norm of the networks' gradient.
        flow_weight: of the squared flow error (luma samples) in the motion warm-up.
    """

    temperature: tuple[float, float] = (0.3, 0.1)
    noise: tuple[float, float] = (2.0, 1.0)
    latent_rate: float = 0.1
    network_rate: float = 1e-2
    fine_lambda: float = 2e-4
    latent_betas: tuple[float, float] = (0.7, 0.95)
    latent_pooling: float = 0.5
    final_latent_rate: float = 1e-4
    final_network_rate: float = 1e-3
    gradient_clip: float = 0.01
    flow_weight: float = 3e-5

    def latent_rate_at(self, lambda_: float) -> float:
        """The latents' learning rate at the start."""
        return self.latent_rate * sqrt(max(1.0, self.fine_lambda / lambda_))


RECIPE = Recipe()

# Of profile `standard` by type of frame, whose networks are trained already: latents alone do
# most of the work, with softer rounding to start with (from 0.45 cost 10 % less than from
# 0.3), in larger steps where much is left to code.
_LATENTS_FIRST = Recipe(temperature=(0.45, 0.05), latent_rate=0.14, network_rate=5e-3)
STANDARD_RECIPES: dict[FrameType, Recipe] = {
    FrameType.I: _LATENTS_FIRST,
    FrameType.P: _LATENTS_FIRST,
    FrameType.B: replace(_LATENTS_FIRST, latent_rate=0.1),
}
