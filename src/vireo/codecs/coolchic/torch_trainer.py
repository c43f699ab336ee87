"""Training of one frame in PyTorch: for CUDA, and the twin of the native trainer."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireo.codecs.coolchic import model, parts_model
from vireo.codecs.coolchic.config import Architecture
from vireo.codecs.coolchic.parts_model import PartNetworks
from vireo.codecs.coolchic.trainer import (
    Adam,
    Prediction,
    Trainer,
    as_floats,
    check_pictures,
    trained_grids,
)
from vireo.gop import FrameType
from vireo.nn.rounding import hard_quantise, kumaraswamy, noisy_quantise

Floats = NDArray[np.float32]


class TorchTrainer:
    """The same as `trainer.Trainer`, in PyTorch (see there for arguments and units).

    Noise comes from PyTorch's generator, so that results differ from the native trainer's
    in the random numbers, and from one kind of device to another.
    """

    def __init__(
        self,
        architecture: Architecture,
        frame_type: FrameType,
        target: Sequence[NDArray[np.uint8]],
        references: Sequence[Sequence[NDArray[np.uint8]]] = (),
        *,
        prediction: Prediction | None = None,
        device: str = "cuda",
    ) -> None:
        check_pictures(architecture, frame_type, references, prediction)
        self.architecture = architecture
        self.frame_type = frame_type
        self.device = torch.device(device)
        self._pictures = target, prediction
        self._target = [self._plane(p) for p in target]
        self._references = [[self._plane(p) for p in r] for r in references]
        self._prediction = None
        if prediction is not None:
            self._prediction = [torch.from_numpy(p).to(self.device) for p in as_floats(prediction)]
        height, width = target[0].shape
        self._latents = [
            torch.zeros((grid.height, grid.width), device=self.device, requires_grad=True)
            for grid in trained_grids(architecture, frame_type, height, width)
        ]
        count = sum(architecture.parameters(frame_type).values())
        self._parameters = torch.zeros(count, device=self.device, requires_grad=True)
        self._base = torch.zeros(count, device=self.device)
        self._flow_targets: Tensor | None = None
        self.reset_optimiser()

    def _plane(self, plane: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(plane.astype(np.float32) / 255).to(self.device)

    def _networks(self, flat: Tensor) -> model.Networks | PartNetworks:
        kind = PartNetworks if self.architecture.parts else model.Networks
        return kind.of(flat, self.architecture, self.frame_type)

    def stage_seconds(self) -> dict[str, float]:
        """Empty: PyTorch's operations run on their own time."""
        return {}

    def reset_optimiser(self) -> None:
        """Forget Adam's moments."""
        self._latent_optimiser = torch.optim.Adam(self._latents)
        self._network_optimiser = torch.optim.Adam([self._parameters])

    @property
    def latents(self) -> list[Floats]:
        """Copies of the latents before quantisation, in the order of their grids."""
        return [g.detach().cpu().numpy().copy() for g in self._latents]

    @latents.setter
    def latents(self, values: Sequence[Floats]) -> None:
        with torch.no_grad():
            for ours, theirs in zip(self._latents, values, strict=True):
                ours.copy_(torch.from_numpy(theirs))

    @property
    def parameters(self) -> Floats:
        """A copy of all parameters, in the order of `Architecture.parameters`."""
        return self._parameters.detach().cpu().numpy().copy()

    @parameters.setter
    def parameters(self, values: Floats) -> None:
        with torch.no_grad():
            self._parameters.copy_(torch.from_numpy(values))

    @property
    def base(self) -> Floats:
        """Parameters that the decoder knows; those of a frame pay for what differs. Zeros."""
        return self._base.cpu().numpy().copy()

    @base.setter
    def base(self, values: Floats) -> None:
        self._base.copy_(torch.from_numpy(values))

    def set_flow_targets(self, flows: Floats) -> None:
        """What the flow term pulls to; ValueError with parts, where no network gives the flow."""
        if self.architecture.parts:
            raise ValueError("with parts motion is searched, not trained")
        self._flow_targets = torch.from_numpy(flows).to(self.device)

    def refine(self, lambda_: float, sweeps: int) -> int:
        """See `trainer.Trainer.refine`, which does it: tensors are no good at one by one."""
        target, prediction = self._pictures
        native = Trainer(self.architecture, self.frame_type, target, prediction=prediction)
        native.parameters, native.latents = self.parameters, self.latents
        moved = native.refine(lambda_, sweeps)
        self.latents = native.latents
        return moved

    def run(
        self,
        steps: Floats,
        *,
        hard: bool = False,
        seed: int = 0,
        first_iteration: int = 0,
        adam: Adam = Adam(),  # noqa: B008 (frozen)
    ) -> Floats:
        """Run iterations; their metrics `[steps, 6]`, columns as `trainer.METRICS`."""
        generator = torch.Generator(self.device).manual_seed(seed * 1_000_003 + first_iteration)
        rows = [self._step(row, hard, generator, adam) for row in steps]
        return np.array(rows, np.float32)

    def _step(self, row: Floats, hard: bool, generator: torch.Generator, adam: Adam) -> list[float]:
        temperature, shape, latent_rate, network_rate, lambda_, flow_weight = map(float, row)
        if hard:
            quantised = [hard_quantise(g) for g in self._latents]
        else:
            quantised = [
                noisy_quantise(g, temperature, kumaraswamy(g, shape, generator))
                for g in self._latents
            ]
        loss, metrics = self._loss(quantised, lambda_, flow_weight)
        self._latent_optimiser.zero_grad()
        self._network_optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if not bool(torch.isfinite(loss)):
            return metrics
        if adam.clip:
            torch.nn.utils.clip_grad_norm_([self._parameters], adam.clip)
        if adam.parameter_rate:
            weight = adam.parameter_rate * lambda_ / self._target[0].numel()
            changes = self._networks(self._parameters - self._base)
            (weight * model.parameter_rate(changes)).backward()  # type: ignore[no-untyped-call]
        for optimiser, rate in (
            (self._latent_optimiser, latent_rate),
            (self._network_optimiser, network_rate),
        ):
            if rate:
                optimiser.param_groups[0].update(
                    lr=rate, betas=(adam.beta1, adam.beta2), eps=adam.epsilon
                )
                optimiser.step()
        return metrics

    def _loss(
        self, quantised: list[Tensor], lambda_: float, flow_weight: float
    ) -> tuple[Tensor, list[float]]:
        planes, bits, flows = self._forward(quantised)
        loss = model.distortion(planes, self._target) + lambda_ * bits / planes[0].numel()
        flow_error = torch.zeros((), device=self.device)
        if flow_weight and self._flow_targets is not None:
            flow_error = (torch.cat(flows) - self._flow_targets).square().sum(0).mean()
            loss = loss + flow_weight * flow_error
        errors = [
            torch.nn.functional.mse_loss(p, t) for p, t in zip(planes, self._target, strict=True)
        ]
        return loss, [float(x.detach()) for x in (loss, *errors, bits, flow_error)]

    def _forward(self, quantised: list[Tensor]) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """Planes, bits and the flows per sample, where there are such."""
        frame_type, architecture = self.frame_type, self.architecture
        networks = self._networks(self._parameters)
        if isinstance(networks, PartNetworks):
            planes = parts_model.decode(quantised, networks, architecture, self._prediction)
            return planes, parts_model.rate(quantised, networks, architecture), []
        planes, signals = model.decode(quantised, networks, frame_type, self._references)
        return planes, model.rate(quantised, networks, architecture), signals.flows

    def state(self) -> Any:
        """All that training changes, to go back to."""
        return (
            self.parameters,
            self.latents,
            deepcopy(self._latent_optimiser.state_dict()),
            deepcopy(self._network_optimiser.state_dict()),
        )

    def restore(self, state: Any) -> None:
        """Go back to an earlier `state()`."""
        self.parameters, self.latents, latent_optimiser, network_optimiser = state
        self._latent_optimiser.load_state_dict(latent_optimiser)
        self._network_optimiser.load_state_dict(network_optimiser)
