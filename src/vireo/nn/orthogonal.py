"""Orthogonal updates of matrices, for trainings of few steps.

Momentum of a matrix whose singular values are made alike (Muon: Jordan et al., 2024) moves all
directions at once, where Adam follows the strongest. PyTorch's own `Muon` knows no kernels of
convolutions, and computes in bfloat16, which processors are slow at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.9
_ITERATIONS = 5
_FACTORS = 3.4445, -4.7750, 2.0315  # of a polynomial that brings singular values near 1
_AS_ADAM = 0.2  # the root mean square of Adam's updates, in learning rates
_LEAST_SIDE = 2  # what is narrower is a vector


class OrthogonalUpdates:
    """What moves some matrices in place of Adam.

    Args:
        matrices: parameters `[out, ...]`, of which `is_matrix` holds.
        factor: of the learning rate.
    """

    def __init__(self, matrices: Sequence[Tensor], factor: float) -> None:
        self._factor = factor
        self._matrices = list(matrices)
        self._momenta = [torch.zeros_like(own) for own in self._matrices]

    def state_dict(self) -> dict[str, Any]:
        """What a step depends on."""
        return {"momenta": self._momenta}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """An earlier `state_dict`."""
        for own, found in zip(self._momenta, state["momenta"], strict=True):
            own.copy_(found)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Moves matrices by their gradients, and takes these from them."""
        for own, momentum in zip(self._matrices, self._momenta, strict=True):
            if own.grad is None:
                continue
            momentum.lerp_(own.grad, 1 - MOMENTUM)
            ahead = torch.lerp(own.grad, momentum, MOMENTUM).flatten(1)
            change = orthogonal(ahead) * as_adam(max(ahead.shape))
            own.sub_(change.reshape(own.shape), alpha=self._factor * rate)
            own.grad = None


def is_matrix(parameter: Tensor) -> bool:
    """Whether a parameter multiplies many features."""
    if parameter.dim() < 2:
        return False
    return min(parameter.shape[0], parameter[0].numel()) >= _LEAST_SIDE


def as_adam(longer: int) -> float:
    """What makes an orthogonal matrix of that longer side as large as an update of Adam's."""
    return float(_AS_ADAM * longer**0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Matrices `[..., m, n]` with others' singular vectors, their singular values about 1."""
    a, b, c = _FACTORS
    x = matrix / (torch.linalg.matrix_norm(matrix, keepdim=True) + 1e-12)
    is_tall = x.shape[-2] > x.shape[-1]
    if is_tall:
        x = x.mT
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = x.mT if is_tall else x
    return found
