"""How much training a frame gets, and on what schedule: data, not code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Training of one frame.

    Attributes:
        candidates: starts from different random networks; the best goes on.
        warmup: steps of each candidate.
        motion: steps of the warm-up's that pull the flow towards estimated motion.
        main: steps with soft rounding and noise.
        final: steps with hard rounding, straight-through gradients.
    """

    candidates: int
    warmup: int
    motion: int
    main: int
    final: int

    @property
    def steps(self) -> int:
        """All steps, those of candidates that are given up included."""
        return self.candidates * self.warmup + self.main + self.final

    def stretched(self, factor: float) -> Preset:
        """As many candidates, with `factor` times the main and final steps (at least 20)."""
        return Preset(
            self.candidates,
            self.warmup,
            self.motion,
            max(20, round(self.main * factor)),
            max(20, round(self.final * factor)),
        )


PRESETS: dict[str, Preset] = {
    "ultrafast": Preset(1, 40, 30, 100, 40),
    "faster": Preset(1, 80, 50, 250, 80),
    "fast": Preset(2, 80, 50, 600, 150),
    "medium": Preset(3, 100, 60, 1500, 300),
    "slow": Preset(4, 150, 80, 4000, 600),
    "slower": Preset(5, 200, 100, 10000, 1000),
    "placebo": Preset(5, 400, 150, 30000, 2000),
}
DEFAULT_PRESET = "medium"


@dataclass(frozen=True)
class Recipe:
    """The schedule's constants, the same for all presets.

    C3's figures are the start: temperature 0.3 to 0.1, Kumaraswamy noise 2 to 1, learning
    rate 1e-2 to 0 along a cosine, then straight-through at 1e-4.

    Attributes:
        temperature, noise: (first, last) of soft rounding's temperature and of the
            Kumaraswamy noise's shape, linear over the warm-up and the main stage.
        latent_rate, network_rate: Adam's learning rates at the start of the main stage.
        final_latent_rate, final_network_rate: those at the start of the final stage.
        gradient_clip: largest norm of the networks' gradient.
        flow_weight: of the squared flow error (luma samples) in the motion warm-up.
    """

    temperature: tuple[float, float] = (0.3, 0.1)
    noise: tuple[float, float] = (2.0, 1.0)
    latent_rate: float = 0.1
    network_rate: float = 1e-2
    final_latent_rate: float = 1e-2
    final_network_rate: float = 1e-3
    gradient_clip: float = 0.1
    flow_weight: float = 1e-3


RECIPE = Recipe()
