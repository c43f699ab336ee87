"""How training grows with the picture: time per pixel and step, and peak memory.

    python benchmarks/scaling.py [--threads N] [--sizes 176x144 1920x1080]

Time is that of a B frame's training step, the best of several, with the arithmetic's floor
beside it (as in train_step.py). Memory is the peak of a process that trains one B frame for
a few steps, quantises and codes it, less that of the same for a frame of 16x16.
"""

from __future__ import annotations

import argparse
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from train_step import LAMBDA, RATE, STEPS_PER_CALL, TEMPERATURE, initial, multiply_adds, picture

from vireo.codecs.coolchic.config import PAPER, FrameType
from vireo.codecs.coolchic.encoder import CoolchicEncoder, Settings
from vireo.codecs.coolchic.presets import Preset
from vireo.codecs.coolchic.stream import StreamShape
from vireo.codecs.coolchic.trainer import Trainer, measure_peak, schedule
from vireo.codecs.encoding import PictureJob

SIZES = ["176x144", "352x288", "832x480", "1280x720", "1920x1080"]


def step_seconds(height: int, width: int, threads: int) -> float:
    """The fastest of some training steps of a B frame."""
    rng = np.random.default_rng(0)
    target, *references = (picture(rng, height, width) for _ in range(3))
    latents, tensors = initial(rng, PAPER, FrameType.B, height, width)
    trainer = Trainer(PAPER, FrameType.B, target, references, threads=threads)
    trainer.latents = latents
    trainer.parameters = np.concatenate([t.numpy().ravel() for t in tensors])
    steps = schedule(
        STEPS_PER_CALL,
        lambda_=LAMBDA,
        latents_rate=RATE,
        networks_rate=RATE,
        temperature=TEMPERATURE,
    )
    trainer.run(steps)
    best = float("inf")
    until = time.perf_counter() + 3.0
    while time.perf_counter() < until:
        began = time.perf_counter()
        trainer.run(steps)
        best = min(best, (time.perf_counter() - began) / STEPS_PER_CALL)
    return best


def peak_memory(height: int, width: int) -> int:
    """Bytes at most, of a process that encodes one B frame."""
    rng = np.random.default_rng(0)
    target, *references = (tuple(picture(rng, height, width)) for _ in range(3))
    settings = Settings(1e-3, Preset(1, 3, 3, 3))

    def make(architecture, job, references):
        return Trainer(architecture, job.frame_type, job.target, references, threads=1)

    job = PictureJob(1, 1, FrameType.B, 1.0, target, references)
    CoolchicEncoder(StreamShape(PAPER), settings, make).encode(job, lambda done, of: None)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def alone(*arguments):
    """In a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(*arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    arguments = parser.parse_args()
    threads = arguments.threads
    peak = measure_peak() * threads
    base = alone(peak_memory, 16, 16)
    print(f"{threads} threads; a process without a picture takes {base / 1e6:.0f} MB")
    print("size        step ms   ns/pixel   floor ns/pixel   peak MB   bytes/pixel")
    for size in arguments.sizes:
        width, height = map(int, size.split("x"))
        pixels = height * width
        step = step_seconds(height, width, threads)
        floor = multiply_adds(PAPER, FrameType.B, height, width) / peak
        memory = alone(peak_memory, height, width)
        print(
            f"{size:>9}  {1e3 * step:8.2f}  {1e9 * step / pixels:9.1f}  "
            f"{1e9 * floor / pixels:15.1f}  {memory / 1e6:8.0f}  {(memory - base) / pixels:12.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
