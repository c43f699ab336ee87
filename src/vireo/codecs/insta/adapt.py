"""Fine-tuning of a codec on the video that it is to send (InstA, section 3.4).

The loss is equation 2: distortion, the rate of latents, and the rate of the updates themselves,
which are rounded in the forward pass and pass gradients as if they weren't. Candidates are judged
by the bytes that they take and the pictures that they give; the best so far is kept, so that more
time is never worse by that measure. What was reached is written down now and then, and an
interrupted run goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from vireo import checkpoint
from vireo.codecs.base import Planes
from vireo.codecs.insta import prior
from vireo.codecs.insta.prior import FARTHEST
from vireo.codecs.insta.updates import update_grids, write
from vireo.errors import UsageError
from vireo.exact import Grid, InexactError
from vireo.nn.orthogonal import OrthogonalUpdates, is_matrix

FRAMES = 3  # of a clip of a step (InstA, section 4.3), at most
LEARNING_RATE = 3e-4  # at first; the paper takes 1e-5 for some hundred thousand steps
MATRIX_RATE = 4.0  # of the encoder's matrices, whose updates are orthogonal, in learning rates
FALLING = 100  # after so many steps the learning rate falls with the root of their number
AVERAGED = 0.2  # of the steps so far, about, are averaged: what is sent
CROP = 256  # side of a step's pictures, at most
FIRST_TRIAL = 40  # steps; each further trial comes after half as many again
SAVE_SECONDS = 60.0
VERSION = 2  # of what a checkpoint holds
_ROUND = Grid(0, -FARTHEST, FARTHEST)

Evaluate = Callable[[dict[str, Tensor], bytes], tuple[float, Mapping[int, Planes]]]


@dataclass(frozen=True)
class Kept:
    """A file that an adaptation writes down how far it is in.

    Attributes:
        path: the file.
        identity: everything that determines the adaptation; what is of another one is not used.
    """

    path: Path
    identity: str

    def load(self) -> dict[str, Any] | None:
        """What an earlier run left, if anything can be used."""
        try:
            state = checkpoint.load(self.path) if self.path.exists() else {}
        except UsageError:
            return None
        return state if state.get("identity") == self._written else None

    def save(self, state: Mapping[str, Any]) -> None:
        checkpoint.save(self.path, {"identity": self._written, **state})

    @property
    def _written(self) -> str:
        return f"{VERSION} {self.identity}"


@dataclass(frozen=True)
class Adapted:
    """What an adaptation found.

    Attributes:
        state: of the encoder's own parameters, by name.
        updates: of the decoder's, in bytes; empty if nothing was to be sent.
        cost: distortion plus lambda times rate, as `evaluate` measured it.
        steps: how many were made.
    """

    state: dict[str, Tensor]
    updates: bytes
    cost: float
    steps: int

    def values(self) -> dict[str, Any]:
        """As a checkpoint has them; `of` turned round."""
        updates = torch.tensor(list(self.updates), dtype=torch.uint8)
        return {"state": self.state, "updates": updates, "cost": self.cost, "steps": self.steps}

    @staticmethod
    def of(values: Mapping[str, Any]) -> Adapted:
        return Adapted(
            values["state"], values["updates"].numpy().tobytes(), values["cost"], values["steps"]
        )


@dataclass(frozen=True)
class _Batch:
    """Luma `[1, T, 1, H, W]`, chroma `[1, T, 2, H / 2, W / 2]`, and what the first one follows."""

    luma: Tensor
    chroma: Tensor
    before: tuple[Tensor, Tensor] | None


@dataclass
class _Progress:
    """How far an adaptation is.

    Attributes:
        step: steps made.
        seconds: spent.
        first: what the video costs without any.
        trial: seconds that a trial takes.
        next_trial: the step after which the next one comes.
    """

    step: int
    seconds: float
    first: float
    trial: float
    next_trial: int


class Adaptation:
    """Fine-tunes a model on one video.

    Args:
        loss: `forward(luma, chroma, rates, before)` gives errors and bits per sample of each
            frame, the first one predicted from `before` if that is not None; it holds the model
            as `model`, with weights on their grids.
        rate: the rate point, perhaps between two.
        lambda_: what a bit per luma sample costs.
        video: planes of its frames, all of one size.
        evaluate: what the video, or some GOPs of it, costs with the model's parameters of the
            encoder's own and such updates: distortion plus lambda times bits per luma sample,
            all bytes counted; and the frames that it decoded, by their places.
        decoder: whether the decoder's parameters change as well.
        gop: frames of one.
        served: frames that updates are for, if more than `video` has.
    """

    def __init__(
        self,
        loss: nn.Module,
        rate: float,
        lambda_: float,
        video: Sequence[Planes],
        evaluate: Evaluate,
        *,
        decoder: bool,
        gop: int,
        served: int | None = None,
        seed: int = 0,
    ) -> None:
        self._loss = loss
        self._rate = rate
        self._lambda = lambda_
        self._video = video
        self._evaluate = evaluate
        self._frames = min(FRAMES, gop)
        self._gop = gop
        self._decoded: Mapping[int, Planes] = {}
        self._seed = seed
        self._samples = (served or len(video)) * video[0][0].size
        model: nn.Module = loss.get_submodule("model")
        self._grids = update_grids(model)
        self._own = {
            name: p.detach().clone().requires_grad_()
            for name, p in model.named_parameters()
            if name not in self._grids
        }
        self._base = {
            name: p.detach() for name, p in model.named_parameters() if name in self._grids
        }
        self._updates = {  # in steps
            name: torch.zeros_like(p, requires_grad=decoder) for name, p in self._base.items()
        }
        self._decoder = decoder
        self._average = {
            name: p.detach().clone() for name, p in (self._own | self._updates).items()
        }
        groups = [{"params": list(self._own.values()), "lr": LEARNING_RATE}]
        for name, update in self._updates.items() if decoder else ():
            groups.append({"params": [update], "lr": LEARNING_RATE / self._grids[name].unit})
        self._optimiser = torch.optim.Adam(groups)
        self._rates = [group["lr"] for group in self._optimiser.param_groups]
        matrices = [own for own in self._own.values() if is_matrix(own)]
        self._orthogonal = OrthogonalUpdates(matrices, MATRIX_RATE)

    def run(
        self, seconds: float, progress: Callable[[float, float], None], kept: Kept | None = None
    ) -> Adapted:
        """The best of what so much time finds, that of earlier runs included.

        Args:
            seconds: to spend.
            progress: told the share of the time and of the first cost, now and then.
            kept: where an interrupted run goes on.
        """
        began = saved = perf_counter()
        state = kept.load() if kept else None
        if state is not None and state["done"]:
            return Adapted.of(state["best"])
        if state is not None:
            best, at = self._restored(state)
        else:
            found = self._trial(0)
            assert found is not None  # the weights that were shipped can be proved exact
            best, at = found, _Progress(0, 0.0, found.cost, perf_counter() - began, FIRST_TRIAL)
        before, tried = at.seconds, 0

        def now() -> float:
            at.seconds = before + perf_counter() - began
            return at.seconds

        while now() + 1.2 * at.trial < seconds:
            self._step(at.step)
            at.step += 1
            if at.step == at.next_trial:
                best, tried = self._better(best, at.step), at.step
                at.next_trial += at.next_trial // 2
                progress(min(1.0, now() / seconds), best.cost / at.first)
            if kept and perf_counter() - saved > SAVE_SECONDS:
                kept.save(self._state(best, at))
                saved = perf_counter()
        if at.step > tried:
            best = self._better(best, at.step)
        if at.step:
            progress(1.0, best.cost / at.first)
        if kept:
            kept.save({"done": True, "best": best.values()})
        return best

    def _state(self, best: Adapted, at: _Progress) -> dict[str, Any]:
        return {
            "done": False,
            "best": best.values(),
            "progress": asdict(at),
            "own": self._own,
            "updates": self._updates,
            "average": self._average,
            "decoded": {n: [torch.from_numpy(p) for p in self._decoded[n]] for n in self._decoded},
            "optimiser": self._optimiser.state_dict(),
            "orthogonal": self._orthogonal.state_dict(),
        }

    @torch.no_grad()
    def _restored(self, state: Mapping[str, Any]) -> tuple[Adapted, _Progress]:
        for mine, theirs in (
            (self._own, state["own"]),
            (self._updates, state["updates"]),
            (self._average, state["average"]),
        ):
            for name, parameter in mine.items():
                parameter.copy_(theirs[name])
        self._decoded = {
            n: (y.numpy(), u.numpy(), v.numpy()) for n, (y, u, v) in state["decoded"].items()
        }
        self._optimiser.load_state_dict(state["optimiser"])
        self._orthogonal.load_state_dict(state["orthogonal"])
        return Adapted.of(state["best"]), _Progress(**state["progress"])

    def _better(self, best: Adapted, step: int) -> Adapted:
        found = self._trial(step)
        return found if found is not None and found.cost < best.cost else best

    def _step(self, step: int) -> None:
        torch.manual_seed((self._seed << 32) + step)
        batch = self._batch(np.random.default_rng([self._seed, step]))
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate / sqrt(1 + step / FALLING)
        self._optimiser.zero_grad(set_to_none=True)
        inputs = batch.luma, batch.chroma, torch.tensor([self._rate]), batch.before
        results = functional_call(self._loss, self._parameters(), inputs)
        costs = results[:, 0] + self._lambda * results[:, 1]
        cost = costs.mean()
        if batch.before is None:  # the last frame stands for all that follow an I frame
            gop = min(self._gop, len(self._video))
            cost = (costs.sum() + (gop - len(costs)) * costs[-1]) / gop
        if self._decoder:
            sent = torch.stack([prior.bits(update) for update in self._updates.values()]).sum()
            cost = cost + self._lambda * sent / self._samples
        cost.backward()
        if all(
            torch.isfinite(p.grad).all()
            for group in self._optimiser.param_groups
            for p in group["params"]
            if p.grad is not None
        ):
            self._orthogonal.step(self._optimiser.param_groups[0]["lr"])
            self._optimiser.step()
            self._move_average(step)

    @torch.no_grad()
    def _move_average(self, step: int) -> None:
        """Over the last steps, the more the more there were."""
        for name, parameter in (self._own | self._updates).items():
            self._average[name].lerp_(parameter, 1 / (1 + AVERAGED * step))

    def _parameters(self) -> dict[str, Tensor]:
        """Of the model as it would be sent."""
        changed = {
            name: base + _ROUND.nearest(self._updates[name]) * self._grids[name].unit
            for name, base in self._base.items()
        }
        return {f"model.{name}": p for name, p in (self._own | changed).items()}

    def _batch(self, rng: np.random.Generator) -> _Batch:
        """Some frames one after another, all of them or a part of each.

        They start a GOP, or follow a frame as the last trial decoded it.
        """
        first = int(rng.integers(max(1, len(self._video) - self._frames + 1)))
        before: Planes | None = None
        if first % self._gop:
            if first - 1 not in self._decoded:
                first = int(rng.choice(self._inside()))
            before = self._decoded[first - 1]
        gop_end = (first // self._gop + 1) * self._gop
        run = self._video[first : min(first + self._frames, gop_end)]
        height, width = run[0][0].shape
        rows, columns = min(height, CROP), min(width, CROP)
        top = 2 * int(rng.integers((height - rows) // 2 + 1))
        left = 2 * int(rng.integers((width - columns) // 2 + 1))

        def part(planes: Planes) -> tuple[Tensor, Tensor]:
            y, u, v = planes
            half = slice(top // 2, (top + rows) // 2), slice(left // 2, (left + columns) // 2)
            luma = np.ascontiguousarray(y[top : top + rows, left : left + columns])
            return torch.from_numpy(luma)[None], torch.from_numpy(np.stack([u[half], v[half]]))

        luma, chroma = zip(*(part(planes) for planes in run), strict=True)
        reference = None
        if before is not None:
            y, c = part(before)
            reference = y[None], c[None]
        return _Batch(torch.stack(luma)[None], torch.stack(chroma)[None], reference)

    def _inside(self) -> list[int]:
        """Places behind decoded frames, within GOPs; 1 is there where a GOP has several frames."""
        last = len(self._video) - self._frames
        return [n + 1 for n in self._decoded if (n + 1) % self._gop and n < max(last, 1)]

    @torch.no_grad()
    def _trial(self, step: int) -> Adapted | None:
        """What the state of now costs; None where its sums can't be proved exact."""
        state = {name: self._average[name].clone() for name in self._own}
        updates = b""
        if self._decoder:
            whole = {name: _ROUND.nearest(self._average[name]) for name in self._updates}
            if any(bool(u.any()) for u in whole.values()):
                updates = write(whole, self._grids)
        try:
            cost, self._decoded = self._evaluate(state, updates)
        except InexactError:
            return None
        return Adapted(state, updates, cost, step)
