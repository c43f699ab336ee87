"""What networks take: parameters, and multiplications, counted as they run on no data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vireo.exact import ExactLayer, TransposedConv


def parameters(model: nn.Module) -> int:
    """All of them."""
    return sum(p.numel() for p in model.parameters())


def decoder_parameters(model: nn.Module) -> int:
    """All but those that have `analysis` in their names: only an encoder needs these."""
    return sum(p.numel() for name, p in model.named_parameters() if "analysis" not in name)


class Count:
    """Multiply-accumulates so far."""

    total = 0


@contextmanager
def counted(model: nn.Module) -> Iterator[Count]:
    """Counts those of a model's convolutions while it runs, without data (device meta).

    They are of one picture each, and each of its samples by each weight that meets it.
    """
    found = Count()

    def count(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places = inputs[0] if isinstance(layer, TransposedConv) else output
        found.total += layer.weight.numel() * places.shape[-1] * places.shape[-2]

    hooks = [
        layer.register_forward_hook(count)
        for layer in model.modules()
        if isinstance(layer, ExactLayer | nn.Conv2d)
    ]
    try:
        with torch.device("meta"), torch.no_grad():
            yield found
    finally:
        for hook in hooks:
            hook.remove()
