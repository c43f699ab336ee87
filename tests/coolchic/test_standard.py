"""Frames with parts (profile `standard`): the compiled core against the NumPy twin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic import motion, reference, stream
from vireo.codecs.coolchic import reference_standard as twin
from vireo.codecs.coolchic.config import FILTER_WEIGHTS, STANDARD, Architecture, GridKind, Parts
from vireo.codecs.coolchic.global_motion import GlobalMotion
from vireo.codecs.coolchic.networks import (
    frame_probabilities,
    motion_probabilities,
    temporal_parameters,
)
from vireo.codecs.coolchic.stream import StreamShape
from vireo.errors import HeaderError
from vireo.gop import FrameType

Grids = list[NDArray[np.int16]]

SMALL = Architecture(
    grids=4,
    arm_hidden=(5,),
    upsampling_kernel=4,
    synthesis_hidden=(7,),
    parts=Parts(chroma_first=1, chroma_hidden=(), motion_first=2, motion_grids=3),
)
LARGE = Architecture(
    grids=8,
    arm_hidden=(16, 3, 9),
    upsampling_kernel=16,
    synthesis_hidden=(5, 33, 8),
    parts=Parts(
        chroma_first=3,
        chroma_hidden=(9, 17),
        motion_first=4,
        motion_grids=6,
    ),
)
FEWEST = Architecture(
    grids=2,
    arm_hidden=(),
    upsampling_kernel=2,
    synthesis_hidden=(),
    parts=Parts(chroma_first=1, chroma_hidden=(), motion_first=5, motion_grids=1),
)
ARCHITECTURES = {"standard": STANDARD, "small": SMALL, "large": LARGE, "fewest": FEWEST}


@dataclass
class Case:
    shape: StreamShape
    frame_type: FrameType
    networks: _core.Networks
    grids: Grids
    references: list[list[NDArray[np.uint8]]]
    inherited: list[NDArray[np.int32]]

    @property
    def core(self) -> _core.Architecture:
        return self.shape.core()

    @property
    def shapes(self) -> twin.Shapes:
        return shapes_of(self.shape)

    @property
    def temporal(self) -> Grids:
        if self.frame_type == FrameType.I:
            return []
        parts = self.shape.architecture.parts
        assert parts is not None
        fields = self.grids[len(twin.grids(self.shapes, 0)) :]
        return motion.temporal_contexts(self.core, fields, self.references, parts, self.inherited)

    @property
    def tiles(self) -> int:
        return _core.tile_count(self.core, *self.grids[0].shape, int(self.frame_type))

    def reader(self) -> _core.LatentReader:
        reader = _core.LatentReader(self.core, self.networks, *self.grids[0].shape)
        reader.set_inherited(self.inherited)
        return reader

    def encode(
        self,
        first: int,
        count: int,
        number: int | None = None,
        base: NDArray[np.int32] | None = None,
    ) -> bytes:
        return _core.encode_latents(
            self.core, self.networks, self.grids, first, count, self.temporal, number, base
        )

    def twin_fields(self, latents: Grids) -> list[reference.Ints]:
        inherited = [v.astype(np.int64) for v in self.inherited]
        return twin.frame_fields(self.shapes, latents, int(self.frame_type), inherited)

    def twin_networks(self) -> twin.Networks:
        n = self.networks
        return twin.make_networks(
            self.shapes,
            n.magnitude_bits,
            n.parameters.tolist(),
            n.filtered,
            n.inherits,
            n.references,
            n.corners,
        )

    def section(self, data: bytes) -> twin.Section:
        return twin.Section(data, self.shapes, int(self.frame_type))


def shapes_of(shape: StreamShape) -> twin.Shapes:
    a, p = shape.architecture, shape.architecture.parts
    assert p is not None
    return twin.Shapes(
        a.grids,
        a.context,
        a.arm_widths(),
        a.upsampling_kernel,
        a.synthesis_hidden,
        shape.band_rows_log2,
        shape.block_log2,
        p.chroma_first,
        p.chroma_hidden,
        p.motion_first,
        p.motion_grids,
        motion_probabilities().tolist(),
        frame_probabilities().tolist(),
        temporal_parameters().tolist(),
    )


def random_parameters(
    architecture: Architecture, rng: np.random.Generator, spread: float = 1.0
) -> NDArray[np.int32]:
    parts: dict[str, NDArray[np.floating]] = {}
    formats = architecture.formats()
    for name, widths in architecture.networks(FrameType.B).items():
        weight, bias = 2.0 ** formats[name].weight_bits, 2.0 ** formats[name].bias_bits
        layers = []
        for i, o in pairwise(widths):
            layers.append(rng.normal(0, 0.5 * spread * weight / np.sqrt(i), i * o))
            layers.append(rng.normal(0, 0.1 * bias, o))
        parts[name] = np.concatenate(layers)
    side = architecture.upsampling_kernel
    parts["upsampling"] = rng.normal(2**12 / side**2, 2**10 / side**2, side**2)
    order = architecture.parameters(FrameType.B)
    filters = rng.spawn(1)[0].normal(0, 40 * spread, sum(FILTER_WEIGHTS))
    flat = np.concatenate([*(parts[name] for name in order), filters])
    return flat.clip(-32767, 32767).astype(np.int32)


def make_case(
    frame_type: FrameType,
    architecture: Architecture = STANDARD,
    height: int = 34,
    width: int = 50,
    *,
    seed: int = 0,
    magnitude_bits: int = 5,
    band_rows_log2: int = 0,
    spread: float = 1.0,
) -> Case:
    rng = np.random.default_rng(seed)
    shape = StreamShape(architecture, band_rows_log2, 3)
    parameters = random_parameters(architecture, rng, spread)
    if frame_type == FrameType.I:  # the residual around mid-grey
        slices = architecture.parameter_slices(frame_type)
        parameters[slices["synthesis_luma"].stop - 1] = 1 << 11
        parameters[slices["synthesis_chroma"].stop - 2 :] = 1 << 11
    networks = _core.Networks(shape.core(), int(frame_type), magnitude_bits, parameters)
    networks.filtered = seed % 3 != 1, seed % 3 != 2
    grids: Grids = []
    for grid in architecture.latent_grids(frame_type, height, width):
        most = _core.MAX_MOTION if grid.is_motion else 2**magnitude_bits - 1
        scale = 1.5 * spread * (1 + grid.is_motion)
        g = np.round(rng.laplace(0, scale, (grid.height, grid.width)))
        if grid.level:
            g[: grid.height // 2, : grid.width // 2] = 0
        grids.append(g.clip(-most, most).astype(np.int16))
    references = [
        [textured(rng, height >> c, width >> c) for c in (0, 1, 1)] for _ in range(frame_type)
    ]
    # Every other case with references inherits motion, half of the others have the whole picture's.
    blocks = -(-height // 4), -(-width // 4)
    inherits = seed % 2 == 1
    inherited = [
        rng.integers(-400, 401, blocks, dtype=np.int32) for _ in range(2 * frame_type * inherits)
    ]
    if frame_type:
        networks.inherits = inherits
    if frame_type and seed % 4 == 2:
        networks.corners = rng.integers(-300, 301, 6 * frame_type).tolist()
        inherited = list(GlobalMotion(networks.corners, (height, width)))
    return Case(shape, frame_type, networks, grids, references, inherited)


def textured(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Noise on a slope, the stronger the farther to the right."""
    noise = rng.normal(0, 100, (height, width)) * (np.arange(width) / width) ** 3
    slope = 3 * np.arange(height)[:, None] + np.arange(width)
    return (60 + slope + noise).round().clip(0, 255).astype(np.uint8)


def same_as_twin(case: Case) -> NDArray[np.uint8]:
    """Checks the core's picture against the twin's, and returns its luma."""
    grids = [g.astype(np.int64) for g in case.grids]
    inherited = [v.astype(np.int64) for v in case.inherited]
    expected = twin.reconstruct(
        case.shapes, case.twin_networks(), grids, case.references, inherited
    )
    got = _core.reconstruct(
        case.core, case.networks, case.grids, case.references, inherited=case.inherited
    )
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    return got[0]


@pytest.fixture(params=list(_core.Isa), ids=lambda isa: isa.name)
def isa(request: pytest.FixtureRequest) -> Iterator[None]:
    if not _core.has_isa(request.param):
        pytest.skip(f"this machine has no {request.param}")
    _core.force_isa(request.param)
    yield
    _core.force_isa(next(i for i in reversed(_core.Isa) if _core.has_isa(i)))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("frame_type", list(FrameType))
@pytest.mark.parametrize("name", list(ARCHITECTURES))
@pytest.mark.parametrize(("height", "width"), [(34, 50), (2, 2), (36, 18), (4, 530)])
def test_picture_equals_the_twins(
    frame_type: FrameType, name: str, height: int, width: int
) -> None:
    case = make_case(frame_type, ARCHITECTURES[name], height, width, seed=height)
    luma = same_as_twin(case)
    if height > 2 and name in ("standard", "small"):
        assert len(np.unique(luma)) > 10  # a picture, not a flat field


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("frame_type", list(FrameType))
def test_rows_of_zeros_are_passed_over(frame_type: FrameType) -> None:
    case = make_case(frame_type, LARGE, 72, 40, seed=4)
    for grid in case.grids:
        grid[:] = 0
    same_as_twin(case)
    case.grids[1][20, 3] = 3
    case.grids[5][1, 0] = -2
    case.grids[8][-1, -1] = 1
    same_as_twin(case)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("spread", [40.0, 4000.0])
def test_overflow_wraps_alike(spread: float) -> None:
    same_as_twin(make_case(FrameType.B, seed=3, magnitude_bits=11, spread=spread))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("frame_type", [FrameType.P, FrameType.B])
@pytest.mark.parametrize("name", list(ARCHITECTURES))
@pytest.mark.parametrize(("height", "width"), [(34, 50), (18, 26), (2, 2), (4, 530)])
def test_temporal_contexts_equal_the_twins(
    frame_type: FrameType, name: str, height: int, width: int
) -> None:
    case = make_case(frame_type, ARCHITECTURES[name], height, width, seed=width)
    same_contexts(case, case.shapes)
    if height > 2:
        assert len(contexts_in(case)) > 3


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("frame_type", [FrameType.P, FrameType.B])
@pytest.mark.parametrize("spread", [256, 32767])
def test_temporal_contexts_of_any_network_equal_the_twins(
    frame_type: FrameType, spread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for seed in range(10):
        case = make_case(frame_type, LARGE, 34, 50, seed=seed)
        rng = np.random.default_rng(seed)
        network = rng.integers(-spread, spread + 1, _core.TEMPORAL_PARAMETERS).astype(np.int16)
        network[-1] = 4 << 8
        monkeypatch.setattr(stream, "temporal_parameters", lambda n=network: n)
        same_contexts(case, replace(case.shapes, temporal=network.tolist()))
        found |= contexts_in(case)
    assert found == set(range(16)) if spread == 256 else {0, 15} <= found


def contexts_in(case: Case) -> set[int]:
    return {int(c) for plane in case.temporal for c in np.unique(plane)}


def same_contexts(case: Case, shapes: twin.Shapes) -> None:
    expected = twin.temporal_contexts(shapes, case.twin_fields(case.grids), case.references)
    for got, plane, grid in zip(case.temporal, expected, case.grids, strict=False):
        np.testing.assert_array_equal(got, plane)
        assert got.shape == grid.shape
    assert len(case.temporal) == len(expected) == shapes.grids


def test_flat_references_tell_of_nothing() -> None:
    case = make_case(FrameType.B)
    for picture in case.references:
        for plane in picture:
            plane[:] = 90
    for grid in case.grids[len(twin.grids(case.shapes, 0)) :]:
        grid[:] = 0
    for plane in case.temporal:
        assert len(np.unique(plane)) == 1


Sections = list[tuple[bytes, int, int]]


def sections(case: Case, splits: list[int]) -> Sections:
    return [(case.encode(a, b - a), a, b - a) for a, b in pairwise([0, *splits, case.tiles])]


def decoded(case: Case, coded: Sections) -> Grids:
    reader = case.reader()
    for data, first, count in coded:
        section = _core.SectionReader(reader, data, first, count)
        section.read()
        section.read(case.references)
        assert section.done
    return reader.grids()


def decoded_by_twin(case: Case, coded: Sections) -> list[reference.Ints]:
    shapes, networks, references = case.shapes, case.twin_networks(), int(case.frame_type)
    latents = twin.empty_latents(shapes, references, *case.grids[0].shape)
    luma_first = case.tiles - len(reference.tiles(shapes, latents[: shapes.grids]))
    temporal: list[reference.Ints] = []
    for data, first, count in coded:
        if references and first <= luma_first < first + count:
            # Motion may be in this very section.
            before = luma_first - first
            twin.decode_latents(
                case.section(data), shapes, references, networks, latents, first, before
            )
            temporal = twin.temporal_contexts(shapes, case.twin_fields(latents), case.references)
        twin.decode_latents(
            case.section(data), shapes, references, networks, latents, first, count, temporal
        )
    return latents


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("frame_type", list(FrameType))
@pytest.mark.parametrize(
    ("name", "options", "splits"),
    [
        ("standard", {}, []),
        ("small", {"seed": 1, "height": 66, "width": 38}, [3, 9]),
        ("standard", {"seed": 2, "band_rows_log2": 2}, [4]),
        ("large", {"seed": 3, "magnitude_bits": 9, "spread": 300.0}, []),
    ],
)
def test_latents_round_trip_and_equal_the_twins(
    frame_type: FrameType, name: str, options: dict[str, int], splits: list[int]
) -> None:
    case = make_case(frame_type, ARCHITECTURES[name], **options)
    coded = sections(case, splits)
    for got, twins, original in zip(
        decoded(case, coded), decoded_by_twin(case, coded), case.grids, strict=True
    ):
        np.testing.assert_array_equal(got, original)
        np.testing.assert_array_equal(twins, original)


@pytest.mark.parametrize("frame_type", [FrameType.P, FrameType.B])
def test_only_luma_needs_the_references(frame_type: FrameType) -> None:
    case = make_case(frame_type)
    data, luma = case.encode(0, case.tiles), case.shape.architecture.grids
    reader = case.reader()
    assert (reader.tiles, reader.free_tiles) == (case.tiles, case.tiles - luma)
    section = _core.SectionReader(reader, data, 0, case.tiles)
    section.read()
    assert not section.done
    assert reader.temporal() == []
    for k, (got, original) in enumerate(zip(reader.grids(), case.grids, strict=True)):
        np.testing.assert_array_equal(got, original if k >= luma else 0)
    with pytest.raises(ValueError, match="references"):
        section.read([])
    section.read(case.references)
    assert section.done
    given = case.reader()
    given.set_temporal(case.temporal)
    assert given.free_tiles == case.tiles
    _core.SectionReader(given, data, 0, case.tiles).read()
    for got, again, original in zip(reader.grids(), given.grids(), case.grids, strict=True):
        np.testing.assert_array_equal(got, original)
        np.testing.assert_array_equal(again, original)
    for got, expected in zip(reader.temporal(), case.temporal, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_temporal_contexts_that_cannot_be_are_refused() -> None:
    case = make_case(FrameType.P)
    for wrong, reason in (
        (case.temporal[:-1], "each"),
        (case.temporal[::-1], "size"),
        ([np.full_like(plane, 16) for plane in case.temporal], "15"),
        ([np.full_like(plane, -1) for plane in case.temporal], "15"),
    ):
        with pytest.raises(ValueError, match=reason):
            _core.measure_latents(case.core, case.networks, case.grids, wrong)


def with_motion(case: Case, seed: int) -> Case:
    """Fields as motion is: still cells, and neighbours that move alike."""
    rng = np.random.default_rng(seed)
    layout = case.shape.architecture.latent_grids(case.frame_type, *case.grids[0].shape)
    for grid, values in zip(layout, case.grids, strict=True):
        if grid.is_motion:
            values[:] = 0
            values[:, grid.width // 3 :] = rng.integers(-40, 40)
            values[grid.height // 2 :, : grid.width // 2] = rng.integers(-3, 4)
    return case


@pytest.mark.parametrize("frame_type", [FrameType.P, FrameType.B])
def test_motion_that_repeats_costs_little_and_decodes_alike(frame_type: FrameType) -> None:
    height, width = 130, 190
    case = with_motion(make_case(frame_type, STANDARD, height, width), 3)
    data = case.encode(0, 1)
    latents = twin.empty_latents(case.shapes, int(frame_type), height, width)
    twin.decode_latents(
        case.section(data), case.shapes, int(frame_type), case.twin_networks(), latents, 0, 1
    )
    reader = case.reader()
    _core.SectionReader(reader, data, 0, 1).read()
    layout = case.shape.architecture.latent_grids(frame_type, height, width)
    moving = [i for i, grid in enumerate(layout) if grid.is_motion]
    for i in moving:
        np.testing.assert_array_equal(latents[i], case.grids[i])
        np.testing.assert_array_equal(reader.grids()[i], case.grids[i])
    # The same latents in another order are hardly a motion.
    rng = np.random.default_rng(0)
    for i in moving:
        case.grids[i] = rng.permuted(case.grids[i].ravel()).reshape(case.grids[i].shape)
    shuffled = case.encode(0, 1)
    assert len(data) < 0.4 * len(shuffled)


def test_no_motion_takes_a_byte_at_most() -> None:
    case = make_case(FrameType.B, STANDARD, 288, 352)
    for grid in case.grids:
        grid[:] = 0
    assert len(case.encode(0, 1)) <= 1


@pytest.mark.parametrize("wrong", [63, 65473])
def test_probabilities_that_no_decision_has_are_refused(wrong: int) -> None:
    tables = motion_probabilities(), frame_probabilities()
    core_with(*tables, temporal_parameters())
    for i in range(2):
        changed = [table.copy() for table in tables]
        changed[i][1, -1] = wrong
        with pytest.raises(ValueError, match="architecture"):
            core_with(*changed, temporal_parameters())
        changed[i] = tables[i][:-1]
        with pytest.raises(ValueError, match="architecture"):
            core_with(*changed, temporal_parameters())


def core_with(
    motion: NDArray[np.uint16], frame: NDArray[np.uint16], temporal: NDArray[np.int16]
) -> _core.Architecture:
    parts = _core.Parts(1, [], 3, 4, motion, frame, temporal)
    return _core.Architecture(2, [(0, -1)], [1, 2], 2, [], 0, 3, parts)


def test_a_network_of_temporal_contexts_of_another_size_is_refused() -> None:
    network = temporal_parameters()
    tables = motion_probabilities(), frame_probabilities()
    core_with(*tables, network)
    for wrong in (network[:-1], np.append(network, network[:1])):
        with pytest.raises(ValueError, match="architecture"):
            core_with(*tables, wrong)


def test_the_other_grid_counts() -> None:
    """U's latents cost less where their model has learnt that they are V's."""
    case = make_case(FrameType.I, replace(STANDARD, arm_hidden=()), 64, 96, seed=5)
    parameters = np.zeros_like(case.networks.parameters)
    arm = case.shape.architecture.parameter_slices(FrameType.I)["arm_chroma"]
    weights = parameters[arm]
    weights[-1] = -3 << 8
    alone = _core.Networks(case.core, 0, 5, parameters)
    weights[12] = 256  # the mean, of `other`
    seeing = _core.Networks(case.core, 0, 5, parameters)
    described = case.shape.architecture.latent_grids(FrameType.I, 64, 96)
    first = next(i for i, grid in enumerate(described) if grid.other is not None)
    other = described[first].other
    assert other is not None
    case.grids[first][:] = case.grids[other]
    bits = [_core.measure_latents(case.core, n, case.grids)[first] for n in (alone, seeing)]
    assert bits[1] < 0.3 * bits[0]


def test_the_temporal_context_counts() -> None:
    """Latents cost less where luma's model has learnt that the context tells their scale."""
    case = make_case(FrameType.P, replace(STANDARD, arm_hidden=()), 64, 96)
    parameters = np.zeros_like(case.networks.parameters)
    weights = parameters[case.shape.architecture.parameter_slices(FrameType.P)["arm_luma"]]
    weights[-1] = 1 << 8
    alone = _core.Networks(case.core, 1, 5, parameters)
    weights[-1] = -3 << 8
    weights[25] = 128  # the scale, of the context
    seeing = _core.Networks(case.core, 1, 5, parameters)
    rng = np.random.default_rng(5)
    temporal = [rng.integers(0, 16, g.shape).astype(np.int16) for g in case.grids[:7]]
    case.grids[0][:] = rng.laplace(0, 2.0 ** (temporal[0] / 2 - 3)).round().clip(-31, 31)
    first, blind, seen = (
        _core.measure_latents(case.core, n, case.grids, planes)[0]
        for n, planes in ((alone, []), (alone, temporal), (seeing, temporal))
    )
    assert first == blind
    assert seen < 0.8 * blind


@pytest.mark.parametrize("frame_type", list(FrameType))
def test_measured_bits_are_what_is_spent(frame_type: FrameType) -> None:
    case = make_case(frame_type, STANDARD, 96, 80)
    bits = sum(_core.measure_latents(case.core, case.networks, case.grids, case.temporal))
    spent = 8 * sum(len(data) for data, _, _ in sections(case, []))
    assert abs(spent - bits) <= 16 + 1e-3 * bits


SETS = np.stack([random_parameters(STANDARD, np.random.default_rng(s)) for s in (1, 2, 3)]).astype(
    np.int16
)


def networks_of(frame_type: FrameType, parameters: NDArray[np.integer]) -> _core.Networks:
    return _core.Networks(
        StreamShape(STANDARD).core(), int(frame_type), 5, parameters.astype(np.int32)
    )


def bases_of(frame_type: FrameType) -> dict[int, NDArray[np.int32]]:
    """Each base that a frame may start from, by its number."""
    bases = {i: s.astype(np.int32) for i, s in enumerate(SETS)}
    for r in range(frame_type):
        rng = np.random.default_rng(10 + r)
        bases[254 + r] = random_parameters(STANDARD, rng)
    return bases


def changed(
    base: NDArray[np.int32], frame_type: FrameType, rng: np.random.Generator, amount: int
) -> NDArray[np.int32]:
    """An update of every other module, in units of 4, 16, …."""
    result = base.copy()
    for i, part in enumerate(STANDARD.parameter_slices(frame_type).values()):
        if i % 2 == 0:
            step = 1 << (i + 1)
            result[part] += step * rng.integers(-amount, amount + 1, result[part].shape)
    return result.clip(-32767, 32767)


@pytest.mark.parametrize("frame_type", list(FrameType))
@pytest.mark.parametrize("amount", [0, 1, 200])
def test_networks_round_trip_from_every_base(frame_type: FrameType, amount: int) -> None:
    core, shapes = StreamShape(STANDARD).core(), shapes_of(StreamShape(STANDARD))
    bases = bases_of(frame_type)
    known = [networks_of(FrameType.P, bases[254 + r]) for r in range(frame_type)]
    twins = [twin.make_networks(shapes, 5, n.parameters.tolist()) for n in known]
    for number, base in bases.items():
        parameters = changed(base, frame_type, np.random.default_rng(number), amount)
        networks = networks_of(frame_type, parameters)
        data = networks.encode_update(number, base)
        again = _core.Networks.decode_update(core, int(frame_type), data, SETS, known)
        assert again.magnitude_bits == 5
        np.testing.assert_array_equal(again.parameters, parameters)
        coded = twin.Section(data, shapes, int(frame_type))
        ours = twin.decode_networks(coded, shapes, SETS, twins)
        assert ours.parameters == parameters.tolist()
        assert ours.magnitude_bits == 5
        bits = networks.update_bits(number, base)
        if amount == 0:  # an update that changes nothing
            assert len(data) <= 6
            assert bits <= 48
        else:
            assert abs(8 * len(data) - bits) <= 16 + 0.01 * bits


def test_the_core_s_formats_are_those_of_the_trainer() -> None:
    networks = networks_of(FrameType.I, SETS[0])
    formats = STANDARD.formats()
    found = [mlp[1:] for mlp in (*networks.arms, *networks.syntheses)]
    assert found == [(f.weight_bits, f.bias_bits, list(f.hidden_bits)) for f in formats.values()]
    slices = STANDARD.parameter_slices(FrameType.I)
    assert networks.kernel[1] == 10
    np.testing.assert_array_equal(networks.kernel[0], networks.parameters[slices["upsampling"]])
    for name, mlp in zip(formats, (*networks.arms, *networks.syntheses), strict=True):
        np.testing.assert_array_equal(mlp[0], networks.parameters[slices[name]])


def test_parameters_out_of_range_are_refused() -> None:
    core = StreamShape(STANDARD).core()
    most = np.full(len(SETS[0]), 32767, np.int32)
    least = -most
    # Coded against the opposite base, the same update leads out of the range.
    data = networks_of(FrameType.P, most).encode_update(0, least)
    sets = least.astype(np.int16)[None]
    assert (_core.Networks.decode_update(core, 1, data, sets, [networks_of(FrameType.P, most)])
            .parameters == 32767).all()  # fmt: skip
    with pytest.raises(ValueError, match="out of range"):
        _core.Networks.decode_update(core, 1, data, -sets, [networks_of(FrameType.P, most)])
    with pytest.raises(ValueError, match="32767"):
        networks_of(FrameType.P, most + 1)


@pytest.mark.parametrize("frame_type", list(FrameType))
@pytest.mark.parametrize("number", [len(SETS), 31])
def test_a_set_that_does_not_exist_is_refused(frame_type: FrameType, number: int) -> None:
    core, shapes = StreamShape(STANDARD).core(), shapes_of(StreamShape(STANDARD))
    base = SETS[0].astype(np.int32)
    known = [networks_of(FrameType.P, base)] * frame_type
    data = networks_of(frame_type, base).encode_update(number, base)
    with pytest.raises(ValueError, match="base"):
        _core.Networks.decode_update(core, int(frame_type), data, SETS, known)
    twins = [twin.make_networks(shapes, 5, base.tolist())] * frame_type
    with pytest.raises(ValueError, match="base"):
        twin.decode_networks(twin.Section(data, shapes, int(frame_type)), shapes, SETS, twins)


@pytest.mark.parametrize(
    ("frame_type", "number"),
    [(FrameType.I, 32), (FrameType.I, 254), (FrameType.P, 255), (FrameType.B, 253)],
)
def test_a_base_that_no_stream_can_name_is_refused(frame_type: FrameType, number: int) -> None:
    base = SETS[0].astype(np.int32)
    networks = networks_of(frame_type, base)
    with pytest.raises(ValueError, match="base"):
        networks.encode_update(number, base)
    with pytest.raises(ValueError, match="base"):
        networks.update_bits(number, base)


def test_an_i_frame_inherits_nothing() -> None:
    with pytest.raises(ValueError, match="inherits"):
        networks_of(FrameType.I, SETS[0]).inherits = True


def test_arbitrary_bytes_decode_alike() -> None:
    case = make_case(FrameType.B, SMALL, 18, 26)
    core, shapes = case.core, case.shapes
    sets = random_parameters(SMALL, np.random.default_rng(1)).astype(np.int16)[None]
    rng = np.random.default_rng(9)
    outcomes = set()
    base = sets[0].astype(np.int32)
    update = case.networks.encode_update(0, base)
    for _ in range(200):
        data = update[: rng.integers(0, len(update))] + rng.bytes(8)
        try:
            networks = _core.Networks.decode_update(core, 2, data, sets, [case.networks] * 2)
        except ValueError:
            outcomes.add("refused")
            with pytest.raises(ValueError, match=r"."):
                twin.decode_networks(case.section(data), shapes, sets, [case.twin_networks()] * 2)
            continue
        outcomes.add("decoded")
        ours = twin.decode_networks(case.section(data), shapes, sets, [case.twin_networks()] * 2)
        assert ours.parameters == networks.parameters.tolist()
        assert ours.magnitude_bits == networks.magnitude_bits
        assert tuple(ours.filtered) == networks.filtered
        assert ours.inherits == networks.inherits
        assert list(ours.corners) == networks.corners
    assert outcomes == {"refused", "decoded"}
    [(section, _, _)] = sections(case, [])
    for _ in range(30):
        data = section[: rng.integers(0, len(section))] + rng.bytes(8)
        coded = [(data, 0, case.tiles)]
        for a, b in zip(decoded(case, coded), decoded_by_twin(case, coded), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("frame_type", [FrameType.P, FrameType.B])
def test_the_farthest_vectors_equal_the_twin_s(frame_type: FrameType) -> None:
    case = make_case(frame_type, seed=1)
    rng = np.random.default_rng(2)
    for values in case.inherited:
        values[:] = rng.choice([-_core.MAX_INHERITED, _core.MAX_INHERITED], values.shape)
    layout = case.shape.architecture.latent_grids(frame_type, *case.grids[0].shape)
    for grid, values in zip(layout, case.grids, strict=True):
        if grid.kind == GridKind.VECTORS:
            values[:] = rng.choice([-_core.MAX_MOTION, _core.MAX_MOTION], values.shape)
    same_as_twin(case)
    same_contexts(case, case.shapes)
    for values in case.inherited:
        values[0, 0] = _core.MAX_INHERITED + 1
    with pytest.raises(ValueError, match="131072"):
        case.reader()


def test_inherited_motion_is_given_where_networks_say_so() -> None:
    case = make_case(FrameType.P, seed=1)
    assert case.networks.inherits
    data, planes = case.encode(0, case.tiles), case.inherited
    corners = [3, -9, 40, 0, 0, 20]
    for inherits, moved, given in ((True, [], []), (False, [], planes), (False, corners, [])):
        case.networks.inherits, case.networks.corners = inherits, moved
        case.inherited = given
        section = _core.SectionReader(case.reader(), data, 0, case.tiles)
        with pytest.raises(ValueError, match="begin with"):
            section.read(case.references)
        with pytest.raises(ValueError, match="begin with"):
            _core.reconstruct(
                case.core, case.networks, case.grids, case.references, inherited=given
            )


@pytest.mark.parametrize("size", [(2, 2), (34, 50), (1080, 1920), (4, 8)])
def test_the_whole_picture_s_motion_equals_the_twin_s(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size[0])
    most = _core.MAX_CORNER
    for corners in (rng.integers(-900, 901, 12).tolist(), rng.choice([-most, most], 6).tolist()):
        ours = GlobalMotion(corners, size)
        expected = twin.global_motion(corners, *size)
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.shape == (-(-size[0] // 4), -(-size[1] // 4))


def test_corners_are_read_as_they_were_written() -> None:
    base = SETS[0].astype(np.int32)
    networks = networks_of(FrameType.B, base)
    bits = networks.update_bits(0, base)
    networks.corners = [-_core.MAX_CORNER, 5, 0, _core.MAX_CORNER, 1, -1, *range(6)]
    data = networks.encode_update(0, base)
    assert 8 * len(data) < networks.update_bits(0, base) + 16
    assert networks.update_bits(0, base) > bits + 60
    core = StreamShape(STANDARD).core()
    again = _core.Networks.decode_update(core, 2, data, SETS, [networks] * 2)
    assert again.corners == networks.corners
    for wrong in ([0] * 6, [_core.MAX_CORNER + 1] + [0] * 11):
        with pytest.raises(ValueError, match=r"corner|six numbers"):
            networks.corners = wrong
    with pytest.raises(ValueError, match="not with both"):
        networks.inherits = True
    with pytest.raises(ValueError, match="six numbers"):
        networks_of(FrameType.I, base).corners = [0] * 6


def test_latents_beyond_the_networks_magnitude_are_refused() -> None:
    case = make_case(FrameType.I, magnitude_bits=2)
    case.grids[0][0, 0] = 4
    with pytest.raises(ValueError, match="beyond"):
        case.encode(0, case.tiles)


def test_networks_that_stand_alone_are_no_start_of_a_section() -> None:
    core = reference_core()
    networks = _core.Networks(core, 0, 3)
    reader = _core.LatentReader(core, networks, 16, 16)
    with pytest.raises(ValueError, match="parts"):
        _core.SectionReader(reader, b"12345678", 0, 1, behind_networks=True)


def test_networks_of_another_architecture_are_refused() -> None:
    case, other = make_case(FrameType.P), make_case(FrameType.P, SMALL)
    with pytest.raises(ValueError, match="another architecture"):
        _core.reconstruct(other.core, case.networks, other.grids, other.references)
    with pytest.raises(ValueError, match="another architecture"):
        _core.LatentReader(other.core, case.networks, 34, 50)
    with pytest.raises(ValueError, match="no parts"):
        _core.Networks(reference_core(), 0, 3, np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="as a whole"):
        case.networks.encode()


def reference_core() -> _core.Architecture:
    return StreamShape(Architecture()).core()


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_configuration_round_trips(name: str) -> None:
    shape = StreamShape(ARCHITECTURES[name], 5, 4)
    assert shape.profile == 1
    assert StreamShape.read(shape.write(), 1) == shape


@pytest.mark.parametrize(
    "parts",
    [
        replace(STANDARD.parts, chroma_first=7),
        replace(STANDARD.parts, motion_first=13),
        replace(STANDARD.parts, motion_grids=14),
    ],
)
def test_grids_that_do_not_exist_are_refused(parts: Parts) -> None:
    shape = StreamShape(replace(STANDARD, parts=parts))
    with pytest.raises(HeaderError, match="grids"):
        StreamShape.read(shape.write(), 1)
    with pytest.raises(ValueError, match="architecture"):
        shape.core()


def test_the_grids_are_the_twin_s() -> None:
    for architecture in ARCHITECTURES.values():
        for frame_type in FrameType:
            ours = architecture.latent_grids(frame_type, 64, 96)
            twins = twin.grids(shapes_of(StreamShape(architecture)), int(frame_type))
            assert [(g.kind, g.level, g.other) for g in ours] == [
                (g.kind, g.level, g.other) for g in twins
            ]
            for i, grid in enumerate(ours):
                if grid.other is not None:
                    assert grid.other > i
                    assert ours[grid.other].level == grid.level
    assert reference.SCALES == 80
