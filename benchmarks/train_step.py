"""One training iteration of Cool-chic: the native step beside its PyTorch twin.

    python benchmarks/train_step.py [--threads N] [--sizes 352x288 832x480] [--isa avx2]

Both sides run the same iteration (soft rounding with noise, rate, decoding, loss, all
gradients, Adam for latents and networks) in one process, one after the other; a time is
the best of several. The floor is the step's multiply-adds over the machine's peak: three
products per layer (forward, input gradient, weight gradient), the peak by a loop of
multiply-adds in registers, times the number of threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from vireo.codecs.coolchic import model
from vireo.codecs.coolchic.config import PAPER, Architecture, FrameType
from vireo.codecs.coolchic.trainer import Trainer, available_kernels, measure_peak, schedule
from vireo.nn.rounding import noisy_quantise

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


def initial(
    rng: np.random.Generator, architecture: Architecture, frame_type: FrameType, h: int, w: int
) -> tuple[list[NDArray[np.float32]], list[torch.Tensor]]:
    """Latents, and the networks' tensors in order; flows start near zero, as in training."""
    latents = [rng.normal(0, 1, s).astype(np.float32) for s in architecture.grid_sizes(h, w)]
    tensors: list[torch.Tensor] = []

    def layers(widths: tuple[int, ...], last_gain: float) -> None:
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            gain = last_gain if i + 2 == len(widths) else 1.0
            weight = rng.normal(0, gain / inputs**0.5, (outputs, inputs))
            tensors.append(torch.from_numpy(weight.astype(np.float32)))
            tensors.append(torch.zeros(outputs))

    layers(architecture.arm_widths(), 1.0)
    side = architecture.upsampling_kernel
    tensors.append(torch.full((side, side), 4 / side**2))
    layers(architecture.synthesis_widths(frame_type), 0.1)
    return latents, tensors


def twin_step(
    architecture: Architecture,
    frame_type: FrameType,
    target: Planes,
    references: list[Planes],
    latents: list[NDArray[np.float32]],
    tensors: list[torch.Tensor],
) -> Callable[[], None]:
    """The same iteration in eager PyTorch."""
    ys = [torch.nn.Parameter(torch.from_numpy(x.copy())) for x in latents]
    ts = [torch.nn.Parameter(t.clone()) for t in tensors]
    arm = 2 * (len(architecture.arm_hidden) + 1)
    networks = model.Networks(
        [(ts[i], ts[i + 1]) for i in range(0, arm, 2)],
        ts[arm],
        [(ts[i], ts[i + 1]) for i in range(arm + 1, len(ts), 2)],
    )
    wanted = [torch.from_numpy(p).float() / 255 for p in target]
    known = [[torch.from_numpy(p).float() / 255 for p in r] for r in references]
    optimiser = torch.optim.Adam([*ys, *ts], lr=RATE)
    pixels = wanted[0].numel()

    def step() -> None:
        optimiser.zero_grad()
        quantised = [noisy_quantise(y, TEMPERATURE, torch.rand(y.shape) - 0.5) for y in ys]
        planes, _ = model.decode(quantised, networks, frame_type, known)
        bits = model.rate(quantised, networks, architecture)
        loss = model.distortion(planes, wanted) + LAMBDA * bits / pixels
        loss.backward()
        optimiser.step()

    return step


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


def compare(
    frame_type: FrameType, width: int, height: int, threads: int, isa: str, peak: float
) -> None:
    rng = np.random.default_rng(0)
    target = picture(rng, height, width)
    references = [picture(rng, height, width) for _ in range(frame_type)]
    latents, tensors = initial(rng, PAPER, frame_type, height, width)
    trainer = Trainer(PAPER, frame_type, target, references, threads=threads, isa=isa)
    trainer.latents = latents
    trainer.parameters = torch.cat([t.reshape(-1) for t in tensors]).numpy()
    steps = schedule(
        STEPS_PER_CALL,
        lambda_=LAMBDA,
        latents_rate=RATE,
        networks_rate=RATE,
        temperature=TEMPERATURE,
    )
    native = best_time(lambda: trainer.run(steps), 1.5) / STEPS_PER_CALL
    eager = best_time(twin_step(PAPER, frame_type, target, references, latents, tensors), 3.0)
    floor = multiply_adds(PAPER, frame_type, height, width) / (peak * threads)
    print(
        f"{width}x{height}  {frame_type.name}  {native * 1e3:8.2f}  {eager * 1e3:8.1f}"
        f"  {eager / native:6.1f}  {floor * 1e3:6.2f}  {floor / native:6.0%}"
        f"  {native * 1e9 / (width * height):7.1f}",
        end="  ",
    )
    stages = trainer.stage_seconds()
    total = sum(stages.values())
    print("  ".join(f"{name} {seconds / total:.0%}" for name, seconds in stages.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description="Native training step against PyTorch's.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", nargs="+", default=["352x288", "832x480"])
    parser.add_argument("--types", default="IB", help="frame types, such as IPB")
    parser.add_argument("--isa", default="", choices=["", *available_kernels()])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peak = measure_peak(options.isa)
    print(
        f"{options.threads} threads, kernels {options.isa or available_kernels()[0]}, "
        f"peak {peak / 1e9:.1f} G multiply-adds a second and thread\n"
        "size     type  native ms   twin ms  ratio  floor ms  reached  ns/pixel  stages"
    )
    for size in options.sizes:
        width, height = map(int, size.split("x"))
        for letter in options.types:
            compare(FrameType[letter], width, height, options.threads, options.isa, peak)


if __name__ == "__main__":
    main()
