"""Cool-chic in PyTorch: the plain, differentiable description of a frame's decoder.

This is the twin that the compiled training kernels are held against, and what runs
on CUDA. Samples are floats in 0…1; the synthesis' outputs are in units of 256
sample levels, so that power-of-two fixed-point formats serve (docs/bitstream.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vireo.codecs.coolchic.config import FLOW_UNIT, Architecture
from vireo.gop import FrameType
from vireo.metrics import PLANE_WEIGHTS

SAMPLE_SCALE = 256.0 / 255.0  # network unit -> sample in 0…1
LOG2_SCALE_RANGE = (-5.0, 4.875)  # base-two logarithm of the Laplace scale
FINEST_STEP = 1.0 / 64  # of a parameter
PIECE = 2048  # vectors, or more
MAX_BITS = 24.0  # what a latent far outside the distribution costs: an escape code

Layer = tuple[Tensor, Tensor]  # weight [out, in], bias [out]


@dataclass
class Networks:
    """The three networks of one frame.

    Attributes:
        arm: layers of the autoregressive model; it maps a context to the mean and
            the base-two logarithm of the scale of a Laplace distribution.
        kernel: the upsampling's kernel `[K, K]`.
        synthesis: layers from upsampled latents to the inter coding module's signals,
            in the order of equation 2: flow 1 (x, y), flow 2 (x, y), residual
            (Y, U, V), alpha, beta.
    """

    arm: list[Layer]
    kernel: Tensor
    synthesis: list[Layer]

    @classmethod
    def of(cls, flat: Tensor, architecture: Architecture, frame_type: FrameType) -> Networks:
        """From all parameters, in the order of `Architecture.parameters`."""
        layers, kernel = split_parameters(flat, architecture, frame_type)
        return cls(layers["arm"], kernel, layers["synthesis"])

    def tensors(self) -> list[Tensor]:
        """All parameters, in the order of `Architecture.parameters`."""
        return [
            *(t for layer in self.arm for t in layer),
            self.kernel,
            *(t for layer in self.synthesis for t in layer),
        ]

    def groups(self) -> list[list[Tensor]]:
        """Parameters that are coded together: a network's weights, or its biases."""
        return [
            *(list(part) for part in zip(*self.arm, strict=True)),
            [self.kernel],
            *(list(part) for part in zip(*self.synthesis, strict=True)),
        ]


class Grouped(Protocol):
    """Networks whose parameters are coded in groups."""

    def groups(self) -> list[list[Tensor]]: ...


def split_parameters(
    flat: Tensor, architecture: Architecture, frame_type: FrameType
) -> tuple[dict[str, list[Layer]], Tensor]:
    """Layers of each of `Architecture.networks`, and the kernel: views of `flat`."""
    slices = architecture.parameter_slices(frame_type)
    layers = {}
    for name, widths in architecture.networks(frame_type).items():
        shapes = list(pairwise(widths))
        sizes = [n for inputs, outputs in shapes for n in (outputs * inputs, outputs)]
        tensors = torch.split(flat[slices[name]], sizes)
        layers[name] = [
            (weight.view(outputs, inputs), bias)
            for weight, bias, (inputs, outputs) in zip(
                tensors[0::2], tensors[1::2], shapes, strict=True
            )
        ]
    side = architecture.upsampling_kernel
    return layers, flat[slices["upsampling"]].view(side, side)


def mlp(layers: Sequence[Layer], x: Tensor) -> Tensor:
    """Linear layers with ReLU between them; x is `[in, N]`, the result `[out, N]`."""
    inputs, count = x.shape
    # On CUDA a weight's gradient, a sum over N, has one block of threads unless it is in pieces.
    pieces = max(1, count // PIECE) if x.is_cuda else 1
    x = F.pad(x, (0, -count % pieces)).reshape(inputs, pieces, -1).transpose(0, 1)
    for i, (weight, bias) in enumerate(layers):
        x = torch.baddbmm(bias[:, None], weight.expand(pieces, -1, -1), x)
        if i + 1 < len(layers):
            x = F.relu(x)
    return x.transpose(0, 1).flatten(1)[:, :count]


@cache
def _taps(offsets: Sequence[tuple[int, int]], device: torch.device) -> tuple[int, int, Tensor]:
    """Rows above, columns aside, and which of the samples there are neighbours."""
    up = max(-dy for dy, _ in offsets)
    side = max(abs(dx) for _, dx in offsets)
    places = [(up + dy) * (2 * side + 1) + side + dx for dy, dx in offsets]
    return up, side, torch.tensor(places, device=device)


def contexts(grid: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """Causal neighbours of each latent, zero outside: `[h, w]` to `[len(offsets), h * w]`."""
    up, side, places = _taps(tuple(offsets), grid.device)
    padded = F.pad(grid[None, None], (side, side, up, 0))
    return F.unfold(padded, (up + 1, 2 * side + 1))[0].index_select(0, places)


def laplace_bits(value: Tensor, mean: Tensor, log2_scale: Tensor) -> Tensor:
    """Bits of integers (or noisy ones) under a Laplace distribution integrated over 1.

    The scale's logarithm is clamped to `LOG2_SCALE_RANGE`, the bits to `MAX_BITS`.
    """
    scale = torch.exp2(leaky_clamp(log2_scale, *LOG2_SCALE_RANGE))
    distance = (value - mean).abs()
    # Inside half a step of the mean the bin straddles the peak; outside it lies on
    # one side: exp(-(d - 1/2) / b) (1 - exp(-1 / b)) / 2, whose logarithm is stable.
    inside = 1 - torch.exp(-0.5 / scale) * torch.cosh(torch.clamp(distance, max=0.5) / scale)
    outside_log2 = -((distance - 0.5) / scale) * 1.4426950408889634 + torch.log2(
        0.5 * -torch.expm1(-1 / scale)
    )
    bits = torch.where(distance < 0.5, -torch.log2(inside.clamp(min=1e-30)), -outside_log2)
    return bits.clamp(max=MAX_BITS)


def rate(latents: Sequence[Tensor], networks: Networks, architecture: Architecture) -> Tensor:
    """Bits of all latents under the autoregressive model (a scalar)."""
    context = torch.cat([contexts(g, architecture.context) for g in latents], dim=1)
    mean, log2_scale = mlp(networks.arm, context)
    value = torch.cat([g.reshape(-1) for g in latents])
    return laplace_bits(value, mean, log2_scale).sum()


def parameter_rate(networks: Grouped) -> Tensor:
    """Bits of the parameters but for a constant, as training counts them (a scalar).

    Each network's weights, and its biases, are as if coded under a Laplace distribution:
    n of mean magnitude m take n log2(m) bits more than at m = 1. Magnitudes below the
    finest step worth using count no less than that. Where a base is known to the decoder,
    the parameters are the differences from it.
    """
    flat = [torch.cat([t.reshape(-1) for t in group]) for group in networks.groups()]
    return torch.stack([x.numel() * torch.log2(x.abs().mean() + FINEST_STEP) for x in flat]).sum()


def double(x: Tensor, kernel: Tensor, size: Sequence[int]) -> Tensor:
    """`[N, h, w]` doubled by the stride-2 transposed convolution, cropped to `[N, *size]`."""
    k = kernel.shape[0]
    pad, crop = k // 2, k + k // 2 - 1
    h, w = size
    padded = F.pad(x[:, None], (pad, pad, pad, pad), mode="replicate")
    doubled = F.conv_transpose2d(padded, kernel[None, None], stride=2)[:, 0]
    return doubled[:, crop : crop + h, crop : crop + w]


def upsample(latents: Sequence[Tensor], kernel: Tensor) -> Tensor:
    """All grids brought to the finest one's size: `[L, H, W]`, finest grid first.

    From the coarsest grid on, what has been gathered is doubled in size and joined by the
    next finer grid.
    """
    gathered = latents[-1][None]
    for grid in reversed(latents[:-1]):
        gathered = torch.cat([grid[None], double(gathered, kernel, grid.shape)])
    return gathered


def warp(plane: Tensor, flow: Tensor) -> Tensor:
    """Bilinear motion compensation: samples `plane` `[H, W]` at x + flow `[2, H, W]`.

    The flow is (x, y) in samples of this plane; outside, the border sample repeats.
    """
    h, w = plane.shape
    x = torch.arange(w, dtype=flow.dtype, device=flow.device) + flow[0]
    y = torch.arange(h, dtype=flow.dtype, device=flow.device)[:, None] + flow[1]
    x0, y0 = x.detach().floor(), y.detach().floor()
    fx, fy = x - x0, y - y0
    left, right = x0.long().clamp(0, w - 1), (x0.long() + 1).clamp(0, w - 1)
    top, bottom = y0.long().clamp(0, h - 1), (y0.long() + 1).clamp(0, h - 1)
    upper = plane[top, left] + fx * (plane[top, right] - plane[top, left])
    lower = plane[bottom, left] + fx * (plane[bottom, right] - plane[bottom, left])
    return upper + fy * (lower - upper)


class _LeakyClamp(torch.autograd.Function):
    """Clamp whose gradient still passes where it points back into the range."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        x, *bounds = inputs
        ctx.save_for_backward(x)
        ctx.bounds = bounds

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        # A descent step moves against the gradient.
        blocked = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))
        return gradient.masked_fill(blocked, 0), None, None


def leaky_clamp(x: Tensor, low: float, high: float) -> Tensor:
    return _LeakyClamp.apply(x, low, high)  # type: ignore[no-untyped-call, no-any-return]


@dataclass
class Signals:
    """The synthesis' output, named and scaled (paper, equation 2).

    Attributes:
        flows: one `[2, H, W]` per reference, in luma samples.
        residual: `[3, H, W]` in 0…1 units of a sample, at luma resolution.
        alpha: prediction mode `[H, W]` in 0…1, None in I frames.
        beta: prediction weighting `[H, W]` in 0…1, None but in B frames.
    """

    flows: list[Tensor]
    residual: Tensor
    alpha: Tensor | None
    beta: Tensor | None


def signals(output: Tensor, frame_type: FrameType) -> Signals:
    """Split the synthesis' output `[X, H, W]`."""
    flows = [output[2 * i : 2 * i + 2] * FLOW_UNIT for i in range(frame_type)]
    at = 2 * frame_type
    residual = output[at : at + 3] * SAMPLE_SCALE
    alpha = leaky_clamp(output[at + 3] + 0.5, 0.0, 1.0) if frame_type >= FrameType.P else None
    beta = leaky_clamp(output[at + 4] + 0.5, 0.0, 1.0) if frame_type == FrameType.B else None
    return Signals(flows, residual, alpha, beta)


def halve(x: Tensor) -> Tensor:
    """Mean of each 2x2 block of `[..., H, W]`, H and W even."""
    return F.avg_pool2d(x[None] if x.dim() == 3 else x[None, None], 2).reshape(
        *x.shape[:-2], x.shape[-2] // 2, x.shape[-1] // 2
    )


def inter_coding(s: Signals, references: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Planes (Y, U, V) of the decoded frame (paper, equations 3 and 4).

    `references` holds (Y, U, V) planes in 0…1 per reference. Chroma uses the 2x2 means
    of the signals, and half their motion.
    """
    chroma_flows = [halve(f) / 2 for f in s.flows]
    residual = [s.residual[0], *halve(s.residual[1:])]
    planes = []
    for c in range(3):
        flows = s.flows if c == 0 else chroma_flows
        plane = residual[c]
        if s.alpha is not None:
            predictions = [warp(r[c], f) for r, f in zip(references, flows, strict=True)]
            prediction = predictions[0]
            if s.beta is not None:
                beta = s.beta if c == 0 else halve(s.beta)
                prediction = beta * predictions[0] + (1 - beta) * predictions[1]
            plane = plane + (s.alpha if c == 0 else halve(s.alpha)) * prediction
        planes.append(plane)
    return planes


def plane_errors(
    decoded: Sequence[Tensor], target: Sequence[Tensor], weights: Tensor | None = None
) -> list[Tensor]:
    """Mean squared errors of Y, U and V.

    `weights` `[H/2, W/2]` are of the squared errors of a chroma sample and of the luma samples
    there.
    """
    if weights is None:
        return [F.mse_loss(a, b) for a, b in zip(decoded, target, strict=True)]
    luma = weights.repeat_interleave(2, 0).repeat_interleave(2, 1)
    return [
        ((a - b).square() * w).mean()
        for a, b, w in zip(decoded, target, (luma, weights, weights), strict=True)
    ]


def distortion(errors: Sequence[Tensor]) -> Tensor:
    """One number from `plane_errors` (paper, section 3.1)."""
    total = errors[0].new_zeros(())
    for weight, error in zip(PLANE_WEIGHTS, errors, strict=True):
        total = total + weight * error
    return total


def decode(
    latents: Sequence[Tensor],
    networks: Networks,
    frame_type: FrameType,
    references: Sequence[Sequence[Tensor]],
) -> tuple[list[Tensor], Signals]:
    """Planes and signals of a frame from its (quantised) latents, in float arithmetic."""
    dense = upsample(latents, networks.kernel)
    _, h, w = dense.shape
    output = mlp(networks.synthesis, dense.reshape(len(latents), -1)).reshape(-1, h, w)
    s = signals(output, frame_type)
    return inter_coding(s, references), s
