"""The PyTorch twin of architectures with parts: against plain loops and finite differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireo.codecs.coolchic import model, parts_model
from vireo.codecs.coolchic.config import NEAREST_6, STANDARD, Architecture, GridKind, Parts
from vireo.codecs.coolchic.initialise import cubic_kernel
from vireo.codecs.coolchic.interpolation import CHROMA_TAPS, LUMA_TAPS, slopes, taps
from vireo.codecs.coolchic.parts_model import Fields, PartNetworks
from vireo.gop import FrameType

SMALL = Architecture(
    grids=4,
    arm_hidden=(5,),
    upsampling_kernel=4,
    synthesis_hidden=(6,),
    parts=Parts(
        chroma_first=1,
        chroma_hidden=(),
        motion_first=2,
        motion_grids=2,
        motion_context=NEAREST_6[3:],
        motion_hidden=(),
    ),
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch's threads cost more than they give on pictures this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_networks(
    architecture: Architecture, frame_type: FrameType, rng: np.random.Generator
) -> Tensor:
    """Flat parameters whose networks neither die nor explode."""
    counts = architecture.parameters(frame_type)
    flat = np.zeros(sum(counts.values()))
    slices = architecture.parameter_slices(frame_type)
    for name, widths in architecture.networks(frame_type).items():
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


def random_latents(
    architecture: Architecture, frame_type: FrameType, height: int, width: int
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(grid.height, grid.width, generator=generator, dtype=torch.float64)
        for grid in architecture.latent_grids(frame_type, height, width)
    ]


def picture(rng: np.random.Generator, height: int, width: int) -> list[NDArray[np.uint8]]:
    sizes = (height, width), (height // 2, width // 2), (height // 2, width // 2)
    return [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]


def unit(planes: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
    return [torch.from_numpy(p).double() / 255 for p in planes]


def displaced(
    plane: NDArray[np.floating],
    moved: NDArray[np.int64],
    across: NDArray[np.floating],
    down: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Sample by sample, `moved` `[2, h, w]` in 64ths of a sample, filters `[64, taps]`."""
    height, width = plane.shape
    count = across.shape[1]
    block = 4 if count == LUMA_TAPS else 2
    before = count // 2 - 1
    result = np.zeros(plane.shape)
    for y, x in np.ndindex(plane.shape):
        dx, dy = moved[:, y // block, x // block]
        rows = np.clip(y + (dy >> 6) - before + np.arange(count), 0, height - 1)
        columns = np.clip(x + (dx >> 6) - before + np.arange(count), 0, width - 1)
        result[y, x] = down[dy & 63] @ plane[np.ix_(rows, columns)] @ across[dx & 63]
    return result


def vectors_in_64ths(rng: np.random.Generator, height: int, width: int) -> NDArray[np.int64]:
    """Fractions of all kinds, and some blocks far outside the picture."""
    moved = rng.integers(-400, 400, (2, -(-height // 4), -(-width // 4)))
    moved[:, 0, 0] = -64 * 300, 64 * 300
    moved[:, -1, -1] = 64 * 300, -64 * 300 + 1
    return moved


SIZES = pytest.mark.parametrize(("height", "width"), [(16, 24), (14, 22), (2, 6)])


@SIZES
def test_prediction_is_the_filters_sum(height: int, width: int) -> None:
    """Vectors that are no 64ths are rounded first, and chroma's from those."""
    rng = np.random.default_rng(1)
    reference = picture(rng, height, width)
    moved = vectors_in_64ths(rng, height, width)
    between = torch.from_numpy(moved + rng.uniform(-0.5, 0.49, moved.shape)) / 64
    ours = parts_model.predict(unit(reference), between)
    for c, plane in enumerate(reference):
        table = taps(CHROMA_TAPS if c else LUMA_TAPS) / 64
        n = (moved + 1) >> 1 if c else moved
        expected = displaced(plane / 255, n, table, table)
        np.testing.assert_allclose(ours[c], expected, atol=1e-12)


@SIZES
def test_vectors_get_the_gradient_of_the_unrounded_filters(height: int, width: int) -> None:
    rng = np.random.default_rng(2)
    reference = picture(rng, height, width)
    moved = vectors_in_64ths(rng, height, width)
    vectors = (torch.from_numpy(moved) / 64).double().requires_grad_()
    weights = [rng.normal(size=p.shape) for p in reference]
    planes = parts_model.predict(unit(reference), vectors)
    sum((p * torch.from_numpy(w)).sum() for p, w in zip(planes, weights, strict=True)).backward()

    expected = np.zeros(moved.shape)
    for c, (plane, weight) in enumerate(zip(reference, weights, strict=True)):
        count, n = (CHROMA_TAPS, (moved + 1) >> 1) if c else (LUMA_TAPS, moved)
        value, slope = taps(count) / 64, slopes(count).astype(np.float64)
        for axis, (across, down) in enumerate(((slope, value), (value, slope))):
            by_sample = weight * displaced(plane / 255, n, across, down)
            block = 2 if c else 4
            rows, columns = np.indices(plane.shape) // block
            np.add.at(expected[axis], (rows, columns), by_sample / (2 if c else 1))
    assert vectors.grad is not None
    np.testing.assert_allclose(vectors.grad, expected, atol=1e-12)


def test_the_gradient_points_to_where_a_block_came_from() -> None:
    """On a smooth picture it is, within some percent, what moving the blocks changes."""
    y, x = np.mgrid[0:32, 0:48].astype(float)
    v, u = np.mgrid[0:16, 0:24] * 2.0
    planes = [
        torch.from_numpy(np.sin(a / 4) * np.cos(b / 5 + 0.5)) for a, b in ((x, y), (u, v), (v, u))
    ]
    vectors = (torch.rand(2, 8, 12, generator=torch.Generator().manual_seed(3)) * 4 - 2).double()
    vectors.requires_grad_()
    by_plane = [
        torch.autograd.grad(parts_model.predict(planes, vectors)[c].sum(), vectors)[0]
        for c in range(3)
    ]
    step = 0.25
    for axis in (0, 1):
        offset = torch.zeros(2, 1, 1).double()
        offset[axis] = step
        for c in range(3):
            up, down = (
                parts_model.predict(planes, vectors.detach() + s * offset)[c] for s in (1, -1)
            )
            block = 2 if c else 4
            change = torch.nn.functional.avg_pool2d((up - down)[None], block)[0] * block**2
            error = by_plane[c][axis] - change / (2 * step)
            assert error[1:-1, 1:-1].norm() < 0.15 * change[1:-1, 1:-1].norm() / (2 * step), (
                axis,
                c,
            )


@pytest.mark.parametrize("architecture", [STANDARD, SMALL])
@pytest.mark.parametrize("frame_type", [FrameType.P, FrameType.B])
def test_fields_are_the_decoders_but_for_its_rounding(
    architecture: Architecture, frame_type: FrameType
) -> None:
    height, width = 38, 70
    rng = np.random.default_rng(4)
    parts = architecture.parts
    assert parts is not None
    count = 3 * frame_type
    pyramids = [
        [
            rng.integers(-4, 5, (-(-height >> k), -(-width >> k)))
            for k in range(parts.motion_first, parts.motion_first + parts.motion_grids)
        ]
        for _ in range(count)
    ]
    f = parts_model.fields(
        [[torch.from_numpy(g).double() for g in p] for p in pyramids], architecture, height, width
    )

    def doubled(v: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        padded = np.pad(v, 1, mode="edge")
        result = np.zeros((-(-height >> k), -(-width >> k)), np.int64)
        for y, x in np.ndindex(result.shape):
            i, j = y // 2 + 1, x // 2 + 1
            near_y, near_x = (i + 1 if y % 2 else i - 1), (j + 1 if x % 2 else j - 1)
            across = [3 * padded[r, j] + padded[r, near_x] for r in (i, near_y)]
            result[y, x] = (3 * across[0] + across[1] + 8) >> 4
        return result

    values = []
    for pyramid in pyramids:
        levels = {parts.motion_first + i: grid << 8 for i, grid in enumerate(pyramid)}
        v = np.zeros_like(pyramid[-1])
        for k in reversed(range(2, max(levels) + 1)):
            v = doubled(v, k) if k < max(levels) else v
            v = v + levels[k] if k >= 5 and k in levels else v
        for k in range(2, 5):
            for y, x in np.ndindex(v.shape) if k in levels else ():
                v[y, x] += levels[k][y >> (k - 2), x >> (k - 2)]
        values.append(v)
    assert len(f.vectors) == frame_type
    for i, vector in enumerate(f.vectors):
        for axis in (0, 1):
            expected = (values[2 * i + axis] + 8) >> 4
            np.testing.assert_allclose(64 * vector[axis], expected, atol=0.7)
    assert f.alpha is not None
    expected = np.clip(80 + ((values[2 * frame_type] + 4) >> 3), 0, 64)
    np.testing.assert_allclose(64 * f.alpha, expected, atol=0.8)
    assert 0 < expected.mean() < 64
    assert (f.beta is None) == (frame_type == FrameType.P)
    if f.beta is not None:
        expected = np.clip(32 + ((values[5] + 8) >> 4), 0, 64)
        np.testing.assert_allclose(64 * f.beta, expected, atol=0.7)
        assert 0 < expected.mean() < 64


def test_fields_by_finite_differences() -> None:
    """Small latents, so that alpha and beta are not clamped."""
    generator = torch.Generator().manual_seed(6)
    sizes = [(-(-20 >> k), -(-28 >> k)) for k in range(3, 7)]

    def small(middle: float) -> list[Tensor]:
        return [
            (torch.rand(s, generator=generator).double() * 0.3 + middle * (i == 3)).requires_grad_()
            for i, s in enumerate(sizes)
        ]

    latents = [x for middle in (0, 0, 0, 0, -1.5, 0) for x in small(middle)]

    def flat(*inputs: Tensor) -> Tensor:
        pyramids = [inputs[i : i + 4] for i in range(0, 24, 4)]
        f = parts_model.fields(pyramids, STANDARD, 20, 28)
        assert f.alpha is not None
        assert f.beta is not None
        return torch.cat([x.reshape(-1) for x in (*f.vectors, f.alpha, f.beta)])

    assert torch.autograd.gradcheck(flat, latents)


def test_blending_by_finite_differences() -> None:
    rng = np.random.default_rng(7)
    references = [unit(picture(rng, 10, 14)) for _ in range(2)]
    vectors = [torch.from_numpy(rng.normal(0, 2, (2, 3, 4))) for _ in range(2)]
    alpha, beta = (torch.from_numpy(rng.uniform(0.1, 0.9, (3, 4))).requires_grad_() for _ in "ab")

    def planes(alpha: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
        return tuple(parts_model.blend(Fields(vectors, alpha, beta), references))

    assert torch.autograd.gradcheck(planes, [alpha, beta])


@pytest.mark.parametrize("architecture", [STANDARD, SMALL])
@pytest.mark.parametrize("frame_type", list(FrameType))
def test_the_loss_by_finite_differences(architecture: Architecture, frame_type: FrameType) -> None:
    """By all networks and all latents but the vectors', whose derivative is another's."""
    assert architecture.parts is not None
    rng = np.random.default_rng(8)
    height, width = 18, 26
    target, *references = (unit(picture(rng, height, width)) for _ in range(1 + frame_type))
    grids = architecture.latent_grids(frame_type, height, width)
    latents = random_latents(architecture, frame_type, height, width)
    for grid, latent in zip(grids, latents, strict=True):
        if grid.kind == GridKind.BLENDING:
            # Not clamped: past a bound the gradient back to it is not the loss'.
            latent *= 0.1
            latent -= 1.2 / architecture.parts.motion_grids
    flat = random_networks(architecture, frame_type, rng)

    def loss(flat: Tensor, *smooth: Tensor) -> Tensor:
        rest = iter(smooth)
        values = [
            latent if grid.kind == GridKind.VECTORS else next(rest)
            for grid, latent in zip(grids, latents, strict=True)
        ]
        networks = PartNetworks.of(flat, architecture, frame_type)
        planes, _ = parts_model.decode(values, networks, architecture, references)
        bits = parts_model.rate(values, networks, architecture, frame_type)
        return 100 * model.distortion(planes, target) + bits

    smooth = [x for g, x in zip(grids, latents, strict=True) if g.kind != GridKind.VECTORS]
    inputs = [x.clone().requires_grad_() for x in (flat, *smooth)]
    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("frame_type", list(FrameType))
def test_rate_is_that_of_each_latent_by_its_kinds_model(frame_type: FrameType) -> None:
    rng = np.random.default_rng(9)
    height, width = 34, 46
    latents = random_latents(STANDARD, frame_type, height, width)
    networks = PartNetworks.of(random_networks(STANDARD, frame_type, rng), STANDARD, frame_type)
    parts = STANDARD.parts
    assert parts is not None
    # (first, count, kind, index of the first grid of `other`) as the format lists them
    pyramids = [(0, 7, 0, None), (7, 5, 1, 12), (12, 5, 1, None)]
    if frame_type == FrameType.P:
        pyramids += [(17, 4, 2, None), (21, 4, 2, None), (25, 4, 3, None)]
    if frame_type == FrameType.B:
        pyramids += [(17, 4, 2, 25), (21, 4, 2, 29), (25, 4, 2, None), (29, 4, 2, None)]
        pyramids += [(33, 4, 3, 37), (37, 4, 3, None)]
    assert pyramids[-1][0] + pyramids[-1][1] == len(latents)
    total = 0.0
    for first, count, kind, other in pyramids:
        context = STANDARD.context if kind < 2 else parts.motion_context
        for k in range(count):
            grid = latents[first + k].numpy()
            for y, x in np.ndindex(grid.shape):
                inputs = [
                    grid[y + dy, x + dx] if y + dy >= 0 and 0 <= x + dx < grid.shape[1] else 0.0
                    for dy, dx in context
                ]
                if kind:
                    inputs.append(0.0 if other is None else latents[other + k][y, x].item())
                out = model.mlp(networks.arms[kind], torch.tensor(inputs).double()[:, None])
                total += float(model.laplace_bits(latents[first + k][y, x], out[0], out[1]))
    ours = parts_model.rate(latents, networks, STANDARD, frame_type)
    assert float(ours) == pytest.approx(total, rel=1e-9)


def test_networks_keep_the_order_and_groups_of_the_format() -> None:
    count = sum(STANDARD.parameters(FrameType.B).values())
    flat = torch.arange(count).double()
    networks = PartNetworks.of(flat, STANDARD, FrameType.B)
    joined = torch.cat([t.reshape(-1) for t in networks.tensors()])
    np.testing.assert_array_equal(joined, flat)
    groups = [torch.cat([t.reshape(-1) for t in g]) for g in networks.groups()]
    assert len(groups) == 4 * 2 + 1 + 2 * 2
    np.testing.assert_array_equal(torch.cat(groups).sort().values, flat)
    # Weights and biases of the chroma model: (13, 12, 12, 2), after luma's 12 * 12 + 12 + ...
    luma = 12 * 12 + 12 + 12 * 12 + 12 + 12 * 2 + 2
    assert groups[2][0] == luma
    assert groups[2].numel() == 13 * 12 + 12 * 12 + 12 * 2
    assert groups[3][0] == luma + 13 * 12
    # An I frame leaves the models of motion to the base.
    still = PartNetworks.of(flat, STANDARD, FrameType.I).groups()
    assert len(still) == 2 * 2 + 1 + 2 * 2
