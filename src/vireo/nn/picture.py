"""Pictures as networks have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from vireo.exact import Grid

if TYPE_CHECKING:  # training has no native core, which that needs
    from vireo.codecs.base import Planes

SAMPLES = Grid(8, 0, 255)  # of a picture: v stands for v / 256
GREY = 0.5


@dataclass(frozen=True)
class Picture:
    """Luma `[B, 1, H, W]` and chroma `[B, 2, H / 2, W / 2]`.

    Values are of the grid SAMPLES, or differences of such.
    """

    luma: Tensor
    chroma: Tensor

    def detach(self) -> Picture:
        """The same, and no gradient passes."""
        return Picture(self.luma.detach(), self.chroma.detach())

    def __sub__(self, other: Picture) -> Picture:
        return Picture(self.luma - other.luma, self.chroma - other.chroma)


def blocks_of(picture: Picture, side: int) -> Tensor:
    """`[B, side**2 * 3 / 2, H / side, W / side]`: samples of blocks, luma's, U's, V's.

    Of side 1 it is `[B, 3, H, W]`, chroma's samples repeated.
    """
    if side == 1:
        chroma = functional.interpolate(picture.chroma, scale_factor=2, mode="nearest")
        return torch.cat([picture.luma, chroma], 1)
    chroma = functional.pixel_unshuffle(picture.chroma, side // 2)
    return torch.cat([functional.pixel_unshuffle(picture.luma, side), chroma], 1)


def picture_of_blocks(blocks: Tensor, side: int) -> Picture:
    """`blocks_of` turned round; of side 1 a sample of chroma is the mean of four."""
    luma, chroma = blocks[:, : side * side], blocks[:, side * side :]
    if side == 1:
        return Picture(luma, functional.avg_pool2d(chroma, 2))
    luma = functional.pixel_shuffle(luma, side)
    return Picture(luma, functional.pixel_shuffle(chroma, side // 2))


def picture_of(planes: Planes, device: torch.device | None = None) -> Picture:
    """Planes whose sides networks can take, on the networks' device."""
    y, u, v = (torch.from_numpy(p).to(device).float() / 256 for p in planes)
    return Picture(y[None, None], torch.stack([u, v])[None])


def planes_of(picture: Picture) -> Planes:
    """A decoded picture's samples."""
    luma, chroma = (
        (p[0] * 256).to(torch.uint8).cpu().numpy() for p in (picture.luma, picture.chroma)
    )
    return luma[0], chroma[0], chroma[1]
