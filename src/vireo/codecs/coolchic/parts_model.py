"""Architectures with parts in PyTorch: what `model` is to those without.

Differentiable, and without the decoder's roundings but one: a vector is rounded to 64ths
of a sample, for which there are filters. Samples are floats in 0…1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vireo.codecs.coolchic.config import SMOOTH_LEVEL, Architecture, GridKind
from vireo.codecs.coolchic.interpolation import CHROMA_TAPS, FRACTIONS, LUMA_TAPS, slopes, taps
from vireo.codecs.coolchic.model import (
    SAMPLE_SCALE,
    Layer,
    contexts,
    double,
    laplace_bits,
    leaky_clamp,
    mlp,
    split_parameters,
    upsample,
)
from vireo.gop import FrameType

BLOCK_LEVEL = 2  # a field has one value per 4x4 luma samples
VECTOR_UNIT = 0.25  # luma samples of motion per unit of a latent
# Weights where the latents are 0, and what a latent's unit adds.
ALPHA_ZERO, ALPHA_UNIT = 1.25, 0.5
BETA_ZERO, BETA_UNIT = 0.5, 0.25


@dataclass
class PartNetworks:
    """The networks of one frame.

    Attributes:
        arms: layers of the autoregressive model of each `GridKind`.
        kernel: the upsampling's kernel `[K, K]`.
        luma: layers of the synthesis from luma's latents to the residual Y.
        chroma: layers of the synthesis from latents at half resolution to the residuals U, V.
        has_motion: whether the frame is predicted; if not, the models of motion are not coded.
    """

    arms: list[list[Layer]]
    kernel: Tensor
    luma: list[Layer]
    chroma: list[Layer]
    has_motion: bool

    @classmethod
    def of(cls, flat: Tensor, architecture: Architecture, frame_type: FrameType) -> PartNetworks:
        """From all parameters, in the order of `Architecture.parameters`."""
        layers, kernel = split_parameters(flat, architecture, frame_type)
        *arms, luma, chroma = layers.values()
        return cls(arms, kernel, luma, chroma, frame_type != FrameType.I)

    def tensors(self) -> list[Tensor]:
        """All parameters, in the order of `Architecture.parameters`."""
        return [
            *(t for arm in self.arms for layer in arm for t in layer),
            self.kernel,
            *(t for synthesis in (self.luma, self.chroma) for layer in synthesis for t in layer),
        ]

    def groups(self) -> list[list[Tensor]]:
        """Parameters that are coded together: a network's weights, or its biases."""
        arms = self.arms if self.has_motion else self.arms[: GridKind.VECTORS]
        return [
            *(list(part) for arm in arms for part in zip(*arm, strict=True)),
            [self.kernel],
            *(list(part) for part in zip(*self.luma, strict=True)),
            *(list(part) for part in zip(*self.chroma, strict=True)),
        ]


@dataclass
class Fields:
    """Motion and blending per block, `[ceil(H / 4), ceil(W / 4)]` each.

    Attributes:
        vectors: (x, y) `[2, h, w]` per reference in luma samples, not yet rounded.
        alpha: how much of the prediction is taken, 0…1; None in I frames.
        beta: weight of the first reference, 0…1; None but in B frames.
    """

    vectors: list[Tensor]
    alpha: Tensor | None = None
    beta: Tensor | None = None


def rate(
    latents: Sequence[Tensor],
    networks: PartNetworks,
    architecture: Architecture,
    frame_type: FrameType,
) -> Tensor:
    """Bits of all latents under the autoregressive models of their kinds (a scalar)."""
    kinds = GridKind if networks.has_motion else (GridKind.LUMA, GridKind.CHROMA)
    bits = [rate_of_kind(k, latents, networks, architecture, frame_type) for k in kinds]
    return torch.stack(bits).sum()


def rate_of_kind(
    kind: GridKind,
    latents: Sequence[Tensor],
    networks: PartNetworks,
    architecture: Architecture,
    frame_type: FrameType,
) -> Tensor:
    """Bits of the latents of a kind that the frame has."""
    grids = architecture.latent_grids(frame_type, *latents[0].shape)
    inputs, values = [], []
    for grid, latent in zip(grids, latents, strict=True):
        if grid.kind != kind:
            continue
        rows = [contexts(latent, architecture.context_of(kind))]
        if kind != GridKind.LUMA:
            other = torch.zeros_like(latent) if grid.other is None else latents[grid.other]
            rows.append(other.reshape(1, -1))
        inputs.append(torch.cat(rows))
        values.append(latent.reshape(-1))
    mean, log2_scale = mlp(networks.arms[kind], torch.cat(inputs, dim=1))
    return laplace_bits(torch.cat(values), mean, log2_scale).sum()


def fields(
    pyramids: Sequence[Sequence[Tensor]], architecture: Architecture, height: int, width: int
) -> Fields:
    """Fields of a frame from each one's grids, finest first, in the order of the latents.

    From the coarsest grid on, values are doubled in size and joined by the next finer
    grid's, until there is one per block. Latents of grids below `SMOOTH_LEVEL` hold for
    all blocks of their cells.
    """
    if not pyramids:
        return Fields([])
    assert architecture.parts is not None
    first = architecture.parts.motion_first
    levels = {first + i: torch.stack(level) for i, level in enumerate(zip(*pyramids, strict=True))}
    total = torch.zeros_like(levels[max(levels)])
    for k in reversed(range(BLOCK_LEVEL, max(levels) + 1)):
        if k < max(levels):
            total = _double_linear(total, (-(-height >> k), -(-width >> k)))
        if k >= SMOOTH_LEVEL and k in levels:
            total = total + levels[k]
    rows, columns = total.shape[1:]
    for k in range(first, min(SMOOTH_LEVEL, max(levels) + 1)):
        side = 1 << (k - BLOCK_LEVEL)
        cells = levels[k].repeat_interleave(side, 1).repeat_interleave(side, 2)
        total = total + cells[:, :rows, :columns]
    references = len(pyramids) // 3
    vectors = [total[2 * i : 2 * i + 2] * VECTOR_UNIT for i in range(references)]
    alpha = leaky_clamp(ALPHA_ZERO + total[2 * references] * ALPHA_UNIT, 0.0, 1.0)
    beta = None
    if references == FrameType.B:
        beta = leaky_clamp(BETA_ZERO + total[-1] * BETA_UNIT, 0.0, 1.0)
    return Fields(vectors, alpha, beta)


def _double_linear(x: Tensor, size: Sequence[int]) -> Tensor:
    """`[N, h, w]` doubled with weights 1/4 and 3/4 per axis, borders repeated, cropped."""
    doubled = F.interpolate(x[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    return doubled[:, : size[0], : size[1]]


class _Filters(NamedTuple):
    """What interpolates the rows of a block: `[64, block, block + taps - 1]` by fraction."""

    values: Tensor
    slopes: Tensor
    before: int  # samples that the taps reach to before the block


@cache
def _filters(scale: int, dtype: torch.dtype, device: torch.device) -> _Filters:
    count = LUMA_TAPS if scale == 1 else CHROMA_TAPS
    block = (1 << BLOCK_LEVEL) // scale

    def bands(table: NDArray[Any]) -> Tensor:
        matrices = np.zeros((FRACTIONS, block, block + count - 1))
        for row in range(block):
            matrices[:, row, row : row + count] = table
        return torch.from_numpy(matrices).to(device, dtype)

    return _Filters(bands(taps(count) / FRACTIONS), bands(slopes(count)), count // 2 - 1)


class _BlockPrediction(torch.autograd.Function):
    """Blocks of `planes` `[C, H, W]`, displaced by `vectors` `[2, h, w]` in luma samples.

    The planes are `scale` times smaller than luma. The gradient by the vectors is that of
    the filters before rounding (`interpolation.slopes`), as if the vectors were not rounded;
    there is none by the planes.
    """

    @staticmethod
    def forward(ctx: Any, planes: Tensor, vectors: Tensor, scale: int) -> Tensor:
        filters = _filters(scale, planes.dtype, planes.device)
        moved = torch.floor(vectors * FRACTIONS + 0.5).long()
        if scale == 2:
            moved = (moved + 1) >> 1
        whole, fraction = moved // FRACTIONS, moved % FRACTIONS
        _, block, side = filters.values.shape
        _, h, w = vectors.shape
        _, height, width = planes.shape
        steps = torch.arange(max(h, w), device=planes.device) * block - filters.before
        inside = torch.arange(side, device=planes.device)
        x = (steps[:w] + whole[0])[..., None] + inside
        y = (steps[:h, None] + whole[1])[..., None] + inside
        windows = planes[
            :, y.clamp(0, height - 1)[..., :, None], x.clamp(0, width - 1)[..., None, :]
        ]
        ctx.save_for_backward(windows, fraction)
        ctx.scale = scale
        across, down = filters.values[fraction]
        blocks = down @ windows @ across.mT
        joined: Tensor = blocks.transpose(2, 3).reshape(-1, h * block, w * block)
        return joined[:, :height, :width]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        windows, fraction = ctx.saved_tensors
        filters = _filters(ctx.scale, windows.dtype, windows.device)
        block = filters.values.shape[1]
        channels, h, w = windows.shape[:3]
        missing = w * block - gradient.shape[2], h * block - gradient.shape[1]
        padded = F.pad(gradient, (0, missing[0], 0, missing[1]))
        by_block = padded.reshape(channels, h, block, w, block).transpose(2, 3)
        across, down = filters.values[fraction]
        across_slope, down_slope = filters.slopes[fraction]
        by_x = (by_block * (down @ windows @ across_slope.mT)).sum((0, 3, 4))
        by_y = (by_block * (down_slope @ windows @ across.mT)).sum((0, 3, 4))
        return None, torch.stack([by_x, by_y]) / ctx.scale, None


def predict(reference: Sequence[Tensor], vectors: Tensor) -> list[Tensor]:
    """Planes (Y, U, V) of a reference, each 4x4 block of luma displaced by its own vector.

    `vectors` is (x, y) `[2, ceil(H / 4), ceil(W / 4)]` in luma samples. Outside the
    reference its border samples repeat.
    """
    luma = _interpolate(reference[0][None], vectors, 1)
    return [*luma, *_interpolate(torch.stack(list(reference[1:])), vectors, 2)]


def _interpolate(planes: Tensor, vectors: Tensor, scale: int) -> Tensor:
    return _BlockPrediction.apply(planes, vectors, scale)  # type: ignore[no-untyped-call, no-any-return]


def blend(f: Fields, references: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The prediction (Y, U, V) of a P or B frame."""
    assert f.alpha is not None
    predictions = [predict(r, v) for r, v in zip(references, f.vectors, strict=True)]
    planes = []
    for c, candidates in enumerate(zip(*predictions, strict=True)):
        size = candidates[0].shape
        block = (1 << BLOCK_LEVEL) // (1 if c == 0 else 2)
        plane = candidates[0]
        if f.beta is not None:
            beta = _spread(f.beta, block, size)
            plane = beta * candidates[0] + (1 - beta) * candidates[1]
        planes.append(_spread(f.alpha, block, size) * plane)
    return planes


def _spread(field: Tensor, block: int, size: Sequence[int]) -> Tensor:
    """A value per block to one per sample."""
    return field.repeat_interleave(block, 0).repeat_interleave(block, 1)[: size[0], : size[1]]


def decode(
    latents: Sequence[Tensor],
    networks: PartNetworks,
    architecture: Architecture,
    references: Sequence[Sequence[Tensor]],
) -> tuple[list[Tensor], Fields]:
    """Planes (Y, U, V) and fields of a frame from its (quantised) latents.

    `references` holds (Y, U, V) planes in 0…1 per reference.
    """
    luma, u, v, *motion = _pyramids(latents, architecture)
    height, width = luma[0].shape
    half = upsample(luma[1:], networks.kernel)
    full = torch.cat([luma[0][None], double(half, networks.kernel, (height, width))])
    chroma = [upsample(pyramid, networks.kernel) for pyramid in (u, v)]
    assert architecture.parts is not None
    for grid in reversed(luma[1 : architecture.parts.chroma_first]):
        chroma = [double(x, networks.kernel, grid.shape) for x in chroma]
    residual = [
        *_synthesise(networks.luma, full),
        *_synthesise(networks.chroma, torch.cat([*chroma, half])),
    ]
    f = fields(motion, architecture, height, width)
    if not references:
        return residual, f
    return [p + r for p, r in zip(blend(f, references), residual, strict=True)], f


def _pyramids(latents: Sequence[Tensor], architecture: Architecture) -> list[Sequence[Tensor]]:
    """The grids of luma, U, V and each field."""
    assert architecture.parts is not None
    grids, parts = architecture.grids, architecture.parts
    chroma = grids - parts.chroma_first
    motion = grids + 2 * chroma
    return [
        latents[:grids],
        latents[grids : grids + chroma],
        latents[grids + chroma : motion],
        *(
            latents[first : first + parts.motion_grids]
            for first in range(motion, len(latents), parts.motion_grids)
        ),
    ]


def _synthesise(layers: Sequence[Layer], inputs: Tensor) -> Tensor:
    """`[in, H, W]` to `[out, H, W]`, samples."""
    _, h, w = inputs.shape
    return mlp(layers, inputs.reshape(len(inputs), -1)).reshape(-1, h, w) * SAMPLE_SCALE
