"""NVRC's parts, taken away one by one, and its cost over time.

    python benchmarks/nvrc.py ablation CLIP …      # variants of table 3, and histograms
    python benchmarks/nvrc.py curve CLIP …         # longer and longer trainings
    python benchmarks/nvrc.py speed                # steps, pictures, parameters

On a GPU with `--device cuda --jobs 12`; there `speed --model s1 --size 1920x1080` can be had, too.
`ablation` trains each variant of the paper's table 3 at each λ, and what HiNeRV does: no rate in
the loss, then one step for each tensor and a histogram coder. All rates are bytes of real sections.
Each line of standard output is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import torch

from vireo import _core, _train
from vireo.codecs.base import Planes
from vireo.codecs.encoding import pad_to_even
from vireo.codecs.graphs import ALONE
from vireo.codecs.nvrc import coding
from vireo.codecs.nvrc.coding import Coded
from vireo.codecs.nvrc.config import CONFIGS, multiplications, parameters
from vireo.codecs.nvrc.layout import Method
from vireo.codecs.nvrc.network import Network
from vireo.codecs.nvrc.presets import PRESETS, RECIPES, Recipe
from vireo.codecs.nvrc.quantise import hard
from vireo.codecs.nvrc.training import Job, Trainer
from vireo.entropy.tables import FREQUENCY_BITS
from vireo.metrics import Curve, bd_rate, plane_mse, psnr, weighted_mse
from vireo.video.reader import open_source

LAMBDAS = 3e-3, 1e-3, 3e-4
NO_RATE = 1e-7
HISTOGRAMS = "histograms"  # what has no rate in the loss


@dataclass(frozen=True)
class Variant:
    """A way to code parameters."""

    method: Method
    recipe: Recipe
    paper: float | None  # BD-rate in PSNR, table 3


def variants(method: Method, recipe: Recipe) -> dict[str, Variant]:
    """Those of table 3."""
    per_tensor = 1 << 20
    return {
        "full": Variant(method, recipe, 0.0),
        "V1, layers per tensor": Variant(replace(method, axis=per_tensor), recipe, 12.85),
        "V2, grids per tensor": Variant(replace(method, contexts=False), recipe, 9.79),
        "V3, both": Variant(replace(method, axis=per_tensor, contexts=False), recipe, 21.84),
        "V4, side information in halves": Variant(replace(method, coded=False), recipe, 22.12),
        "V5, grids' steps fixed": Variant(method, replace(recipe, grid_steps=False), 1.05),
    }


def read(clip: Path, frames: int) -> list[Planes]:
    with open_source(clip, frames=frames) as video:
        return [pad_to_even(frame) for frame in video]


def measured(trainer: Trainer, coded: Coded) -> dict[str, Any]:
    """Bytes of the sections, and PSNR of the pictures, as a decoder has them."""
    sections = coding.encode(trainer.layout, coded)
    decoded = coding.decode(trainer.layout, *(s.data for s in sections))
    with ALONE, torch.no_grad():
        network = Network.of(trainer.layout, decoded, trainer.numbers.layers.device)
        bits = float(trainer.numbers.bits(hard).total)
        reached = quality(trainer.job.frames, network)
    sizes = {
        name: len(s.data) for name, s in zip(("side", "layers", "grids"), sections, strict=True)
    }
    total = sum(sizes.values())
    return {
        **sizes,
        "bytes": total,
        "against the loss": round(8 * total / bits, 4),
        "psnr": reached,
    }


def quality(frames: Sequence[Planes], network: Network) -> float:
    """PSNR of all frames' mean error, as `vireo encode` says it."""
    errors = []
    for index, planes in enumerate(frames):
        made = network.picture(index, (planes[0].shape[0], planes[0].shape[1]))
        errors.append([plane_mse(a, b) for a, b in zip(made, planes, strict=True)])
    y, u, v = np.mean(errors, 0).tolist()
    return round(psnr(weighted_mse((y, u, v))), 3)


def histogram_coded(trainer: Trainer, bits: int) -> tuple[int, Network]:
    """Bytes of all numbers with one step for each tensor, under each tensor's own frequencies."""
    layout = trainer.layout
    vector = trainer.numbers.layers.detach().cpu().numpy()
    named = layout.tensors(vector)
    grids = [grid.detach().cpu().numpy() for grid in trainer.numbers.grids]
    size, found = 0, []
    for own in (*named.values(), *grids):
        most = (1 << (bits - 1)) - 1
        step = max(float(abs(own).max()) / most, 1e-9)
        numbers = np.rint(own.ravel() / step).astype(np.int16)
        counts = np.bincount(numbers - numbers.min())
        rest = (1 << FREQUENCY_BITS) - len(counts) - 1
        below = np.append(0, counts.cumsum()) * rest // numbers.size
        bounds = (np.arange(len(counts) + 1) + below).tolist()
        table = _core.SymbolTables([(int(numbers.min()), bounds)])
        data = table.encode(numbers, np.zeros(numbers.size, np.uint8))
        size += len(data) + 2 * len(counts) + 4  # the frequencies, and the step
        values = torch.from_numpy((numbers * step).reshape(own.shape).astype(np.float32))
        found.append(values.to(trainer.numbers.layers.device))
    vector = torch.cat([own.flatten() for own in found[: len(named)]])
    return size, Network(layout, found[len(named) :], vector, 0)


@dataclass(frozen=True)
class Training:
    """One to be measured."""

    clip: Path
    name: str
    variant: Variant
    lambda_: float
    epochs: float

    def rows(self, args: argparse.Namespace) -> list[dict[str, Any]]:
        """What it gives: bytes and PSNR; without a rate, for histograms of several sizes."""
        config = CONFIGS[args.model]
        frames = read(self.clip, args.frames)
        preset = PRESETS["medium"].of(self.epochs)
        job = Job(config, self.variant.method, frames, self.lambda_, preset, self.variant.recipe)
        trainer = Trainer(job, torch.device(args.device))
        began = trainer.now()
        trainer.train()
        seconds = round(trainer.now() - began, 1)
        about = {
            "clip": self.clip.stem,
            "variant": self.name,
            "lambda": self.lambda_,
            "epochs": self.epochs,
            "steps": trainer.steps,
            "seconds": seconds,
        }
        if self.name != HISTOGRAMS:
            return [{**about, **measured(trainer, trainer.coded())}]
        found = []
        for bits in (3, 4, 5, 6, 8):
            with ALONE:
                size, network = histogram_coded(trainer, bits)
                reached = quality(frames, network)
            found.append({**about, "bits": bits, "bytes": size, "psnr": reached})
        return found


def side_by_side(
    args: argparse.Namespace, trainings: Sequence[Training]
) -> Iterator[dict[str, Any]]:
    """Rows of all, in order, of several at a time."""
    own = local()

    def rows(training: Training) -> list[dict[str, Any]]:
        if args.device == "cpu":
            return training.rows(args)
        if not hasattr(own, "stream"):
            own.stream = torch.cuda.Stream()
        with torch.cuda.stream(own.stream):
            return training.rows(args)

    with ThreadPoolExecutor(args.jobs) as pool:
        for found in pool.map(rows, trainings):
            yield from found


def ablation(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows of each variant at each lambda, then BD-rates against all of the method."""
    known = variants(Method.of(CONFIGS[args.model]), RECIPES[args.recipe])
    trainings = []
    for clip in args.clips:
        for name, variant in known.items():
            trainings += [
                Training(clip, name, variant, lambda_, args.epochs) for lambda_ in args.lambdas
            ]
        trainings.append(Training(clip, HISTOGRAMS, known["full"], NO_RATE, args.epochs))
    curves: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in side_by_side(args, trainings):
        yield row
        curves[row["clip"], row["variant"]].append((row["bytes"], row["psnr"]))
    for (clip, name), points in curves.items():
        found = bd_rate(as_curve(curves[clip, "full"]), as_curve(points))
        paper = known[name].paper if name in known else None
        row = {"clip": clip, "against full": name, "bd_rate": found.value}
        yield {**row, "paper": paper, "refusal": found.refusal}


def as_curve(points: Sequence[tuple[float, float]]) -> Curve:
    rates, qualities = zip(*sorted(points), strict=True)
    return Curve(rates, qualities)


def curve(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Trainings of one network, each twice as long as the one before."""
    full = variants(Method.of(CONFIGS[args.model]), RECIPES[args.recipe])["full"]
    yield from side_by_side(
        args,
        [
            Training(clip, "full", full, lambda_, args.epochs * 2**doubled)
            for clip in args.clips
            for lambda_ in args.lambdas
            for doubled in range(args.doublings + 1)
        ],
    )


def speed(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Steps and pictures a second, and how long numbers take to be coded.

    On a processor beside what PyTorch alone takes, and what the multiplications would: a step has
    those of a picture three times. `most …` is what measured peak speed would allow.
    """
    width, height = map(int, args.size.split("x"))
    random = np.random.default_rng(1)
    y = random.integers(0, 256, (height, width), np.uint8)
    c = random.integers(0, 256, (height // 2, width // 2), np.uint8)
    for name in args.model.split(","):
        config = CONFIGS[name]
        job = Job(config, Method.of(config), args.frames * [(y, c, c)], 1e-3, PRESETS["medium"])
        device, size = torch.device(args.device), (height, width)
        trainer = Trainer(job, device)
        row = {
            "model": name,
            "size": args.size,
            "frames": args.frames,
            "threads": torch.get_num_threads(),
            "parameters": parameters(config, job.extent),
            "steps a second": steps_a_second(trainer, args.warm, args.steps),
            "pictures a second": pictures_a_second(trainer, size),
        }
        if args.device == "cpu":
            twin = Trainer(job, device, native=False)
            row["PyTorch's steps"] = steps_a_second(twin, args.warm, args.steps)
            row["PyTorch's pictures"] = pictures_a_second(twin, size, native=False)
            peak = _train.measure_peak() * torch.get_num_threads()
            row["most pictures"] = round(peak / multiplications(config, job.extent), 1)
            row["most steps"] = round(peak / (3 * multiplications(config, job.extent)), 1)
        yield {**row, **parsing(trainer)}


def steps_a_second(trainer: Trainer, warm: int, steps: int) -> float:
    """Behind those that warm up."""
    for _ in range(warm):
        trainer.one()
    began = trainer.now()
    for _ in range(steps):
        trainer.one()
    return round(steps / (trainer.now() - began), 2)


def pictures_a_second(trainer: Trainer, size: tuple[int, int], *, native: bool = True) -> float:
    """Of the network as it is trained."""
    with torch.no_grad():
        sample = trainer.numbers.rounded(hard)
        network = Network(
            trainer.layout, sample.grid_values(), sample.layers.values, 0, native=native
        )
    network.picture(0, size)
    began = time.perf_counter()
    for index in range(5):
        network.picture(index, size)
    return round(5 / (time.perf_counter() - began), 2)


def parsing(trainer: Trainer) -> dict[str, Any]:
    """How long a segment's numbers take to be had from its sections."""
    sections = [s.data for s in coding.encode(trainer.layout, trainer.coded())]
    began = time.perf_counter()
    coding.decode(trainer.layout, *sections)
    seconds = round(time.perf_counter() - began, 3)
    return {"seconds to decode the parameters": seconds}


_WAYS = {"ablation": ablation, "curve": curve, "speed": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=_WAYS)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--model", default="xxs", help="several for speeds: xxs,xs")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--size", default="352x288", help="of pictures, for speeds")
    parser.add_argument("--warm", type=int, default=9, help="steps before those that are timed")
    parser.add_argument("--steps", type=int, default=18, help="that are timed")
    parser.add_argument("--recipe", default="standard", choices=RECIPES)
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--epochs", type=float, default=60)
    parser.add_argument("--lambdas", type=float, nargs="+", default=LAMBDAS)
    parser.add_argument("--doublings", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, on a GPU 8 to 12")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for row in _WAYS[args.what](args):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
