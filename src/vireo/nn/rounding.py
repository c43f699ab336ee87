"""Training's stand-ins for rounding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def soft_round(x: Tensor, temperature: float | Tensor) -> Tensor:
    """Differentiable rounding: the identity at high temperatures, rounding at low ones."""
    floor = x.detach().floor()
    scale = torch.as_tensor(temperature, dtype=x.dtype, device=x.device)
    slope = 0.5 / torch.tanh(0.5 / scale)
    return floor + 0.5 + slope * torch.tanh((x - floor - 0.5) / scale)


def noisy_quantise(x: Tensor, temperature: float | Tensor, noise: Tensor) -> Tensor:
    """Training's stand-in for rounding: soft rounding, noise in -0.5…0.5, soft rounding."""
    return soft_round(soft_round(x, temperature) + noise, temperature)


class _HardRound(torch.autograd.Function):
    """Rounding whose gradient is the identity's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def hard_quantise(x: Tensor) -> Tensor:
    """Rounding to integers with a straight-through gradient."""
    return _HardRound.apply(x)  # type: ignore[no-untyped-call, no-any-return]


def kumaraswamy(uniform: Tensor, shape: float | Tensor) -> Tensor:
    """From noise in 0…1, that in -0.5…0.5 with its mode at 0 (Kim et al., C3).

    It stays uniform for shape 1.
    """
    b = (2**shape * (shape - 1) + 1) / shape
    return (1 - (1 - uniform) ** (1 / b)) ** (1 / shape) - 0.5


def hashed_uniform(positions: Tensor, seed: Tensor, iteration: Tensor) -> Tensor:
    """Numbers between 0 and 1 that follow from where and when they are drawn (int32 all).

    The hash is Wellons' lowbias32, as in the native trainer; what is hashed isn't.
    """
    bits = _mix(_mix(positions ^ _mix(seed)) + iteration)
    return (((bits >> 9) & 0x7FFFFF).float() + 0.5) / 2**23


def _mix(x: Tensor) -> Tensor:
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D
    x = (x ^ ((x >> 15) & 0x1FFFF)) * (0x846CA68B - 2**32)
    return x ^ ((x >> 16) & 0xFFFF)
