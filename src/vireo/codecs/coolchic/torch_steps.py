"""Training steps of several frames at once, in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireo.codecs.coolchic import model, parts_model
from vireo.codecs.coolchic.config import Architecture
from vireo.codecs.coolchic.parts_model import PartNetworks
from vireo.codecs.coolchic.trainer import METRICS, Adam, trained_grids
from vireo.gop import FrameType
from vireo.nn.rounding import hard_quantise, hashed_uniform, kumaraswamy, noisy_quantise

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """What frames have in common that are trained together.

    A frame is two vectors: what stays, `constant_sizes` long in this order, and what training
    changes, `changing_sizes` long.

    Attributes:
        architecture, frame_type: shapes of the networks and latents.
        height, width: of luma, even.
        predicted: whether planes are given that predict the frame (with parts).
    """

    architecture: Architecture
    frame_type: FrameType
    height: int
    width: int
    predicted: bool

    @cached_property
    def grid_shapes(self) -> list[tuple[int, int]]:
        grids = trained_grids(self.architecture, self.frame_type, self.height, self.width)
        return [(g.height, g.width) for g in grids]

    @cached_property
    def plane_shapes(self) -> list[tuple[int, int]]:
        """Those of the target, of each reference, and of the prediction: Y, U, V."""
        half = self.height // 2, self.width // 2
        return [(self.height, self.width), half, half] * (1 + self.references + self.predicted)

    @cached_property
    def temporal_shapes(self) -> list[tuple[int, int]]:
        """Those of luma's temporal contexts, with parts: its grids', finest first."""
        if not self.architecture.parts:
            return []
        return list(self.architecture.grid_sizes(self.height, self.width))

    @property
    def references(self) -> int:
        """How many pictures are moved by a network's motion."""
        return 0 if self.architecture.parts else int(self.frame_type)

    @cached_property
    def parameters(self) -> int:
        return sum(self.architecture.parameters(self.frame_type).values())

    @property
    def constant_sizes(self) -> list[int]:
        """Of all planes, of luma's temporal contexts, of the squared errors' weights (with parts),
        and of the motion that is aimed at: x and y for each reference.
        """
        shapes = self.plane_shapes, self.temporal_shapes
        planes, temporal = (sum(h * w for h, w in each) for each in shapes)
        weights = self.pixels // 4 if self.architecture.parts else 0
        return [planes, temporal, weights, 2 * self.references * self.pixels]

    @property
    def changing_sizes(self) -> list[int]:
        """Latents and their two moments, parameters and theirs, their base, counts of steps."""
        latents = sum(h * w for h, w in self.grid_shapes)
        return [latents] * 3 + [self.parameters] * 4 + [2]

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def networks(self, flat: Tensor) -> model.Networks | PartNetworks:
        """From the parameters of one frame."""
        kind = PartNetworks if self.architecture.parts else model.Networks
        return kind.of(flat, self.architecture, self.frame_type)


@dataclass(frozen=True)
class StepMode:
    """How steps are taken that are taken together.

    Attributes:
        hard: round, with straight-through gradients; else soft rounding and noise.
        pulled: motion is pulled to what is aimed at.
        adam: the optimiser's constants.
    """

    hard: bool
    pulled: bool
    adam: Adam


class Batch:
    """Frames side by side in memory that stays where it is, as graphs of kernels need it.

    Attributes:
        constant, changing: `[frames, …]`, as `Kind` says.
        keys: int32 `[frames, 2]`: seed and first iteration of each frame's noise.
        rows: `[steps, frames, 6]`: settings of the steps to come (`trainer.schedule`).
        metrics: `[steps, frames, 6]`: what steps measured (`trainer.METRICS`).
        place: `[1]`: how many of them have been taken.
    """

    def __init__(self, kind: Kind, frames: int, steps: int, device: torch.device) -> None:
        self.kind = kind
        self.frames = frames
        self.constant = torch.zeros(frames, sum(kind.constant_sizes), device=device)
        self.changing = torch.zeros(frames, sum(kind.changing_sizes), device=device)
        self.keys = torch.zeros(frames, 2, dtype=torch.int32, device=device)
        self.rows = torch.zeros(steps, frames, 6, device=device)
        self.metrics = torch.zeros(steps, frames, len(METRICS), device=device)
        self.place = torch.zeros(1, dtype=torch.int64, device=device)
        latents = kind.changing_sizes[0]
        self._positions = torch.arange(latents, dtype=torch.int32, device=device)

    def step(self, mode: StepMode) -> None:
        """One step of every frame. One whose loss isn't finite changes nothing of its frame."""
        kind, adam = self.kind, mode.adam
        row = self.rows.index_select(0, self.place)[0]
        temperature, shape, latent_rate, network_rate, lambda_, flow_weight = row.T
        parts = torch.split(self.changing, kind.changing_sizes, dim=1)
        latents, latent_mean, latent_square, parameters, mean, square, base, counts = parts
        at_latents = latents.detach().requires_grad_()
        at_parameters = parameters.detach().requires_grad_()
        if mode.hard:
            quantised = hard_quantise(at_latents)
        else:
            iteration = self.keys[:, 1:] + self.place.int()
            uniform = hashed_uniform(self._positions, self.keys[:, :1], iteration)
            noise = kumaraswamy(uniform, shape[:, None])
            quantised = noisy_quantise(at_latents, temperature[:, None], noise)

        def of_frame(
            quantised: Tensor, parameters: Tensor, constant: Tensor, lambda_: Tensor, pull: Tensor
        ) -> Tensor:
            return measure(kind, quantised, parameters, constant, lambda_, pull, mode.pulled)

        measured = self._each(
            of_frame, quantised, at_parameters, self.constant, lambda_, flow_weight
        )
        loss = measured[:, 0]
        by_latents, by_parameters = torch.autograd.grad(loss.sum(), [at_latents, at_parameters])
        with torch.no_grad():
            if adam.clip:
                norm = by_parameters.norm(dim=1, keepdim=True)
                by_parameters = by_parameters * (adam.clip / (norm + 1e-6)).clamp(max=1)
        if adam.parameter_rate:
            by_parameters = by_parameters + self._by_rate(at_parameters, base, lambda_, adam)
        with torch.no_grad():
            finite = loss.isfinite()[:, None]
            fast = adam.latent_beta1, adam.latent_beta2, adam.epsilon
            slow = adam.beta1, adam.beta2, adam.epsilon
            pooled = partial(self._pooled, adam) if adam.pooling else None
            for which, x, first, second, gradient, rate, constants, divisor in (
                (0, latents, latent_mean, latent_square, by_latents, latent_rate, fast, pooled),
                (1, parameters, mean, square, by_parameters, network_rate, slow, None),
            ):
                state = x, first, second, counts[:, which : which + 1]
                goes = finite & (rate > 0)[:, None]
                _update(state, gradient, rate[:, None], goes, constants, divisor)
            self.metrics.index_copy_(0, self.place, measured[None].detach())
            self.place += 1

    def _by_rate(self, parameters: Tensor, base: Tensor, lambda_: Tensor, adam: Adam) -> Tensor:
        """The gradient of the parameters' own rate."""

        def bits(changes: Tensor) -> Tensor:
            return model.parameter_rate(self.kind.networks(changes))

        total = self._each(bits, parameters - base)
        (gradient,) = torch.autograd.grad(total.sum(), parameters)
        return gradient * (adam.parameter_rate / self.kind.pixels * lambda_)[:, None]

    def _pooled(self, adam: Adam, moment: Tensor, before: Tensor, count: Tensor) -> Tensor:
        """Latents' second moments with a share of their grids' means, as they were before."""
        grids = torch.split(before, [h * w for h, w in self.kind.grid_shapes], dim=1)
        means = torch.cat([grid.mean(1, keepdim=True).expand_as(grid) for grid in grids], dim=1)
        pooled = torch.lerp(moment, means / (1 - adam.latent_beta2**count), adam.pooling)
        return torch.where(count > 0, pooled, moment)

    def _each(self, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
        """Of each frame, stacked."""
        if self.frames == 1:
            return function(*(a[0] for a in arguments))[None]
        result: Tensor = torch.vmap(function)(*arguments)
        return result


def measure(
    kind: Kind,
    quantised: Tensor,
    parameters: Tensor,
    constant: Tensor,
    lambda_: Tensor,
    flow_weight: Tensor,
    pulled: bool,
) -> Tensor:
    """One frame's metrics `[6]`, its loss first (`trainer.METRICS`)."""
    samples, temporal, weights, flow_targets = torch.split(constant, kind.constant_sizes)
    planes = shaped(samples, kind.plane_shapes)
    target, others = planes[:3], [planes[i : i + 3] for i in range(3, len(planes), 3)]
    latents = shaped(quantised, kind.grid_shapes)
    networks = kind.networks(parameters)
    flows: list[Tensor] = []
    if isinstance(networks, PartNetworks):
        prediction = others[0] if kind.predicted else None
        decoded = parts_model.decode(latents, networks, kind.architecture, prediction)
        given = shaped(temporal, kind.temporal_shapes)
        bits = parts_model.rate(latents, networks, kind.architecture, given)
        errors = model.plane_errors(decoded, target, weights.view(kind.plane_shapes[1]))
    else:
        decoded, signals = model.decode(latents, networks, kind.frame_type, others)
        bits = model.rate(latents, networks, kind.architecture)
        flows = signals.flows
        errors = model.plane_errors(decoded, target)
    loss = model.distortion(errors) + lambda_ * bits / kind.pixels
    flow_error = torch.zeros_like(loss)
    if pulled and flows:
        aims = flow_targets.view(-1, kind.height, kind.width)
        flow_error = (torch.cat(flows) - aims).square().sum(0).mean() * (flow_weight > 0)
        loss = loss + flow_weight * flow_error
    return torch.stack([loss, *errors, bits, flow_error])


def shaped(flat: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Planes that lie one after another."""
    ends = list(accumulate((h * w for h, w in shapes), initial=0))
    return [
        flat[begin:end].view(shape)
        for (begin, end), shape in zip(pairwise(ends), shapes, strict=True)
    ]


def _update(
    state: tuple[Tensor, Tensor, Tensor, Tensor],
    gradient: Tensor,
    rate: Tensor,
    goes: Tensor,
    constants: tuple[float, float, float],
    pooled: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> None:
    """Adam's of each frame that goes; `torch.optim.Adam` has one rate and count for all.

    The state is what moves, its moments and the steps so far; the constants are beta1, beta2 and
    epsilon. `pooled` makes of a second moment, that of the step before and the steps until then
    what is to divide.
    """
    x, first, second, count = state
    beta1, beta2, epsilon = constants
    steps = count + 1
    mean = torch.lerp(first, gradient, 1 - beta1)
    square = torch.lerp(second, gradient.square(), 1 - beta2)
    moment = square / (1 - beta2**steps)
    if pooled:
        moment = pooled(moment, second, count)
    moved = x - rate / (1 - beta1**steps) * mean / (moment.sqrt() + epsilon)
    for old, new in ((x, moved), (first, mean), (second, square), (count, steps)):
        old.copy_(torch.where(goes, new, old))
