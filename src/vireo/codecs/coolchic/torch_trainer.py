"""Training of frames in PyTorch: for CUDA, and the twin of the native trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Condition
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireo.codecs.coolchic.config import Architecture
from vireo.codecs.coolchic.torch_steps import Batch, Kind, StepMode, shaped
from vireo.codecs.coolchic.trainer import Adam, Prediction, Trainer, as_floats, check_pictures
from vireo.codecs.graphs import Graphs
from vireo.exact import full_precision
from vireo.gop import FrameType

Floats = NDArray[np.float32]

MOST_STEPS = 64  # that one call takes at a time
PATIENCE = 0.01  # seconds that frames wait for each other


class TorchTrainer:
    """The same as `trainer.Trainer`, in PyTorch (see there for arguments and units).

    Noise is not the native trainer's. On a CPU the same seed gives the same steps; on CUDA they
    also depend on which frames are trained beside this one.

    Args:
        batcher: takes the steps of this frame with those of others; None for its own, on the CPU.
    """

    steps_at_a_time = MOST_STEPS

    def __init__(
        self,
        architecture: Architecture,
        frame_type: FrameType,
        target: Sequence[NDArray[np.uint8]],
        references: Sequence[Sequence[NDArray[np.uint8]]] = (),
        *,
        prediction: Prediction | None = None,
        temporal: Sequence[NDArray[np.int16]] | None = None,
        batcher: StepBatcher | None = None,
    ) -> None:
        check_pictures(architecture, frame_type, references, prediction)
        height, width = target[0].shape
        self.kind = Kind(architecture, frame_type, height, width, prediction is not None)
        if temporal and [p.shape for p in temporal] != self.kind.temporal_shapes:
            raise ValueError(f"temporal contexts are planes of {self.kind.temporal_shapes}")
        self._batcher = batcher or StepBatcher(torch.device("cpu"))
        self._given = target, prediction, temporal
        self._weights: Floats | None = None
        predicted = as_floats(prediction) if prediction is not None else []
        given = [np.divide(p, 255, dtype=np.float32) for p in (*target, *chain(*references))]
        device = self._batcher.device
        self.constant = torch.zeros(sum(self.kind.constant_sizes), device=device)
        samples, contexts, weights, _ = torch.split(self.constant, self.kind.constant_sizes)
        weights.fill_(1)
        samples.copy_(torch.from_numpy(np.concatenate([p.ravel() for p in given + predicted])))
        if temporal:
            contexts.copy_(torch.from_numpy(np.concatenate([p.ravel() for p in temporal])))
        self.changing = torch.zeros(sum(self.kind.changing_sizes), device=device)

    def _part(self, index: int) -> Tensor:
        """A part of what changes, as `Kind.changing_sizes` lists them."""
        return torch.split(self.changing, self.kind.changing_sizes)[index]

    def stage_seconds(self) -> dict[str, float]:
        """Empty: PyTorch's operations run on their own time."""
        return {}

    def reset_optimiser(self) -> None:
        """Forget Adam's moments and counts."""
        for moment in (1, 2, 4, 5, 7):
            self._part(moment).zero_()

    @property
    def latents(self) -> list[Floats]:
        """Copies of the latents before quantisation, in the order of their grids."""
        grids = shaped(self._part(0).cpu(), self.kind.grid_shapes)
        return [grid.numpy().copy() for grid in grids]

    @latents.setter
    def latents(self, values: Sequence[NDArray[np.floating]]) -> None:
        for value, shape in zip(values, self.kind.grid_shapes, strict=True):
            if value.shape != shape:
                raise ValueError(f"a grid is {shape}, not {value.shape}")
        flat = np.concatenate([v.ravel() for v in values]).astype(np.float32)
        self._part(0).copy_(torch.from_numpy(flat))

    @property
    def parameters(self) -> Floats:
        """A copy of all parameters, in the order of `Architecture.parameters`."""
        return self._part(3).cpu().numpy().copy()

    @parameters.setter
    def parameters(self, values: Floats) -> None:
        self._part(3).copy_(torch.from_numpy(values))

    @property
    def base(self) -> Floats:
        """Parameters that the decoder knows; those of a frame pay for what differs. Zeros."""
        return self._part(6).cpu().numpy().copy()

    @base.setter
    def base(self, values: Floats) -> None:
        self._part(6).copy_(torch.from_numpy(values))

    def set_flow_targets(self, flows: Floats) -> None:
        """What the flow term pulls to; ValueError with parts, where no network gives the flow."""
        if self.kind.architecture.parts:
            raise ValueError("with parts motion is searched, not trained")
        *_, aims = torch.split(self.constant, self.kind.constant_sizes)
        aims.copy_(torch.from_numpy(np.ascontiguousarray(flows, np.float32).ravel()))

    def set_weights(self, weights: NDArray[np.floating]) -> None:
        """Weigh the squared errors (see `trainer.Trainer.set_weights`)."""
        if not self.kind.architecture.parts:
            raise ValueError("without parts errors are not weighted")
        if weights.shape != (half := self.kind.plane_shapes[1]):
            raise ValueError(f"weights are {half}, not {weights.shape}")
        self._weights = np.ascontiguousarray(weights, np.float32)
        _, _, own, _ = torch.split(self.constant, self.kind.constant_sizes)
        own.copy_(torch.from_numpy(self._weights.ravel()))

    def refine(self, lambda_: float, sweeps: int) -> int:
        """See `trainer.Trainer.refine`, which does it: tensors are no good at one by one."""
        target, prediction, temporal = self._given
        native = Trainer(
            self.kind.architecture,
            self.kind.frame_type,
            target,
            prediction=prediction,
            temporal=temporal,
        )
        if self._weights is not None:
            native.set_weights(self._weights)
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
        mode = StepMode(hard, bool(steps[:, 5].any()), adam)
        metrics = []
        for first in range(0, len(steps), MOST_STEPS):
            rows = steps[first : first + MOST_STEPS]
            request = _Request(self, mode, rows, seed, first_iteration + first)
            metrics.append(self._batcher.run(request))
        return np.concatenate(metrics)

    def state(self) -> Tensor:
        """All that training changes, to go back to."""
        return self.changing.clone()

    def restore(self, state: Tensor) -> None:
        """Go back to an earlier `state()`."""
        self.changing.copy_(state)


@dataclass(eq=False)
class _Request:
    """Steps that a frame waits for."""

    trainer: TorchTrainer
    mode: StepMode
    rows: Floats
    seed: int
    first_iteration: int
    metrics: Floats | None = None
    failure: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.metrics is not None or self.failure is not None

    def fits(self, other: _Request) -> bool:
        """Whether both can be taken together."""
        return self.trainer.kind == other.trainer.kind and self.mode == other.mode


class StepBatcher:
    """Takes steps of frames that threads train at the same time, as many at once as there are.

    On CUDA, steps are captured as graphs: a small picture's step is hundreds of kernels of
    microseconds each, and those of several frames are hardly longer.

    Args:
        device: where.
        most: frames at once; fewer where memory is short. On the CPU one at a time is as fast.
        graphs: capture steps, on CUDA.
    """

    def __init__(self, device: torch.device, most: int = 1, *, graphs: bool = True) -> None:
        self.device = device
        self._most = most
        self._changed = Condition()
        self._requests: list[_Request] = []
        self._busy = False  # a thread takes steps; others wait
        self._last: WeakSet[TorchTrainer] = WeakSet()  # whose steps were the last
        self._batches: dict[tuple[Kind, int], Batch] = {}
        self._graphs = Graphs(device) if graphs and device.type == "cuda" else None

    def run(self, request: _Request) -> Floats:
        """The metrics of a frame's steps, when they have been taken, by whichever thread."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            self._changed.wait_for(lambda: request.is_done or not self._busy)
            leads = not request.is_done
            self._busy |= leads
        if leads:
            try:
                self._serve(self._gather(request))
            finally:
                with self._changed:
                    self._busy = False
                    self._requests = [r for r in self._requests if r is not request]
                    self._changed.notify_all()
        if request.failure is not None:
            raise RuntimeError("steps of frames trained together failed") from request.failure
        assert request.metrics is not None
        return request.metrics

    def _gather(self, first: _Request) -> list[_Request]:
        """What is taken together with a frame: all that fit, those of a moment later included."""

        def fitting() -> list[_Request]:
            others = [r for r in self._requests if r is not first and r.fits(first)]
            return [first, *others][: self._most]

        def is_complete() -> bool:
            waiting = {r.trainer for r in self._requests}
            kind = first.trainer.kind
            missing = [t for t in self._last if t.kind == kind and t not in waiting]
            return not missing or len(fitting()) == self._most

        with self._changed:
            if self._most > 1:
                self._changed.wait_for(is_complete, PATIENCE)
            chosen = fitting()
            self._requests = [r for r in self._requests if r not in chosen]
            self._last = WeakSet(r.trainer for r in chosen)
        return chosen

    def _serve(self, requests: list[_Request]) -> None:
        try:
            metrics = self._take(requests)
        except torch.OutOfMemoryError as error:
            if len(requests) == 1:
                requests[0].failure = error
                return
            self._most = half = len(requests) // 2
            self._batches.clear()
            if self._graphs:
                self._graphs.forget()
                torch.cuda.empty_cache()
            self._serve(requests[:half])
            self._serve(requests[half:])
        except Exception as error:
            for request in requests:
                request.failure = error
        else:
            for request, own in zip(requests, metrics, strict=True):
                request.metrics = own

    def _take(self, requests: list[_Request]) -> list[Floats]:
        """Their metrics. Frames change when all steps have been taken, and not before."""
        kind, mode = requests[0].trainer.kind, requests[0].mode
        frames = 1 << (len(requests) - 1).bit_length()  # few sizes, since each is captured
        batch = self._batch(kind, frames)
        # Rates of 0 change nothing: of frames that have fewer steps, and of places without a frame.
        rows = np.zeros((MOST_STEPS, frames, 6), np.float32)
        rows[:, :, :2] = 1.0
        keys = np.zeros((frames, 2), np.int32)
        for place, request in enumerate(requests):
            rows[: len(request.rows), place] = request.rows
            keys[place] = np.array([request.seed, request.first_iteration]).astype(np.int32)
            batch.constant[place] = request.trainer.constant
            batch.changing[place] = request.trainer.changing
        batch.rows.copy_(torch.from_numpy(rows))
        batch.keys.copy_(torch.from_numpy(keys))
        batch.place.zero_()

        def step() -> None:
            with full_precision(self.device.type):
                batch.step(mode)

        for _ in range(max(len(r.rows) for r in requests)):
            if self._graphs:
                self._graphs.run((kind, frames, mode), step)
            else:
                step()
        for place, request in enumerate(requests):
            request.trainer.changing.copy_(batch.changing[place])
        metrics = batch.metrics.cpu().numpy()
        return [metrics[: len(r.rows), i].copy() for i, r in enumerate(requests)]

    def _batch(self, kind: Kind, frames: int) -> Batch:
        if (kind, frames) not in self._batches:
            self._batches[kind, frames] = Batch(kind, frames, MOST_STEPS, self.device)
        return self._batches[kind, frames]
