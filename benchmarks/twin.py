"""Whole encodes by the native training and by its PyTorch twin: bits, quality, time.

    python benchmarks/twin.py CLIP... [--frames 5] [--preset faster] [--threads 2]
    python benchmarks/twin.py CLIP... --crop 96x96 --seeds 20 --jobs 12    # which is better?

Both sides make the same steps from the same starts with other noise. What that is worth is luck,
and so is what a training makes of differences in rounding: seeds differ by several per cent. The
tables give each point's size and PSNR, the BD-rate of the native side against the twin, and the
ratio of their times; with several seeds the mean BD-rate and how far it is sure (its standard
error). Times mean something only with one job at a time.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from unittest.mock import patch

import torch

import vireo
from vireo.codecs.coolchic import open as opener
from vireo.codecs.coolchic.torch_trainer import StepBatcher
from vireo.metrics import Curve, bd_rate
from vireo.video import Frame, open_sink, open_source

QUALITIES = (20, 40, 60, 80)
SIDES = ("twin", "native")


@dataclass(frozen=True)
class Task:
    """A clip's curves with one seed."""

    clip: Path
    seed: int


@dataclass(frozen=True)
class Outcome:
    lines: list[str]
    bd_rate: float | None
    refusal: str | None
    ratio: float


def cropped(clip: Path, crop: tuple[int, int], frames: int, folder: Path) -> Path:
    """The middle of the first frames, as Y4M."""
    width, height = (size // 4 * 4 for size in crop)
    path = folder / "in.y4m"
    with open_source(clip, frames=frames) as source:
        format = replace(source.format, width=width, height=height)
        left, top = (source.format.width - width) // 4, (source.format.height - height) // 4
        chroma = slice(top, top + height // 2), slice(left, left + width // 2)
        luma = slice(2 * top, 2 * top + height), slice(2 * left, 2 * left + width)
        with open_sink(path, format) as sink:
            for frame in source:
                sink.write(Frame(frame.y[luma], frame.u[chroma], frame.v[chroma], frame.pts))
    return path


def compare(arguments: argparse.Namespace, task: Task) -> Outcome:
    curves, seconds, lines = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = task.clip
        if arguments.crop:
            source = cropped(task.clip, arguments.crop, arguments.frames, folder)
        for side in SIDES:
            reports = []
            for quality in arguments.qualities:
                encode = partial(
                    vireo.encode,
                    source,
                    folder / "out.mkv",
                    overwrite=True,
                    profile="paper",
                    quality=quality,
                    preset=arguments.preset,
                    frames=arguments.frames,
                    gop_size=arguments.gop_size,
                    seed=task.seed,
                )
                if side == "twin":  # one frame at a time: PyTorch has the threads
                    r = encode(threads=1, device="cuda")
                else:
                    r = encode(threads=arguments.threads)
                reports.append(r)
                lines.append(
                    f"{task.clip.stem} {side} q {quality}: {r.video_size} bytes, "
                    f"{r.psnr:.3f} dB, {r.seconds:.1f} s"
                )
            rates = tuple(float(r.video_size) for r in reports)
            curves.append(Curve(rates, tuple(r.psnr for r in reports)))
            seconds.append(sum(r.seconds for r in reports))
    result = bd_rate(*curves)
    return Outcome(lines, result.value, result.refusal, seconds[0] / seconds[1])


def size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--gop-size", type=int, default=4)
    parser.add_argument("--crop", type=size, help="take the middle of each picture, as 96x96")
    parser.add_argument("--preset", default="faster")
    parser.add_argument("--threads", type=int, default=2, help="of each job")
    parser.add_argument("--qualities", type=int, nargs="+", default=QUALITIES)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="of the twin")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tasks = [Task(clip, seed) for seed in range(arguments.seeds) for clip in arguments.clips]
    values = []
    batcher = None
    if arguments.device == "cuda":
        batcher = StepBatcher(torch.device("cuda"), arguments.jobs)
    twins = opener.torch_trainers(batcher)
    with (
        patch.object(opener, "_cuda_trainers", lambda: twins),
        ThreadPoolExecutor(arguments.jobs) as pool,
    ):
        results = pool.map(partial(compare, arguments), tasks)
        for task, outcome in zip(tasks, results, strict=True):
            print(*outcome.lines, sep="\n")
            value = outcome.refusal if outcome.bd_rate is None else f"{outcome.bd_rate:+.2f} %"
            print(
                f"{task.clip.stem}, seed {task.seed}: BD-rate {value}, "
                f"{outcome.ratio:.1f} times faster",
                flush=True,
            )
            if outcome.bd_rate is not None:
                values.append(outcome.bd_rate)
    if len(values) > 1:
        error = stdev(values) / len(values) ** 0.5
        print(f"mean BD-rate {fmean(values):+.2f} ± {error:.2f} % ({len(values)} curves)")


if __name__ == "__main__":
    main()
