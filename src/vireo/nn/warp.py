"""Scale-space warping in exact arithmetic (Agustsson et al., 2020; InstA, equation 3).

A picture and what it looks like more and more blurred are a volume; each sample of the result
comes from one place in it, between its samples. Vectors, the depth and the result lie on grids so
coarse that single precision holds every product.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vireo.exact import Grid

LEVELS = 5  # sharp, then blurred with standard deviations of 1, 2.2, 4.6, 9.2 samples
STACK = Grid(10, 0, 1023)  # of the volume and of the result, where white is 1
VECTORS = Grid.signed(5, 14)  # 1/32 sample, up to 256
DEPTHS = Grid(3, 0, 8 * (LEVELS - 1))  # 1/8 of a level
_TAPS = (1, 4, 6, 4, 1)  # sixteenths


def blur_stack(planes: Tensor) -> Tensor:
    """`[B, C, H, W]` of the grid STACK to `[B, C, LEVELS, H, W]`.

    Each level is the one before under a binomial filter whose taps are twice as far apart.
    """
    levels = [planes]
    for k in range(LEVELS - 1):
        levels.append(STACK.nearest(_filtered(_filtered(levels[-1], -1, 1 << k), -2, 1 << k)))
    return torch.stack(levels, 2)


def _filtered(x: Tensor, axis: int, distance: int) -> Tensor:
    reach = 2 * distance
    size = x.shape[axis]
    pad = (reach, reach, 0, 0) if axis == -1 else (0, 0, reach, reach)
    padded = functional.pad(x, pad, mode="replicate")
    total = _TAPS[0] / 16 * padded.narrow(axis, 0, size)
    for i, tap in enumerate(_TAPS[1:], 1):
        total = total + tap / 16 * padded.narrow(axis, i * distance, size)
    return total


def scale_space_warp(stack: Tensor, vectors: Tensor, depth: Tensor) -> Tensor:
    """Samples a volume where vectors and depths point.

    Args:
        stack: `[B, C, LEVELS, H, W]` of `blur_stack`.
        vectors: `[B, 2, H, W]` (x, y), in samples, of the grid VECTORS; beyond the border it
            is repeated.
        depth: `[B, 1, H, W]`, in levels, of the grid DEPTHS.

    Returns `[B, C, H, W]` of the grid STACK.
    """
    batch, channels, levels, height, width = stack.shape
    rows = torch.arange(height, dtype=vectors.dtype, device=vectors.device)[:, None]
    columns = torch.arange(width, dtype=vectors.dtype, device=vectors.device)
    x, x0 = _split((columns + vectors[:, 0]).clamp(0, width - 1), width)
    y, y0 = _split((rows + vectors[:, 1]).clamp(0, height - 1), height)
    z, z0 = _split(depth[:, 0], levels)
    flat = stack.flatten(2)
    at = (z0 * height + y0) * width + x0  # [B, H, W]

    def samples(dz: int, dy: int, dx: int) -> Tensor:
        index = (at + ((dz * height + dy) * width + dx)).reshape(batch, 1, -1)
        values = flat.gather(2, index.expand(-1, channels, -1))
        return values.reshape(batch, channels, height, width)

    x, y, z = x[:, None], y[:, None], z[:, None]

    def level(dz: int) -> Tensor:
        upper = torch.lerp(samples(dz, 0, 0), samples(dz, 0, 1), x)
        lower = torch.lerp(samples(dz, 1, 0), samples(dz, 1, 1), x)
        return torch.lerp(upper, lower, y)

    return STACK.nearest(torch.lerp(level(0), level(1), z))


def _split(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How far behind a sample that has another one behind it, and which one."""
    first = position.detach().floor().clamp(0, max(size - 2, 0))
    return position - first, first.long()
