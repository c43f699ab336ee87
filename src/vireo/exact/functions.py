"""What networks have between their linear layers, on grids: normalisation, tables, gates.

Each operation is one that IEEE 754 rounds correctly or one whose result a float holds exactly, so
that all machines agree; a gradient passes as if nothing had been rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireo.entropy.normal import MASS_BITS, STEPS, mass_of_steps
from vireo.exact.grid import Grid, is_unrounded

MEAN_BITS = 24  # of the factor that makes a mean of a sum
DROPPED_BITS = 13  # of the 24 of a single-precision mantissa

_REACH = 8  # numbers of a table on either side that a slope is taken over


class LayerNorm(nn.Module):
    """Numbers of all channels of a place, less their mean, over their standard deviation.

    Without factors and offsets of its own. The mean is rounded to the source's grid and the
    reciprocal of the deviation to 11 bits, so that single precision holds every product.

    Args:
        source: of the inputs `[B, C, H, W]`, C a multiple of 4, of 11 bits at most; its unit is
            nearly nothing, as deviations are taken as if there were one more of it.
        result: of the outputs.
    """

    def __init__(self, source: Grid, result: Grid) -> None:
        super().__init__()
        if max(-source.low, source.high) > 1 << 10:
            raise ValueError("normalisation takes numbers of up to 11 bits")
        self.source = source
        self.result = result

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = _Normalise.apply(x, self.source)  # type: ignore[no-untyped-call]
        return self.result.nearest(normed)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, source: Grid) -> Tensor:
        channels = x.shape[1]
        if is_unrounded():
            units = x * 2.0**source.bits
            centred = units - units.mean(1, keepdim=True)
            factor = (centred.square().mean(1, keepdim=True) + 1).rsqrt()
        else:
            units = x * 2.0**source.bits
            share = round((1 << MEAN_BITS) / channels) / (1 << MEAN_BITS)
            total = units.sum(1, keepdim=True).double()
            mean = torch.floor(total * share + 0.5)
            centred = units - mean.to(x.dtype)
            power = _squares(centred) + channels
            factor = _short(torch.sqrt(torch.full_like(power, channels) / power)).to(x.dtype)
        normed = centred * factor
        ctx.save_for_backward(normed, factor)
        ctx.scale = 2.0**source.bits
        return normed

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        normed, factor = ctx.saved_tensors
        (g,) = gradients
        along = (g * normed).mean(1, keepdim=True)
        return (g - g.mean(1, keepdim=True) - normed * along) * (factor * ctx.scale), None


def _squares(centred: Tensor) -> Tensor:
    """The sum of squares over channels, in doubles.

    Of numbers of 11 bits and a sign, single precision holds the sum of four.
    """
    batch, channels, height, width = centred.shape
    fours = centred.square().reshape(batch, channels // 4, 4, height, width).sum(2)
    return fours.double().sum(1, keepdim=True)


def _short(x: Tensor) -> Tensor:
    """Positive numbers in single precision, and of their mantissas 11 bits, halves up."""
    bits = x.float().view(torch.int32)
    half = 1 << (DROPPED_BITS - 1)
    return (bits + half).bitwise_and_(-1 << DROPPED_BITS).view(torch.float32)


class Lookup(nn.Module):
    """A function of one number, by a table that holds its value for each number of a grid.

    Within `unrounded`, straight lines between those.

    Args:
        table: of `table_of`, in units of the result.
        source, result: grids.
    """

    def __init__(self, table: Callable[[Grid, Grid], Integers], source: Grid, result: Grid) -> None:
        super().__init__()
        self.source = source
        self.result = result
        self.table = table

    def forward(self, x: Tensor) -> Tensor:
        values, slopes = _tensors(self.table, self.source, self.result, x.dtype, x.device)
        found: Tensor = _Lookup.apply(x, self.source, values, slopes)  # type: ignore[no-untyped-call]
        return found


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, source: Grid, values: Tensor, slopes: Tensor) -> Tensor:
        last = len(values) - 1
        place = x * 2.0**source.bits - source.low
        at = place.round().long().clamp_(0, last)
        ctx.save_for_backward(at, slopes)
        if not is_unrounded():
            return values[at]
        place = place.clamp(0, last)
        before = place.long().clamp_(max=last - 1)
        return torch.lerp(values[before], values[before + 1], place - before)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        at, slopes = ctx.saved_tensors
        return gradients[0] * slopes[at], None, None, None


Integers = NDArray[np.int64]


@cache
@torch.inference_mode(False)  # training may need them later
def _tensors(
    table: Callable[[Grid, Grid], Integers],
    source: Grid,
    result: Grid,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    units = table(source, result)
    values = torch.from_numpy(units).to(device, dtype) * result.unit
    # Over so many numbers that the values' rounding doesn't matter much.
    beyond = np.pad(units, _REACH, "reflect", reflect_type="odd")
    run = 2 * _REACH * source.unit
    slopes = (beyond[2 * _REACH :] - beyond[: -2 * _REACH]) * result.unit / run
    return values, torch.from_numpy(slopes).to(device, dtype)


@cache
def gelu(source: Grid, result: Grid) -> Integers:
    """The table of x times the normal distribution's mass below x, halves up."""
    x = np.arange(source.low, source.high + 1)
    halves = _rounded_shift(x * 2 * STEPS, source.bits)
    exact = x * mass_of_steps(halves)
    units = _rounded_shift(exact, source.bits + MASS_BITS - result.bits)
    return _within(units, result)


@cache
def sigmoid(source: Grid, result: Grid) -> Integers:
    """The table of 1 / (1 + exp(-x)), halves up."""
    found = []
    with localcontext() as context:
        context.prec = 40
        for x in range(source.low, source.high + 1):
            value = 1 / (1 + (Decimal(-x) / (1 << source.bits)).exp())
            found.append(int(value * (1 << result.bits) + Decimal("0.5")))
    return _within(np.array(found), result)


@cache
def hard_sigmoid(source: Grid, result: Grid) -> Integers:
    """The table of x / 4 + 1 / 2 between 0 and 1, halves up."""
    x = np.arange(source.low, source.high + 1)
    units = _rounded_shift(x + (2 << source.bits), source.bits + 2 - result.bits)
    return np.clip(units, 0, min(1 << result.bits, result.high))


def _within(units: Integers, grid: Grid) -> Integers:
    clipped: Integers = np.clip(units, grid.low, grid.high)
    return clipped


def _rounded_shift(x: Integers, bits: int) -> Integers:
    if bits <= 0:
        return x << -bits
    shifted: Integers = (x + (1 << (bits - 1))) >> bits
    return shifted
