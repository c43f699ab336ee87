"""The spike-and-slab prior of updates of weights (InstA, equation 5 and appendix B.4).

Updates are multiples of a step of 2**-10, the paper's 0.001 as near as a power of two comes, from
-144 to 144 of them; the slab's deviation of 0.05 is 51.2 steps.
"""

from __future__ import annotations

from functools import cache
from math import log2, pi, sqrt

import numpy as np
import torch
from torch import Tensor

STEP_BITS = 10  # t = 2**-10
FARTHEST = 144  # n = 289
SLAB = 51.2  # sigma = 0.05, in steps
SPIKE = 1 / 6  # s = t / 6, in steps
RATIO = 100.0  # alpha


def bits(values: Tensor) -> Tensor:
    """Bits of updates that are not rounded yet, in all: R_theta of equation 2.

    By the density, times a step, as the paper has it. In the spike that is more than 1, so that
    an update that is nothing counts a bit or so less than nothing.
    """
    square = values.square()
    slab = torch.exp(square * (-0.5 / SLAB**2)) / SLAB
    spike = torch.exp(square * (-0.5 / SPIKE**2)) * (RATIO / SPIKE)
    constant = log2(sqrt(2 * pi) * (1 + RATIO))
    return constant * values.numel() - (slab + spike).log2().sum()


@cache
def change_table():  # type: ignore[no-untyped-def]
    """The table of updates that are not 0: the slab's part, by integers."""
    from vireo import _core
    from vireo.entropy.normal import mass_of_steps
    from vireo.entropy.tables import bounds_of

    # In 256ths of the slab's deviation a step is 5, and half a step 5 / 2.
    edges = np.arange(-FARTHEST, FARTHEST + 2)
    below = mass_of_steps(5 * (2 * edges - 1))
    return _core.SymbolTables([(-FARTHEST, bounds_of(below))])
