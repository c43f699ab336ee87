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
from pathlib import Path
from statistics import fmean

from vireo.metrics import Curve, bd_rate

ROOT = Path(__file__).resolve().parents[1]
TRAINING, DECODING = "native/train/picture.hpp", "native/core/picture_kernels.hpp"
FREE = "both free"
QUALITIES = (20, 50, 80)

# (file, old, new) of each: the values in training and their gradients, and those of the decoder.
EDITS: dict[str, tuple[tuple[str, str, str], ...]] = {
    FREE: (),
    "alpha is one": (
        (TRAINING, "alpha_mean += clamp01(load(o[ALPHA] + at) + 0.5f);", "alpha_mean += 1.0f;"),
        (TRAINING, "alpha_raw = load(o[ALPHA] + at) + 0.5f;", "alpha_raw = splat(1.0f);"),
        (
            TRAINING,
            "store(o[ALPHA] + at, leaky(alpha_raw, d_alpha));",
            "store(o[ALPHA] + at, Vf{});",
        ),
        (
            DECODING,
            "r ? signals.beta : signals.alpha);\n",
            "r ? signals.beta : signals.alpha);\n"
            "  if (references > 0) std::fill_n(signals.alpha, count, 1 << kBlendBits);\n",
        ),
    ),
    "beta is one half": (
        (TRAINING, "beta_mean += clamp01(load(o[BETA] + at) + 0.5f);", "beta_mean += 0.5f;"),
        (TRAINING, "beta_raw = load(o[BETA] + at) + 0.5f;", "beta_raw = splat(0.5f);"),
        (TRAINING, "store(o[BETA] + at, leaky(beta_raw, d_beta));", "store(o[BETA] + at, Vf{});"),
        (
            DECODING,
            "r ? signals.beta : signals.alpha);\n",
            "r ? signals.beta : signals.alpha);\n"
            "  if (references > 1) std::fill_n(signals.beta, count, 1 << (kBlendBits - 1));\n",
        ),
    ),
}


def package(folder: Path, name: str) -> Path:
    return folder / name.replace(" ", "_")


def build(folder: Path) -> None:
    """Copies of the package, each with its edits."""
    for name, edits in EDITS.items():
        to = package(folder, name)
        shutil.copytree(ROOT / "native", to / "native", dirs_exist_ok=True)
        shutil.copytree(
            ROOT / "src", to / "src", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.so")
        )
        shutil.copy(ROOT / "CMakeLists.txt", to)
        for file, old, new in edits:
            text = (to / file).read_text()
            if text.count(old) != 1:
                raise SystemExit(f"{file} has not once what {name!r} changes: {old}")
            (to / file).write_text(text.replace(old, new))
        release, python = "-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}"
        for command in (
            ("-S", to, "-B", to / "build", "-G", "Ninja", release, python),
            ("--build", to / "build"),
            ("--install", to / "build", "--prefix", to / "src"),
        ):
            subprocess.run(("cmake", *command), check=True, stdout=subprocess.DEVNULL)
        print(f"built: {name}", flush=True)


def encode(name: str, clip: Path, quality: int, arguments: argparse.Namespace) -> dict[str, object]:
    """The line of one encode, and that it decodes to what the encoder saw."""
    environment = {**os.environ, "PYTHONPATH": str(package(arguments.native, name) / "src")}

    def vireo(*command: str | Path | int) -> dict[str, float]:
        whole = [sys.executable, "-m", "vireo", *map(str, command), "--json"]
        done = subprocess.run(whole, check=True, capture_output=True, text=True, env=environment)
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return result

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mkv"
        given = ("--profile", "paper", "--preset", arguments.preset, "--frames", arguments.frames)
        report = vireo("encode", clip, out, *given, "--quality", quality, "--threads", 1)
        vireo("verify", out)  # fails where pictures differ
    line = {"switch": name, "clip": clip.stem, "quality": quality, "frames": arguments.frames}
    return {
        **line,
        "preset": arguments.preset,
        "bytes": report["video_size"],
        "psnr": report["psnr"],
    }


def table(lines: list[dict[str, object]]) -> str:
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for line in lines:
        points = curves.setdefault((str(line["switch"]), str(line["clip"])), [])
        points.append((float(str(line["bytes"])), float(str(line["psnr"]))))
    clips = list(dict.fromkeys(clip for _, clip in curves))
    rows = [f"| fixed | {' | '.join(clips)} | mean |", "|---" * (len(clips) + 2) + "|"]
    for name in EDITS:
        found = []
        for clip in clips:
            pair = [curves.get((n, clip), []) for n in (FREE, name)]
            if name != FREE and all(len(points) == len(QUALITIES) for points in pair):
                anchor, test = (Curve(*zip(*sorted(points), strict=True)) for points in pair)
                found.append(bd_rate(anchor, test).value)
        values = [value for value in found if value is not None]
        if values:
            cells = ["–" if value is None else f"{value:+.1f}" for value in found]
            rows.append(f"| {name} | {' | '.join(cells)} | {fmean(values):+.1f} |")
    return "\n".join(rows)


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
    lines = []
    if arguments.out.exists():
        lines = [json.loads(line) for line in arguments.out.read_text().splitlines()]
    done = {(line["switch"], line["clip"], line["quality"]) for line in lines}
    for clip in arguments.clips:
        for quality in QUALITIES:
            for name in EDITS:
                if (name, clip.stem, quality) in done:
                    continue
                lines.append(encode(name, clip, quality, arguments))
                print(json.dumps(lines[-1]), flush=True)
                with arguments.out.open("a") as out:
                    out.write(json.dumps(lines[-1]) + "\n")
    print(table(lines))


if __name__ == "__main__":
    main()
