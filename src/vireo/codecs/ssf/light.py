"""What the light model has besides: a linear transform of blocks beside the networks.

Latents and the samples of a 16x16 block are tied by a linear layer in either direction, which
starts as a discrete cosine transform of the block's low frequencies; the networks learn what it
lacks. So the model is a transform codec from the first step, where networks alone need thousands
for that.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireo.exact import Conv, Grid

BLOCK = 4  # samples of the picture, the side of a cell of the finest layers
CELLS = 4  # cells per latent, in either direction
CHANNELS = BLOCK * BLOCK * 3 // 2  # of a cell: luma, U, V
WEIGHT_BITS = 13  # of a weight's fraction: cosines over GAIN are small
GAIN = 8.0  # of a coefficient of an orthonormal transform, samples between 0 and 1
_CHROMA = 8  # one of so many latents is U's, another one V's


class Analysis(nn.Module):
    """`[B, N * CHANNELS, h, w]` cells to latents at a quarter of the size, in floats."""

    def __init__(self, deep: nn.Sequential, channels: int, latent: int) -> None:
        super().__init__()
        self.deep = deep
        self.direct = nn.Conv2d(channels, latent, CELLS, stride=CELLS)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.deep(x) + self.direct(x)
        return total


class Synthesis(nn.Module):
    """Latents, the first ones of its inputs, to cells; exact.

    Args:
        deep: from all inputs.
        source, result: grids of latents and of cells.
        latent: how many of the inputs the linear layer gets.
    """

    def __init__(self, deep: nn.Sequential, source: Grid, result: Grid, latent: int) -> None:
        super().__init__()
        self.deep = deep
        self.latent = latent
        self.result = result
        self.direct = nn.Sequential(
            Conv(source, result, latent, CHANNELS * CELLS**2, 1, weight_bits=WEIGHT_BITS),
            nn.PixelShuffle(CELLS),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.result.nearest(self.deep(x) + self.direct(x[:, : self.latent]))


@torch.no_grad()
def start_as_cosines(analysis: Analysis, synthesis: Synthesis) -> None:
    """Sets the linear layers to a transform and its inverse, times and over GAIN.

    Biases are left as they are, 0.
    """
    basis = torch.from_numpy(_basis(synthesis.latent)).float()  # [latent, cells' samples]
    cells = basis.reshape(-1, CHANNELS, CELLS, CELLS)
    analysis.direct.weight.copy_(GAIN * cells)
    layer, first = synthesis.direct[0], synthesis.deep[0]
    assert isinstance(layer, Conv)
    assert isinstance(first, Conv)
    layer.weight.copy_(basis.T[:, :, None, None] / GAIN)
    first.weight.div_(GAIN)  # latents are as much larger than activations


def frequencies(latent: int) -> NDArray[np.int64]:
    """`[latent]`: how many half waves a latent's cosines have, down and across together."""
    return np.array([v + u for _, v, u in _order(latent)])


def _order(latent: int) -> list[tuple[int, int, int]]:
    """Plane, half waves down and across: of luma, U, V the lowest frequencies."""
    chroma = latent // _CHROMA
    found = []
    for plane, count in enumerate((latent - 2 * chroma, chroma, chroma)):
        side = BLOCK * CELLS // (2 if plane else 1)
        lowest = sorted((v + u, v, u) for v in range(side) for u in range(side))[:count]
        found += [(plane, v, u) for _, v, u in lowest]
    return found


def _basis(latent: int) -> NDArray[np.float64]:
    """`[latent, CHANNELS * CELLS**2]`, orthonormal rows; columns as a picture's cells have them."""
    rows = []
    for plane, v, u in _order(latent):
        side = BLOCK // (2 if plane else 1)  # of a plane's part of a cell
        wave = np.outer(_cosine(v, side * CELLS), _cosine(u, side * CELLS))
        # [cell down, in it, cell across, in it] to [in it, in it, cell down, cell across]
        cells = wave.reshape(CELLS, side, CELLS, side).transpose(1, 3, 0, 2)
        row = np.zeros((CHANNELS, CELLS, CELLS))
        first = (0, BLOCK**2, BLOCK**2 + side**2)[plane]
        row[first : first + side**2] = cells.reshape(-1, CELLS, CELLS)
        rows.append(row.ravel())
    return np.array(rows)


def _cosine(frequency: int, size: int) -> NDArray[np.float64]:
    wave = np.cos(np.pi * frequency * (2 * np.arange(size) + 1) / (2 * size))
    unit: NDArray[np.float64] = wave / np.sqrt(np.sum(wave**2))
    return unit
