"""Whole encodes by the native training and by its PyTorch twin: bits, quality, time.

    python benchmarks/twin.py CLIP... [--frames 5] [--preset faster] [--threads 2]

Both sides make the same steps from the same starts with the same noise, so that what
differs is rounding; a training amplifies it like another seed would. The table gives each
point's size and PSNR, the BD-rate of the native side against the twin, and the ratio of
their times.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from unittest.mock import patch

import torch

import vireo
from vireo.codecs.coolchic import open as opener
from vireo.codecs.coolchic.torch_trainer import TorchTrainer
from vireo.metrics import Curve, bd_rate

QUALITIES = (20, 40, 60, 80)


def twin_trainers(options):
    """In place of `open._trainers`: the twin, on the CPU."""

    def make(architecture, job, references):
        return TorchTrainer(architecture, job.frame_type, job.target, references)

    return make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--preset", default="faster")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--qualities", type=int, nargs="+", default=QUALITIES)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    def encode(clip: Path, quality: int, folder: Path, threads: int) -> vireo.EncodeReport:
        return vireo.encode(
            clip,
            folder / "out.mkv",
            overwrite=True,
            profile="paper",
            quality=quality,
            preset=arguments.preset,
            frames=arguments.frames,
            gop_size=4,
            threads=threads,
        )

    for clip in arguments.clips:
        curves, seconds = [], []
        with tempfile.TemporaryDirectory() as folder:
            for side in ("twin", "native"):
                reports = []
                for quality in arguments.qualities:
                    if side == "twin":
                        with patch.object(opener, "_trainers", twin_trainers):
                            # One frame at a time: PyTorch has the threads.
                            reports.append(encode(clip, quality, Path(folder), 1))
                    else:
                        reports.append(encode(clip, quality, Path(folder), arguments.threads))
                    r = reports[-1]
                    print(
                        f"{clip.stem} {side} q {quality}: {r.video_size} bytes, "
                        f"{r.psnr:.3f} dB, {r.seconds:.1f} s",
                        flush=True,
                    )
                rates = tuple(float(r.video_size) for r in reports)
                curves.append(Curve(rates, tuple(r.psnr for r in reports)))
                seconds.append(sum(r.seconds for r in reports))
        result = bd_rate(*curves)
        value = result.refusal if result.value is None else f"{result.value:+.2f} %"
        ratio = seconds[0] / seconds[1]
        print(f"{clip.stem}: BD-rate {value}, {ratio:.1f} times faster", flush=True)


if __name__ == "__main__":
    main()
