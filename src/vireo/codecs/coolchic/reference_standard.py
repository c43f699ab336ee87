"""Profile `standard` in plain Python and NumPy integers: what differs from `reference`.

Luma, chroma and motion have latents of their own; motion's are the field itself. As slow,
and for the same purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.coolchic import reference
from vireo.codecs.coolchic.reference import ContextModel, Ints, Mlp, RangeDecoder

LUMA, CHROMA, VECTORS, BLENDING = range(4)

# Fixed-point formats: of weights, biases, activations.
ARM_FORMAT = 8, 8, 8
KERNEL_BITS = 10
SYNTHESIS_FORMAT = 10, 12, 11

FIRST_REFERENCE = 254  # number of the base that is the first reference's networks
SET_BITS = 5  # of another's
MOST_MAGNITUDE_BITS = 12
# Where a frame's decisions have their contexts, but motion's.
INHERITS, FILTERED, MAGNITUDE, OF_REFERENCE, OF_SECOND, UPDATED, GROUP, LIVE, MAPPED, GLOBAL = (
    0, 1, 3, 15, 16, 17, 18, 29, 50, 52,
)  # fmt: skip
MOST = 32767  # magnitude of a parameter

# Of the network that gives temporal contexts.
FEATURES, FEATURE_BITS = 6, 3
TEMPORAL_LEVELS = 4  # that are told apart: 0, 1, 2, and all above
TEMPORAL_WIDTHS = [FEATURES + TEMPORAL_LEVELS, 8, 1]
MOST_TEMPORAL = 15
MOST_SAMPLE = 255 * 64  # in 1/64

MOST_INHERITED = 1 << 17  # in 1/64 luma sample

# The loop filters of luma and of chroma: places (dy, dx) whose samples, and those opposite, are
# compared with the one in the middle, and limits of the differences. A weight for each of both.
FILTER_BITS = 10
LIMITS = [[255, 10, 3], [255, 3]]
PLACES = [
    [
        (dy, dx)
        for dy in range(reach + 1)
        for dx in range(-reach, reach + 1)
        if (dy, dx) > (0, 0) and dy + abs(dx) <= reach
    ]
    for reach in (3, 2)
]

SMOOTH_LEVEL = 5  # grids of fields from here on are interpolated


def filters(taps: int) -> Ints:
    """`[64, taps]`: a cosine-windowed sinc; the largest taps make up what rounding took."""
    x = np.arange(taps) - (taps // 2 - 1) - np.arange(64)[:, None] / 64
    ideal = np.sinc(x) * np.cos(np.pi * x / (taps + 0.5))
    table = np.rint(64 * ideal / ideal.sum(1, keepdims=True)).astype(np.int64)
    largest = table == table.max(1, keepdims=True)  # two of them half-way
    lacking = (64 - table.sum(1)) // largest.sum(1)
    corrected: Ints = table + lacking[:, None] * largest
    return corrected


LUMA_FILTERS, CHROMA_FILTERS = filters(8), filters(4)


@dataclass
class Shapes(reference.Shapes):
    """What the stream header says; what `reference.Shapes` has is luma's."""

    chroma_first: int
    chroma: Sequence[int]  # hidden widths of the chroma synthesis
    motion_first: int
    motion_grids: int
    motion_probabilities: Sequence[Sequence[int]]  # of P, B frames, and those that inherit motion
    frame_probabilities: Sequence[Sequence[int]]  # of I, P, B frames
    temporal: Sequence[int]  # parameters of the network that gives temporal contexts


@dataclass
class Networks:
    magnitude_bits: int
    parameters: list[int]  # of all, which other frames may start from
    arms: list[Mlp]  # by kind
    kernel: Ints
    kernel_bits: int
    syntheses: list[Mlp]  # luma, chroma
    filters: list[Ints]  # luma's and chroma's weights, [limit, place]
    filtered: Sequence[bool]  # whether they are used
    inherits: bool  # whether vectors begin with a reference's motion
    corners: Sequence[int]  # or with the whole picture's, six numbers per reference
    references: int  # how many the frame has


@dataclass
class FrameMotion:
    """Of a decoded frame; frames by their places in display order."""

    frame: int
    references: Sequence[int]
    vectors: Sequence[Ints]  # x, y to each of these, per block


@dataclass
class Grid:
    kind: int
    level: int
    other: int | None  # index of the grid that chroma's model sees too


def grids(shapes: Shapes, references: int) -> list[Grid]:
    result = [Grid(LUMA, k, None) for k in range(shapes.grids)]
    count = shapes.grids - shapes.chroma_first
    for plane in range(2):
        for k in range(shapes.chroma_first, shapes.grids):
            result.append(Grid(CHROMA, k, len(result) + count if plane == 0 else None))
    for field in range(3 * references):
        kind = VECTORS if field < 2 * references else BLENDING
        for i in range(shapes.motion_grids):
            result.append(Grid(kind, shapes.motion_first + i, None))
    return result


def widths(shapes: Shapes) -> tuple[list[list[int]], list[list[int]]]:
    """Widths of the two autoregressive models and the two syntheses."""
    arm = [len(shapes.context) + 1, *shapes.arm[1:-1], 2]
    chroma_grids = shapes.grids - shapes.chroma_first
    luma = [shapes.grids, *shapes.synthesis, 1]
    return [arm, arm], [luma, [2 * chroma_grids + shapes.grids - 1, *shapes.chroma, 2]]


def _groups(shapes: Shapes) -> list[list[int]]:
    """Each group's places among the parameters, in the order of the stream."""
    arms, syntheses = widths(shapes)
    groups: list[list[int]] = []
    at = 0
    for network in [*arms, None, *syntheses]:
        if network is None:
            groups.append(list(range(at, at + shapes.kernel**2)))
            at += shapes.kernel**2
            continue
        weights: list[int] = []
        biases: list[int] = []
        for i, o in pairwise(network):
            weights += range(at, at + o * i)
            biases += range(at + o * i, at + o * i + o)
            at += o * i + o
        groups += [weights, biases]
    for limits, places in zip(LIMITS, PLACES, strict=True):
        count = len(limits) * len(places)
        groups.append(list(range(at, at + count)))
        at += count
    return groups


def decode_networks(
    coder: Section,
    shapes: Shapes,
    sets: NDArray[np.int16],
    references: Sequence[Networks],
) -> Networks:
    """What the first section begins with; its tiles follow in the same coder."""
    magnitude_bits = 0
    while magnitude_bits < MOST_MAGNITUDE_BITS and coder.decide(MAGNITUDE + magnitude_bits):
        magnitude_bits += 1
    if references and coder.decide(OF_REFERENCE):
        second = len(references) == 2 and coder.decide(OF_SECOND)
        parameters = list(references[second].parameters)
    else:
        base = sum(coder.bits(1) << i for i in reversed(range(SET_BITS)))
        if base >= len(sets):
            raise ValueError(f"base {base}")
        parameters = [int(p) for p in sets[base]]
    filtered = [bool(coder.decide(FILTERED + i)) for i in range(len(LIMITS))]
    inherits = len(references) > 0 and coder.decide(INHERITS) == 1
    if inherits and not any(r.references for r in references):
        raise ValueError("motion of I frames")
    corners: list[int] = []
    if references and not inherits and coder.decide(GLOBAL):
        corners = reference.decode_group(coder, 6 * len(references))
        if max(map(abs, corners)) > MOST:
            raise ValueError("a corner's motion")
    any_updated = coder.decide(UPDATED)
    for i, group in enumerate(_groups(shapes)):
        if not any_updated or not coder.decide(GROUP + i):
            continue
        step = coder.bits(4)
        for place, update in zip(group, reference.decode_group(coder, len(group)), strict=True):
            parameters[place] += update << step
            if abs(parameters[place]) > MOST:
                raise ValueError(f"parameter {parameters[place]}")
    count = len(references)
    return make_networks(shapes, magnitude_bits, parameters, filtered, inherits, count, corners)


def make_networks(
    shapes: Shapes,
    magnitude_bits: int,
    parameters: list[int],
    filtered: Sequence[bool] = (False, False),
    inherits: bool = False,
    references: int = 0,
    corners: Sequence[int] = (),
) -> Networks:
    values = iter(parameters)
    arms, syntheses = widths(shapes)
    return Networks(
        magnitude_bits,
        parameters,
        [_take_mlp(values, network, ARM_FORMAT) for network in arms],
        _take(values, shapes.kernel, shapes.kernel),
        KERNEL_BITS,
        [_take_mlp(values, network, SYNTHESIS_FORMAT) for network in syntheses],
        [_take(values, len(n), len(p)) for n, p in zip(LIMITS, PLACES, strict=True)],
        filtered,
        inherits,
        corners,
        references,
    )


def _take(values: Iterator[int], *shape: int) -> Ints:
    return np.fromiter(islice(values, prod(shape)), np.int64, prod(shape)).reshape(shape)


def _take_mlp(values: Iterator[int], network: list[int], bits: tuple[int, int, int]) -> Mlp:
    weights, biases = [], []
    for i, o in pairwise(network):
        weights.append(_take(values, o, i))
        biases.append(_take(values, o))
    return Mlp(weights, biases, bits[0], bits[1], [bits[2]] * (len(network) - 2))


def empty_latents(shapes: Shapes, references: int, height: int, width: int) -> list[Ints]:
    return [
        np.zeros((-(-height >> grid.level), -(-width >> grid.level)), np.int64)
        for grid in grids(shapes, references)
    ]


def decode_latents(
    coder: Section,
    shapes: Shapes,
    references: int,
    networks: Networks,
    latents: list[Ints],
    first: int,
    count: int,
    temporal: Sequence[NDArray[np.signedinteger]] = (),
) -> None:
    """Fill tiles first … first + count - 1 of `latents`; those before are there already.

    `temporal` holds luma's temporal contexts, in frames with references; tiles that aren't
    luma's do without.
    """
    described = grids(shapes, 0)
    tiles: list[tuple[int, int, int] | None] = [None] if references else []  # None: motion
    tiles += reference.tiles(shapes, latents[: len(described)])
    for tile in tiles[first : first + count]:
        if tile is None:
            begins = networks.inherits or len(networks.corners) > 0
            row = references - 1 + 2 * begins
            decisions = shapes.motion_probabilities[row]
            Motion(coder, shapes, references, latents[len(described) :], decisions).decode()
            continue
        k, top, rows = tile
        grid = described[k]
        model = ContextModel(shapes.context, networks.arms[grid.kind], networks.magnitude_bits)
        if grid.kind == LUMA and references:
            other = temporal[k].astype(np.int64)
        else:
            other = np.zeros_like(latents[k]) if grid.other is None else latents[grid.other]
        mode = 0
        if networks.magnitude_bits > 0:
            plane = 0 if grid.kind == LUMA else 2 if grid.other is None else 1
            if coder.decide(LIVE + plane * 7 + min(grid.level, 6)):
                mode = 1 + coder.decide(MAPPED + (grid.kind == CHROMA))
        latents[k][top : top + rows] = reference.decode_tile(
            coder, shapes, model, rows, latents[k].shape[1], other[top : top + rows], mode
        )


@dataclass
class Decision:
    """A probability that adapts."""

    one: int
    pace: int = 8

    def decode(self, coder: RangeDecoder) -> int:
        bit = coder.bit(self.one)
        change = (65472 if bit else 64) - self.one
        self.one += abs(change) // self.pace * (1 if change > 0 else -1)
        self.pace = min(self.pace + 1, 64)
        return bit


class Section(RangeDecoder):
    """A section's bytes, with the decisions of a frame of so many references."""

    def __init__(self, data: bytes, shapes: Shapes, references: int):
        super().__init__(data)
        self.decisions = [Decision(int(p)) for p in shapes.frame_probabilities[references]]

    def decide(self, context: int) -> int:
        return self.decisions[context].decode(self)


Vector = tuple[int, int]
STILL: Vector = 0, 0
MOST_MOTION = 4095
GREY = 128 * 64  # in 1/64: what there is where nothing is predicted


class Motion:
    """A frame's motion, decoded into the grids of its fields."""

    def __init__(
        self,
        coder: RangeDecoder,
        shapes: Shapes,
        references: int,
        fields: Sequence[Ints],
        probabilities: Sequence[int],
    ) -> None:
        self.coder = coder
        self.references = references
        self.depths = shapes.motion_grids
        self.fields = fields
        self.decisions = [Decision(int(p)) for p in probabilities]

    def grid(self, field: int, depth: int) -> Ints:
        return self.fields[(field + 1) * self.depths - 1 - depth]

    def at(self, field: int, depth: int, row: int, column: int) -> int:
        """A latent; 0 outside."""
        grid = self.grid(field, depth)
        inside = 0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]
        return int(grid[row, column]) if inside else 0

    def vector_at(self, reference: int, depth: int, row: int, column: int) -> Vector:
        x, y = (self.at(2 * reference + axis, depth, row, column) for axis in (0, 1))
        return x, y

    def bit(self, context: int) -> int:
        return self.decisions[context].decode(self.coder)

    def decode(self) -> None:
        if not self.bit(294):
            return
        for depth in range(self.depths):
            for row, column in np.ndindex(self.grid(0, depth).shape):
                for r in range(self.references):
                    for axis, value in enumerate(self.vector(r, depth, row, column)):
                        self.grid(2 * r + axis, depth)[row, column] = value
                for b in range(self.references):
                    field = 2 * self.references + b
                    value = self.blending(field, b, depth, row, column)
                    self.grid(field, depth)[row, column] = value

    def vector(self, r: int, depth: int, row: int, column: int) -> Vector:
        places = [(row, column - 1), (row - 1, column), (row - 1, column + 1)]
        width = self.grid(0, depth).shape[1]
        known = [
            self.vector_at(r, depth, *place)
            for place in places
            if place[0] >= 0 and 0 <= place[1] < width
        ]
        active = sum(self.vector_at(r, depth, *place) != STILL for place in places[:2])
        parent = depth > 0 and self.vector_at(r, depth - 1, row // 2, column // 2) != STILL
        first = self.vector_at(0, depth, row, column) if r else STILL
        mirrored = -first[0], -first[1]
        other = 0 if r == 0 else 1 if first == STILL else 2
        d = min(depth, 3)
        if not self.bit(((d * 3 + active) * 2 + parent) * 3 + other):
            return STILL
        candidates = [v for v in dict.fromkeys([*known, mirrored]) if v != STILL]
        for i, candidate in enumerate(candidates):
            if self.bit(72 + (d * 4 + i) * 2 + r):
                return candidate
        expected = mirrored if first != STILL else median(known)
        x = self.difference(d, 0)
        y = self.difference(d, 2 if x else 1)
        return limited(expected[0] + x), limited(expected[1] + y)

    def difference(self, d: int, which: int) -> int:
        if not self.bit(104 + d * 3 + which):
            return 0
        negative = self.coder.bits(1)
        size = 1 + self.magnitude(116 + d * 8, 148 + d * 3)
        return -size if negative else size

    def blending(self, field: int, b: int, depth: int, row: int, column: int) -> int:
        left = self.at(field, depth, row, column - 1)
        above = self.at(field, depth, row - 1, column)
        parent = 1 + sign(self.at(field, depth - 1, row // 2, column // 2) if depth else 0)
        d = min(depth, 3)
        active = (left != 0) + (above != 0)
        if not self.bit(160 + ((b * 4 + d) * 3 + active) * 3 + parent):
            return 0
        around = 1 + sign(sign(left) + sign(above))
        positive = self.bit(232 + (b * 3 + around) * 3 + parent)
        fine = b * 2 + (d >= 2)
        size = 1 + self.magnitude(250 + fine * 8, 282 + fine * 3)
        return limited(size if positive else -size)

    def magnitude(self, prefix: int, following: int) -> int:
        n = 0
        while n < 13 and self.bit(prefix + min(n, 7)):
            n += 1
        value = 1
        for i in reversed(range(n)):
            adaptive = i == n - 1 and n <= 3
            value = 2 * value + (self.bit(following + n - 1) if adaptive else self.coder.bits(1))
        return value - 1


def sign(value: int) -> int:
    return (value > 0) - (value < 0)


def limited(value: int) -> int:
    return max(-MOST_MOTION, min(MOST_MOTION, value))


def median(vectors: Sequence[Vector]) -> Vector:
    """Of up to three, each axis by itself; of two their mean, halves rounded up."""
    if not vectors:
        return STILL
    x, y = (
        (axis[0] + axis[1] + 1) >> 1 if len(axis) == 2 else sorted(axis)[len(axis) // 2]
        for axis in zip(*vectors, strict=True)
    )
    return x, y


def double_field(field: Ints, height: int, width: int) -> Ints:
    for axis, size in ((0, height), (1, width)):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (1, 1)
        padded = np.moveaxis(np.pad(field, pad, mode="edge"), axis, 0)
        before, here, behind = padded[:-2], padded[1:-1], padded[2:]
        both = np.stack([before + 3 * here, 3 * here + behind], 1)
        field = np.moveaxis(both.reshape(-1, *here.shape[1:])[:size], 0, axis)
    return (field + 8) >> 4


def block_fields(
    latents: Sequence[NDArray[np.signedinteger]],
    first: int,
    height: int,
    width: int,
    count: int,
    inherited: Sequence[Ints] = (),
) -> list[Ints]:
    """Vectors in 1/64 luma sample, alpha and beta in 1/64, per block.

    `latents` holds the grids of `count` fields, those of each from level `first` on.
    """
    result = []
    per_field = len(latents) // count
    vectors = count // 3 * 2
    for f in range(count):
        own = [g.astype(np.int64) for g in latents[f * per_field : (f + 1) * per_field]]
        value = np.zeros_like(own[-1])
        for k in range(first + per_field - 1, 1, -1):
            if k < first + per_field - 1:
                value = double_field(value, -(-height >> k), -(-width >> k))
            if k >= first and k >= SMOOTH_LEVEL:
                value = value + (own[k - first] << 8)
        for k in range(first, min(first + per_field, SMOOTH_LEVEL)):
            value = value + (_spread(own[k - first], 1 << (k - 2), *value.shape) << 8)
        if f < vectors:
            vector = (value + 8) >> 4
            result.append(vector + inherited[f] if inherited else vector)
        elif f == vectors:
            result.append((80 + ((value + 4) >> 3)).clip(0, 64))
        else:
            result.append((32 + ((value + 8) >> 4)).clip(0, 64))
    return result


def inherited_motion(frame: int, references: Sequence[FrameMotion]) -> list[Ints]:
    """What a frame's vectors begin with where it inherits; nothing if no reference has motion."""
    candidates = [(r, i) for r in references for i in range(len(r.references))]
    if not candidates:
        return []
    frames = [q.frame for q in references]
    between = [(r, i) for r, i in candidates if r.references[i] in frames]
    motion, i = (between or candidates)[0]
    span = motion.references[i] - motion.frame
    result = []
    for q in references:
        for vector in motion.vectors[2 * i : 2 * i + 2]:
            n, d = (q.frame - frame, span) if span > 0 else (frame - q.frame, -span)
            result.append(((2 * n * vector + d) // (2 * d)).clip(-MOST_INHERITED, MOST_INHERITED))
    return result


def global_motion(corners: Sequence[int], height: int, width: int) -> list[Ints]:
    """What a frame's vectors begin with where it has motion of the whole picture."""
    n, m = -(-width // 4), -(-height // 4)
    i, j = np.arange(n), np.arange(m)[:, None]
    result = []
    for k in range(0, len(corners), 6):
        for axis in range(2):
            a, b, c = corners[k + axis], corners[k + 2 + axis], corners[k + 4 + axis]
            moved = 4 * (2 * a * n * m + b * (2 * i + 1) * m + c * (2 * j + 1) * n)
            vector = (moved + n * m) // (2 * n * m)
            result.append(vector.clip(-MOST_INHERITED, MOST_INHERITED))
    return result


def _spread(blocks: Ints, side: int, height: int, width: int) -> Ints:
    return blocks.repeat(side, 0).repeat(side, 1)[:height, :width]


def interpolate(plane: NDArray[np.uint8], table: Ints, flow_x: Ints, flow_y: Ints) -> Ints:
    """A prediction from one plane by vectors in 1/64 of its samples, in 1/64 sample value."""
    height, width = plane.shape
    taps = np.arange(table.shape[1]) - (table.shape[1] // 2 - 1)
    ys = (np.arange(height)[:, None] + (flow_y >> 6))[..., None] + taps
    xs = (np.arange(width) + (flow_x >> 6))[..., None] + taps
    samples = plane[
        ys.clip(0, height - 1)[..., :, None], xs.clip(0, width - 1)[..., None, :]
    ].astype(np.int64)
    across = (samples * table[flow_x & 63][..., None, :]).sum(-1)
    down: Ints = (((across * table[flow_y & 63]).sum(-1) + 32) >> 6).clip(-32768, 32767)
    return down


def predict(
    fields: Sequence[Ints], references: Sequence[Sequence[NDArray[np.uint8]]]
) -> list[Ints]:
    """Planes Y, U, V in 1/64 sample value."""
    return [_blend(fields, _predict_alone(fields, references, c), c) for c in range(3)]


def _predict_alone(
    fields: Sequence[Ints], references: Sequence[Sequence[NDArray[np.uint8]]], c: int
) -> list[Ints]:
    """Plane `c` from each reference by itself."""
    table, side = (CHROMA_FILTERS, 2) if c else (LUMA_FILTERS, 4)
    height, width = references[0][c].shape
    alone = []
    for r, picture in enumerate(references):
        x, y = (
            _spread((v + 1) >> 1 if c else v, side, height, width)
            for v in fields[2 * r : 2 * r + 2]
        )
        alone.append(interpolate(picture[c], table, x, y))
    return alone


def _blend(fields: Sequence[Ints], alone: Sequence[Ints], c: int) -> Ints:
    side = 2 if c else 4
    alpha, *beta = (_spread(b, side, *alone[0].shape) for b in fields[2 * len(alone) :])
    if beta:
        both = beta[0] * alone[0] + (64 - beta[0]) * alone[1]
        return (alpha * both + (64 - alpha) * 64 * GREY + 2048) >> 12
    return (alpha * alone[0] + (64 - alpha) * GREY + 32) >> 6


def temporal_contexts(
    shapes: Shapes,
    fields: Sequence[Ints],
    references: Sequence[Sequence[NDArray[np.uint8]]],
) -> list[Ints]:
    """What the prediction tells of luma's latents, 0 … 15: a plane per grid, finest first."""
    alone = _predict_alone(fields, references, 0)
    planes = [_blend(fields, alone, 0).clip(0, MOST_SAMPLE)]
    if len(references) == 2:
        first, second = (plane.clip(0, MOST_SAMPLE) for plane in alone)
        planes.append(first - second)
    network = _take_mlp(iter(shapes.temporal), TEMPORAL_WIDTHS, ARM_FORMAT)
    result: list[Ints] = []
    for level in range(shapes.grids):
        if level > 0:
            planes = [_halve(plane) for plane in planes]
        inputs = np.zeros((TEMPORAL_WIDTHS[0], *planes[0].shape), np.int64)
        for i, plane in enumerate(planes):
            inputs[2 * i] = abs(plane - _blur(plane))
            inputs[2 * i + 1] = _blur(inputs[2 * i])
        if len(planes) == 2:
            inputs[4] = abs(planes[1])
            inputs[5] = _blur(_blur(inputs[4]))
        inputs[:FEATURES] = _logarithm(inputs[:FEATURES])
        inputs[FEATURES + min(level, TEMPORAL_LEVELS - 1)] = 1 << FEATURE_BITS
        out, bits = network.run(inputs.reshape(len(inputs), -1), FEATURE_BITS)
        contexts = reference.round_shift(out[0], bits).clip(0, MOST_TEMPORAL)
        result.append(contexts.reshape(planes[0].shape))
    return result


def _halve(plane: Ints) -> Ints:
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    return (reference.sum_2x2(even) + 2) >> 2


def _blur(plane: Ints) -> Ints:
    padded = np.pad(plane, 1, mode="edge")
    across = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    blurred: Ints = (across[:-2] + 2 * across[1:-1] + across[2:] + 8) >> 4
    return blurred


def _logarithm(x: Ints) -> Ints:
    """8 log2(1 + x / 8), linear between powers of 2."""
    exponent = np.frexp(x + 8)[1] - 1
    result: Ints = 8 * exponent + ((x + 8) * 8 >> exponent) - 32
    return result


def frame_fields(
    shapes: Shapes,
    latents: Sequence[NDArray[np.signedinteger]],
    references: int,
    inherited: Sequence[Ints] = (),
) -> list[Ints]:
    """The fields of a frame, from all of its latents."""
    height, width = latents[0].shape
    motion = latents[len(grids(shapes, 0)) :]
    first = shapes.motion_first
    return block_fields(motion, first, height, width, 3 * references, inherited)


def reconstruct(
    shapes: Shapes,
    networks: Networks,
    latents: Sequence[Ints],
    references: Sequence[Sequence[NDArray[np.uint8]]],
    inherited: Sequence[Ints] = (),
) -> list[NDArray[np.uint8]]:
    """Planes Y, U, V of the frame."""
    latent_bits = min(10, 14 - networks.magnitude_bits)
    height, width = latents[0].shape
    full: list[Ints] = []  # luma's grids
    half: list[Ints] = []  # chroma's, then luma's
    for grid, values in zip(grids(shapes, 0), latents, strict=False):
        x = values << latent_bits
        for level in reversed(range(1, grid.level)):
            x = reference.upsample(x, networks, *latents[level].shape)
        if grid.level > 0:
            half.append(x)
        if grid.kind == LUMA:
            full.append(reference.upsample(x, networks, height, width) if grid.level else x)
    luma_count = shapes.grids - 1
    half = half[luma_count:] + half[:luma_count]

    def residuals(mlp: Mlp, inputs: list[Ints]) -> Ints:
        out, bits = mlp.run(np.stack([x.reshape(-1) for x in inputs]), latent_bits)
        rounded = np.clip(reference.round_shift(out, bits - 14), -32767, 32767)
        return rounded.reshape(-1, *inputs[0].shape)

    residual = [*residuals(networks.syntheses[0], full), *residuals(networks.syntheses[1], half)]
    prediction = [np.zeros_like(r) for r in residual]
    if references:
        moved = frame_fields(shapes, latents, len(references), inherited)
        prediction = predict(moved, references)
    decoded = [
        np.clip((p + r + 32) >> 6, 0, 255) for p, r in zip(prediction, residual, strict=True)
    ]
    kinds = [LUMA, CHROMA, CHROMA]
    return [
        (
            loop_filter(plane, kind, networks.filters[kind]) if networks.filtered[kind] else plane
        ).astype(np.uint8)
        for plane, kind in zip(decoded, kinds, strict=True)
    ]


def loop_filter(plane: Ints, kind: int, weights: Ints) -> Ints:
    reach = PLACES[kind][-1][0]
    height, width = plane.shape
    padded = np.pad(plane, reach, mode="edge")
    change = np.full_like(plane, 1 << (FILTER_BITS - 1))
    for i, (dy, dx) in enumerate(PLACES[kind]):
        for y, x in ((dy, dx), (-dy, -dx)):
            around = padded[reach + y : reach + y + height, reach + x : reach + x + width]
            for limit, weight in zip(LIMITS[kind], weights[:, i], strict=True):
                change += weight * np.clip(around - plane, -limit, limit)
    return np.clip(plane + (change >> FILTER_BITS), 0, 255)
