"""Rate points of one set of weights, and places between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import NamedTuple

import numpy as np

STEP_PARTS = 16  # places between two rate points


class Places(NamedTuple):
    """Where between the model's rate points frames lie, in STEP_PARTS from the lowest."""

    intra: int
    inter: int


def places_of(
    lambda_: float, lambdas: Sequence[float], *, finer: int = 0, say: Callable[[str], None]
) -> Places:
    """Of I and of P frames at a lambda.

    Args:
        lambdas: those that the rate points were trained at, falling.
        finer: places by which I frames are finer, where others follow them: these have of it
            what they needn't send.
        say: told where a lambda is beyond the rate points, and the nearest one has to do.
    """
    if not 0.9 * lambdas[-1] <= lambda_ <= 1.1 * lambdas[0]:
        say(
            f"the model was trained for lambdas from {lambdas[0]:g} to {lambdas[-1]:g}; "
            f"the nearest has to do for {lambda_:.3g}"
        )
    place = place_of(lambda_, lambdas)
    return Places(min(place + finer, STEP_PARTS * (len(lambdas) - 1)), place)


def place_of(lambda_: float, lambdas: Sequence[float]) -> int:
    """Where between rate points, in STEP_PARTS from the lowest, a lambda lies, or the nearest."""
    logs = [-log(value) for value in lambdas]
    places = STEP_PARTS * np.arange(len(lambdas))
    return round(float(np.interp(-log(lambda_), logs, places)))
