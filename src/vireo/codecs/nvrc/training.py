"""Training of a segment (paper, section 3.4 and appendix A.2).

Distortion is lowered in some steps, the rate in every ninth, as it is of the whole segment
and not of the frames at hand. What a step does follows from the seed and its number, so that
training goes on where it stopped as if it had not.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vireo import checkpoint
from vireo.codecs.base import Planes
from vireo.codecs.devices import threads_of_pytorch
from vireo.codecs.encoding import Progress
from vireo.codecs.graphs import Graphs
from vireo.codecs.nvrc.coding import Coded
from vireo.codecs.nvrc.config import CELL, Config, Extent
from vireo.codecs.nvrc.layout import LINEAR, Kind, Layout, Method
from vireo.codecs.nvrc.model import Patch, halved, pictures
from vireo.codecs.nvrc.network import patches
from vireo.codecs.nvrc.optimiser import VectorUpdates
from vireo.codecs.nvrc.presets import STANDARD, Preset, Recipe
from vireo.codecs.nvrc.quantise import Numbers, Rounding, partly, soft
from vireo.codecs.nvrc.stages import Stages
from vireo.exact import PROCESSOR
from vireo.metrics import PLANE_WEIGHTS
from vireo.nn.losses import similarity_measure
from vireo.nn.rounding import hard_quantise

PATCH_CELLS = 256  # a picture of more is trained in patches of fewer
CHECKPOINT = "checkpoint.pt"
SAVE_SECONDS = 60.0
LEAST_SIDE = 64  # MS-SSIM of windows of 5x5 needs more
_WIDE = 128  # channels


@dataclass(frozen=True)
class Job:
    """A segment to train.

    Attributes:
        frames: their planes, of even sides.
        lambda_: what a bit per luma sample costs against distortion.
    """

    config: Config
    method: Method
    frames: Sequence[Planes]
    lambda_: float
    preset: Preset
    recipe: Recipe = STANDARD
    seed: int = 0

    @property
    def extent(self) -> Extent:
        height, width = self.frames[0][0].shape
        return Extent.of(len(self.frames), height, width)


class Trainer:
    """A segment's training.

    Args:
        device: where to train.
        folder: for the checkpoint; one that is there is gone on from, if it is of this job.
        identity: of everything that determines the job.
        threads: on a processor; by default as many as PyTorch has. Numbers don't depend on them.
        native: whether C++ has the network's stages and the updates of matrices, on a processor;
            else PyTorch has them, which is their twin.
    """

    def __init__(
        self,
        job: Job,
        device: torch.device = PROCESSOR,
        folder: Path | None = None,
        identity: str = "",
        *,
        threads: int | None = None,
        native: bool = True,
    ) -> None:
        self.job = job
        self.layout = Layout(job.config, job.extent, job.method)
        self._device = device
        self._file = folder / CHECKPOINT if folder else None
        recipe = job.recipe
        numbers = Numbers(
            self.layout,
            job.seed,
            grid_steps=recipe.grid_steps,
            linear_unit=recipe.linear_rate / recipe.side_rate,
        )
        self.numbers = numbers.to(self._device)
        self._luma, self._chroma = self._targets(job.frames)
        linear = [own for kind, own in self.numbers.side.items() if Kind[kind] in LINEAR]
        octaves = [own for kind, own in self.numbers.side.items() if Kind[kind] not in LINEAR]
        on_gpu = self._device.type == "cuda"
        rate: Any = torch.zeros((), device=self._device) if on_gpu else 0.0
        self._optimiser = torch.optim.Adam(
            [
                {"params": own, "factor": factor, "lr": deepcopy(rate)}
                for own, factor in (
                    ([self.numbers.layers], 1.0),
                    ([*self.numbers.grids], job.recipe.grid_rate),
                    ([*octaves, self.numbers.words], job.recipe.side_rate),
                    (linear, job.recipe.linear_rate),
                )
            ],
            fused=True if on_gpu else None,
            capturable=on_gpu,
        )
        self._threads = threads or torch.get_num_threads()
        shared = self._threads if native and not on_gpu else None
        self._stages = Stages(self.layout, shared) if shared else None
        self._matrices = None
        if job.recipe.matrix_rate:
            places = [p for n, p in self.layout.layers.items() if is_matrix(n)]
            self._matrices = VectorUpdates(
                self.numbers.layers, places, job.recipe.matrix_rate, shared
            )
        self._generator = torch.Generator(self._device)
        # MS-SSIM brings its window from the processor, which a graph can't.
        captured = on_gpu and job.recipe.distortion == "mse"
        self._graphs = Graphs(device, self._generator) if captured else None
        self._now = {
            name: torch.zeros((), device=self._device)
            for name in ("temperature", "noise", "ratio", "decay")
        }
        self._distortion = _DISTORTIONS[job.recipe.distortion]
        self._patches = patches(job.extent, PATCH_CELLS)
        sides = [side for p in self._patches for side in self._shown(p)]
        if job.recipe.distortion != "mse" and min(sides) <= LEAST_SIDE:
            self._patches = [Patch.whole(job.extent)]
        batch = min(len(self._patches), len(job.frames))
        self._frames = torch.zeros(batch, dtype=torch.int64, device=self._device)
        self.step = 0
        self.preset = job.preset
        self._identity = identity
        if self._file and self._file.exists():
            self._resume(self._file)

    @property
    def steps(self) -> int:
        """All that are planned."""
        return self.preset.epochs * len(self.job.frames)

    @property
    def _first(self) -> int:
        return self.preset.first * len(self.job.frames)

    def train(self, progress: Progress = lambda done, planned: None) -> None:
        """The steps that are left."""
        saved = perf_counter()
        while self.step < self.steps:
            self.one()
            try:
                progress(self.step, self.steps)
            except BaseException:  # nobody waits for it any more: what there is is kept
                self.save()
                raise
            if perf_counter() - saved > SAVE_SECONDS:
                self.save()
                saved = perf_counter()

    def one(self) -> None:
        """One step."""
        self._prepare()
        kind = self._kind()
        if self._graphs is not None:
            if self.step == self._first:
                self._graphs.forget()
            self._graphs.run(kind, lambda: self._change(kind))
        elif self._stages is not None:
            with threads_of_pytorch(1, self._threads):
                self._change(kind)
        else:
            self._change(kind)
        self.step += 1

    def _prepare(self) -> None:
        """Writes what differs from step to step to where the step reads it."""
        recipe, step = self.job.recipe, self.step
        rate = self._learning_rate()
        for group in self._optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(group["factor"] * rate)
            else:
                group["lr"] = group["factor"] * rate
        _, part = self._stage((0, 1))
        for name, (start, end) in (
            ("temperature", recipe.temperatures),
            ("noise", recipe.noise),
            ("ratio", recipe.ratios),
        ):
            self._now[name].fill_(start + (end - start) * part)
        self._now["decay"].fill_(recipe.decay * max(0.0, 1 - step / self._first))
        for place, frame in zip(self._frames, self._chosen().tolist(), strict=True):
            place.fill_(frame)  # a copy from the processor would wait for the steps before
        self._generator.manual_seed((self.job.seed << 32) + step)

    def _kind(self) -> tuple[bool, int]:
        """Whether a step is of the first stage, and which patch it is of, or -1 of the rate."""
        every = self.job.recipe.rate_every
        if self.step % every == every - 1:
            return self.step < self._first, -1
        rng = np.random.default_rng([self.job.seed, self.step])
        return self.step < self._first, int(rng.integers(len(self._patches)))

    def _change(self, kind: tuple[bool, int]) -> None:
        """What a step does, by what `_prepare` wrote."""
        is_first, patch = kind
        now = self._now
        if self.job.recipe.straight and patch >= 0:
            rounding: Rounding = hard_quantise
        elif is_first:
            rounding = soft(now["temperature"], now["noise"], self._generator)
        else:
            rounding = partly(now["ratio"], self._generator)
        self._optimiser.zero_grad(set_to_none=True)
        loss = self._rate(rounding) if patch < 0 else self._error(rounding, self._patches[patch])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.numbers.parameters(), self.job.recipe.clip)
        if self._matrices:
            self._matrices.step(self._optimiser.param_groups[0]["lr"])
        self._optimiser.step()

    def _rate(self, rounding: Rounding) -> Tensor:
        recipe = self.job.recipe
        bits = self.numbers.bits(rounding).total
        return self.job.lambda_ * (recipe.rate_every - 1) * bits / self._luma.numel()

    def _error(self, rounding: Rounding, patch: Patch) -> Tensor:
        sample = self.numbers.rounded(rounding)
        job, frames = self.job, self._frames
        native = None
        if self._stages is not None:
            native = partial(self._stages.pictures, sample.layers.values)
        with self._precision():
            made = pictures(
                job.config,
                job.extent,
                sample.grid_values(),
                sample.tensors(),
                frames,
                patch,
                native,
            )
        loss = self._compare(made.float(), frames, patch)
        return loss + self._now["decay"] * self.numbers.layers.square().sum()

    def _precision(self) -> Any:
        """On CUDA wide networks are in bfloat16; narrow ones gain nothing by it."""
        wide = self.job.config.channels[0] >= _WIDE and self._device.type == "cuda"
        return torch.autocast("cuda", torch.bfloat16) if wide else nullcontext()

    def _compare(self, made: Tensor, frames: Tensor, patch: Patch) -> Tensor:
        top, left = patch.top * CELL, patch.left * CELL
        bottom, right = top + patch.rows * CELL, left + patch.columns * CELL
        luma = self._luma[frames, :, top:bottom, left:right]
        chroma = self._chroma[frames, :, top // 2 : bottom // 2, left // 2 : right // 2]
        luma, chroma = luma.float() / 255, chroma.float() / 255
        return self._distortion(made, luma, chroma)

    def _shown(self, patch: Patch) -> tuple[int, int]:
        """Rows and columns of a patch that are of the picture."""
        height, width = self.job.frames[0][0].shape
        rows = min(patch.rows * CELL, height - patch.top * CELL)
        return rows, min(patch.columns * CELL, width - patch.left * CELL)

    def now(self) -> float:
        """The time, in seconds, when all steps so far are done."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        return perf_counter()

    def _chosen(self) -> np.ndarray:
        """Frames of a step: each is seen once in so many steps as there are, patch by patch."""
        count, batch = len(self.job.frames), len(self._frames)
        epoch, place = divmod(self.step * batch, count)
        order = [
            np.random.default_rng([self.job.seed, 1, epoch + i]).permutation(count)
            for i in range(1 + -(-batch // count))
        ]
        return np.concatenate(order)[place : place + batch]

    def _learning_rate(self) -> float:
        (start, end), part = self._stage(self.job.recipe.learning_rates)
        found: float = end + (start - end) * 0.5 * (1 + cos(pi * part))
        return found

    def _stage(self, values: Sequence[Any]) -> tuple[Any, float]:
        """What is of the stage at hand, and how much of it is over."""
        if self.step < self._first:
            return values[0], self.step / self._first
        return values[1], (self.step - self._first) / max(1, self.steps - self._first)

    def _targets(self, frames: Sequence[Planes]) -> tuple[Tensor, Tensor]:
        luma = torch.from_numpy(np.stack([f[0] for f in frames]))[:, None]
        chroma = torch.from_numpy(np.stack([np.stack(f[1:]) for f in frames]))
        return luma.to(self._device), chroma.to(self._device)

    def coded(self) -> Coded:
        """The numbers as they are sent."""
        return self.numbers.coded()

    def save(self) -> None:
        """The checkpoint, whole or not at all."""
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(
            self._file,
            {
                "identity": self._identity,
                "step": self.step,
                "preset": [self.preset.first, self.preset.second],
                "numbers": self.numbers.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "matrices": self._matrices.state_dict() if self._matrices else {},
            },
        )

    def _resume(self, path: Path) -> None:
        state = checkpoint.load(path, self._device)
        if state.get("identity") != self._identity:
            return
        self.numbers.load_state_dict(state["numbers"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._matrices:
            self._matrices.load_state_dict(state["matrices"])
        self.step = state["step"]
        self.preset = Preset(*state["preset"])


def is_matrix(name: str) -> bool:
    """Whether a tensor of the layers multiplies many features."""
    return name.endswith("weight") and "depthwise" not in name and "head" not in name


def _shown(made: Tensor, luma: Tensor) -> tuple[Tensor, Tensor]:
    """Luma, and chroma at its size, of what is shown of pictures."""
    made = made[:, :, : luma.shape[2], : luma.shape[3]]
    return made[:, :1], halved(made[:, 1:])


def _squares(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean((0, 2, 3))


class _WeightedError(torch.autograd.Function):
    """The weighted mean squared error and its gradient in one go: as many passes over pictures as
    autograd needs for the gradient alone."""

    @staticmethod
    def forward(ctx: Any, made: Tensor, luma: Tensor, chroma: Tensor) -> Tensor:
        gradient = torch.zeros_like(made)
        own = gradient[:, :, : luma.shape[2], : luma.shape[3]]
        of_luma, of_chroma = (
            a - b for a, b in zip(_shown(made, luma), (luma, chroma), strict=True)
        )
        share = PLANE_WEIGHTS[0] / luma.numel()
        found = share * of_luma.square().sum()
        torch.mul(of_luma, 2 * share, out=own[:, :1])
        for plane, weight in zip((1, 2), PLANE_WEIGHTS[1:], strict=True):
            share = weight / (chroma.numel() / 2)
            error = of_chroma[:, plane - 1]
            found = found + share * error.square().sum()
            part = error * (share / 2)  # a sample of chroma is the mean of four
            for row in (0, 1):
                for column in (0, 1):
                    own[:, plane, row::2, column::2] = part
        ctx.save_for_backward(gradient)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None, None


def _mse(made: Tensor, luma: Tensor, chroma: Tensor) -> Tensor:
    found: Tensor = _WeightedError.apply(made, luma, chroma)  # type: ignore[no-untyped-call]
    return found


def _yuv(made: Tensor, luma_to: Tensor, chroma_to: Tensor) -> Tensor:
    """Equation 11, chroma at its own size."""
    luma, chroma = _shown(made, luma_to)
    y, uv = _squares(luma, luma_to)[0], _squares(chroma, chroma_to)
    squares = y ** (6 / 8) * uv[0] ** (1 / 8) * uv[1] ** (1 / 8)
    return 0.99 * squares + 0.01 * (1 - _similarity(luma, luma_to))


def _rgb(made: Tensor, luma_to: Tensor, chroma_to: Tensor) -> Tensor:
    """Equation 10, of BT.601's R, G and B."""
    found, wanted = _to_rgb(*_shown(made, luma_to)), _to_rgb(luma_to, chroma_to)
    return 0.7 * (found - wanted).abs().mean() + 0.3 * (1 - _similarity(found, wanted))


def _to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    full = torch.nn.functional.interpolate(chroma, size=luma.shape[2:], mode="nearest")
    y = (luma[:, 0] - 16 / 255) * (255 / 219)
    u, v = ((full[:, i] - 128 / 255) * (255 / 224) for i in (0, 1))
    return torch.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], 1)


def _similarity(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM with windows of 5x5."""
    found: Tensor = similarity_measure()(a, b, data_range=1.0, win_size=5)
    return found


_DISTORTIONS = {"mse": _mse, "yuv": _yuv, "rgb": _rgb}
