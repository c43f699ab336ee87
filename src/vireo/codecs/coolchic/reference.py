"""The Cool-chic decoder in plain Python and NumPy integers: the specification in code.

Slow on purpose: one latent at a time, one array operation a step, int64 throughout with
the 32-bit wraparound written out. Tests hold the compiled core to it sample by sample,
and `docs/bitstream.md` describes the same steps in words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

SCALES = 80
DECAYS = [round(2**32 * math.exp(-1 / (16 * 2 ** ((i - 40) / 8)))) for i in range(SCALES)]
CODE_ONE = 1 << 48


def wrap(x: Ints) -> Ints:
    """Two's complement wraparound to 32 bits."""
    return ((x + 2**31) & 0xFFFFFFFF) - 2**31


def round_shift(x: Ints, shift: int) -> Ints:
    """x / 2**shift with halves rounded up, or x * 2**-shift, in 32 bits."""
    if shift <= 0:
        return wrap(x << -shift)
    return wrap(x + (1 << (shift - 1))) >> shift


class RangeDecoder:
    def __init__(self, data: bytes):
        self.data = data
        self.position = 0
        self.range = CODE_ONE
        self.code = 0
        for _ in range(6):
            self.code = self.code << 8 | self._next()

    def _next(self) -> int:
        byte = self.data[self.position] if self.position < len(self.data) else 0
        self.position += 1
        return byte

    def take(self, unit: int, start: int, size: int) -> None:
        self.code -= unit * start
        self.range = unit * size
        while self.range < CODE_ONE >> 8:
            self.range <<= 8
            self.code = (self.code << 8 | self._next()) % (2 * CODE_ONE)

    def bits(self, count: int) -> int:
        unit = self.range >> count
        value = min(self.code // unit, (1 << count) - 1)
        self.take(unit, value, 1)
        return value

    def bit(self, one: int) -> bool:
        unit = self.range >> 16
        found = self.code < unit * one
        if found:
            self.take(unit, 0, one)
        else:
            self.take(unit, one, 65536 - one)
        return found


@dataclass
class AdaptiveBit:
    one: int = 32768

    def decode(self, coder: RangeDecoder) -> bool:
        one = coder.bit(self.one)
        if one:
            self.one += (65536 - self.one) >> 5
        else:
            self.one -= self.one >> 5
        return one


class LaplaceTable:
    def __init__(self, decay: int):
        mass = [1 << 30]
        self.reach = 1
        while self.reach < 3 or mass[-1] >= 360448:
            for _ in range(16):
                mass.append(mass[-1] * decay >> 32)
            self.reach += 1
        while len(mass) <= 16 * (self.reach + 1):
            mass.append(mass[-1] * decay >> 32)
        self.tail = [m >> 15 for m in mass]

    def cumulative(self, k: int, fraction: int) -> int:
        if k < -self.reach:
            return 0
        if k >= self.reach:
            return 65536
        edge = 16 * k + 8 - fraction
        below = self.tail[-edge] if edge < 0 else 65536 - self.tail[edge]
        symbols = 2 * self.reach + 1
        return k + self.reach + 1 + ((65536 - symbols) * below >> 16)


TABLES = [LaplaceTable(d) for d in DECAYS]


def decode_exp_golomb(coder: RangeDecoder) -> int:
    count = 0
    while count < 16 and coder.bits(1) == 0:
        count += 1
    return (1 << count | coder.bits(count)) - 1


def decode_laplace(coder: RangeDecoder, mean: int, scale: int) -> int:
    table = TABLES[scale]
    centre = (mean + 8) >> 4
    fraction = mean - 16 * centre
    unit = coder.range >> 16
    k = -table.reach
    while k < table.reach and coder.code >= unit * table.cumulative(k, fraction):
        k += 1
    low = table.cumulative(k - 1, fraction)
    coder.take(unit, low, table.cumulative(k, fraction) - low)
    if k == table.reach:
        k += decode_exp_golomb(coder)
    elif k == -table.reach:
        k -= decode_exp_golomb(coder)
    return centre + k


@dataclass
class Mlp:
    weights: list[Ints]  # [out, in] per layer
    biases: list[Ints]  # [out]
    weight_bits: int
    bias_bits: int
    hidden_bits: list[int]

    def run(self, x: Ints, input_bits: int) -> tuple[Ints, int]:
        """Accumulators of the last layer `[out, N]` for x `[in, N]`, and their bits."""
        bits = input_bits
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            sum_bits = bits + self.weight_bits
            aligned = round_shift(bias, self.bias_bits - sum_bits)
            x = wrap(aligned[:, None] + weight @ x)
            if i + 1 < len(self.weights):
                bits = self.hidden_bits[i]
                x = np.clip(round_shift(x, sum_bits - bits), 0, 32767)
        return x, sum_bits


@dataclass
class Shapes:
    """What the stream header says (see `config.Architecture`)."""

    grids: int
    context: Sequence[tuple[int, int]]
    arm: Sequence[int]
    kernel: int
    synthesis: Sequence[int]  # hidden widths before the two of the outputs' width
    band_rows_log2: int
    block_log2: int


@dataclass
class Networks:
    magnitude_bits: int
    arm: Mlp
    kernel: Ints
    kernel_bits: int
    synthesis: Mlp


def decode_group(coder: RangeDecoder, count: int) -> list[int]:
    spread = coder.bits(8)
    if spread >= SCALES + 8 * 15:
        raise ValueError(f"spread {spread}")
    low_bits = max(0, -(-(spread - (SCALES - 1)) // 8))
    scale = spread - 8 * low_bits
    values = []
    for _ in range(count):
        high = decode_laplace(coder, -8 if low_bits else 0, scale)
        values.append(high << low_bits | coder.bits(low_bits))
    return values


def decode_mlp(coder: RangeDecoder, widths: Sequence[int]) -> Mlp:
    weight_bits, bias_bits = coder.bits(4), coder.bits(4)
    hidden_bits = [coder.bits(4) for _ in widths[1:-1]]
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = iter(decode_group(coder, sum(o * i for o, i in shapes)))
    biases = iter(decode_group(coder, sum(o for o, _ in shapes)))

    def take(source: Iterator[int], count: int) -> Ints:
        return np.fromiter(islice(source, count), np.int64, count)

    return Mlp(
        [take(weights, o * i).reshape(o, i) for o, i in shapes],
        [take(biases, o) for o, _ in shapes],
        weight_bits,
        bias_bits,
        hidden_bits,
    )


def decode_networks(data: bytes, shapes: Shapes, references: int) -> Networks:
    coder = RangeDecoder(data)
    magnitude_bits = coder.bits(4)
    if magnitude_bits > 12:
        raise ValueError(f"{magnitude_bits} magnitude bits")
    arm = decode_mlp(coder, shapes.arm)
    kernel_bits = coder.bits(4)
    kernel = np.array(decode_group(coder, shapes.kernel**2), np.int64)
    x = 3 + 3 * references
    synthesis = decode_mlp(coder, [shapes.grids, *shapes.synthesis, x, x])
    return Networks(
        magnitude_bits, arm, kernel.reshape(shapes.kernel, shapes.kernel), kernel_bits, synthesis
    )


def empty_latents(shapes: Shapes, height: int, width: int) -> list[Ints]:
    return [np.zeros((-(-height >> k), -(-width >> k)), np.int64) for k in range(shapes.grids)]


def tiles(shapes: Shapes, latents: Sequence[Ints]) -> list[tuple[int, int, int]]:
    """(grid, first row, rows) in coding order."""
    result = []
    for k in reversed(range(len(latents))):
        height = latents[k].shape[0]
        band = 1 << shapes.band_rows_log2 if shapes.band_rows_log2 else height
        result += [(k, top, min(band, height - top)) for top in range(0, height, band)]
    return result


@dataclass
class ContextModel:
    """What predicts a grid's latents."""

    context: Sequence[tuple[int, int]]
    arm: Mlp
    magnitude_bits: int


def decode_tile(
    coder: RangeDecoder,
    shapes: Shapes,
    model: ContextModel,
    rows: int,
    width: int,
    other: Ints | None = None,
    mode: int | None = None,
) -> Ints:
    """A tile's latents; `other` are those at the same places that the model sees too.

    It begins with its mode where that isn't given.
    """
    values = np.zeros((rows, width), np.int64)
    if mode is None:
        mode = coder.bits(2)
    if mode == 0:
        return values
    if mode == 3:
        raise ValueError("tile mode 3")
    side = 1 << shapes.block_log2
    live = np.ones((-(-rows // side), -(-width // side)), bool)
    if mode == 2:
        live[:] = False
        models = [AdaptiveBit() for _ in range(3)]
        for y, x in np.ndindex(live.shape):
            neighbours = int(x > 0 and live[y, x - 1]) + int(y > 0 and live[y - 1, x])
            live[y, x] = models[neighbours].decode(coder)
    slope = max([1, *(dx // -dy + 1 for dy, dx in model.context if dy < 0 and dx >= 0)])
    limit = (1 << model.magnitude_bits) - 1
    for step in range(width + slope * (rows - 1)):
        for y in range(rows):
            x = step - slope * y
            if not 0 <= x < width or not live[y // side, x // side]:
                continue
            context = [
                values[y + dy, x + dx] if y + dy >= 0 and 0 <= x + dx < width else 0
                for dy, dx in model.context
            ]
            if other is not None:
                context.append(other[y, x])
            out, bits = model.arm.run(np.array(context, np.int64)[:, None], 0)
            most = (limit + 1) << 4
            mean = int(np.clip(round_shift(out[0], bits - 4), -most, most)[0])
            scale = int(np.clip(round_shift(out[1], bits - 3), -40, 39)[0]) + 40
            values[y, x] = np.clip(decode_laplace(coder, mean, scale), -limit, limit)
    return values


def decode_latents(
    data: bytes, shapes: Shapes, networks: Networks, latents: list[Ints], first: int, count: int
) -> None:
    """Fill tiles first … first + count - 1 of `latents` from a section's bytes."""
    coder = RangeDecoder(data)
    model = ContextModel(shapes.context, networks.arm, networks.magnitude_bits)
    for k, top, rows in tiles(shapes, latents)[first : first + count]:
        latents[k][top : top + rows] = decode_tile(coder, shapes, model, rows, latents[k].shape[1])


class Upsampling(Protocol):
    """Networks, as far as doubling a grid in size needs them."""

    kernel: Ints
    kernel_bits: int


def upsample(x: Ints, networks: Upsampling, height: int, width: int) -> Ints:
    side = networks.kernel.shape[0]
    half = side // 2
    padded = np.pad(x, half, mode="edge")
    full = np.zeros((2 * padded.shape[0] + side, 2 * padded.shape[1] + side), np.int64)
    for u, v in np.ndindex(side, side):
        full[u : u + 2 * padded.shape[0] : 2, v : v + 2 * padded.shape[1] : 2] += (
            networks.kernel[u, v] * padded
        )
    crop = side + half - 1
    sums = wrap(full[crop : crop + height, crop : crop + width])
    return np.clip(round_shift(sums, networks.kernel_bits), -32768, 32767)


def interpolate(plane: Ints, flow_x: Ints, flow_y: Ints) -> Ints:
    h, w = plane.shape
    x = np.arange(w) * 64 + flow_x
    y = np.arange(h)[:, None] * 64 + flow_y
    fx, fy = x & 63, y & 63
    x0, x1 = np.clip(x >> 6, 0, w - 1), np.clip((x >> 6) + 1, 0, w - 1)
    y0, y1 = np.clip(y >> 6, 0, h - 1), np.clip((y >> 6) + 1, 0, h - 1)
    upper = plane[y0, x0] * (64 - fx) + plane[y0, x1] * fx
    lower = plane[y1, x0] * (64 - fx) + plane[y1, x1] * fx
    mixed: Ints = (upper * (64 - fy) + lower * fy + 32) >> 6
    return mixed


def sum_2x2(x: Ints) -> Ints:
    return x[0::2, 0::2] + x[0::2, 1::2] + x[1::2, 0::2] + x[1::2, 1::2]


def reconstruct(
    networks: Networks, latents: Sequence[Ints], references: Sequence[Sequence[NDArray[np.uint8]]]
) -> list[NDArray[np.uint8]]:
    """Planes Y, U, V of the frame."""
    latent_bits = min(10, 14 - networks.magnitude_bits)
    dense = []
    for k, grid in enumerate(latents):
        x = grid << latent_bits
        for level in reversed(range(k)):
            x = upsample(x, networks, *latents[level].shape)
        dense.append(x)
    height, width = latents[0].shape
    flat = np.stack([d.reshape(-1) for d in dense])
    out, bits = networks.synthesis.run(flat, latent_bits)
    out = out.reshape(-1, height, width)

    count = len(references)
    flows = np.clip(round_shift(out[: 2 * count], bits - 10), -(2**20), 2**20)
    residual = np.clip(round_shift(out[2 * count], bits - 14), -32767, 32767)
    chroma_residual = [
        np.clip(round_shift(wrap(sum_2x2(out[2 * count + c])), bits + 2 - 14), -32767, 32767)
        for c in (1, 2)
    ]
    blends = [
        np.clip(wrap(round_shift(x, bits - 12) + 2048), 0, 4096) for x in out[2 * count + 3 :]
    ]

    planes = []
    for c in range(3):
        f = flows if c == 0 else [round_shift(sum_2x2(x), 3) for x in flows]
        b = blends if c == 0 else [round_shift(sum_2x2(x), 2) for x in blends]
        total = (residual if c == 0 else chroma_residual[c - 1]) << 12
        if count:
            predictions = [
                interpolate(r[c].astype(np.int64), f[2 * i], f[2 * i + 1])
                for i, r in enumerate(references)
            ]
            prediction = predictions[0]
            if count == 2:
                prediction = round_shift(b[1] * predictions[0] + (4096 - b[1]) * predictions[1], 12)
            total = total + b[0] * prediction
        planes.append(np.clip(round_shift(total, 18), 0, 255).astype(np.uint8))
    return planes
