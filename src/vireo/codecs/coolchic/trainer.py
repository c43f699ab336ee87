"""Native training of one frame's latents and networks: the fast twin of `model`.

A step runs in compiled code from quantisation to Adam's update. Several steps are one
call, so that Python is only there to decide what comes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vireo import _train
from vireo.codecs.coolchic.config import Architecture, GridKind, LatentGrid
from vireo.gop import FrameType

Floats = NDArray[np.float32]
Samples = NDArray[np.uint8]
Prediction = Sequence[NDArray[np.int16]]

available_kernels = _train.available_kernels
measure_peak = _train.measure_peak

CHUNK_SAMPLES = 1 << 20  # luma samples to train on at a time

METRICS = ("loss", "mse_y", "mse_u", "mse_v", "bits", "flow_error")


@dataclass(frozen=True)
class Metrics:
    """What one pass over a frame measures.

    Attributes:
        loss: distortion + lambda * bits / pixels (+ flow weight * flow error).
        mse_y, mse_u, mse_v: mean squared errors, samples in 0…1, weighted (`set_weights`).
        bits: of all latents under the autoregressive model.
        flow_error: squared distance to the flow targets in luma samples, summed over
            references and directions, mean over pixels; 0 where its weight is 0.
    """

    loss: float
    mse_y: float
    mse_u: float
    mse_v: float
    bits: float
    flow_error: float


@dataclass(frozen=True)
class Signals:
    """The synthesis' output, as `model.Signals` has it, as float32 arrays."""

    flows: list[Floats]
    residual: Floats
    alpha: Floats | None
    beta: Floats | None


@dataclass(frozen=True)
class Adam:
    """The optimiser's constants.

    Attributes:
        clip: bound of the global norm of the networks' gradient; 0 for none.
        beta1, beta2, epsilon: Adam's, of the networks.
        latent_beta1, latent_beta2: the same of the latents.
        pooling: 0…1: the share that the mean of its grid, as of the step before, has in a latent's
            second moment (Adam-mini, Zhang et al. 2024, has it alone). Where that is large, steps
            go with the gradient, and latents with much to go get there sooner.
        parameter_rate: times lambda, the weight of the parameters' own rate in the networks'
            gradient: bits as if coded under a Laplace distribution per network, for weights
            and for biases. The loss that is reported leaves it out.
    """

    clip: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    latent_beta1: float = 0.9
    latent_beta2: float = 0.999
    pooling: float = 0.0
    parameter_rate: float = 0.0


def schedule(
    steps: int,
    *,
    lambda_: ArrayLike,
    latents_rate: ArrayLike = 0.0,
    networks_rate: ArrayLike = 0.0,
    temperature: ArrayLike = 0.3,
    noise_shape: ArrayLike = 1.0,
    flow_weight: ArrayLike = 0.0,
) -> Floats:
    """Settings of `steps` iterations, `[steps, 6]`; each is a number or `[steps]`.

    A learning rate of 0 leaves what it is for, and its moments, untouched.
    `noise_shape` is Kumaraswamy's a: 1 for uniform noise, more for a peak at zero.
    """
    columns = (temperature, noise_shape, latents_rate, networks_rate, lambda_, flow_weight)
    filled = [np.broadcast_to(np.asarray(c, dtype=np.float32), steps) for c in columns]
    return np.ascontiguousarray(np.stack(filled, axis=1))


def trained_grids(
    architecture: Architecture, frame_type: FrameType, height: int, width: int
) -> tuple[LatentGrid, ...]:
    """The grids whose latents are trained: with parts not those of motion, which is searched."""
    return architecture.latent_grids(
        FrameType.I if architecture.parts else frame_type, height, width
    )


def as_floats(prediction: Prediction) -> list[Floats]:
    """A prediction's planes as samples in 0…1."""
    return [p.astype(np.float32) / np.float32(64 * 255) for p in prediction]


def check_pictures(
    architecture: Architecture,
    frame_type: FrameType,
    references: Sequence[Sequence[Samples]],
    prediction: Prediction | None,
) -> None:
    """Raise ValueError unless a frame is trained with these: with parts, no references."""
    expected = 0 if architecture.parts else int(frame_type)
    if len(references) != expected:
        raise ValueError(f"{frame_type.name} frames are trained with {expected} references")
    if prediction is not None and not architecture.parts:
        raise ValueError("without parts the synthesis' motion predicts")


class Trainer:
    """One frame in training.

    Args:
        architecture, frame_type: shapes of the networks and latents.
        target: (Y, U, V) planes, uint8 `[H, W]` and `[H/2, W/2]`, H and W even.
        references: as many frames' planes as the frame type has; with parts none.
        prediction: with parts, planes of the target's sizes in 1/64 sample value: what is
            left of the target is trained. None predicts nothing.
        temporal: with parts, what luma's model sees besides the context, a plane per grid of
            luma, finest first. None: zeros.
        threads: how many work on a step; the results don't depend on it.
        isa: a build of the kernels (`available_kernels()`); empty for the fastest.

    Raises:
        ValueError: a shape does not fit, or the build does not run on this machine.
    """

    def __init__(
        self,
        architecture: Architecture,
        frame_type: FrameType,
        target: Sequence[Samples],
        references: Sequence[Sequence[Samples]] = (),
        *,
        prediction: Prediction | None = None,
        temporal: Sequence[NDArray[np.int16]] | None = None,
        threads: int = 1,
        isa: str = "",
    ) -> None:
        check_pictures(architecture, frame_type, references, prediction)
        parts = architecture.parts
        self.architecture = architecture
        self.frame_type = frame_type
        layout = trained_grids(architecture, frame_type, *target[0].shape)
        chroma = sum(grid.kind is GridKind.CHROMA for grid in layout)
        self._prediction = prediction
        self.steps_at_a_time = max(1, min(10, CHUNK_SAMPLES // target[0].size))
        context = list(architecture.context)
        self._native = _train.FrameTrainer(
            [(context, list(architecture.arm_widths(kind))) for kind in architecture.modelled],
            [(g.level, int(g.kind), -1 if g.other is None else g.other) for g in layout],
            architecture.grids,
            architecture.upsampling_kernel,
            list(architecture.synthesis_widths(frame_type)[1:]),
            list(architecture.chroma_synthesis_widths()[1:]) if parts else [],
            chroma,
            [np.ascontiguousarray(p) for p in target],
            [[np.ascontiguousarray(p) for p in r] for r in references],
            prediction and [np.ascontiguousarray(p) for p in prediction],
            threads,
            isa,
        )
        if temporal:
            planes = [np.ascontiguousarray(p, dtype=np.float32) for p in temporal]
            self._native.set_given(planes)

    @property
    def isa(self) -> str:
        """The build of the kernels in use."""
        return self._native.isa

    @property
    def latents(self) -> list[Floats]:
        """Copies of the latents before quantisation, in the order of `trained_grids`."""
        return self._native.latents()

    @latents.setter
    def latents(self, values: Sequence[NDArray[np.floating]]) -> None:
        self._native.set_latents([np.ascontiguousarray(v, dtype=np.float32) for v in values])

    @property
    def parameters(self) -> Floats:
        """A copy of all parameters, in the order of `model.Networks.tensors()`."""
        return self._native.parameters()

    @parameters.setter
    def parameters(self, values: NDArray[np.floating]) -> None:
        self._native.set_parameters(np.ascontiguousarray(values, dtype=np.float32))

    @property
    def base(self) -> Floats:
        """What the parameters' own rate is counted from; zeros at first."""
        return self._native.base()

    @base.setter
    def base(self, values: NDArray[np.floating]) -> None:
        self._native.set_base(np.ascontiguousarray(values, dtype=np.float32))

    def set_flow_targets(self, flows: NDArray[np.floating]) -> None:
        """What the flow term pulls to: `[2 * references, H, W]` in luma samples."""
        self._native.set_flow_targets(np.ascontiguousarray(flows, dtype=np.float32))

    def set_weights(self, weights: NDArray[np.floating]) -> None:
        """Weigh the squared errors by `[H/2, W/2]`: those of a chroma sample and of the luma
        samples there. Ones at first. Raises ValueError without parts.
        """
        self._native.set_weights(np.ascontiguousarray(weights, dtype=np.float32))

    def run(
        self,
        steps: Floats,
        *,
        hard: bool = False,
        seed: int = 0,
        first_iteration: int = 0,
        adam: Adam = Adam(),
    ) -> Floats:
        """Run iterations (`schedule`); their metrics `[steps, 6]`, columns as `METRICS`.

        The quantisation is soft rounding with noise, or with `hard` rounding with a
        straight-through gradient. The noise follows from seed, iteration and position.
        An iteration whose loss is not finite updates nothing.
        """
        return self._native.run(
            steps,
            hard,
            seed,
            first_iteration,
            adam.clip,
            adam.beta1,
            adam.beta2,
            adam.epsilon,
            adam.latent_beta1,
            adam.latent_beta2,
            adam.pooling,
            adam.parameter_rate,
        )

    def gradients(
        self,
        *,
        lambda_: float,
        hard: bool = False,
        temperature: float = 0.3,
        noise_shape: float = 1.0,
        flow_weight: float = 0.0,
        seed: int = 0,
        iteration: int = 0,
        noise: Sequence[NDArray[np.floating]] | None = None,
    ) -> tuple[Metrics, list[Floats], Floats]:
        """Metrics and the loss' gradients by latents and parameters; updates nothing.

        `noise` replaces what the iteration would draw.
        """
        given = noise and [np.ascontiguousarray(n, dtype=np.float32) for n in noise]
        metrics, by_latents, by_parameters = self._native.gradients(
            hard, temperature, noise_shape, lambda_, flow_weight, seed, iteration, given
        )
        return Metrics(*metrics), by_latents, by_parameters

    def noise(self, *, noise_shape: float, seed: int, iteration: int) -> list[Floats]:
        """What an iteration adds to the latents, per grid."""
        return self._native.draw_noise(noise_shape, seed, iteration)

    def evaluate(self, lambda_: float, flow_weight: float = 0.0) -> Metrics:
        """Metrics with rounded latents."""
        return Metrics(*self._native.evaluate(lambda_, flow_weight))

    def refine(self, lambda_: float, sweeps: int) -> int:
        """Round the latents of luma and chroma, and move them one at a time by whole numbers.

        A latent moves where that lowers distortion + lambda * rate with everything else as it
        is; all have their turn in each of at most `sweeps` rounds, those of coarse grids
        in the first one only. Returns how many moved in the last one. Raises ValueError for an
        architecture without parts.
        """
        return self._native.refine(lambda_, sweeps)

    def decode(self) -> tuple[list[Floats], Signals | None]:
        """Planes (Y, U, V) in 0…1, not clipped, and signals, with rounded latents.

        Signals are the synthesis' output; with parts there are none.
        """
        y, u, v, output = self._native.decode()
        if self._prediction:
            for plane, predicted in zip((y, u, v), as_floats(self._prediction), strict=True):
                plane += predicted
        if not len(output):
            return [y, u, v], None
        n = int(self.frame_type)
        flows = [output[2 * i : 2 * i + 2] for i in range(n)]
        rest = output[2 * n :]
        alpha = rest[3] if n >= FrameType.P else None
        beta = rest[4] if n == FrameType.B else None
        return [y, u, v], Signals(flows, rest[:3], alpha, beta)

    def reset_optimiser(self) -> None:
        """Forget Adam's moments and step counts."""
        self._native.reset_optimiser()

    def state(self) -> Floats:
        """Latents, parameters and the optimiser's moments, for `restore`."""
        return self._native.state()

    def restore(self, state: Floats) -> None:
        """Return to an earlier `state()` of a trainer of the same shapes."""
        self._native.set_state(state)

    def stage_seconds(self) -> dict[str, float]:
        """Processor time so far by stage, summed over threads."""
        return self._native.stage_seconds()
