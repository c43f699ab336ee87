"""The layers in plain int64 arithmetic: slow, and what all other ways are held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vireo.exact.functions import DROPPED_BITS, MEAN_BITS, LayerNorm, Lookup
from vireo.exact.grid import Grid
from vireo.exact.layers import Conv, ExactLayer, TransposedConv

Integers = NDArray[np.int64]


def run_layer(layer: ExactLayer, x: Integers) -> Integers:
    """What a layer makes of `[C, H, W]`, in units of its source grid and of its result's."""
    weight, bias = (
        np.rint(t.detach().double().numpy() * 2.0**bits).astype(np.int64)
        for t, bits in zip(layer.quantised(), (layer.weight_bits, layer.sum_bits), strict=True)
    )
    if isinstance(layer, Conv):
        total = _convolve(x, weight, layer.stride, layer.groups, layer.dilation)
    elif isinstance(layer, TransposedConv):
        total = _spread(x, weight, layer.stride)
    else:
        raise TypeError(f"no reference for {type(layer).__name__}")
    return rounded(total + bias[:, None, None], layer.sum_bits, layer.result)


def rounded(total: Integers, bits: int, grid: Grid) -> Integers:
    """Numbers with `bits` of fraction on a grid: halves up, then its bounds."""
    shift = bits - grid.bits
    moved = (total + (1 << (shift - 1))) >> shift if shift > 0 else total << -shift
    result: Integers = np.clip(moved, grid.low, grid.high)
    return result


def normalised(layer: LayerNorm, x: Integers) -> Integers:
    """What a normalisation makes of `[C, H, W]`, in units of its grids.

    The factor's root and quotient are what IEEE 754 says of doubles.
    """
    channels = x.shape[0]
    share = (2 * (1 << MEAN_BITS) + channels) // (2 * channels)
    mean = (x.sum(0) * share + (1 << (MEAN_BITS - 1))) >> MEAN_BITS
    centred = x - mean
    power = (centred**2).sum(0) + channels
    factor = np.sqrt(channels / power.astype(np.float64)).astype(np.float32)
    mantissa, exponent = np.frexp(factor.astype(np.float64))
    kept = 24 - DROPPED_BITS
    whole = np.floor(mantissa * 2.0**kept + 0.5).astype(np.int64)
    shift = (kept - exponent - layer.result.bits).astype(np.int64)
    moved = (centred * whole + (np.int64(1) << (shift - 1))) >> shift
    result: Integers = np.clip(moved, layer.result.low, layer.result.high)
    return result


def looked_up(layer: Lookup, x: Integers) -> Integers:
    """What a table has for numbers, in units of its grids."""
    found: Integers = layer.table(layer.source, layer.result)[x - layer.source.low]
    return found


def _convolve(x: Integers, weight: Integers, stride: int, groups: int, dilation: int) -> Integers:
    outputs, inputs, kernel, _ = weight.shape
    height, width = x.shape[1:]
    half = dilation * (kernel // 2) if kernel % 2 else 0
    padded = np.pad(x, [(0, 0), (half, half), (half, half)])
    rows, columns = -(-height // stride), -(-width // stride)
    total = np.zeros((outputs, rows, columns), np.int64)
    for group in range(groups):
        own = slice(group * outputs // groups, (group + 1) * outputs // groups)
        source = padded[group * inputs : (group + 1) * inputs]
        for dy in range(kernel):
            for dx in range(kernel):
                top, left = dilation * dy, dilation * dx
                taps = source[:, top : top + height : stride, left : left + width : stride]
                total[own] += np.tensordot(weight[own, :, dy, dx], taps[:, :rows, :columns], 1)
    return total


def _spread(x: Integers, weight: Integers, stride: int) -> Integers:
    _, outputs, kernel, _ = weight.shape
    height, width = x.shape[1:]
    room = np.zeros((outputs, stride * height + kernel, stride * width + kernel), np.int64)
    for dy in range(kernel):
        for dx in range(kernel):
            part = np.tensordot(weight[:, :, dy, dx].T, x, 1)
            room[:, dy : dy + stride * height : stride, dx : dx + stride * width : stride] += part
    half = kernel // 2
    return room[:, half : half + stride * height, half : half + stride * width]
