"""The PyTorch twin of architectures with parts: against plain loops and finite differences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from vireo.codecs.coolchic import model, parts_model
from vireo.codecs.coolchic.config import STANDARD, Architecture, Parts
from vireo.codecs.coolchic.initialise import cubic_kernel
from vireo.codecs.coolchic.parts_model import PartNetworks
from vireo.codecs.coolchic.trainer import trained_grids
from vireo.gop import FrameType

SMALL = Architecture(
    grids=4,
    arm_hidden=(5,),
    upsampling_kernel=4,
    synthesis_hidden=(6,),
    parts=Parts(chroma_first=1, chroma_hidden=()),
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch's threads cost more than they give on pictures this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_networks(architecture: Architecture, rng: np.random.Generator) -> Tensor:
    """Flat parameters whose networks neither die nor explode."""
    counts = architecture.parameters(FrameType.I)
    flat = np.zeros(sum(counts.values()))
    slices = architecture.parameter_slices(FrameType.I)
    for name, widths in architecture.networks(FrameType.I).items():
        layers = [
            part
            for inputs, outputs in pairwise(widths)
            for part in (
                rng.normal(0, 1 / math.sqrt(inputs), outputs * inputs),
                rng.normal(0, 0.2, outputs),
            )
        ]
        flat[slices[name]] = np.concatenate(layers)
    flat[slices["upsampling"]] = cubic_kernel(architecture.upsampling_kernel).ravel()
    return torch.from_numpy(flat)


def random_latents(architecture: Architecture, height: int, width: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(grid.height, grid.width, generator=generator, dtype=torch.float64)
        for grid in trained_grids(architecture, FrameType.I, height, width)
    ]


def planes(height: int, width: int, rng: np.random.Generator) -> list[Tensor]:
    """Y, U and V in 0…1."""
    sizes = (height, width), (height // 2, width // 2), (height // 2, width // 2)
    return [torch.from_numpy(rng.uniform(size=size)) for size in sizes]


def temporal_contexts(
    architecture: Architecture, height: int, width: int, rng: np.random.Generator
) -> list[Tensor]:
    """Luma's, anything from 0 to 15."""
    sizes = architecture.grid_sizes(height, width)
    return [torch.from_numpy(rng.integers(0, 16, size)).double() for size in sizes]


@pytest.mark.parametrize("predicted", [False, True])
@pytest.mark.parametrize("architecture", [STANDARD, SMALL])
def test_the_loss_by_finite_differences(architecture: Architecture, predicted: bool) -> None:
    rng = np.random.default_rng(8)
    height, width = 18, 26
    target = planes(height, width, rng)
    prediction = planes(height, width, rng) if predicted else None
    temporal = temporal_contexts(architecture, height, width, rng) if predicted else None

    def loss(flat: Tensor, *latents: Tensor) -> Tensor:
        networks = PartNetworks.of(flat, architecture, FrameType.I)
        decoded = parts_model.decode(latents, networks, architecture, prediction)
        bits = parts_model.rate(latents, networks, architecture, temporal)
        return 100 * model.distortion(model.plane_errors(decoded, target)) + bits

    inputs = [random_networks(architecture, rng), *random_latents(architecture, height, width)]
    for x in inputs:
        x.requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("architecture", [STANDARD, SMALL])
def test_what_is_decoded_is_added_to_the_prediction(architecture: Architecture) -> None:
    rng = np.random.default_rng(4)
    height, width = 18, 26
    networks = PartNetworks.of(random_networks(architecture, rng), architecture, FrameType.P)
    latents = random_latents(architecture, height, width)
    prediction = planes(height, width, rng)
    alone = parts_model.decode(latents, networks, architecture)
    both = parts_model.decode(latents, networks, architecture, prediction)
    for residual, predicted, plane in zip(alone, prediction, both, strict=True):
        assert residual.std() > 0.05
        np.testing.assert_allclose(plane, predicted + residual, rtol=0, atol=1e-12)


@pytest.mark.parametrize("is_temporal", [False, True])
def test_rate_is_that_of_each_latent_by_its_kinds_model(is_temporal: bool) -> None:
    rng = np.random.default_rng(9)
    temporal = temporal_contexts(STANDARD, 34, 46, rng) if is_temporal else None
    latents = random_latents(STANDARD, 34, 46)
    networks = PartNetworks.of(random_networks(STANDARD, rng), STANDARD, FrameType.I)
    # (first, count, kind, index of the first grid of `other`) as the format lists them
    pyramids = [(0, 7, 0, None), (7, 5, 1, 12), (12, 5, 1, None)]
    assert pyramids[-1][0] + pyramids[-1][1] == len(latents)
    total = 0.0
    for first, count, kind, other in pyramids:
        for k in range(count):
            grid = latents[first + k].numpy()
            for y, x in np.ndindex(grid.shape):
                inputs = [
                    grid[y + dy, x + dx] if y + dy >= 0 and 0 <= x + dx < grid.shape[1] else 0.0
                    for dy, dx in STANDARD.context
                ]
                if kind:
                    inputs.append(0.0 if other is None else latents[other + k][y, x].item())
                else:
                    inputs.append(temporal[k][y, x].item() if temporal else 0.0)
                out = model.mlp(networks.arms[kind], torch.tensor(inputs).double()[:, None])
                total += float(model.laplace_bits(latents[first + k][y, x], out[0], out[1]))
    ours = parts_model.rate(latents, networks, STANDARD, temporal)
    assert float(ours) == pytest.approx(total, rel=1e-9)


def test_networks_keep_the_order_and_groups_of_the_format() -> None:
    count = sum(STANDARD.parameters(FrameType.B).values())
    flat = torch.arange(count).double()
    networks = PartNetworks.of(flat, STANDARD, FrameType.B)
    joined = torch.cat([t.reshape(-1) for t in networks.tensors()])
    np.testing.assert_array_equal(joined, flat)
    groups = [torch.cat([t.reshape(-1) for t in g]) for g in networks.groups()]
    assert len(groups) == 2 * 2 + 1 + 2 * 2
    np.testing.assert_array_equal(torch.cat(groups).sort().values, flat)
    # Weights and biases of the chroma model: (13, 12, 12, 2), after luma's of the same shape
    luma = 13 * 12 + 12 + 12 * 12 + 12 + 12 * 2 + 2
    assert groups[2][0] == luma
    assert groups[2].numel() == 13 * 12 + 12 * 12 + 12 * 2
    assert groups[3][0] == luma + 13 * 12
