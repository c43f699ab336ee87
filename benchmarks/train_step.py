"""One training iteration of Cool-chic: the native step beside its PyTorch twin.

    python benchmarks/train_step.py [--threads N] [--sizes 352x288 832x480] [--isa avx2]
    python benchmarks/train_step.py --cuda [--together 1 8]    # frames side by side on a GPU

Both sides run the same iteration (soft rounding with noise, rate, decoding, loss, all
gradients, Adam for latents and networks) in one process, one after the other; a time is
the best of several. The floor is the step's multiply-adds over the machine's peak: three
products per layer (forward, input gradient, weight gradient), the peak by a loop of
multiply-adds in registers, times the number of threads. Times on a GPU are per step and frame.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from vireo.codecs.coolchic.config import PAPER, Architecture, FrameType
from vireo.codecs.coolchic.torch_trainer import MOST_STEPS, StepBatcher, TorchTrainer
from vireo.codecs.coolchic.trainer import Trainer, available_kernels, measure_peak, schedule

LAMBDA = 0.01
TEMPERATURE = 0.3
RATE = 1e-3
STEPS_PER_CALL = 5

Planes = list[NDArray[np.uint8]]


def picture(rng: np.random.Generator, height: int, width: int) -> Planes:
    """A smooth picture with some noise, so that motion samples nearby memory."""

    def plane(h: int, w: int) -> NDArray[np.uint8]:
        y, x = np.mgrid[:h, :w]
        waves = 128 + 60 * np.sin(x / 17 + y / 29) + 40 * np.cos(x / 41 - y / 11)
        return np.clip(waves + rng.normal(0, 4, (h, w)), 0, 255).astype(np.uint8)

    return [plane(height, width), *(plane(height // 2, width // 2) for _ in range(2))]


def start(
    rng: np.random.Generator, architecture: Architecture, frame_type: FrameType, h: int, w: int
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Latents, and parameters in order; flows start near zero, as in training."""
    latents = [rng.normal(0, 1, s).astype(np.float32) for s in architecture.grid_sizes(h, w)]
    parameters: list[NDArray[np.float64]] = []

    def layers(widths: tuple[int, ...], last_gain: float) -> None:
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            gain = last_gain if i + 2 == len(widths) else 1.0
            parameters.append(rng.normal(0, gain / inputs**0.5, outputs * inputs))
            parameters.append(np.zeros(outputs))

    layers(architecture.arm_widths(), 1.0)
    side = architecture.upsampling_kernel
    parameters.append(np.full(side**2, 4 / side**2))
    layers(architecture.synthesis_widths(frame_type), 0.1)
    return latents, np.concatenate(parameters).astype(np.float32)


def best_time(step: Callable[[], object], seconds: float) -> float:
    """The shortest of as many runs as fit, two at least, after one to warm up."""
    step()
    best, runs, end = float("inf"), 0, time.perf_counter() + seconds
    while runs < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - start)
        runs += 1
    return best


def multiply_adds(architecture: Architecture, frame_type: FrameType, h: int, w: int) -> float:
    """Of one iteration: three products for each one of the decoder's."""
    per_pixel = architecture.multiplications(frame_type, h, w)
    return 3 * h * w * (per_pixel["arm"] + per_pixel["upsampling"] + per_pixel["synthesis"])


@dataclass(frozen=True)
class Frame:
    """A frame of profile `paper` at the start of its training, made from code."""

    frame_type: FrameType
    width: int
    height: int

    def trainer(self, make: Callable[..., Trainer | TorchTrainer]) -> Trainer | TorchTrainer:
        rng = np.random.default_rng(0)
        target = picture(rng, self.height, self.width)
        references = [picture(rng, self.height, self.width) for _ in range(self.frame_type)]
        trainer = make(PAPER, self.frame_type, target, references)
        trainer.latents, trainer.parameters = start(
            rng, PAPER, self.frame_type, self.height, self.width
        )
        return trainer

    def floor(self, peak: float) -> float:
        """Seconds of a step at so many multiply-adds a second."""
        return multiply_adds(PAPER, self.frame_type, self.height, self.width) / peak

    def __str__(self) -> str:
        return f"{self.width}x{self.height}  {self.frame_type.name}"


def steps(count: int) -> NDArray[np.float32]:
    return schedule(
        count,
        lambda_=LAMBDA,
        latents_rate=RATE,
        networks_rate=RATE,
        temperature=TEMPERATURE,
    )


def compare(frame: Frame, threads: int, isa: str, peak: float) -> None:
    """One frame on the processor: native, and the twin."""
    trainer = frame.trainer(partial(Trainer, threads=threads, isa=isa))
    rows = steps(STEPS_PER_CALL)
    native = best_time(lambda: trainer.run(rows), 1.5) / STEPS_PER_CALL
    twin = frame.trainer(TorchTrainer)
    eager = best_time(lambda: twin.run(rows), 3.0) / STEPS_PER_CALL
    floor = frame.floor(peak * threads)
    print(
        f"{frame}  {native * 1e3:8.2f}  {eager * 1e3:8.1f}"
        f"  {eager / native:6.1f}  {floor * 1e3:6.2f}  {floor / native:6.0%}"
        f"  {native * 1e9 / (frame.width * frame.height):7.1f}",
        end="  ",
    )
    stages = trainer.stage_seconds()
    total = sum(stages.values())
    print("  ".join(f"{name} {seconds / total:.0%}" for name, seconds in stages.items()))


def on_cuda(frame: Frame, frames: int, native: float) -> None:
    """Frames together on a GPU, kernel by kernel and as graphs; `native` is a processor's time."""
    times = []
    for graphs in (False, True):
        batcher = StepBatcher(torch.device("cuda"), frames, graphs=graphs)
        twins = [frame.trainer(partial(TorchTrainer, batcher=batcher)) for _ in range(frames)]
        rows = steps(MOST_STEPS)
        with ThreadPoolExecutor(frames) as pool:
            seconds = best_time(lambda: list(pool.map(lambda t: t.run(rows), twins)), 1.0)  # noqa: B023
        times.append(seconds / MOST_STEPS / frames)
    eager, graph = times
    memory = torch.cuda.max_memory_allocated() / frames / (frame.width * frame.height)
    torch.cuda.reset_peak_memory_stats()
    print(
        f"{frame}  {frames:6d}  {eager * 1e3:8.2f}  {graph * 1e3:8.3f}  {eager / graph:6.1f}"
        f"  {native * 1e3:10.2f}  {native / graph:6.1f}  {memory:10.0f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Native training step against PyTorch's.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", nargs="+", default=["352x288", "832x480"])
    parser.add_argument("--types", default="IB", help="frame types, such as IPB")
    parser.add_argument("--isa", default="", choices=["", *available_kernels()])
    parser.add_argument("--cuda", action="store_true", help="frames together on a GPU, instead")
    parser.add_argument("--together", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peak = measure_peak(options.isa)
    print(
        f"{options.threads} threads, kernels {options.isa or available_kernels()[0]}, "
        f"peak {peak / 1e9:.1f} G multiply-adds a second and thread"
    )
    frames = [
        Frame(FrameType[letter], *map(int, size.split("x")))
        for size in options.sizes
        for letter in options.types
    ]
    if not options.cuda:
        print("size     type  native ms   twin ms  ratio  floor ms  reached  ns/pixel  stages")
        for frame in frames:
            compare(frame, options.threads, options.isa, peak)
        return
    print("size     type  frames  eager ms  graph ms  ratio  processor ms  ratio  bytes/pixel")
    for frame in frames:
        trainer = frame.trainer(partial(Trainer, threads=options.threads, isa=options.isa))
        rows = steps(STEPS_PER_CALL)
        native = best_time(partial(trainer.run, rows), 1.5) / STEPS_PER_CALL
        for together in options.together:
            on_cuda(frame, together, native)


if __name__ == "__main__":
    main()
