"""Numbers on a grid: multiples of a power of two between two bounds.

A float tensor that holds such numbers holds integers, as floats are indifferent to powers of two:
as long as every sum of a layer stays below 2**24 of its finest unit (2**53 in double precision),
no addition rounds, whatever its order, and every machine gets the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

EXACT_BITS = {torch.float32: 24, torch.float64: 53}

_UNROUNDED = ContextVar("_UNROUNDED", default=False)


@contextmanager
def unrounded() -> Iterator[None]:
    """Within it, networks keep to their grids' bounds, but round nothing: faster in training.

    What they give then is not what a decoder would give.
    """
    before = _UNROUNDED.set(True)
    try:
        yield
    finally:
        _UNROUNDED.reset(before)


def is_unrounded() -> bool:
    """Whether this is within `unrounded`."""
    return _UNROUNDED.get()


@dataclass(frozen=True)
class Grid:
    """The multiples of `2**-bits` from `low` to `high`, both in those units, low <= 0 <= high."""

    bits: int
    low: int
    high: int

    def __post_init__(self) -> None:
        if not self.low <= 0 <= self.high or self.low == self.high:
            raise ValueError(f"a grid from {self.low} to {self.high} has no 0 or nothing else")

    @staticmethod
    def signed(bits: int, word: int) -> Grid:
        """`word` bits for each number, one of them its sign."""
        return Grid(bits, -(1 << (word - 1)), (1 << (word - 1)) - 1)

    @staticmethod
    def unsigned(bits: int, word: int) -> Grid:
        """`word` bits for each number, none of them negative."""
        return Grid(bits, 0, (1 << word) - 1)

    @property
    def unit(self) -> float:
        return float(2.0**-self.bits)

    def nearest(self, x: Tensor) -> Tensor:
        """The numbers of the grid that are nearest to `x`, halves up.

        The gradient passes as if nothing had happened, but where a bound did.
        """
        if _UNROUNDED.get():
            return self.clamp(x)
        return self.rounded(x)

    def clamp(self, x: Tensor) -> Tensor:
        """Sums of the grid's numbers, within its bounds."""
        return x.clamp(self.low * self.unit, self.high * self.unit)

    def rounded(self, x: Tensor) -> Tensor:
        """As `nearest`, within `unrounded` too: for what is sent."""
        moved: Tensor = _Nearest.apply(x, self)  # type: ignore[no-untyped-call]
        return moved


class _Nearest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Grid) -> Tensor:
        scaled = (x * 2.0**grid.bits).add_(0.5).floor_()
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((scaled >= grid.low) & (scaled <= grid.high))
        return scaled.clamp_(grid.low, grid.high).mul_(grid.unit)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None
