"""Exact layers on a GPU give what they give on processors, whatever the process allows there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.cuda import PRECISIONS, caller_allows, needs_cuda
from tests.exact.test_functions import FEATURES, GATES, NORMED, features
from tests.exact.test_layers import LAYERS, inputs, large, units
from vireo.exact import (
    Conv,
    ExactLayer,
    Grid,
    LayerNorm,
    Lookup,
    full_precision,
    gelu,
    hard_sigmoid,
    layers,
    sigmoid,
)
from vireo.exact.reference import run_layer
from vireo.nn.warp import DEPTHS, STACK, VECTORS, blur_stack, scale_space_warp

WORDS = Grid.signed(5, 11)
LONG: dict[str, Callable[[], ExactLayer]] = {
    "1x1": lambda: Conv(WORDS, WORDS, 192, 96, 1),
    "3x3": lambda: Conv(WORDS, WORDS, 64, 96, 3),
    "5x5, strided": lambda: Conv(WORDS, WORDS, 64, 96, 5, stride=2),
    "2x2, strided": lambda: Conv(WORDS, WORDS, 64, 96, 2, stride=2),
    "depthwise": lambda: Conv(WORDS, WORDS, 96, 96, 7, groups=96),
    "depthwise, dilated": lambda: Conv(WORDS, WORDS, 96, 96, 7, groups=96, dilation=3),
}
"""Of shapes for which libraries have faster ways than to add products up."""


@pytest.fixture(params=PRECISIONS)
def caller(request: pytest.FixtureRequest) -> Iterator[None]:
    """A process that allows less than single precision, or doesn't say."""
    with caller_allows(request.param):
        yield


def flags() -> tuple[object, ...]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return cudnn.enabled, cudnn.conv.fp32_precision, matmul.fp32_precision


@pytest.mark.usefixtures("caller")
def test_flags_are_set_within_and_are_as_they_were_behind() -> None:
    """With several threads, too."""
    before = flags()

    def work(number: int) -> bool:
        with torch.no_grad(), full_precision("cuda"), full_precision("cuda"):
            cudnn, _, matmul = flags()
            return not cudnn and matmul in ("none", "ieee")

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(200)))
    with pytest.raises(KeyError), full_precision("cuda"):
        raise KeyError
    assert flags() == before


@needs_cuda
@pytest.mark.usefixtures("caller")
def test_single_precision_is_exact() -> None:
    layers.single_precision_is_exact.cache_clear()
    assert layers.single_precision_is_exact(torch.device("cuda", 0))


@needs_cuda
@pytest.mark.usefixtures("caller")
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layers_give_what_integers_give(make: Callable[[], ExactLayer]) -> None:
    layer = large(make)
    x = inputs(layer, seed=0)
    expected = [run_layer(layer, one.astype(np.int64)) for one in units(x, layer.source)]
    double = layer.in_double
    layer.cuda().prove()
    assert layer.in_double == double
    for given in (x, x.to(memory_format=torch.channels_last), x.double()):
        result = layer(given.cuda())
        assert result.is_cuda
        assert np.array_equal(units(result.cpu(), layer.result), expected)


@needs_cuda
@pytest.mark.usefixtures("caller")
@pytest.mark.parametrize("make", LONG.values(), ids=LONG)
def test_the_longest_sums_of_single_precision_round_nothing(
    make: Callable[[], ExactLayer],
) -> None:
    """Of factors of all sizes, in pictures that aren't tiny."""
    layer = make()
    rng = torch.Generator().manual_seed(0)
    shape = layer.weight.shape
    shares = torch.rand(shape, generator=rng).double() ** 8
    # Sums come to 2**10 of them: just below what single precision holds.
    factors = torch.floor(((1 << 14) - 1) * shares / shares.sum((1, 2, 3), keepdim=True))
    factors[::2].neg_()
    with torch.no_grad():
        layer.weight.copy_(factors / 2**layer.weight_bits)
    layer.prove()
    assert not layer.in_double
    channels = shape[1] * (layer.groups if isinstance(layer, Conv) else 1)
    x = torch.randint(WORDS.low, WORDS.high + 1, (2, channels, 72, 88), generator=rng).float()
    x[0].abs_().clamp_(max=WORDS.high)
    x *= WORDS.unit
    wide = layer.linear(x.double(), layer.weight.double(), layer.bias.double())
    expected = layer.result.nearest(wide)
    with torch.inference_mode():
        found = layer.cuda()(x.cuda())
        assert torch.equal(found.cpu().double(), expected)
        with torch.autocast("cuda", torch.bfloat16):
            assert torch.equal(layer(x.cuda()), found)


@needs_cuda
@pytest.mark.parametrize("channels", [12, 96, 384])
@pytest.mark.parametrize("spread", [0.02, 1.0, 10.0, 100.0])
def test_normalisation(spread: float, channels: int) -> None:
    layer = LayerNorm(FEATURES, NORMED)
    x = features(spread, channels)
    assert torch.equal(layer(x.cuda()).cpu(), layer(x))


@needs_cuda
@pytest.mark.parametrize(
    ("table", "result"), [(gelu, NORMED), (sigmoid, GATES), (hard_sigmoid, GATES)]
)
def test_tables(table: Callable[[Grid, Grid], np.ndarray], result: Grid) -> None:
    layer = Lookup(table, NORMED, result)
    x = torch.arange(NORMED.low, NORMED.high + 1).reshape(1, 1, 32, -1) * NORMED.unit
    assert torch.equal(layer(x.cuda()).cpu(), layer(x))


def random_of(grid: Grid, *shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(sum(shape))
    return torch.randint(grid.low, grid.high + 1, shape, generator=rng).float() * grid.unit


@needs_cuda
def test_warps_and_what_enlarges_flows() -> None:
    picture = random_of(STACK, 1, 2, 48, 64)
    vectors, depths = random_of(VECTORS, 1, 2, 48, 64) / 8, random_of(DEPTHS, 1, 1, 48, 64)
    vectors = VECTORS.nearest(vectors)
    stack = blur_stack(picture)
    assert torch.equal(blur_stack(picture.cuda()).cpu(), stack)
    found = scale_space_warp(stack.cuda(), vectors.cuda(), depths.cuda())
    assert torch.equal(found.cpu(), scale_space_warp(stack, vectors, depths))
    for way in (nn.Upsample(scale_factor=4, mode="bilinear"), nn.AvgPool2d(2)):
        assert torch.equal(way(vectors.cuda()).cpu(), way(vectors))
