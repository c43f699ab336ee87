"""Adam, with orthogonal updates of matrices.

A network that is fitted to a few frames has few steps. Momentum of a matrix whose singular values
are made alike (Muon: Jordan et al., 2024) moves all directions at once, where Adam follows the
strongest: 5 dB after the same 340 steps. PyTorch's own `Muon` wants each matrix as a parameter of
its own, and computes in bfloat16, which processors are slow at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vireo.codecs.nvrc.layout import Place

MOMENTUM = 0.9
_ITERATIONS = 5
_FACTORS = 3.4445, -4.7750, 2.0315  # of a polynomial that brings singular values near 1
_AS_ADAM = 0.2  # the root mean square of Adam's updates, in learning rates


class OrthogonalUpdates:
    """What moves the matrices of a vector, in place of Adam.

    Args:
        vector: a parameter.
        places: of its matrices `[out, ...]`.
        factor: of the learning rate.
    """

    def __init__(self, vector: Tensor, places: Sequence[Place], factor: float) -> None:
        self._vector = vector
        self._places = places
        self._factor = factor
        self._momentum = torch.zeros_like(vector)

    def state_dict(self) -> dict[str, Any]:
        """What a step depends on."""
        return {"momentum": self._momentum}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """An earlier `state_dict`."""
        self._momentum.copy_(state["momentum"])

    @torch.no_grad()
    def step(self, rate: float | Tensor) -> None:
        """Moves matrices by the vector's gradient, and takes them from it, so that Adam doesn't."""
        gradient = self._vector.grad
        assert gradient is not None
        self._momentum.lerp_(gradient, 1 - MOMENTUM)
        ahead = torch.lerp(gradient, self._momentum, MOMENTUM)
        for place in self._places:
            matrix = ahead[place.range].reshape(place.shape[0], -1)
            update = orthogonal(matrix) * (_AS_ADAM * self._factor * max(matrix.shape) ** 0.5)
            self._vector[place.range].sub_(update.flatten() * rate)
            gradient[place.range].zero_()


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the singular vectors of another, its singular values about 1."""
    a, b, c = _FACTORS
    x = matrix / (matrix.norm() + 1e-12)
    is_tall = x.shape[0] > x.shape[1]
    if is_tall:
        x = x.T
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = x.T if is_tall else x
    return found
