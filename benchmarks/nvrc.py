"""NVRC's parts, taken away one by one, and its cost over time.

    python benchmarks/nvrc.py ablation CLIP …      # variants of table 3, and histograms
    python benchmarks/nvrc.py curve CLIP …         # longer and longer trainings
    python benchmarks/nvrc.py speed                # steps, pictures, parameters

On a GPU with `--device cuda`; there `speed --model s1` can be had, too, with `--size 1920x1080`.
`ablation` trains each variant of the paper's table 3 at each λ, and what HiNeRV does: no rate in
the loss, then one step for each tensor and a histogram coder. All rates are bytes of real sections.
Each line of standard output is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vireo import _core
from vireo.codecs.base import Planes
from vireo.codecs.encoding import pad_to_even
from vireo.codecs.graphs import ALONE
from vireo.codecs.nvrc import coding
from vireo.codecs.nvrc.coding import Coded
from vireo.codecs.nvrc.config import CONFIGS, parameters
from vireo.codecs.nvrc.layout import Method
from vireo.codecs.nvrc.network import Network
from vireo.codecs.nvrc.presets import PRESETS, RECIPES, Recipe
from vireo.codecs.nvrc.quantise import hard
from vireo.codecs.nvrc.training import Job, Trainer
from vireo.entropy.tables import FREQUENCY_BITS
from vireo.metrics import Curve, bd_rate, plane_mse, psnr, weighted_mse
from vireo.video.reader import open_source

LAMBDAS = 3e-3, 1e-3, 3e-4


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
    named = {name: vector[p.range].reshape(p.shape) for name, p in layout.layers.items()}
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
    tensors = dict(zip(named, found, strict=False))
    network = Network(layout.config, layout.extent, found[len(named) :], tensors, 0)
    return size, network


def trained(
    args: argparse.Namespace, frames: list[Planes], variant: Variant, lambda_: float
) -> Trainer:
    preset = RECIPES_PRESET.of(args.epochs)
    config = CONFIGS[args.model]
    job = Job(config, variant.method, frames, lambda_, preset, variant.recipe)
    trainer = Trainer(job, torch.device(args.device))
    trainer.train()
    return trainer


def ablation(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows of each variant at each lambda, then BD-rates against all of the method."""
    method, recipe = Method.of(CONFIGS[args.model]), RECIPES[args.recipe]
    paper = {name: v.paper for name, v in variants(method, recipe).items()}
    for clip in args.clips:
        frames = read(clip, args.frames)
        curves: dict[str, list[tuple[float, float]]] = {}
        for name, variant in variants(method, recipe).items():
            for lambda_ in args.lambdas:
                trainer = trained(args, frames, variant, lambda_)
                row = measured(trainer, trainer.coded())
                yield {"clip": clip.stem, "variant": name, "lambda": lambda_, **row}
                curves.setdefault(name, []).append((row["bytes"], row["psnr"]))
        plain = trained(args, frames, variants(method, recipe)["full"], 1e-7)
        for bits in (3, 4, 5, 6, 8):
            size, network = histogram_coded(plain, bits)
            row = {"bytes": size, "psnr": quality(frames, network)}
            yield {"clip": clip.stem, "variant": "histograms", "bits": bits, **row}
            curves.setdefault("histograms", []).append((size, row["psnr"]))
        for name, points in curves.items():
            found = bd_rate(as_curve(curves["full"]), as_curve(points))
            row = {"clip": clip.stem, "against full": name, "bd_rate": found.value}
            yield {**row, "paper": paper.get(name), "refusal": found.refusal}


def as_curve(points: Sequence[tuple[float, float]]) -> Curve:
    rates, qualities = zip(*sorted(points), strict=True)
    return Curve(rates, qualities)


def curve(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Trainings of one network at one lambda, each twice as long as the one before."""
    variant = Variant(Method.of(CONFIGS[args.model]), RECIPES[args.recipe], None)
    for clip in args.clips:
        frames = read(clip, args.frames)
        epochs = args.epochs
        for lambda_ in args.lambdas:
            for doubled in range(args.doublings + 1):
                args.epochs = epochs * 2**doubled
                began = time.perf_counter()
                trainer = trained(args, frames, variant, lambda_)
                seconds = round(trainer.now() - began, 1)
                row = {"epochs": args.epochs, "seconds": seconds, "lambda": lambda_}
                yield {"clip": clip.stem, **row, **measured(trainer, trainer.coded())}
            args.epochs = epochs


def speed(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Steps and pictures a second, and how long numbers take to be coded."""
    width, height = map(int, args.size.split("x"))
    random = np.random.default_rng(1)
    y = random.integers(0, 256, (height, width), np.uint8)
    c = random.integers(0, 256, (height // 2, width // 2), np.uint8)
    for name in args.model.split(","):
        config = CONFIGS[name]
        job = Job(config, Method.of(config), args.frames * [(y, c, c)], 1e-3, RECIPES_PRESET)
        trainer = Trainer(job, torch.device(args.device))
        row = {
            "model": name,
            "size": args.size,
            "frames": args.frames,
            "threads": torch.get_num_threads(),
            "parameters": parameters(config, job.extent),
            "steps a second": round(steps_a_second(trainer, args.warm, args.steps), 2),
        }
        yield {**row, **pictures_a_second(trainer, (height, width)), **parsing(trainer)}


def steps_a_second(trainer: Trainer, warm: int, steps: int) -> float:
    """Behind those that warm up."""
    for _ in range(warm):
        trainer.one()
    began = trainer.now()
    for _ in range(steps):
        trainer.one()
    return steps / (trainer.now() - began)


def pictures_a_second(trainer: Trainer, size: tuple[int, int]) -> dict[str, Any]:
    """Of the network as it is trained."""
    with torch.no_grad():
        sample = trainer.numbers.rounded(hard)
        network = Network(
            trainer.job.config, trainer.job.extent, sample.grid_values(), sample.tensors(), 0
        )
    network.picture(0, size)
    began = time.perf_counter()
    for index in range(5):
        network.picture(index, size)
    return {"pictures a second": round(5 / (time.perf_counter() - began), 2)}


def parsing(trainer: Trainer) -> dict[str, Any]:
    """How long a segment's numbers take to be had from its sections."""
    sections = [s.data for s in coding.encode(trainer.layout, trainer.coded())]
    began = time.perf_counter()
    coding.decode(trainer.layout, *sections)
    seconds = round(time.perf_counter() - began, 3)
    return {"seconds to decode the parameters": seconds}


RECIPES_PRESET = PRESETS["medium"]
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
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for row in _WAYS[args.what](args):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
