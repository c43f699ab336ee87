"""The loop filter's weights, found by least squares.

The filter is linear in its weights, so that the squared error is a quadratic of them: a picture's
normal equations say all. What changes of a base's weights costs bits, like what changes of its
networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic.quantise import MAX_WEIGHT
from vireo.metrics import plane_mse

_ONE = 1 << 10  # in units of the stream
_STEPS = range(2, 8)  # log2 of what weights may change by
_UPDATE_BITS = 12  # of an update, besides its numbers
_SPREADS = 3  # times that an update's rate is estimated anew
_MOVES = 400  # of one weight, at most

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]
Planes = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Equations:
    """How the squared error depends on the weights of one filter.

    Attributes:
        products: `[n, n]`, and
        wanted: `[n]`: the squared error is that without a filter, plus w @ products @ w
            - 2 w @ wanted for weights w (in units of the stream).
    """

    products: Floats
    wanted: Floats

    @staticmethod
    def of(decoded: Planes, target: Planes, weights: int) -> Equations:
        """Those of all planes together (samples 0…255)."""
        sums = [_core.filter_equations(a, b, weights) for a, b in zip(decoded, target, strict=True)]
        products = np.sum([p for p, _ in sums], 0) / _ONE**2
        return Equations(products, np.sum([w for _, w in sums], 0) / _ONE)

    def change(self, weights: Integers | Floats) -> float:
        """What a filter with these weights adds to the squared error."""
        return float(weights @ self.products @ weights - 2 * (weights @ self.wanted))

    def best(self) -> Floats:
        """The weights of least squared error."""
        ridge = 1e-6 * np.trace(self.products) / len(self.wanted) + 1e-9
        solved: Floats = np.linalg.solve(
            self.products + ridge * np.eye(len(self.wanted)), self.wanted
        )
        return solved


class PooledEquations:
    """Weights that suit many pictures, each of which counts by what share of its squared error
    they take away.
    """

    def __init__(self, weights: int) -> None:
        self._products = np.zeros((weights, weights))
        self._wanted = np.zeros(weights)

    def add(self, decoded: Planes, target: Planes) -> None:
        """One more picture's planes."""
        own = Equations.of(decoded, target, len(self._wanted))
        error = 1.0 + sum(a.size * plane_mse(a, b) for a, b in zip(decoded, target, strict=True))
        self._products += own.products / error
        self._wanted += own.wanted / error

    def best(self) -> Integers:
        """The weights, zeros without pictures."""
        found = Equations(self._products, self._wanted).best()
        return np.rint(found).clip(-MAX_WEIGHT, MAX_WEIGHT).astype(np.int32)


def choose(
    equations: Equations,
    base: Integers,
    bit_cost: float,
    rate: Callable[[Integers | None], float],
) -> tuple[Integers | None, float]:
    """The weights that lower the cost most, if any do, and by how much they change it.

    The cost is the squared error and `bit_cost` for each bit; `rate` gives bits, of which only
    the differences count, with a filter of these weights or without one. Weights are the base's
    or an update of it.
    """
    before = rate(None)
    best, chosen = 0.0, None
    for weights in _candidates(equations, base, bit_cost):
        cost = equations.change(weights) + bit_cost * (rate(weights) - before)
        if cost < best:
            best, chosen = cost, weights
    return chosen, best


def _candidates(equations: Equations, base: Integers, bit_cost: float) -> Iterator[Integers]:
    """The base's, and updates of it by several steps where they may be worth their bits."""
    yield base
    wanted = equations.best()
    most = equations.change(base) - equations.change(wanted)
    if most < bit_cost * _UPDATE_BITS:
        return
    for step in _STEPS:
        changes = _update(equations, base, wanted, step, bit_cost)
        if np.any(changes):
            yield (base + (changes << step)).clip(-MAX_WEIGHT, MAX_WEIGHT).astype(np.int32)


def _update(
    equations: Equations, base: Integers, start: Floats, step: int, bit_cost: float
) -> NDArray[np.int64]:
    """Multiples of 2**step to add to the base, found by moving one at a time from `start`."""
    unit = 1 << step
    products = equations.products * unit**2
    wanted = (equations.wanted - equations.products @ base) * unit
    own = np.diag(products)
    changes = np.rint((start - base) / unit).astype(np.int64)
    for _ in range(_SPREADS):
        # Bits under a two-sided geometric distribution of the mean magnitude that there is.
        mean = max(np.abs(changes).mean(), 0.5 / len(changes))
        share = mean / (1 + mean)
        slope = -np.log2(share)

        def bits(values: NDArray[np.int64], slope: float = slope) -> Floats:
            rates: Floats = slope * np.abs(values) + (values != 0)
            return rates

        before = changes.copy()
        for _ in range(_MOVES):
            gradient = products @ changes - wanted
            moves = np.stack([np.ones_like(changes), -np.ones_like(changes), -changes])
            costs = moves * (2 * gradient + moves * own)
            costs = costs + bit_cost * (bits(changes + moves) - bits(changes))
            move, weight = np.unravel_index(costs.argmin(), costs.shape)
            if costs[move, weight] >= -1e-9:
                break
            changes[weight] += moves[move, weight]
        if np.array_equal(changes, before):
            break
    return changes
