"""Networks at a lower precision than processors compute fast in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vireo.nn.picture import Picture


def round_values(model: nn.Module, kind: torch.dtype) -> None:
    """Has a model's weights, and what goes into and comes out of every layer, rounded.

    Sums are in single precision. So it is in units for matrices, on GPUs and processors alike;
    PyTorch computes otherwise on processors without such, but hundreds of times slower.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(kind).to(parameter.dtype)

    def before(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(_rounded(x, kind) for x in inputs)

    def behind(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        return _rounded(output, kind)

    for module in model.modules():
        module.register_forward_pre_hook(before)
        module.register_forward_hook(behind)


def _rounded(value: Any, kind: torch.dtype) -> Any:
    if isinstance(value, Picture):
        return Picture(_rounded(value.luma, kind), _rounded(value.chroma, kind))
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(kind).to(value.dtype)
    return value
