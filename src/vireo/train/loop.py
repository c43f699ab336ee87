"""The training loop: steps, checkpoints, validation, a log.

A run stops when its minutes are over, and goes on where it stopped as if it had not: what a step
does follows from the seed and the step's number, and everything else is in the checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireo import checkpoint
from vireo.errors import UsageError, VireoError
from vireo.exact import prove
from vireo.train.data import Batch, Clips
from vireo.train.on_grids import OnGrids
from vireo.train.recipe import Recipe

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
SAVE_SECONDS = 300.0
LOG_STEPS = 20
MOST_BROKEN = 50  # steps one after another whose gradients are no numbers


class TrainingError(VireoError):
    """Training can't go on; what was there before is kept."""


@dataclass(frozen=True)
class Worker:
    """This process among those that train together (torchrun), each with a share of the batch."""

    rank: int = 0
    count: int = 1

    @staticmethod
    def here(device: str) -> Worker:
        """As torchrun's environment says."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count > 1 and not torch.distributed.is_initialized():
            if device == "cuda":
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
        return Worker(int(os.environ.get("RANK", "0")), count)


@dataclass(frozen=True)
class _Drawn:
    """What a step is given: this process' clips, rates and lambdas, not on the device yet."""

    luma: Tensor
    chroma: Tensor
    rates: Tensor
    lambdas: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.luma, self.chroma, self.rates, self.lambdas


class Run:
    """A training run in a folder.

    Args:
        loss: `forward(luma, chroma, rates)` gives errors and bits per sample of each frame, at a
            place between the rate points for each clip, which `draw(rng, batch)` chooses;
            `parameter_groups()` what an optimiser gets, with the `factor` of the learning rate.
        cost: makes one number of them and of each clip's lambda.
        describe: makes them readable.
        clips: to train and validate on.
        folder: for the checkpoint and the log; a checkpoint that is there is gone on from.
        device: cpu or cuda.
        say: told what a person should know.

    Raises UsageError where the folder holds a run of another recipe.
    """

    def __init__(
        self,
        recipe: Recipe,
        loss: nn.Module,
        cost: Callable[[Tensor, Tensor], Tensor],
        describe: Callable[[Any], dict[str, Any]],
        clips: Clips,
        folder: Path,
        *,
        device: str = "cpu",
        worker: Worker | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.recipe = recipe
        self.loss = loss.to(device)
        self._cost = cost
        self._describe = describe
        self._clips = clips
        self._folder = folder
        self._device = torch.device(device)
        self._worker = worker or Worker()
        self._say = say
        if recipe.batch % self._worker.count:
            raise UsageError(f"a batch of {recipe.batch} has no equal shares for all processes")
        groups: Any = loss.parameter_groups
        on_gpu = self._device.type == "cuda"
        self._optimiser = torch.optim.Adam(
            groups(), lr=recipe.learning_rate, fused=True if on_gpu else None
        )
        self.average = {k: v.detach().clone() for k, v in self.loss.named_parameters()}
        self.step = 0
        self.seconds = 0.0
        self._broken = 0
        self._stopped = False
        self._drawing = ThreadPoolExecutor(1, "clips")
        self._next: tuple[int, Future[_Drawn]] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            self._resume()
        self._on_grids = OnGrids(self.loss)
        self._parallel: nn.Module = self.loss
        if self._worker.count > 1:
            self._parallel = nn.parallel.DistributedDataParallel(
                self.loss, find_unused_parameters=True
            )

    def train(self, minutes: float) -> None:
        """All steps that are left, or as many as fit; then the checkpoint holds them.

        An interrupt ends it behind the step at hand, so that the checkpoint is of whole steps.
        """
        began, saved = perf_counter(), perf_counter()
        before = self.seconds
        with _interrupts(self._stop):
            while self.step < self.recipe.steps and self._goes_on(began, minutes):
                try:
                    self._one()
                except TrainingError:
                    self.save()
                    raise
                self.seconds = before + perf_counter() - began
                if self.step % self.recipe.validate_every == 0:
                    self.validate()
                if perf_counter() - saved > SAVE_SECONDS:
                    self.save()
                    saved = perf_counter()
            self.save()

    def _stop(self) -> None:
        self._stopped = True
        self._say("stopping behind this step")

    def _goes_on(self, began: float, minutes: float) -> bool:
        """Whether time is left; all processes do as the first one."""
        left = perf_counter() - began < 60 * minutes and not self._stopped
        if self._worker.count == 1:
            return left
        word = torch.tensor([float(left)], device=self._device)
        torch.distributed.broadcast(word, 0)
        return bool(word.item())

    def _one(self) -> None:
        recipe, step, worker = self.recipe, self.step, self._worker
        luma, chroma, rates, lambdas = self._given(step)
        torch.manual_seed((recipe.seed << 40) + step * worker.count + worker.rank)
        for group in self._optimiser.param_groups:
            group["lr"] = group["factor"] * recipe.rate_at(step)
        self._optimiser.zero_grad(set_to_none=True)
        with self._on_grids.held():
            results = self._parallel(luma, chroma, rates)
            cost = self._cost(results, lambdas)
            cost.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.loss.parameters(), recipe.gradient_clip)
        if not torch.isfinite(norm):
            self.step += 1
            self._skip()
            return
        self._broken = 0
        self._optimiser.step()
        self.step += 1
        self._move_average()
        if self.step % LOG_STEPS == 0:
            self._log(
                "step",
                loss=round(cost.item(), 6),
                rate=round(float(rates.mean()), 3),
                learning_rate=self._optimiser.param_groups[0]["lr"],
                gradient=round(float(norm), 4),
                **self._describe(results.tolist()),
            )

    def _given(self, step: int) -> list[Tensor]:
        """Luma, chroma, rates and lambdas of a step; the next step's are drawn meanwhile."""
        ahead, self._next = self._next, None
        if ahead is None or ahead[0] != step:
            ahead = step, self._drawing.submit(self._draw, step)
        drawn = ahead[1].result()
        if step + 1 < self.recipe.steps:
            self._next = step + 1, self._drawing.submit(self._draw, step + 1)
        return [x.to(self._device, non_blocking=True) for x in drawn.tensors()]

    def _draw(self, step: int) -> _Drawn:
        """In a thread of its own: it follows from the seed and the step alone."""
        recipe, worker = self.recipe, self._worker
        rng = np.random.default_rng([recipe.seed, step])
        draw: Any = self.loss.draw
        places = draw(rng, recipe.batch)
        batch = self._clips.draw(rng, recipe.batch, recipe.frames_at(step), recipe.crop)
        size = recipe.batch // worker.count
        share = slice(worker.rank * size, (worker.rank + 1) * size)
        drawn = _Drawn(*_tensors(batch, share), *self._rates(places[share]))
        if self._device.type == "cuda":
            drawn = _Drawn(*(x.pin_memory() for x in drawn.tensors()))
        return drawn

    def _rates(self, drawn: NDArray[np.floating]) -> tuple[Tensor, Tensor]:
        """Places between rate points, and their lambdas."""
        logs = np.log(self.recipe.lambdas)
        lambdas = np.exp(np.interp(drawn, np.arange(len(logs)), logs))
        rates, found = (torch.from_numpy(x).float() for x in (drawn, lambdas))
        return rates, found

    def _skip(self) -> None:
        self._broken += 1
        self._log("broken")
        self._say(f"step {self.step}: the gradient is no number; the step is left out")
        if self._broken >= MOST_BROKEN:
            raise TrainingError(f"{MOST_BROKEN} steps one after another had no finite gradient")

    @torch.no_grad()
    def _move_average(self) -> None:
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        named = dict(self.loss.named_parameters())
        averages = [self.average[name] for name in named]
        torch._foreach_lerp_(averages, list(named.values()), 1 - keep)

    @property
    def leads(self) -> bool:
        """Whether this process speaks for those that train together."""
        return self._worker.rank == 0

    @property
    def clip_count(self) -> int:
        """Clips to train on."""
        return len(self._clips)

    def averaged(self) -> nn.Module:
        """A copy of the loss with the averaged weights.

        Raises InexactError where their sums can't be proved exact.
        """
        copy = deepcopy(self.loss)
        copy.load_state_dict(self.average, strict=False)
        prove(copy)  # or it would compute otherwise than a decoder
        return copy

    @torch.no_grad()
    def validate(self) -> list[dict[str, Any]]:
        """The averaged weights on clips that are held out, at each rate point."""
        loss = self.averaged().eval()  # or codebooks would go on being seeded
        found = []
        frames = self.recipe.stages[-1].frames
        planes = _tensors(self._clips.validation(frames), slice(None))
        luma, chroma = (x.to(self._device) for x in planes)
        for rate, lambda_ in enumerate(self.recipe.lambdas):
            torch.manual_seed(self.recipe.seed)
            rates, _ = self._rates(np.full(len(luma), float(rate)))
            results = loss(luma, chroma, rates.to(self._device))
            found.append({"rate": rate, **self._describe(results.tolist())})
            cost = (results[..., 0] + lambda_ * results[..., 1]).mean()
            self._log("validation", cost=round(float(cost), 7), **found[-1])
        return found

    def history(self) -> list[dict[str, Any]]:
        """What validations found so far, by step and rate point, as the log has them."""
        try:
            text = (self._folder / LOG).read_text()
        except OSError:
            return []
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for line in text.splitlines():
            with suppress(json.JSONDecodeError):  # a line that was cut off
                entry = json.loads(line)
                if entry.pop("kind") == "validation":
                    found[entry["step"], entry["rate"]] = entry
        return list(found.values())

    def save(self) -> None:
        """The checkpoint, whole or not at all."""
        if self._worker.rank:
            return
        state = {
            "recipe": self.recipe.values(),
            "clips": self._clips.identity,
            "step": self.step,
            "seconds": self.seconds,
            "weights": self.loss.state_dict(),
            "average": self.average,
            "optimiser": self._optimiser.state_dict(),
        }
        try:
            checkpoint.save(self._folder / CHECKPOINT, state)
        except OSError as error:
            raise TrainingError(
                f"the checkpoint can't be written ({error}); the one before is kept"
            ) from error

    def _resume(self) -> None:
        path = self._folder / CHECKPOINT
        state = checkpoint.load(path, self._device)
        if not {"recipe", "clips", "weights"} <= state.keys():
            raise UsageError(f"{path} is no checkpoint of a training run")
        if json.dumps(state["recipe"]) != json.dumps(self.recipe.values()):
            raise UsageError(f"{self._folder} holds a run of another recipe; choose another folder")
        if state["clips"] != self._clips.identity:
            raise UsageError(f"{self._folder} holds a run on other clips; choose another folder")
        try:
            self.loss.load_state_dict(state["weights"])
        except RuntimeError as error:
            raise UsageError(f"{path} is of another version of the model: {error}") from error
        self.average = state["average"]
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self._say(f"going on after step {self.step}")

    def _log(self, kind: str, **values: Any) -> None:
        if self._worker.rank:
            return
        line = {"kind": kind, "step": self.step, "seconds": round(self.seconds, 1), **values}
        try:
            with (self._folder / LOG).open("a") as log:
                log.write(json.dumps(line) + "\n")
        except OSError as error:
            raise TrainingError(f"the log can't be written: {error}") from error


def _tensors(batch: Batch, share: slice) -> tuple[Tensor, Tensor]:
    luma, chroma = (torch.from_numpy(p[share]) for p in (batch.luma, batch.chroma))
    return luma, chroma


@contextmanager
def _interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` at the first SIGINT or SIGTERM, instead of what else would happen."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for name, handler in before.items():
            signal.signal(name, handler)

    def handle(number: int, frame: object) -> None:
        restore()  # a second one ends it at once
        stop()

    for name in before:
        signal.signal(name, handle)
    try:
        yield
    finally:
        restore()
