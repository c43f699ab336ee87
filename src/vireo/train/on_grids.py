"""Exact layers' weights on their grids, once for a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vireo.exact import exact_layers


class OnGrids:
    """What a model's exact layers would do to their weights in each frame of a step.

    A layer rounds its weights whenever it is used, unless it knows that they are on their grids. A
    gradient passes through that rounding as it is, so that it may as well be done beforehand, for
    all layers together: some kernels on a GPU where there were tens of thousands.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = [layer for _, layer in exact_layers(model)]
        self._parameters: list[Tensor] = [
            p for layer in self._layers for p in (layer.weight, layer.bias)
        ]
        grids = [grid for layer in self._layers for grid in layer.parameter_grids()]
        self._units = [grid.unit for grid in grids]
        self._steps = [1 / grid.unit for grid in grids]
        self._lows = [float(grid.low) for grid in grids]
        self._highs = [float(grid.high) for grid in grids]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it weights are what layers compute with; behind it, what they were."""
        if not self._layers:
            yield
            return
        kept = [p.detach().clone() for p in self._parameters]
        self._round()
        for layer in self._layers:
            layer._on_grids = True
        try:
            yield
        finally:
            for layer in self._layers:
                layer._on_grids = False
            with torch.no_grad():
                torch._foreach_copy_(self._parameters, kept)

    @torch.no_grad()
    def _round(self) -> None:
        moved = torch._foreach_mul(self._parameters, self._steps)
        torch._foreach_add_(moved, 0.5)
        torch._foreach_floor_(moved)
        torch._foreach_clamp_min_(moved, self._lows)
        torch._foreach_clamp_max_(moved, self._highs)
        torch._foreach_mul_(moved, self._units)
        torch._foreach_copy_(self._parameters, moved)
