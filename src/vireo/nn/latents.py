"""Latents and hyperlatents in training: their rates, and what rounding does to gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireo.entropy.normal import MEAN_BITS, SCALE_ONE, SCALE_STEPS, SCALES, WEIGHT_BITS
from vireo.exact import Grid

OCTAVES = Grid(3, -SCALE_ONE, SCALES - 1 - SCALE_ONE)  # SCALE_STEPS is 2**3
"""A standard deviation's logarithm: what indexes `entropy.latent_tables` counts from there."""

LEAST_MASS = 2.0**-16
"""Of a latent in training: what is less likely escapes, which costs about as much."""


def rounded(x: Tensor) -> Tensor:
    """The nearest integers, halves up; the gradient passes."""
    return Grid(0, -(1 << 15), (1 << 15) - 1).rounded(x)


def with_noise(x: Tensor) -> Tensor:
    """Uniform noise as wide as rounding: what a rate is estimated from (InstA, section 4.2)."""
    return x + torch.empty_like(x).uniform_(-0.5, 0.5)


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, least: float) -> Tensor:
        ctx.save_for_backward(x >= least)
        return x.clamp(min=least)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (inside,) = ctx.saved_tensors
        return gradients[0] * (inside | (gradients[0] < 0)), None


def lower_bound(x: Tensor, least: float) -> Tensor:
    """`x`, or `least` if that is more; gradients that lead back pass (Ballé et al., 2018)."""
    bound: Tensor = _LowerBound.apply(x, least)  # type: ignore[no-untyped-call]
    return bound


def normal_mass(x: Tensor, deviation: Tensor) -> Tensor:
    """Of the interval of length 1 around `x`, under a normal distribution around 0."""
    size = x.abs()
    scale = 2**-0.5 / deviation
    return 0.5 * (torch.erfc((size - 0.5) * scale) - torch.erfc((size + 0.5) * scale))


def bits_of(mass: Tensor) -> Tensor:
    """The sum of -log2, in bits; what is nearly impossible keeps its gradient."""
    return sample_bits(mass).sum()


def sample_bits(mass: Tensor) -> Tensor:
    """As `bits_of`, of each `[B, ...]` its own."""
    return -lower_bound(mass, LEAST_MASS).log2().flatten(1).sum(1)


def symbol_bits(symbols: Tensor, noisy: Tensor, deviation: Tensor) -> Tensor:
    """`[B]`: bits of whole symbols; gradients to symbols are those of noisy ones.

    Deviations learn from what is sent: where most symbols are 0, noise says little of them.
    """
    approximate = sample_bits(normal_mass(noisy, deviation.detach()))
    bits = sample_bits(normal_mass(symbols.detach(), deviation))
    return bits + approximate - approximate.detach()


class MixturePrior(nn.Module):
    """A mixture of normal distributions per channel, for hyperlatents: the factorised prior.

    Its parameters lie on grids, in training too, so that the tables that follow from them by
    integer arithmetic (`entropy.mixture_tables`) are those that were trained.

    Attributes:
        shares: `[C, K]`, how much each counts, before they are made one in all.
        means: `[C, K]`, in samples.
        scales: `[C, K]`, in octaves: a standard deviation's logarithm.
    """

    SHARES = Grid(10, 0, 1 << 14)
    MEANS = Grid(MEAN_BITS, -(1 << 11), 1 << 11)

    def __init__(self, channels: int, components: int = 3) -> None:
        super().__init__()
        assert 1 << OCTAVES.bits == SCALE_STEPS
        self.shares = nn.Parameter(torch.ones(channels, components))
        spread = torch.linspace(-1, 1, components)
        self.means = nn.Parameter(2 * spread.expand(channels, -1).clone())
        self.scales = nn.Parameter(torch.ones(channels, components))

    def parameter_grids(self) -> dict[str, Grid]:
        """By the parameters' names."""
        return {"shares": self.SHARES, "means": self.MEANS, "scales": OCTAVES}

    def bits(self, z: Tensor) -> Tensor:
        """Bits of hyperlatents `[B, C, H, W]`, noisy or whole, in all."""
        shares = self.SHARES.nearest(lower_bound(self.shares, self.SHARES.unit))
        weights = shares / shares.sum(1, keepdim=True)
        means, scales = self.MEANS.nearest(self.means), OCTAVES.nearest(self.scales)
        shape = 1, *self.means.shape, 1, 1
        deviation = torch.exp2(scales).reshape(shape)
        mass = normal_mass(z[:, :, None] - means.reshape(shape), deviation)
        return bits_of((weights.reshape(shape) * mass).sum(2))

    @torch.no_grad()
    def integers(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Weights, means and scales as `entropy.mixture_tables` wants them."""
        shares, means, octaves = (
            np.rint(grid.nearest(p.double()).cpu().numpy() * 2.0**grid.bits).astype(np.int64)
            for grid, p in (
                (self.SHARES, self.shares),
                (self.MEANS, self.means),
                (OCTAVES, self.scales),
            )
        )
        shares = np.maximum(shares, 1)
        components = shares.shape[1]
        # One for each, the rest by their shares, and what is left to the first.
        rest = (1 << WEIGHT_BITS) - components
        weights = 1 + shares * rest // shares.sum(axis=1, keepdims=True)
        weights[:, 0] += (1 << WEIGHT_BITS) - weights.sum(axis=1)
        return weights, means, octaves + SCALE_ONE
