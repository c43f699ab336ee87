"""A mean and scale hyperprior autoencoder: what I frames, flow and residual have one of each.

What decides a probability or a picture is exact (`vireo.exact`): hyper synthesis, synthesis, and
the arithmetic between them. The analysis networks are floats, as only an encoder has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vireo.codecs.rate_points import STEP_PARTS
from vireo.codecs.ssf.config import Config
from vireo.entropy.normal import scale_thresholds
from vireo.exact import Conv, Grid, TransposedConv
from vireo.nn.latents import (
    MixturePrior,
    bits_of,
    lower_bound,
    normal_mass,
    rounded,
    symbol_bits,
    with_noise,
)

HYPER_STRIDE = 4  # latents per hyperlatent
LEAST_DEVIATION = 0.11  # of a latent (InstA, table 7)

ACTIVATIONS = Grid.unsigned(6, 9)
LATENTS = Grid.signed(2, 10)  # and their means
HYPERLATENTS = Grid.signed(0, 8)
DEVIATIONS = Grid(6, -(1 << 13), 1 << 13)
STEPS = Grid(6, 0, 1 << 10)


@dataclass(frozen=True)
class Coded:
    """What an autoencoder makes of its input.

    Attributes:
        output: of its synthesis.
        latents: `[B, C, h, w]`, as they go into the synthesis.
        bits: of latents and hyperlatents, of the whole batch.
    """

    output: Tensor
    latents: Tensor
    bits: Tensor


@dataclass(frozen=True)
class Symbols:
    """What is sent of one picture: integers in float tensors.

    Attributes:
        latents: `[B, C, h, w]`, less their means.
        hyperlatents: `[B, C, ceil(h / 4), ceil(w / 4)]`.
        mean, deviation: of latents, `[B, C, h, w]`: what follows from the hyperlatents.
    """

    latents: Tensor
    hyperlatents: Tensor
    mean: Tensor
    deviation: Tensor


class Autoencoder(nn.Module):
    """One of a model's three.

    Args:
        latent: its latents, how many per 16x16 samples.
        analysis: from the input to the latents.
        synthesis: exact, from LATENTS back.
    """

    def __init__(
        self, config: Config, latent: int, analysis: nn.Module, synthesis: nn.Module
    ) -> None:
        super().__init__()
        self.latent = latent
        self.analysis = analysis
        self.synthesis = synthesis
        self._light = config.light
        self.hyper_analysis = _hyper_analysis(config, 2 * latent if config.light else latent)
        self.hyper_mean = _hyper_synthesis(config, latent, LATENTS)
        self.hyper_deviation = _hyper_synthesis(config, latent, DEVIATIONS)
        self.prior = MixturePrior(config.hyperlatent)
        self.steps = nn.Parameter(_first_steps(config.rates, latent)) if config.rates > 1 else None

    def parameter_grids(self) -> dict[str, Grid]:
        """Of what is not in a layer or the prior, by name."""
        return {} if self.steps is None else {"steps": STEPS}

    def forward(self, x: Tensor, place: int, context: Tensor | None = None) -> Coded:
        """Training: rates are those of noisy latents, pictures those of whole ones.

        A light model's rates are those of whole latents; noise is for their gradients.

        Args:
            x: the input.
            place: between the config's rate points, in STEP_PARTS from the lowest.
            context: latents that the synthesis gets besides.
        """
        scaled, z = self.analysed(x, place)
        mean, deviation = self.distributions(HYPERLATENTS.nearest(z), scaled.shape[-2:])
        deviation = lower_bound(deviation, LEAST_DEVIATION)
        symbols = rounded(scaled - mean)
        noisy = with_noise(scaled) - mean
        if self._light:
            bits = symbol_bits(symbols, noisy, deviation).sum()
        else:
            bits = bits_of(normal_mass(noisy, deviation))
        bits = bits + self.prior.bits(with_noise(z))
        latents = self.dequantised(symbols, mean, self.steps_at(place))
        return Coded(self.synthesis(_beside(latents, context)), latents, bits)

    @torch.no_grad()
    def encode(self, x: Tensor, place: int) -> Symbols:
        """What is sent at a place between the rate points, in STEP_PARTS from the lowest."""
        return self.symbols(*self.analysed(x, place))

    def symbols(self, latents: Tensor, hyperlatents: Tensor) -> Symbols:
        """What is sent of latents in their steps and of hyperlatents, not rounded."""
        z = HYPERLATENTS.nearest(hyperlatents)
        mean, deviation = self.distributions(z, latents.shape[-2:])
        return Symbols(rounded(latents - mean), z, mean, deviation)

    def analysed(self, x: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """Latents in their steps, and hyperlatents, not rounded."""
        scaled = _scaled(_full(self.analysis(x)), self.steps_at(place))
        seen = _padded(scaled)
        if self._light:
            seen = torch.asinh(seen)
            seen = torch.cat([seen, seen.abs()], 1)
        return scaled, _full(self.hyper_analysis(seen))

    def distributions(self, z: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of latents of `size`, from whole hyperlatents."""
        height, width = size
        mean, deviation = self.hyper_mean(z), self.hyper_deviation(z)
        return mean[..., :height, :width], deviation[..., :height, :width]

    @staticmethod
    def scale_indices(deviation: Tensor) -> Tensor:
        """Which of `entropy.latent_tables` a latent has, uint8."""
        thresholds = torch.from_numpy(scale_thresholds(DEVIATIONS.bits)).to(deviation.device)
        units = (deviation * 2.0**DEVIATIONS.bits).to(torch.int64)
        return torch.bucketize(units, thresholds, right=True).to(torch.uint8)

    def decode(self, latents: Tensor, context: Tensor | None = None) -> Tensor:
        """What the synthesis makes of dequantised latents."""
        output: Tensor = self.synthesis(_beside(latents, context))
        return output

    @staticmethod
    def dequantised(symbols: Tensor, mean: Tensor, steps: Tensor | None) -> Tensor:
        """Latents from what was sent."""
        latents = symbols + mean
        return LATENTS.nearest(latents if steps is None else latents * steps)

    def steps_at(self, place: int) -> Tensor | None:
        """`[1, C, 1, 1]`: steps in STEP_PARTS from the lowest rate point."""
        if self.steps is None:
            return None
        whole, part = divmod(place, STEP_PARTS)
        steps = STEPS.nearest(self.steps)
        low, high = steps[whole], steps[min(whole + 1, len(steps) - 1)]
        mixed = (low * (STEP_PARTS - part) + high * part) / STEP_PARTS
        return STEPS.nearest(mixed).reshape(1, -1, 1, 1)


def _first_steps(rates: int, channels: int) -> Tensor:
    """A quarter of lambda is half the step."""
    return (2.0 ** (1 - torch.arange(rates))).reshape(-1, 1).repeat(1, channels)


def _hyper_analysis(config: Config, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, config.hyper, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(config.hyper, config.hyper, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(config.hyper, config.hyperlatent, 5, stride=2, padding=2),
    )


def _hyper_synthesis(config: Config, latent: int, result: Grid) -> nn.Sequential:
    return nn.Sequential(
        TransposedConv(HYPERLATENTS, ACTIVATIONS, config.hyperlatent, config.hyper, 5),
        TransposedConv(ACTIVATIONS, ACTIVATIONS, config.hyper, config.hyper, 5),
        Conv(ACTIVATIONS, result, config.hyper, latent, 3),
    )


def _beside(latents: Tensor, context: Tensor | None) -> Tensor:
    return latents if context is None else torch.cat([latents, context], 1)


def _scaled(y: Tensor, steps: Tensor | None) -> Tensor:
    return y if steps is None else y / lower_bound(steps, STEPS.unit)


def _full(y: Tensor) -> Tensor:
    """What autocast made smaller is as it was: latents are more than its mantissas hold."""
    return y if y.dtype == torch.float64 else y.float()


def _padded(y: Tensor) -> Tensor:
    """To whole hyperlatents, the border repeated."""
    height, width = y.shape[-2:]
    pad = (0, -width % HYPER_STRIDE, 0, -height % HYPER_STRIDE)
    return functional.pad(y, pad, mode="replicate")
