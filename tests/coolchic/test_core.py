"""The compiled core against the NumPy twin, sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic import reference
from vireo.codecs.coolchic.config import NEAREST_12, PAPER

Grids = list[NDArray[np.int16]]


@dataclass
class Case:
    shapes: reference.Shapes
    architecture: _core.Architecture
    networks: _core.Networks
    grids: Grids
    references: list[list[NDArray[np.uint8]]]


def make_case(
    frame_references: int,
    height: int = 34,
    width: int = 50,
    *,
    seed: int = 0,
    magnitude_bits: int = 5,
    band_rows_log2: int = 0,
    context: tuple[tuple[int, int], ...] = NEAREST_12,
    kernel: int = 8,
    spread: float = 1.0,
) -> Case:
    rng = np.random.default_rng(seed)
    shapes = reference.Shapes(
        PAPER.grids, context, (len(context), 12, 12, 2), kernel, (18,), band_rows_log2, 3
    )
    architecture = _core.Architecture(
        shapes.grids, list(context), list(shapes.arm), kernel, [18], band_rows_log2, 3
    )
    networks = _core.Networks(architecture, frame_references, magnitude_bits)

    def mlp(widths: list[int], weight_bits: int, scale: float) -> NDArray[np.int32]:
        parts = []
        for i, o in pairwise(widths):
            parts.append(rng.normal(0, scale * 2**weight_bits / np.sqrt(i), i * o))
            parts.append(rng.normal(0, 0.2 * 2**weight_bits, o))
        return np.concatenate(parts).clip(-32767, 32767).astype(np.int32)

    x = 3 + 3 * frame_references
    networks.set_arm(mlp([len(context), 12, 12, 2], 7, 0.8), 7, 9, [8, 8])
    synthesis = mlp([7, 18, x, x], 9, 0.4 * spread)
    # The residual around mid-grey in I frames, around nothing in the others.
    synthesis[-x:] = 0
    synthesis[-x:][2 * frame_references :][:3] = 0 if frame_references else 128
    networks.set_synthesis(synthesis, 9, 8, [11, 10])
    # A unit gain at 9 fractional bits, however many samples the kernel has.
    taps = rng.normal(2**11 / kernel**2, 2**9 / kernel**2, kernel**2)
    networks.set_kernel(taps.astype(np.int32), 9)
    grids: Grids = []
    for h, w in PAPER.grid_sizes(height, width):
        g = np.round(rng.laplace(0, 1.5 * spread, (h, w)))
        g[: h // 2, : w // 2] = 0
        grids.append(np.clip(g, -(2**magnitude_bits) + 1, 2**magnitude_bits - 1).astype(np.int16))
    grids[4][:] = 0
    references = [
        [
            rng.integers(0, 256, size, dtype=np.uint8)
            for size in ((height, width), (height // 2, width // 2), (height // 2, width // 2))
        ]
        for _ in range(frame_references)
    ]
    return Case(shapes, architecture, networks, grids, references)


def same_as_twin(case: Case) -> NDArray[np.uint8]:
    """Checks the core's picture against the twin's, and returns its luma."""
    references = case.networks.references
    twin = reference.decode_networks(case.networks.encode(), case.shapes, references)
    grids = [g.astype(np.int64) for g in case.grids]
    expected = reference.reconstruct(twin, grids, case.references)
    got = _core.reconstruct(case.architecture, case.networks, case.grids, case.references)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    return got[0]


@pytest.fixture(params=list(_core.Isa))
def isa(request: pytest.FixtureRequest):
    if not _core.has_isa(request.param):
        pytest.skip(f"this machine has no {request.param}")
    _core.force_isa(request.param)
    yield request.param
    _core.force_isa(next(i for i in reversed(_core.Isa) if _core.has_isa(i)))


@pytest.mark.parametrize("references", [0, 1, 2])
@pytest.mark.parametrize(("height", "width"), [(34, 50), (2, 2), (64, 18), (16, 130), (4, 530)])
def test_picture_equals_the_twins(references: int, height: int, width: int, isa: _core.Isa) -> None:
    luma = same_as_twin(make_case(references, height, width, seed=height))
    if height > 2:
        assert len(np.unique(luma)) > 10  # a picture, not a flat field


@pytest.mark.parametrize("kernel", [2, 4, 6, 16])
def test_kernels_of_any_size(kernel: int, isa: _core.Isa) -> None:
    same_as_twin(make_case(1, 22, 70, seed=kernel, kernel=kernel))


@pytest.mark.parametrize("references", [0, 1, 2])
def test_grids_that_are_empty_or_nearly(references: int, isa: _core.Isa) -> None:
    """Rows of zeros are passed over, beside rows that are not."""
    case = make_case(references, 40, 48, seed=8)
    for grid in case.grids:
        grid[:] = 0
    same_as_twin(case)
    case.grids[0][17, 30] = 3
    case.grids[2][8, 0] = -2
    case.grids[3][-1, -1] = 1
    same_as_twin(case)


@pytest.mark.parametrize("flow", [(0.0, 0.0), (3.0, -2.0), (0.3, 0.6), (-60.0, 70.0), (200.0, 3.0)])
def test_motion_of_the_whole_picture(flow: tuple[float, float], isa: _core.Isa) -> None:
    """Samples that lie side by side in the reference too, and ones on its border."""
    case = make_case(1, 44, 76, seed=5)
    parameters, weight_bits, bias_bits, hidden = case.networks.synthesis
    biases = np.zeros(6)
    biases[:2] = np.array(flow) / 16
    parameters[-6:] = np.round(biases * 2**bias_bits)
    parameters[-42:-6] //= 16  # hardly anything but the biases
    case.networks.set_synthesis(parameters, weight_bits, bias_bits, hidden)
    same_as_twin(case)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_weights_and_inputs(sign: int, isa: _core.Isa) -> None:
    """The one product sum that 16-bit multiply-adds can't hold is that of -32768 only."""
    case = make_case(0, 20, 34, seed=6, magnitude_bits=12)
    rng = np.random.default_rng(7)
    case.networks.set_kernel(np.full(64, sign * 32767, np.int32), 0)
    for grid in case.grids:
        grid[:] = rng.choice([-4095, 4095], grid.shape)
    weights = rng.choice([-32767, 32767], len(case.networks.synthesis[0])).astype(np.int32)
    for hidden in ([0, 0], [15, 15], [3, 12]):
        case.networks.set_synthesis(weights, 0, 0, hidden)
        same_as_twin(case)
        case.networks.set_synthesis(weights, 15, 15, hidden)
        same_as_twin(case)


def test_weights_beyond_16_bits_are_refused() -> None:
    case = make_case(0)
    for mlp, setter in (
        (case.networks.arm, case.networks.set_arm),
        (case.networks.synthesis, case.networks.set_synthesis),
    ):
        parameters = mlp[0].copy()
        parameters[3] = 32768
        with pytest.raises(ValueError, match="32767"):
            setter(parameters, *mlp[1:])
        parameters = mlp[0].copy()
        parameters[-1] = 100_000  # a bias
        setter(parameters, *mlp[1:])
    with pytest.raises(ValueError, match="32767"):
        case.networks.set_kernel(np.full(64, -32768, np.int32), 9)


@pytest.mark.parametrize("spread", [40.0, 4000.0])
def test_overflow_wraps_alike(spread: float, isa: _core.Isa) -> None:
    case = make_case(2, seed=3, magnitude_bits=11, spread=spread)
    case.networks.set_synthesis(case.networks.synthesis[0], 9, 8, [0, 15])
    same_as_twin(case)


def sections(case: Case, split: int) -> list[tuple[bytes, int, int]]:
    height, width = case.grids[0].shape
    tiles = _core.tile_count(case.architecture, height, width)
    bounds = [0, split, tiles] if split else [0, tiles]
    return [
        (
            _core.encode_latents(case.architecture, case.networks, case.grids, a, b - a),
            a,
            b - a,
        )
        for a, b in pairwise(bounds)
    ]


@pytest.mark.parametrize(
    ("options", "split"),
    [
        ({}, 0),
        ({"seed": 1, "height": 66, "width": 38}, 3),
        ({"seed": 2, "band_rows_log2": 3}, 4),
        ({"seed": 3, "context": ((-1, 0), (0, -1))}, 0),
        ({"seed": 4, "context": ((-2, 3), (-1, 4), (0, -2)), "height": 20}, 0),
        ({"seed": 5, "magnitude_bits": 9, "spread": 30.0}, 0),
    ],
)
def test_latents_round_trip_and_equal_the_twins(options: dict, split: int, isa: _core.Isa) -> None:
    case = make_case(1, **options)
    height, width = case.grids[0].shape
    reader = _core.LatentReader(case.architecture, case.networks, height, width)
    twin = reference.decode_networks(case.networks.encode(), case.shapes, 1)
    expected = reference.empty_latents(case.shapes, height, width)
    for data, first, count in sections(case, split):
        _core.SectionReader(reader, data, first, count).read()
        reference.decode_latents(data, case.shapes, twin, expected, first, count)
    for got, twins, original in zip(reader.grids(), expected, case.grids, strict=True):
        np.testing.assert_array_equal(got, original)
        np.testing.assert_array_equal(twins, original)


def test_measured_bits_are_what_is_spent() -> None:
    case = make_case(1, 96, 80)
    bits = sum(_core.measure_latents(case.architecture, case.networks, case.grids))
    spent = 8 * sum(len(data) for data, _, _ in sections(case, 0))
    assert abs(spent - bits) <= 16 + 1e-3 * bits


def test_networks_round_trip() -> None:
    case = make_case(2, spread=5.0)
    data = case.networks.encode()
    again = _core.Networks.decode(case.architecture, 2, data)
    assert again.magnitude_bits == case.networks.magnitude_bits
    for name in ("arm", "synthesis", "kernel"):
        for a, b in zip(getattr(case.networks, name), getattr(again, name), strict=True):
            np.testing.assert_array_equal(a, b)


def test_arbitrary_bytes_decode_alike() -> None:
    """Damaged latents give the same garbage everywhere, within the magnitude's limit."""
    case = make_case(1, 18, 26)
    rng = np.random.default_rng(9)
    twin = reference.decode_networks(case.networks.encode(), case.shapes, 1)
    decoded = 0
    for _ in range(30):
        data = rng.integers(0, 256, rng.integers(0, 60), dtype=np.uint8).tobytes()
        reader = _core.LatentReader(case.architecture, case.networks, 18, 26)
        try:
            _core.SectionReader(reader, data, 0, reader.tiles).read()
        except ValueError:
            continue
        decoded += 1
        expected = reference.empty_latents(case.shapes, 18, 26)
        reference.decode_latents(data, case.shapes, twin, expected, 0, reader.tiles)
        for a, b in zip(reader.grids(), expected, strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.abs(a).max() < 32
    assert decoded >= 5
