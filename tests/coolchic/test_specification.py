"""The examples and limits in `docs/bitstream.md`, against the twin and the compiled core."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.coolchic.test_standard import shapes_of as shapes_of_parts
from vireo import _core
from vireo.codecs.coolchic import reference, reference_standard
from vireo.codecs.coolchic.config import PAPER, STANDARD, Architecture, Parts
from vireo.codecs.coolchic.stream import StreamShape
from vireo.container import picture_hash
from vireo.gop import FrameType

SPECIFICATION = Path(__file__).parents[2] / "docs" / "bitstream.md"
TINY = Architecture(grids=1, arm_hidden=(), upsampling_kernel=2, synthesis_hidden=())


def example(name: str) -> str:
    text = SPECIFICATION.read_text(encoding="utf-8")
    match = re.search(rf"<!-- example {name} -->\n\n(.*?)\n(?:\n\S|\Z)", text + "\n\n", re.DOTALL)
    assert match is not None
    return match[1]


def rows(name: str) -> list[list[str]]:
    lines = example(name).splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def fields(name: str) -> dict[str, str]:
    """Names and values; a line with no name goes on with the value before."""
    values: dict[str, str] = {}
    key = ""
    for line in example(name).splitlines():
        first, *rest = re.split(r" {2,}", line.strip())
        if line.startswith("     ") or not rest:
            values[key] += " " + " ".join([first, *rest])
        else:
            key = first
            values[key] = " ".join(rest)
    return values


def numbers(text: str) -> list[int]:
    return [int(n) for n in text.split()]


def shapes_of(architecture: Architecture, shape: StreamShape) -> reference.Shapes:
    return reference.Shapes(
        architecture.grids,
        architecture.context,
        architecture.arm_widths(),
        architecture.upsampling_kernel,
        architecture.synthesis_hidden,
        shape.band_rows_log2,
        shape.block_log2,
    )


def test_cumulative_frequencies() -> None:
    assert [reference.TABLES[40].tail[j] for j in (0, 1, 2, 8, 16, 24, 144)] == [
        32768, 30782, 28917, 19874, 12054, 7311, 4,
    ]  # fmt: skip
    checked = 0
    for scale, fraction, k, frequency in rows("frequencies"):
        table = reference.TABLES[int(scale)]
        assert table.cumulative(int(k), int(fraction)) == int(frequency)
        checked += 1
    assert checked == 15


def test_range_coder_step_by_step() -> None:
    (start, *steps) = rows("range-coder")
    coder = reference.RangeDecoder(bytes.fromhex("a6a52eb76a"))
    bit = reference.AdaptiveBit()
    assert [coder.range, coder.code] == [int(start[2], 16), int(start[3], 16)]
    for step, value, range_, code, one in steps:
        arguments = [int(n) for n in re.findall(r"-?\d+", step)]
        if step.startswith("bits"):
            got = coder.bits(*arguments)
        elif step.startswith("laplace"):
            got = reference.decode_laplace(coder, *arguments)
        else:
            got = int(bit.decode(coder))
        assert (got, coder.range, coder.code, bit.one) == (
            int(value), int(range_, 16), int(code, 16), int(one),
        ), step  # fmt: skip
    assert len(steps) == 7


def test_whole_frame() -> None:
    f = fields("frame")
    shape = StreamShape.read(bytes.fromhex(f["configuration"]), 0)
    shapes = shapes_of(shape.architecture, shape)
    data = bytes.fromhex(f["networks"])
    twin = reference.decode_networks(data, shapes, 0)
    assert twin.magnitude_bits == int(f["magnitude_bits"])
    for name, mlp in (("arm", twin.arm), ("synthesis", twin.synthesis)):
        assert [mlp.weight_bits, mlp.bias_bits, *mlp.hidden_bits] == numbers(f[f"{name} bits"])
        assert [w for m in mlp.weights for w in m.ravel()] == numbers(f[f"{name} weights"])
        assert [b for v in mlp.biases for b in v] == numbers(f[f"{name} biases"])
    assert twin.kernel_bits == int(f["kernel_bits"])
    assert list(twin.kernel.ravel()) == numbers(f["kernel"])

    coded, tiles = bytes.fromhex(f["latents"]), 2
    latents = reference.empty_latents(shapes, 4, 4)
    reference.decode_latents(coded, shapes, twin, latents, 0, tiles)
    for k in (0, 1):
        assert list(latents[k].ravel()) == numbers(f[f"grid {k}"])
    dense = reference.upsample(latents[1] << 10, twin, 4, 4)
    assert list(dense.ravel()) == numbers(f["upsampled"])
    planes = reference.reconstruct(twin, latents, [])

    core = shape.core()
    networks = _core.Networks.decode(core, 0, data)
    assert networks.encode() == data
    reader = _core.LatentReader(core, networks, 4, 4)
    _core.SectionReader(reader, coded, 0, tiles).read()
    assert reader.tiles == tiles
    assert _core.encode_latents(core, networks, reader.grids(), 0, tiles) == coded
    for name, ours, compiled in zip(
        "YUV", planes, reader.reconstruct(core, networks, []), strict=True
    ):
        assert list(ours.ravel()) == numbers(f[name])
        np.testing.assert_array_equal(ours, compiled)
    assert picture_hash((planes[0], planes[1], planes[2])) == int(f["picture_hash"], 16)


def test_three_frames_of_profile_standard() -> None:
    f = fields("standard")
    shape = StreamShape(
        Architecture(
            grids=2,
            arm_hidden=(),
            upsampling_kernel=2,
            synthesis_hidden=(),
            parts=Parts(1, (), 2, 2),
        ),
        block_log2=2,
    )
    core, shapes = shape.core(), shapes_of_parts(shape)
    assert shape.write().hex(" ") in re.sub(r"\s+", " ", SPECIFICATION.read_text(encoding="utf-8"))
    parameters = np.zeros(shape.architecture.stored, np.int32)
    parameters[numbers(f["set 0 places"])] = numbers(f["set 0 values"])
    sets = parameters.astype(np.int16)[None]
    bases: list[_core.Networks] = []
    twins: list[reference_standard.Networks] = []
    pictures: list[list[np.ndarray]] = []
    motion: list[reference_standard.FrameMotion] = []
    for name, place in (("I", 0), ("P1", 3), ("P2", 1)):
        frame_type = FrameType(len(bases))
        base, number = parameters.copy(), 254 * frame_type
        coded, tiles = bytes.fromhex(f[f"{name} section"]), 4 + frame_type
        networks = _core.Networks.decode_update(core, int(frame_type), coded, sets, bases)
        coder = reference_standard.Section(coded, shapes, int(frame_type))
        twin = reference_standard.decode_networks(coder, shapes, sets, twins)
        if f"{name} changed places" in f:
            parameters[numbers(f[f"{name} changed places"])] = numbers(f[f"{name} their values"])
        assert twin.parameters == networks.parameters.tolist() == parameters.tolist()
        assert twin.inherits == networks.inherits == (name == "P2")
        latents = reference_standard.empty_latents(shapes, int(frame_type), 4, 8)
        inherited: list[reference.Ints] = []
        assert list(twin.corners) == networks.corners == numbers(f.get(f"{name} corners", ""))
        if twin.corners:
            inherited = reference_standard.global_motion(twin.corners, 4, 8)
            for axis, values in zip("xy", inherited, strict=True):
                assert list(values.ravel()) == numbers(f[f"{name} picture {axis}"])
        if twin.inherits:
            inherited = reference_standard.inherited_motion(place, motion)
            for axis, values in zip("xy", inherited, strict=True):
                assert list(values.ravel()) == numbers(f[f"{name} inherited {axis}"])
        vectors: list[reference.Ints] = []
        contexts: list[reference.Ints] = []
        if frame_type:
            reference_standard.decode_latents(coder, shapes, 1, twin, latents, 0, 3)
            moved = reference_standard.frame_fields(shapes, latents, 1, inherited)
            vectors = moved[:2]
            contexts = reference_standard.temporal_contexts(shapes, moved, pictures)
            for level, values in enumerate(contexts):
                assert list(values.ravel()) == numbers(f[f"{name} contexts of luma {level}"])
        first = 3 if frame_type else 0  # luma's tiles behind motion's and chroma's
        reference_standard.decode_latents(
            coder, shapes, int(frame_type), twin, latents, first, tiles - first, contexts
        )
        listed = [numbers(text) for key, text in f.items() if re.fullmatch(rf"{name} \S+ \d", key)]
        assert [grid.ravel().tolist() for grid in latents] == listed
        reader = _core.LatentReader(core, networks, 4, 8)
        reader.set_inherited([values.astype(np.int32) for values in inherited])
        _core.SectionReader(reader, coded, 0, tiles, behind_networks=True).read(pictures)
        assert reader.tiles == tiles
        grids, temporal = reader.grids(), reader.temporal()
        assert len(temporal) == len(contexts)
        again = _core.encode_latents(core, networks, grids, 0, tiles, temporal, number, base)
        assert again == coded

        planes = reference_standard.reconstruct(shapes, twin, latents, pictures, inherited)
        compiled = reader.reconstruct(core, networks, pictures)
        for plane, ours, theirs in zip("YUV", planes, compiled, strict=True):
            assert list(ours.ravel()) == numbers(f[f"{name} {plane}"])
            np.testing.assert_array_equal(ours, theirs)
        hashed = picture_hash((planes[0], planes[1], planes[2]))
        assert hashed == int(f[f"{name} picture_hash"], 16)
        own = reference_standard.FrameMotion(place, [m.frame for m in motion], vectors)
        bases, twins, pictures, motion = [networks], [twin], [planes], [own]


def test_the_standard_configuration() -> None:
    written = StreamShape(STANDARD).write()[:-2].hex(" ")
    assert written in re.sub(r"\s+", " ", SPECIFICATION.read_text(encoding="utf-8"))


def test_the_paper_s_configuration() -> None:
    written = StreamShape(PAPER).write()
    assert written[:8] == bytes.fromhex("07 00 02 0c 0c 08 01 12")
    assert written[:8].hex(" ") in SPECIFICATION.read_text(encoding="utf-8")


class RangeEncoder:
    """The inverse of the specification's decoder, for making sections to decode."""

    def __init__(self) -> None:
        self.low, self.width, self.at = 0, 1, 0  # the interval, over 2**at

    def put(self, unit_bits: int, start: int, size: int) -> None:
        # The decoder's range has 48 bits and fewer; follow it to divide as it does.
        spare = 48 - self.at
        unit = (self.width << max(0, spare)) >> unit_bits
        self.at = max(self.at, 48)
        self.low = (self.low << max(0, spare)) + unit * start
        self.width = unit * size
        while self.width < 1 << 40:
            self.width <<= 8
            self.low <<= 8
            self.at += 8

    def bits(self, value: int, count: int) -> None:
        if count:
            self.put(count, value, 1)

    def laplace(self, value: int, mean: int, scale: int) -> None:
        table = reference.TABLES[scale]
        centre = (mean + 8) >> 4
        fraction = mean - 16 * centre
        offset = value - centre
        k = max(-table.reach, min(table.reach, offset))
        low = table.cumulative(k - 1, fraction)
        self.put(16, low, table.cumulative(k, fraction) - low)
        if abs(k) == table.reach:
            escape = abs(offset) - table.reach + 1
            count = escape.bit_length() - 1
            for _ in range(count):
                self.bits(0, 1)
            if count < 16:
                self.bits(1, 1)
            self.bits(escape - (1 << count), count)

    def group(self, spread: int, values: list[int]) -> None:
        self.bits(spread, 8)
        low_bits = max(0, -(-(spread - 79) // 8))
        for value in values:
            self.laplace(value >> low_bits, -8 if low_bits else 0, spread - 8 * low_bits)
            self.bits(value & ((1 << low_bits) - 1), low_bits)

    def finish(self) -> bytes:
        return self.low.to_bytes(self.at // 8, "big")


def networks_section(
    magnitude_bits: int = 5,
    weight: int = 0,
    bias: int = 0,
    kernel: int = 0,
    spread: int = 199,
) -> bytes:
    """One of `TINY`'s networks in an I frame, with the last parameter of each group given."""
    coder = RangeEncoder()
    coder.bits(magnitude_bits, 4)
    for hidden, weights, biases in ((0, 24, 2), (1, 12, 6)):
        if hidden:
            coder.bits(3, 4)
            coder.group(spread, [0, 0, 0, kernel])
        for _ in range(2 + hidden):
            coder.bits(4, 4)
        coder.group(spread, [0] * (weights - 1) + [weight])
        coder.group(spread, [0] * (biases - 1) + [bias])
    return coder.finish()


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, True),
        ({"magnitude_bits": 12}, True),
        ({"magnitude_bits": 13}, False),
        ({"weight": 32767}, True),
        ({"weight": -32767}, True),
        ({"weight": 32768}, False),
        ({"weight": -32768}, False),
        ({"bias": 1 << 23}, True),
        ({"bias": -(1 << 23)}, True),
        ({"bias": (1 << 23) + 1}, False),
        ({"kernel": 32767}, True),
        ({"kernel": -32768}, False),
        ({"spread": 200}, False),
    ],
)
def test_limits_of_networks(options: dict[str, int], allowed: bool) -> None:
    core = StreamShape(TINY).core()
    data = networks_section(**options)
    if not allowed:
        with pytest.raises(ValueError, match="out of range"):
            _core.Networks.decode(core, 0, data)
        return
    networks = _core.Networks.decode(core, 0, data)
    assert networks.magnitude_bits == options.get("magnitude_bits", 5)
    assert networks.arm[0][23] == options.get("weight", 0)
    assert networks.synthesis[0][-1] == options.get("bias", 0)
    assert networks.kernel[0][-1] == options.get("kernel", 0)


@pytest.mark.parametrize("spread", range(88))
def test_every_table_is_the_core_s_too(spread: int) -> None:
    """Weights near and far from the mean, coded with the twin's table, read by the core."""
    architecture = replace(TINY, arm_hidden=(16,))
    rng = np.random.default_rng(spread)
    low_bits = max(0, -(-(spread - 79) // 8))
    most = (reference.TABLES[spread - 8 * low_bits].reach + 3) << low_bits
    weights = rng.integers(-most, most + 1, 12 * 16 + 16 * 2)
    coder = RangeEncoder()
    for _ in range(4):
        coder.bits(5, 4)  # the magnitude and the model's three formats
    coder.group(spread, weights.tolist())
    coder.group(0, [0] * 18)
    coder.bits(3, 4)
    coder.group(0, [0] * 4)
    for _ in range(3):
        coder.bits(4, 4)
    coder.group(0, [0] * 12)
    coder.group(0, [0] * 6)
    networks = _core.Networks.decode(StreamShape(architecture).core(), 0, coder.finish())
    parameters = networks.arm[0]
    got = np.concatenate([parameters[: 12 * 16], parameters[12 * 16 + 16 :][: 16 * 2]])
    np.testing.assert_array_equal(got, weights)


def test_a_tile_of_mode_3_is_refused() -> None:
    shape = StreamShape(TINY)
    networks = _core.Networks.decode(shape.core(), 0, networks_section())
    for mode in range(4):
        coder = RangeEncoder()
        coder.bits(mode, 2)
        reader = _core.LatentReader(shape.core(), networks, 4, 4)
        section = _core.SectionReader(reader, coder.finish(), 0, 1)
        if mode == 3:
            with pytest.raises(ValueError, match="mode"):
                section.read()
        else:
            section.read()
