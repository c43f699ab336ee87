"""Exact layers: int64 says what they give; nothing about how they are computed changes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vireo.exact import Conv, ExactLayer, Grid, InexactError, TransposedConv, layers, prove
from vireo.exact.reference import run_layer

UNSIGNED, SIGNED, WIDE = Grid.unsigned(4, 8), Grid.signed(4, 8), Grid.signed(4, 16)

LAYERS: dict[str, Callable[[], ExactLayer]] = {
    "strided": lambda: Conv(UNSIGNED, UNSIGNED, 16, 24, 5, stride=2),
    "3x3": lambda: Conv(SIGNED, SIGNED, 16, 24, 3),
    "depthwise": lambda: Conv(SIGNED, WIDE, 16, 16, 7, groups=16),
    "pointwise": lambda: Conv(UNSIGNED, WIDE, 48, 8, 1),
    "fine to coarse": lambda: Conv(WIDE, Grid.signed(0, 8), 8, 8, 3, weight_bits=6),
    "coarse to fine": lambda: Conv(Grid.signed(0, 4), Grid.signed(12, 20), 8, 8, 3, weight_bits=8),
    "transposed": lambda: TransposedConv(UNSIGNED, UNSIGNED, 16, 8, 5),
    "transposed, in doubles": lambda: TransposedConv(WIDE, SIGNED, 32, 8, 5),
    "transposed, stride 1": lambda: TransposedConv(UNSIGNED, SIGNED, 16, 8, 3, stride=1),
}


def inputs(layer: ExactLayer, seed: int, batch: int = 2) -> Tensor:
    """Numbers of the layer's grid, its bounds among them, `[batch, C, 13, 18]`."""
    channels = (
        layer.weight.shape[1] * layer.groups if isinstance(layer, Conv) else layer.weight.shape[0]
    )
    grid = layer.source
    rng = torch.Generator().manual_seed(seed)
    x = torch.randint(grid.low, grid.high + 1, (batch, channels, 13, 18), generator=rng)
    return x.float() * grid.unit


def large(make: Callable[[], ExactLayer]) -> ExactLayer:
    """With weights so large that results meet their bounds."""
    torch.manual_seed(1)
    layer = make()
    with torch.no_grad():
        layer.weight.mul_(3)
        layer.bias.uniform_(-2, 2)
    layer.prove()
    return layer


def units(y: Tensor, grid: Grid) -> np.ndarray:
    return (y.detach().double() * 2.0**grid.bits).numpy()


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layers_give_what_integers_give(make: Callable[[], ExactLayer]) -> None:
    layer = large(make)
    x = inputs(layer, seed=0)
    result = units(layer(x), layer.result)
    for one, expected in zip(units(x, layer.source), result, strict=True):
        assert np.array_equal(run_layer(layer, one.astype(np.int64)), expected)
    assert len(np.unique(result)) > 10


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_training_gives_what_inference_gives(make: Callable[[], ExactLayer]) -> None:
    layer = large(make)
    x = inputs(layer, seed=0)
    layer.train()
    trained = layer(x.requires_grad_())
    layer.eval()
    with torch.inference_mode():
        assert torch.equal(layer(x), trained)
    trained.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_how_it_is_computed_changes_nothing(make: Callable[[], ExactLayer]) -> None:
    layer = large(make)
    x = inputs(layer, seed=2, batch=4)
    threads = torch.get_num_threads()
    with torch.inference_mode():
        expected = layer(x)
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            assert torch.equal(layer(x), expected)
            assert torch.equal(layer(x.to(memory_format=torch.channels_last)), expected)
        torch.set_num_threads(threads)
        assert torch.equal(torch.cat([layer(one[None]) for one in x]), expected)
        assert torch.equal(layer(x.double()), expected.double())


def test_a_sum_is_bounded_by_what_it_can_be() -> None:
    layer = Conv(UNSIGNED, WIDE, 2, 1, 1, weight_bits=4)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -2.0]).reshape(1, 2, 1, 1))
        layer.bias.fill_(0.5)
    # 255 times 16 * 2, a bias of 128 units, and the half of 16 units.
    assert layer.prove().tolist() == [255 * 32 + 128 + 8]
    both = Conv(SIGNED, WIDE, 2, 1, 1, weight_bits=4)
    both.load_state_dict(layer.state_dict())
    assert both.prove().tolist() == [128 * 32 + 127 * 16 + 128 + 8]


def test_a_transposed_convolution_is_bounded_phase_by_phase() -> None:
    layer = TransposedConv(UNSIGNED, WIDE, 1, 1, 5, weight_bits=1)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.zero_()
    # Of 25 taps, at most 3 x 3 meet, each of 2 units; and half of 2 units.
    assert layer.prove().tolist() == [255 * 9 * 2 + 1]


def test_a_result_that_is_finer_than_its_sum_needs_a_bit_more() -> None:
    """Or its half would round: of 2**23 single precision holds no halves."""
    layer = Conv(Grid(0, 0, 2**20), Grid(0, 0, 2**24), 1, 1, 1, weight_bits=0)
    with torch.no_grad():
        layer.weight.fill_(9.0)
        layer.bias.fill_(1.0)
    layer.prove()
    assert layer.in_double
    x = torch.full((1, 1, 1, 1), 2.0**20 - 2)
    assert layer(x).item() == 9 * (2**20 - 2) + 1


def test_autocast_changes_nothing() -> None:
    layer = large(LAYERS["3x3"])
    x = inputs(layer, seed=0)
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), expected)
        assert layer(x[:, :, :2].bfloat16()).dtype == torch.float32


def fewer_bits(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, float]:
    return x.bfloat16().float(), weight.bfloat16().float(), 1.0


def rounded_on_the_way(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, float]:
    """As Winograd's convolutions are: only the longest sums come out otherwise."""
    return x, weight / 9, 9.0


@pytest.mark.parametrize(
    ("inexact", "kernel", "groups", "dilation"),
    [
        (fewer_bits, None, None, None),
        (rounded_on_the_way, 3, 1, 1),
        (rounded_on_the_way, 3, 32, 1),
        (rounded_on_the_way, 7, 32, 1),
        (rounded_on_the_way, 3, 32, 3),
    ],
)
def test_single_precision_is_tried(
    inexact: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, float]],
    kernel: int | None,
    groups: int | None,
    dilation: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a library adds up inexactly, if only in one kind of convolution, doubles are used."""
    assert layers.single_precision_is_exact()
    layer = LAYERS["3x3"]()
    layer.prove()
    assert not layer.in_double
    conv2d = torch.nn.functional.conv2d

    def tampered(x: Tensor, weight: Tensor, *rest: object, **named: object) -> Tensor:
        factor = 1.0
        mine = kernel is None or (kernel, groups, dilation) == (
            weight.shape[-1],
            named.get("groups"),
            named.get("dilation"),
        )
        if x.dtype == torch.float32 and mine:
            x, weight, factor = inexact(x, weight)
        return conv2d(x, weight, *rest, **named) * factor

    monkeypatch.setattr(layers.functional, "conv2d", tampered)
    layers.single_precision_is_exact.cache_clear()
    try:
        layer.prove()
        assert layer.in_double
    finally:
        monkeypatch.undo()
        layers.single_precision_is_exact.cache_clear()


def test_long_sums_go_over_to_doubles_and_longer_ones_are_refused() -> None:
    layer = Conv(UNSIGNED, WIDE, 64, 1, 1)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    layer.prove()
    assert not layer.in_double
    with torch.no_grad():
        layer.weight.fill_(2.0)
    layer.prove()
    assert layer.in_double
    vast = nn.Sequential(Conv(Grid(0, 0, 2**40), WIDE, 64, 1, 1))
    with torch.no_grad():
        vast[0].weight.fill_(2.0)
    with pytest.raises(InexactError, match=r"0: sums of up to .* units"):
        prove(vast)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    layer = Conv(SIGNED, SIGNED, 1, 1, 1)
    with torch.no_grad():
        layer.weight.fill_(value)
    with pytest.raises(InexactError):
        layer.prove()


def test_the_gradient_of_a_grid_ends_at_its_bounds() -> None:
    x = torch.tensor([-3.0, 0.26, 0.4, 3.0], requires_grad=True)
    grid = Grid(2, -4, 4)
    y = grid.nearest(x)
    assert y.tolist() == [-1.0, 0.25, 0.5, 1.0]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


def test_halves_go_up() -> None:
    grid = Grid(0, -8, 8)
    assert grid.nearest(torch.tensor([-1.5, -0.5, 0.5, 1.5])).tolist() == [-1, 0, 1, 2]
    layer = Conv(Grid(1, -2, 2), grid, 1, 1, 1, weight_bits=0)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    x = torch.tensor([-1.0, -0.5, 0.5, 1.0]).reshape(1, 1, 1, 4)
    assert layer(x).flatten().tolist() == [-1, 0, 1, 1]


@pytest.mark.parametrize(("low", "high"), [(1, 4), (-4, -1), (0, 0)])
def test_a_grid_has_zero_and_something_else(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="grid"):
        Grid(0, low, high)
