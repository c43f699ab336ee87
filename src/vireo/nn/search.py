"""Motion search for an encoder: where a picture's samples come from, coarse to fine.

At an eighth of the size, all vectors are tried; from there on the field is refined by gradients
(Lucas and Kanade, 1981), level by level, and at the coarser ones by what its neighbours found. What
doesn't match better is left out, and vectors that hardly match better than none. Nothing here is
exact: a decoder gets the field as latents.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

_HALVINGS = 3  # from the picture to the level where all vectors are tried
COARSEST = 1 << _HALVINGS  # samples of the picture per sample of that level
REACH = 6  # samples of the coarsest level, in either direction
CELL = 4  # samples of the picture per vector of the result
_STEPS = 2  # refinements per level
_SPREAD = 2  # how far vectors are tried, in samples of a level
_WINDOW = 7  # side of what has to move together, in samples of a level
_STILL, _NOISE = 0.1, 1e-5  # how much better a vector has to match than none, squared errors
_LEAST_GRADIENT = 1e-5  # squared: where there is none, vectors stay
_PER_SAMPLE = 2e-4  # what a vector costs in the search, per sample of its length


@torch.no_grad()
def motion_field(target: Tensor, reference: Tensor) -> Tensor:
    """Vectors from places in `target` to places in `reference`.

    Args:
        target, reference: luma `[B, 1, H, W]`, white about 1, sides multiples of COARSEST.

    Returns `[B, 2, H / CELL, W / CELL]` (x, y), in samples.
    """
    levels = [torch.cat([target, reference], 1)]
    for _ in range(_HALVINGS):
        levels.append(functional.avg_pool2d(levels[-1], 2))
    field = _full_search(levels[-1])
    for level in reversed(levels):
        if level is not levels[-1]:
            field = 2 * _enlarged(field, 2 if field.shape[-1] * CELL < target.shape[-1] else 1)
        if field.shape == level.shape:  # both have two channels
            field = _spread(level, _refined(level, field))
        field = _refined(level, field)
    return _stilled(levels[0], field)


def moved(reference: Tensor, field: Tensor) -> Tensor:
    """`reference` `[B, C, H, W]` moved by `[B, 2, H, W]` samples; borders are repeated."""
    height, width = field.shape[-2:]
    rows = torch.arange(height, dtype=field.dtype, device=field.device)[:, None]
    columns = torch.arange(width, dtype=field.dtype, device=field.device)
    x = (columns + field[:, 0]) * (2 / max(width - 1, 1)) - 1
    y = (rows + field[:, 1]) * (2 / max(height - 1, 1)) - 1
    return functional.grid_sample(
        reference, torch.stack([x, y], -1), padding_mode="border", align_corners=True
    )


def _full_search(pair: Tensor) -> Tensor:
    """The vector of least absolute differences around each sample; short ones where alike."""
    target, reference = pair[:, :1], pair[:, 1:]
    height, width = target.shape[-2:]
    padded = functional.pad(reference, [REACH] * 4, mode="replicate")
    costs = []
    for row in range(2 * REACH + 1):  # all its places together: on a GPU each kernel has its price
        rows = padded[:, 0, row : row + height].unfold(2, width, 1)  # [B, H, places, W]
        costs.append(_windowed((target - rows.transpose(1, 2)).abs(), 5))
    vectors, lengths, order = _reached(target.dtype, target.device)
    found = torch.cat(costs, 1)[:, order] + lengths
    return vectors[found.argmin(1)].movedim(-1, 1)


@cache
@torch.inference_mode(False)  # training may need them later
def _reached(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors (x, y) from the shortest on, what they cost `[N, 1, 1]`, and their places by rows."""
    reach = range(-REACH, REACH + 1)
    places = sorted(product(reach, reach), key=lambda d: abs(d[0]) + abs(d[1]))
    vectors = torch.tensor([(dx, dy) for dy, dx in places], dtype=dtype)
    costs = torch.tensor(
        [_PER_SAMPLE * COARSEST * (abs(dx) + abs(dy)) for dy, dx in places], dtype=dtype
    )
    order = torch.tensor([(dy + REACH) * len(reach) + dx + REACH for dy, dx in places])
    return vectors.to(device), costs[:, None, None].to(device), order.to(device)


def _refined(pair: Tensor, field: Tensor) -> Tensor:
    """A field no finer than the pair, in the pair's samples, brought nearer to what matches."""
    target, reference = pair[:, :1], pair[:, 1:]
    ratio = target.shape[-1] // field.shape[-1]
    other = moved(reference, _enlarged(field, ratio))
    error = _windowed((target - other).square(), _WINDOW, ratio)
    for step in range(_STEPS):
        gx, gy = _slope(other, -1), _slope(other, -2)
        difference = target - other
        products = torch.cat([gx * gx, gy * gy, gx * gy, gx * difference, gy * difference], 1)
        xx, yy, xy, xt, yt = _windowed(products, _WINDOW, ratio).unbind(1)
        xx, yy = xx + _LEAST_GRADIENT, yy + _LEAST_GRADIENT
        determinant = xx * yy - xy * xy
        change = torch.stack([yy * xt - xy * yt, xx * yt - xy * xt], 1) / determinant[:, None]
        tried = field + _windowed(change.clamp(-1, 1), 3)
        candidate = moved(reference, _enlarged(tried, ratio))
        found = _windowed((target - candidate).square(), _WINDOW, ratio)
        better = found < error
        field = torch.where(better, tried, field)
        error = torch.where(better, found, error)
        if step < _STEPS - 1:
            other = moved(reference, _enlarged(field, ratio))
    return field


def _spread(pair: Tensor, field: Tensor) -> Tensor:
    """Of a sample's own vector and those around it, the one that matches best."""
    target, reference = pair[:, :1], pair[:, 1:]
    height, width = field.shape[-2:]
    padded = functional.pad(field, [_SPREAD] * 4, mode="replicate")
    best, least = field, _windowed((target - moved(reference, field)).square(), _WINDOW)
    for top, left in product((0, _SPREAD, 2 * _SPREAD), repeat=2):
        other = padded[..., top : top + height, left : left + width]
        error = _windowed((target - moved(reference, other)).square(), _WINDOW)
        better = error < least
        best, least = torch.where(better, other, best), torch.where(better, error, least)
    return best


def _stilled(pair: Tensor, field: Tensor) -> Tensor:
    """A field without the vectors that hardly match better than none: noise has such."""
    target, reference = pair[:, :1], pair[:, 1:]
    error = _windowed((target - moved(reference, _enlarged(field, CELL))).square(), _WINDOW, CELL)
    still = _windowed((target - reference).square(), _WINDOW, CELL)
    return torch.where(still < (1 + _STILL) * error + _NOISE, 0, field)


def _enlarged(field: Tensor, ratio: int) -> Tensor:
    if ratio == 1:
        return field
    return functional.interpolate(field, scale_factor=ratio, mode="bilinear")


def _slope(x: Tensor, axis: int) -> Tensor:
    pad = (1, 1, 0, 0) if axis == -1 else (0, 0, 1, 1)
    padded = functional.pad(x, pad, mode="replicate")
    size = x.shape[axis]
    return (padded.narrow(axis, 2, size) - padded.narrow(axis, 0, size)) / 2


def _windowed(x: Tensor, size: int, ratio: int = 1) -> Tensor:
    """Means over windows around each cell of `ratio` samples; beyond the border is nothing."""
    half = size // 2
    if ratio > 1:
        pad = half - ratio // 2 + 1
        size = ratio + 2 * pad
        return functional.avg_pool2d(x, size, ratio, pad, count_include_pad=False)
    x = functional.avg_pool2d(x, (1, size), 1, (0, half), count_include_pad=False)
    return functional.avg_pool2d(x, (size, 1), 1, (half, 0), count_include_pad=False)
