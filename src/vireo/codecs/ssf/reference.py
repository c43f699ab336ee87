"""The decoder in plain int64 arithmetic: what a picture is, whatever computes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vireo.codecs.rate_points import STEP_PARTS
from vireo.codecs.ssf.autoencoder import DEVIATIONS, LATENTS, STEPS, Autoencoder
from vireo.codecs.ssf.light import BLOCK, Synthesis
from vireo.codecs.ssf.model import FLOW, FLOW_GAIN, RESIDUALS, Model
from vireo.entropy.normal import scale_thresholds
from vireo.exact.layers import ExactLayer
from vireo.exact.reference import Integers, rounded, run_layer
from vireo.nn.picture import SAMPLES
from vireo.nn.warp import DEPTHS, LEVELS, STACK, VECTORS

Samples = NDArray[np.uint8]
_TAPS = (1, 4, 6, 4, 1)


def distributions(
    part: Autoencoder, z: Integers, rows: int, columns: int
) -> tuple[Integers, Integers]:
    """Means of latents in units of LATENTS, and indices of their tables, from hyperlatents."""
    mean = _run(part.hyper_mean, z)[:, :rows, :columns]
    deviation = _run(part.hyper_deviation, z)[:, :rows, :columns]
    return mean, np.searchsorted(scale_thresholds(DEVIATIONS.bits), deviation, side="right")


def dequantised(part: Autoencoder, symbols: Integers, mean: Integers, place: int) -> Integers:
    """Latents in units of LATENTS."""
    values = (symbols << LATENTS.bits) + mean
    if part.steps is None:
        return rounded(values, LATENTS.bits, LATENTS)
    points = np.floor(part.steps.detach().double().numpy() * 2.0**STEPS.bits + 0.5)
    steps = np.clip(points.astype(np.int64), STEPS.low, STEPS.high)
    whole, between = divmod(place, STEP_PARTS)
    low, high = steps[whole], steps[min(whole + 1, len(steps) - 1)]
    mixed = low * (STEP_PARTS - between) + high * between
    bits = STEPS.bits + STEP_PARTS.bit_length() - 1
    step = rounded(mixed, bits, STEPS)[:, None, None]
    return rounded(values * step, LATENTS.bits + STEPS.bits, LATENTS)


def intra(model: Model, latents: Integers) -> list[Samples]:
    """Planes Y, U, V of an I frame."""
    planes = _planes(model, _run(model.intra.synthesis, latents))
    return [_samples(plane, bits) for plane, bits in planes]


def inter(
    model: Model, reference: list[Samples], flow: Integers, residual: Integers
) -> list[Samples]:
    """Planes Y, U, V of a P frame."""
    field = _run(model.flow.synthesis, flow) * FLOW_GAIN
    bits = FLOW.bits
    if model.config.light:
        field, bits = _enlarged(field, BLOCK), bits + 6
    half = _summed(field)  # with two bits more
    vectors = [
        (rounded(field[:2], bits, VECTORS), rounded(field[2], bits, DEPTHS)),
        # Chroma's vectors are half as long.
        (rounded(half[:2], bits + 3, VECTORS), rounded(half[2], bits + 2, DEPTHS)),
    ]
    rest = _planes(model, _run(model.residual.synthesis, np.concatenate([residual, flow])))
    result = []
    for place, (plane, (other, other_bits)) in enumerate(zip(reference, rest, strict=True)):
        moved = _warp(plane.astype(np.int64), *vectors[place > 0])
        total = (moved << (other_bits - STACK.bits)) + other
        result.append(_samples(total, other_bits))
    return result


def _run(network: nn.Module, x: Integers) -> Integers:
    if isinstance(network, Synthesis):
        direct = _run(network.direct, x[: network.latent])
        total = _run(network.deep, x) + direct
        clamped: Integers = np.clip(total, network.result.low, network.result.high)
        return clamped
    assert isinstance(network, nn.Sequential)
    for layer in network:
        if isinstance(layer, ExactLayer):
            x = run_layer(layer, x)
        else:
            assert isinstance(layer, nn.PixelShuffle)
            x = _shuffled(x, layer.upscale_factor)
    return x


def _shuffled(x: Integers, side: int) -> Integers:
    channels, height, width = x.shape
    blocks = x.reshape(channels // side**2, side, side, height, width)
    return blocks.transpose(0, 3, 1, 4, 2).reshape(-1, height * side, width * side)


def _planes(model: Model, output: Integers) -> list[tuple[Integers, int]]:
    """Y, U, V and the bits of their fractions."""
    bits = RESIDUALS.bits
    if model.config.light:
        luma = _shuffled(output[: BLOCK**2], BLOCK)
        chroma = _shuffled(output[BLOCK**2 :], BLOCK // 2)
    else:
        luma, chroma = output[:1], _summed(output[1:])
    chroma_bits = bits if model.config.light else bits + 2
    return [(luma[0], bits), (chroma[0], chroma_bits), (chroma[1], chroma_bits)]


def _samples(plane: Integers, bits: int) -> Samples:
    return rounded(plane, bits, SAMPLES).astype(np.uint8)


def _summed(x: Integers) -> Integers:
    """Of 2x2 cells."""
    return x[:, ::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, ::2] + x[:, 1::2, 1::2]


def _enlarged(x: Integers, factor: int) -> Integers:
    """Bilinear, samples in the middle of their cells, times (2 * factor)**2."""
    for axis in (1, 2):
        size = x.shape[axis]
        at = 2 * np.arange(size * factor) + 1 - factor  # in 1 / (2 * factor)
        first, part = np.maximum(at, 0) // (2 * factor), np.maximum(at, 0) % (2 * factor)
        second = np.minimum(first + 1, size - 1)
        shape = [1, 1, 1]
        shape[axis] = -1
        part = part.reshape(shape)
        x = x.take(first, axis) * (2 * factor - part) + x.take(second, axis) * part
    return x


def _warp(plane: Integers, vectors: Integers, depth: Integers) -> Integers:
    """Of a plane of 8 bits, in units of STACK."""
    levels = [plane << (STACK.bits - SAMPLES.bits)]
    for k in range(LEVELS - 1):
        blurred = _filtered(_filtered(levels[-1], 1, 1 << k), 0, 1 << k)
        levels.append(rounded(blurred, STACK.bits + 8, STACK))
    stack = np.stack(levels)
    height, width = plane.shape
    rows, columns = np.arange(height)[:, None], np.arange(width)
    x0, fx = _split((columns << VECTORS.bits) + vectors[0], VECTORS.bits, width)
    y0, fy = _split((rows << VECTORS.bits) + vectors[1], VECTORS.bits, height)
    z0, fz = _split(depth, DEPTHS.bits, LEVELS)
    total = np.zeros(plane.shape, np.int64)
    for dz in (0, 1):
        for dy in (0, 1):
            for dx in (0, 1):
                weight = (
                    _share(fz, dz, DEPTHS.bits)
                    * _share(fy, dy, VECTORS.bits)
                    * _share(fx, dx, VECTORS.bits)
                )
                total += weight * stack[z0 + dz, y0 + dy, x0 + dx]
    return rounded(total, STACK.bits + DEPTHS.bits + 2 * VECTORS.bits, STACK)


def _filtered(x: Integers, axis: int, distance: int) -> Integers:
    pad = [(0, 0), (0, 0)]
    pad[axis] = (2 * distance, 2 * distance)
    padded = np.pad(x, pad, mode="edge")
    size = x.shape[axis]
    return sum(
        (tap * padded.take(np.arange(i * distance, i * distance + size), axis))
        for i, tap in enumerate(_TAPS)
    )  # type: ignore[return-value]


def _split(position: Integers, bits: int, size: int) -> tuple[Integers, Integers]:
    position = np.clip(position, 0, (size - 1) << bits)
    first = np.clip(position >> bits, 0, max(size - 2, 0))
    return first, position - (first << bits)


def _share(part: Integers, side: int, bits: int) -> Integers:
    return part if side else (1 << bits) - part
