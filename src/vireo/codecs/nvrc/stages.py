"""The stages of a network behind its stem, in C++, for processors.

`model.pictures` has the same in PyTorch, which is what runs on CUDA, and what this is tested
against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vireo import _train
from vireo.codecs.nvrc.config import DEPTHS, EXPANSION, STRIDES
from vireo.codecs.nvrc.layout import Layout

OFFSET = 0.5  # of samples, that the head needn't learn

Crop = tuple[int, int, int, int]
"""Top, left, rows and columns of what is kept of a stage's features."""


class Stages:
    """What makes pictures of a stem's features.

    Args:
        layout: where parameters are in the vector of all.
        threads: sums don't depend on their number.
        isa: the kernels' build; the best that there is if empty.
    """

    def __init__(self, layout: Layout, threads: int = 1, isa: str = "") -> None:
        stages = []
        for stage, scale in enumerate(STRIDES):
            units = []
            for depth in range(DEPTHS[stage]):
                first = layout.layers[f"{stage}.{depth}.depthwise.weight"]
                last = layout.layers[f"{stage}.{depth}.project.bias"]
                units.append((first.start, first.shape[0], last.shape[0]))
            stages.append((scale, units))
        head = layout.layers["head.weight"]
        outputs, inputs = head.shape
        self._native = _train.Representation(
            stages, EXPANSION, (head.start, inputs, outputs), OFFSET, threads, isa
        )

    def pictures(
        self, vector: Tensor, stem: Tensor, additions: Sequence[Tensor], crops: Sequence[Crop]
    ) -> Tensor:
        """`[B, 3, H, W]`.

        Args:
            vector: all numbers of the layers.
            stem: `[B, C, rows, columns]`.
            additions: of each stage, `[B, scale, scale, C]`.
            crops: what to keep of each stage.
        """
        found: Tensor = _Pictures.apply(  # type: ignore[no-untyped-call]
            self._native, list(crops), vector, stem, *additions
        )
        return found


class _Pictures(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        native: _train.Representation,
        crops: list[Crop],
        vector: Tensor,
        stem: Tensor,
        *additions: Tensor,
    ) -> Tensor:
        numbers = vector.detach().contiguous()
        made, held = native.forward(
            stem.detach().contiguous().numpy(),
            [own.detach().contiguous().numpy() for own in additions],
            numbers.numpy(),
            crops,
            keep=any(ctx.needs_input_grad),
        )
        ctx.native, ctx.held = native, held
        ctx.save_for_backward(numbers)
        return torch.from_numpy(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (numbers,) = ctx.saved_tensors
        stem, additions, vector = ctx.native.backward(
            ctx.held, gradients[0].contiguous().numpy(), numbers.numpy()
        )
        ctx.held = None
        found = (torch.from_numpy(own) for own in (vector, stem, *additions))
        return None, None, *found
