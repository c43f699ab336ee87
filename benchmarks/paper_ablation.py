"""Profile `paper` of Cool-chic with alpha fixed to one, and with beta fixed to one half.

    python benchmarks/paper_ablation.py CLIP... --out ablation.jsonl [--build] [--frames 17]

The paper has alpha weigh the prediction in each sample, so that none is made where it fails, and
beta weigh the two references of B frames; its ablation fixes one or the other. The same is done
here by copies of this package, changed and built in `--native` (`--build`; wants CMake, Ninja and a
compiler), which encode and decode: no released decoder reads what they write. An encode is one
line of the output; those that are there already are not made again. What is printed in the end is
the BD-rate (PSNR of Y, U, V, 4:1:1) of each against both free, per cent of the coded video.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from standard_ablation import (
    FULL,
    QUALITIES,
    ROOT,
    Switch,
    Task,
    edit,
    quietly,
    read,
    table,
    task_of,
)

TRAINING, DECODING = "native/train/picture.hpp", "native/core/picture_kernels.hpp"
SIGNALS = "r ? signals.beta : signals.alpha);\n"

# The values in training and their gradients, and the values of the decoder.
SWITCHES = (
    Switch(FULL["random-access"]),
    Switch(
        "alpha: one",
        edits=(
            (TRAINING, "alpha_mean += clamp01(load(o[ALPHA] + at) + 0.5f);", "alpha_mean += 1.0f;"),
            (TRAINING, "alpha_raw = load(o[ALPHA] + at) + 0.5f;", "alpha_raw = splat(1.0f);"),
            (TRAINING, "leaky(alpha_raw, d_alpha)", "Vf{}"),
            (
                DECODING,
                SIGNALS,
                SIGNALS + "if (references > 0) std::fill_n(signals.alpha, count, 1 << kBlendBits);",
            ),
        ),
        normative=True,
    ),
    Switch(
        "beta: one half",
        edits=(
            (TRAINING, "beta_mean += clamp01(load(o[BETA] + at) + 0.5f);", "beta_mean += 0.5f;"),
            (TRAINING, "beta_raw = load(o[BETA] + at) + 0.5f;", "beta_raw = splat(0.5f);"),
            (TRAINING, "leaky(beta_raw, d_beta)", "Vf{}"),
            (
                DECODING,
                SIGNALS,
                SIGNALS
                + "if (references > 1) std::fill_n(signals.beta, count, 1 << (kBlendBits - 1));",
            ),
        ),
        normative=True,
    ),
)


def build(folder: Path) -> None:
    """Copies of the package, one for each switch."""
    for switch in SWITCHES:
        to = folder / switch.key
        shutil.copytree(ROOT / "native", to / "native", dirs_exist_ok=True)
        shutil.copytree(
            ROOT / "src", to / "src", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.so")
        )
        shutil.copy(ROOT / "CMakeLists.txt", to)
        edit(to, switch)
        release, python = "-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}"
        quietly("cmake", "-S", to, "-B", to / "build", "-G", "Ninja", release, python)
        quietly("cmake", "--build", to / "build")
        quietly("cmake", "--install", to / "build", "--prefix", to / "src")
        print(f"built: {switch.name}", flush=True)


def encode(task: Task, clip: Path, package: Path) -> dict[str, Any]:
    """The line of one encode, which is decoded again."""
    environment = {**os.environ, "PYTHONPATH": str(package / "src")}

    def vireo(*command: str | Path | int) -> dict[str, Any]:
        whole = [sys.executable, "-m", "vireo", *map(str, command), "--json"]
        done = subprocess.run(whole, check=True, capture_output=True, text=True, env=environment)
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mkv"
        given = ("--profile", "paper", "--preset", task.preset, "--frames", task.frames)
        report = vireo("encode", clip, out, *given, "--quality", task.quality, "--threads", 1)
        vireo("verify", out)  # fails where pictures differ
    return {**asdict(task), "bytes": report["video_size"], "psnr": report["psnr"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="file of lines, gone on with")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--native", type=Path, default=ROOT / "build" / "paper_ablation")
    parser.add_argument("--build", action="store_true", help="make the changed packages first")
    arguments = parser.parse_args()
    if arguments.build:
        build(arguments.native)
    done = {task_of(line) for line in read(arguments.out)}
    for clip in arguments.clips:
        for quality in QUALITIES:
            for switch in SWITCHES:
                task = Task(switch.name, 0, clip.stem, quality, arguments.frames, arguments.preset)
                if task in done:
                    continue
                line = json.dumps(encode(task, clip, arguments.native / switch.key))
                print(line, flush=True)
                with arguments.out.open("a") as out:
                    out.write(line + "\n")
    if lines := read(arguments.out):
        print(table(lines, SWITCHES))


if __name__ == "__main__":
    main()
