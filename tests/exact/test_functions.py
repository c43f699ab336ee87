"""Normalisation and tables: int64 says what they give, and they are what they are named after."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vireo.exact import Conv, Grid, LayerNorm, Lookup, gelu, hard_sigmoid, sigmoid, unrounded
from vireo.exact.reference import looked_up, normalised, run_layer

FEATURES, NORMED, GATES = Grid.signed(5, 11), Grid.signed(6, 10), Grid(8, 0, 256)


def features(spread: float, channels: int = 96) -> Tensor:
    """Of all sizes, with places that are all alike."""
    rng = torch.Generator().manual_seed(0)
    x = spread * torch.randn(2, channels, 9, 14, generator=rng)
    x[:, :, 0] = 3.0
    x[:, :, 1] = 0.0
    return FEATURES.nearest(x + torch.randn(2, 1, 9, 14, generator=rng))


def integers(x: Tensor, grid: Grid) -> np.ndarray:
    return (x.detach().double() * 2.0**grid.bits).numpy().astype(np.int64)


@pytest.mark.parametrize("spread", [0.02, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("channels", [12, 96, 128, 384])
def test_normalisation_is_what_integers_give(spread: float, channels: int) -> None:
    layer = LayerNorm(FEATURES, NORMED)
    x = features(spread, channels)
    result = layer(x)
    for one, expected in zip(integers(x, FEATURES), integers(result, NORMED), strict=True):
        assert np.array_equal(normalised(layer, one), expected)
    assert torch.equal(layer(x.double()).float(), result)
    assert torch.equal(layer(x.to(memory_format=torch.channels_last)), result)
    assert torch.equal(torch.cat([layer(one[None]) for one in x]), result)


def test_normalisation_is_about_that_of_floats() -> None:
    x = features(2.0).requires_grad_()
    y = x.detach().clone().requires_grad_()
    ours = LayerNorm(FEATURES, NORMED)(x)
    theirs = functional.layer_norm(y.movedim(1, -1), (96,)).movedim(-1, 1)
    assert (ours - theirs)[:, :, 2:].abs().max() < 0.03
    gradient = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    ours.backward(gradient)
    theirs.backward(gradient)
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad - y.grad)[:, :, 2:].abs().max() < 0.02 * y.grad[:, :, 2:].abs().max()


def test_normalisation_refuses_what_it_could_not_sum() -> None:
    with pytest.raises(ValueError, match="11 bits"):
        LayerNorm(Grid.signed(5, 12), NORMED)


@pytest.mark.parametrize(
    ("table", "function", "result"),
    [
        (gelu, functional.gelu, NORMED),
        (sigmoid, torch.sigmoid, GATES),
        (hard_sigmoid, lambda x: (x / 4 + 0.5).clamp(0, 1), GATES),
    ],
)
def test_tables_hold_their_functions(table, function, result: Grid) -> None:
    layer = Lookup(table, NORMED, result)
    x = torch.arange(NORMED.low, NORMED.high + 1).reshape(1, 1, 32, -1) * NORMED.unit
    x.requires_grad_()
    found = layer(x)
    expected = function(x.detach().double()).clamp(max=result.high * result.unit)
    assert (found - expected).abs().max() <= result.unit / 2 * 1.0001
    assert np.array_equal(looked_up(layer, integers(x, NORMED)), integers(found, result))
    found.sum().backward()
    again = x.detach().double().requires_grad_()
    function(again).sum().backward()
    assert x.grad is not None
    assert again.grad is not None
    assert (x.grad - again.grad).abs().max() < 0.13


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(2, 2, 1), (3, 1, 3), (5, 1, 2)])
def test_cells_and_dilated_convolutions_are_what_integers_give(
    kernel: int, stride: int, dilation: int
) -> None:
    torch.manual_seed(0)
    layer = Conv(FEATURES, FEATURES, 8, 12, kernel, stride=stride, dilation=dilation)
    layer.prove()
    x = features(5.0, 8)[:, :, :8]
    result = layer(x)
    assert result.shape[-2:] == (8 // stride, 14 // stride)
    for one, expected in zip(integers(x, FEATURES), integers(result, FEATURES), strict=True):
        assert np.array_equal(run_layer(layer, one), expected)


def test_without_rounding_it_is_nearly_the_same_and_not_the_same() -> None:
    torch.manual_seed(0)
    layer = Conv(FEATURES, FEATURES, 96, 12, 1)
    norm = LayerNorm(FEATURES, FEATURES)
    x = features(5.0)
    exact = layer(norm(x))
    with unrounded():
        smooth = layer(norm(x))
    assert not torch.equal(exact, smooth)
    assert (exact - smooth).abs().max() < 0.2
    assert torch.equal(layer(norm(x)), exact)


@pytest.mark.parametrize(("table", "result"), [(gelu, NORMED), (hard_sigmoid, GATES)])
def test_without_rounding_a_table_is_straight_lines(table, result: Grid) -> None:
    layer = Lookup(table, NORMED, result)
    x = torch.linspace(-9, 9, 2001, dtype=torch.float64, requires_grad=True)
    values = layer.table(NORMED, result) * result.unit
    places = np.arange(NORMED.low, NORMED.high + 1) * NORMED.unit
    with unrounded():
        found = layer(x)
    expected = np.interp(x.detach().numpy(), places, values)
    assert np.abs(found.detach().numpy() - expected).max() < 1e-12
    assert not torch.equal(found, layer(x))
    found.sum().backward()
    assert x.grad is not None
    assert 0 < x.grad.max() < 1.2
