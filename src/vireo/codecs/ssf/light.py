"""What the light model has besides: linear transforms of blocks beside the networks.

Latents and what a 16x16 block holds are tied by a linear layer in either direction, which starts
as a discrete cosine transform of the block's low frequencies; the networks learn what it lacks.
Of a picture these are its samples, of a flow the vectors that the encoder's search found. So the
model is a hybrid codec from the first step, where networks alone need thousands for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireo.exact import Conv, Grid
from vireo.nn.cosines import lowest_waves, wave_of

BLOCK = 4  # samples of the picture, the side of a cell of the finest layers
CELLS = 4  # cells per latent, in either direction
CHANNELS = BLOCK * BLOCK * 3 // 2  # of a picture's cell: luma, U, V
WEIGHT_BITS = 13  # of a weight's fraction: cosines over the gain are small


@dataclass(frozen=True)
class Transform:
    """Which cosines latents start as.

    Attributes:
        sides: of each plane's part of a cell.
        counts: cosines of each plane, those of lowest frequency.
        gain: of latents over coefficients of an orthonormal transform.
    """

    sides: tuple[int, ...]
    counts: tuple[int, ...]
    gain: float

    @property
    def channels(self) -> int:
        """Samples of a cell."""
        return sum(side**2 for side in self.sides)

    def frequencies(self) -> NDArray[np.int64]:
        """Of each latent's cosines how many half waves they have, down and across together."""
        return np.array([v + u for _, v, u in self._waves()])

    def basis(self) -> NDArray[np.float64]:
        """`[latents, channels * CELLS**2]`, orthonormal rows; columns as cells have them."""
        first = np.cumsum([0, *(side**2 for side in self.sides)])
        rows = []
        for plane, v, u in self._waves():
            side = self.sides[plane]
            wave = wave_of((v, u), side * CELLS)
            # [cell down, in it, cell across, in it] to [in it, in it, cell down, cell across]
            cells = wave.reshape(CELLS, side, CELLS, side).transpose(1, 3, 0, 2)
            row = np.zeros((self.channels, CELLS, CELLS))
            row[first[plane] : first[plane + 1]] = cells.reshape(-1, CELLS, CELLS)
            rows.append(row.ravel())
        return np.array(rows)

    def _waves(self) -> list[tuple[int, int, int]]:
        """Plane, half waves down and across."""
        found = []
        for plane, (side, count) in enumerate(zip(self.sides, self.counts, strict=True)):
            found += [(plane, *wave) for wave in lowest_waves(side * CELLS, count)]
        return found


def picture_transform(latent: int) -> Transform:
    """Of samples between 0 and 1; one latent of eight is U's, one V's."""
    chroma = latent // 8
    return Transform((BLOCK, BLOCK // 2, BLOCK // 2), (latent - 2 * chroma, chroma, chroma), 8.0)


def flow_transform(latent: int) -> Transform:
    """Of vectors (x, y) in samples, and of depths."""
    return Transform((1, 1, 1), 3 * (latent // 3,), 1.0)


class Analysis(nn.Module):
    """`[B, C, h, w]` cells to latents at a quarter of the size, in floats.

    Args:
        deep: from all channels.
        linear: how many of them, the last ones, the linear layer gets.
    """

    def __init__(self, deep: nn.Sequential, linear: int, latent: int) -> None:
        super().__init__()
        self.deep = deep
        self.direct = nn.Conv2d(linear, latent, CELLS, stride=CELLS)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.deep(x) + self.direct(x[:, -self.direct.in_channels :])
        return total


class Synthesis(nn.Module):
    """Latents, the first ones of its inputs, to cells; exact.

    Args:
        deep: from all inputs.
        source, result: grids of latents and of cells.
        latent: how many of the inputs the linear layer gets.
        channels: of a cell.
    """

    def __init__(
        self, deep: nn.Sequential, source: Grid, result: Grid, latent: int, channels: int
    ) -> None:
        super().__init__()
        self.deep = deep
        self.latent = latent
        self.result = result
        self.direct = nn.Sequential(
            Conv(source, result, latent, channels * CELLS**2, 1, weight_bits=WEIGHT_BITS),
            nn.PixelShuffle(CELLS),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.result.nearest(self.deep(x) + self.direct(x[:, : self.latent]))


@torch.no_grad()
def start_as_cosines(
    analysis: Analysis, synthesis: Synthesis, transform: Transform, unit: float = 1.0
) -> None:
    """Sets the linear layers to a transform and its inverse.

    `unit`: what 1 in the synthesis' result stands for. Biases are left as they are, 0.
    """
    basis = torch.from_numpy(transform.basis()).float()  # [latent, cells' samples]
    cells = basis.reshape(-1, transform.channels, CELLS, CELLS)
    direct = analysis.direct
    direct.weight.copy_(transform.gain * cells[:, : direct.in_channels])
    layer, first = synthesis.direct[0], synthesis.deep[0]
    assert isinstance(layer, Conv)
    assert isinstance(first, Conv)
    layer.weight.copy_(basis.T[:, :, None, None] / (transform.gain * unit))
    first.weight.div_(8.0)  # latents are as much larger than activations
