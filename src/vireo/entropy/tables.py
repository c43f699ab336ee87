"""Tables of frequencies for integers, made of normal distributions by integer arithmetic.

Latents have one of `SCALES` distributions around 0, by a network's word for each; hyperlatents
have one per channel, a mixture that is part of the weights (docs/bitstream.md, "Symbols under
tables").
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.entropy.normal import (
    MASS_BITS,
    MEAN_BITS,
    SCALES,
    WEIGHT_BITS,
    mass_below,
    reaches,
)

Integers = NDArray[np.int64]

FREQUENCY_BITS = 16
MOST_SYMBOLS = 2048  # of a table, and as far from 0 as they go


@cache
def latent_tables() -> _core.SymbolTables:
    """One table per scale, around 0."""
    tables = []
    for index, reach in enumerate(reaches().tolist()):
        edges = np.arange(-reach, reach + 2)
        below = mass_below((2 * edges - 1) << (MEAN_BITS - 1), np.array(index))
        tables.append((-reach, bounds_of(below)))
    return _core.SymbolTables(tables)


def mixture_tables(weights: Integers, means: Integers, scales: Integers) -> _core.SymbolTables:
    """One table per channel, each a mixture of normal distributions.

    Args:
        weights: `[C, K]`, their shares of a channel's mixture: positive, 2**WEIGHT_BITS in all.
        means: `[C, K]` in sixteenths, within ±16 * 1024.
        scales: `[C, K]`, 0…SCALES - 1.

    Raises ValueError for what isn't so, and for more channels than an index can name, 256.
    """
    shape = weights.shape
    if len(shape) != 2 or means.shape != shape or scales.shape != shape:
        raise ValueError("weights, means and scales have a row per channel")
    if (weights <= 0).any() or (weights.sum(axis=1) != 1 << WEIGHT_BITS).any():
        raise ValueError(f"a mixture's weights are positive and {1 << WEIGHT_BITS} in all")
    if (np.abs(means) > MOST_SYMBOLS // 2 << MEAN_BITS).any():
        raise ValueError(f"a mixture's means are within {MOST_SYMBOLS // 2}")
    if (scales < 0).any() or (scales >= SCALES).any():
        raise ValueError(f"a mixture's scales are below {SCALES}")
    reach = reaches()[scales]
    low = ((means >> MEAN_BITS) - reach).min(axis=1)
    high = (reach - (-means >> MEAN_BITS)).max(axis=1)
    tables = []
    for channel in range(shape[0]):
        first = max(int(low[channel]), -MOST_SYMBOLS // 2)
        last = min(int(high[channel]), MOST_SYMBOLS // 2)
        edges = np.arange(first, last + 2)[:, None]
        distance = ((2 * edges - 1) << (MEAN_BITS - 1)) - means[channel]
        parts = mass_below(distance, scales[channel]) * weights[channel]
        tables.append((first, bounds_of(parts.sum(axis=1) >> WEIGHT_BITS)))
    return _core.SymbolTables(tables)


def bounds_of(below: Integers) -> list[int]:
    """Where symbols' shares of 2**FREQUENCY_BITS begin, then that of the escape: a table's.

    `below` is the mass below each symbol, then below the one after the last. Each symbol and the
    escape have one, and share the rest by their masses.
    """
    symbols = len(below) - 1
    rest = (1 << FREQUENCY_BITS) - symbols - 1
    bounds: list[int] = (np.arange(symbols + 1) + ((below - below[0]) * rest >> MASS_BITS)).tolist()
    return bounds
