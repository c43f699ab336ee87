"""The representation: from a frame's place in time, grids and layers to its picture.

HiNeRV with the changes of the paper's appendix A.1. Features are `[B, H, W, C]`. Where the paper
leaves it open: a stage's first unit, which halves the channels, has no way around it (so the
counts of tables 2 and 5 are met); the stem sees the frames before and behind, the first and the
last repeated at the ends; local grids give one number for each of the places that a sample can
have in the sample it is made of, and go through a layer of their own. Scales of normalisation are
coded less 1. A step of training sees one place of several frames, where the paper's patches are
of different places. The context models (`reference`) have rectifiers, and neither normalisation
nor gelu, as they are integers. A kind of side information has one step, mean and deviation for
all tensors, where the paper has them by tensor: three halves for each of some hundred tensors
would be a tenth of a small stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vireo.codecs.nvrc.config import (
    CELL,
    DEPTHS,
    LOCAL_LEVELS,
    STEM_FRAMES,
    STRIDES,
    Config,
    Extent,
)
from vireo.codecs.nvrc.stages import OFFSET, Crop

Tensors = Mapping[str, Tensor]

Native = Callable[[Tensor, Sequence[Tensor], Sequence[Crop]], Tensor]
"""`stages.Stages.pictures` of some numbers."""

_REACH = (5, 4, 2)
"""Samples around a patch that later stages look at, as the first, second and third stage have
them: half of one for each interpolation and one for each convolution, at their sizes."""
_CELL_REACH = 3  # places of the finest grid, the same before the first stage


@dataclass(frozen=True)
class Patch:
    """Part of a picture, in cells."""

    top: int
    left: int
    rows: int
    columns: int

    @staticmethod
    def whole(extent: Extent) -> Patch:
        """All of it."""
        return Patch(0, 0, extent.rows, extent.columns)


@dataclass(frozen=True)
class _Region:
    """Rows `[top, bottom)` and columns `[left, right)` of a picture of `height` x `width`."""

    top: int
    bottom: int
    left: int
    right: int
    height: int
    width: int

    def around(self, reach: int) -> _Region:
        """With so much more on each side, as far as the picture goes."""
        return _Region(
            max(self.top - reach, 0),
            min(self.bottom + reach, self.height),
            max(self.left - reach, 0),
            min(self.right + reach, self.width),
            self.height,
            self.width,
        )

    def times(self, scale: int) -> _Region:
        """Of a picture so much larger."""
        return _Region(*(scale * n for n in vars(self).values()))

    def within(self, whole: _Region) -> Crop:
        """Where this is in `whole`."""
        rows, columns = self.bottom - self.top, self.right - self.left
        return self.top - whole.top, self.left - whole.left, rows, columns

    def crop(self, features: Tensor, whole: _Region) -> Tensor:
        """This, of features that `whole` has."""
        top, left, rows, columns = self.within(whole)
        return features[:, top : top + rows, left : left + columns]


def pictures(
    config: Config,
    extent: Extent,
    grids: Sequence[Tensor],
    tensors: Tensors,
    frames: Tensor,
    patch: Patch | None = None,
    native: Native | None = None,
) -> Tensor:
    """`[B, 3, H, W]`: Y, U and V at the size of luma, v standing for the sample 255 v.

    A patch has the samples that the whole picture has there, but for the order of sums.

    Args:
        grids: feature grids `[T, H, W, C]`, the finest first.
        tensors: of the layers, as `config.layers` names and shapes them.
        frames: `[B]`, places in time.
        patch: what of the pictures to make; all if not given.
        native: what does all but the stem, if not PyTorch.
    """
    wanted = [_wanted(extent, patch or Patch.whole(extent))]
    for scale in STRIDES:
        wanted.append(wanted[-1].times(scale))
    reach = _CELL_REACH, *_REACH, 0
    regions = [own.around(n) for own, n in zip(wanted, reach, strict=True)]
    x = _stem(extent, grids, tensors, frames)
    x = regions[0].crop(x, wanted[0].around(max(extent.rows, extent.columns)))
    additions = [_local(tensors, stage, frames, extent) for stage in range(len(STRIDES))]
    made = [region.times(scale) for region, scale in zip(regions, STRIDES, strict=False)]
    if native is not None:
        crops = [own.within(whole) for own, whole in zip(regions[1:], made, strict=True)]
        return native(x.permute(0, 3, 1, 2), additions, crops)
    for stage, scale in enumerate(STRIDES):
        rows, columns = x.shape[1:3]
        x = _enlarged(x, scale) + additions[stage].repeat(1, rows, columns, 1)
        for depth in range(DEPTHS[stage]):
            x = _unit(x, tensors, f"{stage}.{depth}")
        x = regions[stage + 1].crop(x, made[stage])
    x = functional.linear(x, tensors["head.weight"], tensors["head.bias"])
    return x.permute(0, 3, 1, 2) + OFFSET


def _wanted(extent: Extent, patch: Patch) -> _Region:
    bottom, right = patch.top + patch.rows, patch.left + patch.columns
    return _Region(patch.top, bottom, patch.left, right, extent.rows, extent.columns)


def halved(planes: Tensor) -> Tensor:
    """`[B, C, H / 2, W / 2]`, the means of four: what chroma has of a picture."""
    return functional.avg_pool2d(planes, 2)


def _stem(extent: Extent, grids: Sequence[Tensor], tensors: Tensors, frames: Tensor) -> Tensor:
    """Features of all cells of the frames."""
    offsets = torch.arange(STEM_FRAMES, device=frames.device) - STEM_FRAMES // 2
    times = (frames[:, None] + offsets).clamp(0, extent.frames - 1)
    count = times.numel()
    parts = []
    for grid in grids:
        seen = _in_time(grid, times.reshape(-1), extent.frames).permute(0, 3, 1, 2)
        if seen.shape[-2:] != (extent.rows, extent.columns):
            size = extent.rows, extent.columns
            seen = functional.interpolate(seen, size=size, mode="bilinear", align_corners=False)
        parts.append(seen)
    x = torch.cat(parts, 1).reshape(count // STEM_FRAMES, -1, extent.rows, extent.columns)
    weight = tensors["stem.weight"].transpose(1, 2).flatten(1, 2)
    x = functional.conv2d(x, weight, tensors["stem.bias"], padding=1)
    return _norm(x.permute(0, 2, 3, 1).contiguous(), tensors, "stem")


def _in_time(grid: Tensor, times: Tensor, frames: int) -> Tensor:
    """`[B, ...]`: of a grid `[T, ...]` that covers so many frames, between its two nearest."""
    steps = grid.shape[0]
    at = ((times.to(grid.dtype) + 0.5) * steps / frames - 0.5).clamp(0, steps - 1)
    before = at.floor().long()
    behind = (before + 1).clamp(max=steps - 1)
    part = (at - before).reshape(-1, *[1] * (grid.dim() - 1))
    return torch.lerp(grid[before], grid[behind], part)


def _enlarged(x: Tensor, scale: int) -> Tensor:
    x = x.permute(0, 3, 1, 2)
    x = functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    return x.permute(0, 2, 3, 1)


def _local(tensors: Tensors, stage: int, frames: Tensor, extent: Extent) -> Tensor:
    """`[B, s, s, C]`: what local grids add, the same for all places but within each."""
    grids = (tensors[f"{stage}.local.{level}"] for level in range(LOCAL_LEVELS))
    x = torch.cat([_in_time(grid, frames, extent.frames) for grid in grids], -1)
    return functional.linear(x, tensors[f"{stage}.local.weight"], tensors[f"{stage}.local.bias"])


def _norm(x: Tensor, tensors: Tensors, name: str) -> Tensor:
    return functional.layer_norm(
        x, x.shape[-1:], 1 + tensors[f"{name}.scale"], tensors[f"{name}.shift"], 1e-6
    )


def _unit(x: Tensor, tensors: Tensors, name: str) -> Tensor:
    """As ConvNeXt has it."""
    y = functional.conv2d(
        x.permute(0, 3, 1, 2),
        tensors[f"{name}.depthwise.weight"],
        tensors[f"{name}.depthwise.bias"],
        padding=1,
        groups=x.shape[-1],
    ).permute(0, 2, 3, 1)
    y = _norm(y, tensors, f"{name}.norm")
    y = functional.linear(y, tensors[f"{name}.expand.weight"], tensors[f"{name}.expand.bias"])
    y = functional.linear(
        functional.gelu(y), tensors[f"{name}.project.weight"], tensors[f"{name}.project.bias"]
    )
    return x + y if y.shape == x.shape else y


assert CELL % 2 == 0  # so that patches have whole chroma samples
