"""Weights that are rounded once for a step: nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vireo.codecs.ssf.training import ClipLoss, loss_of
from vireo.exact import Conv, Grid
from vireo.train.on_grids import OnGrids


def test_errors_bits_and_gradients_are_the_same() -> None:
    torch.manual_seed(0)
    loss = ClipLoss("ssf1")
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.add_(1e-3 * torch.randn_like(parameter))
    luma = torch.randint(0, 256, (1, 3, 1, 64, 64), dtype=torch.uint8)
    chroma = torch.randint(0, 256, (1, 3, 2, 32, 32), dtype=torch.uint8)

    def step() -> tuple[torch.Tensor, list[torch.Tensor]]:
        torch.manual_seed(1)
        loss.zero_grad()
        results = loss(luma, chroma, torch.ones(1))
        loss_of(results, torch.tensor([1e-3])).backward()
        return results, [p.grad.clone() for p in loss.parameters() if p.grad is not None]

    before = {name: p.detach().clone() for name, p in loss.named_parameters()}
    alone, gradients = step()
    with OnGrids(loss).held():
        together, others = step()
    assert torch.equal(alone, together)
    assert all(map(torch.equal, gradients, others))
    for name, parameter in loss.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_weights_within_it_are_those_of_a_decoder_and_come_back_from_an_error() -> None:
    layer = Conv(Grid.signed(5, 11), Grid.signed(5, 11), 4, 4, 3)
    model = nn.Sequential(layer)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    rounded = [x.detach().clone() for x in layer.quantised()]

    def fails() -> None:
        with OnGrids(model).held():
            assert torch.equal(layer.weight, rounded[0])
            assert torch.equal(layer.bias, rounded[1])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer.bias, bias)
    assert not torch.equal(layer.weight, rounded[0])
    assert torch.equal(layer.quantised()[0], rounded[0])
