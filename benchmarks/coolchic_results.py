"""Rate, quality and time of Cool-chic beside x264 and x265, from real files.

    python benchmarks/coolchic_results.py run --clips DIR --out results.jsonl
    python benchmarks/coolchic_results.py table results.jsonl > table.md

Each finished point is appended to the JSON-lines file and not computed again, so that a
killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from anchors import run_anchor

import vireo
from vireo.metrics import plane_mse, psnr, weighted_mse
from vireo.video import open_source

CLIPS = (
    "carphone_176x144_97f",
    "film_cut_176x144_49f",
    "flower_bloom_176x144_97f",
    "parade_pan_352x288_49f",
)
GOPS = ("random-access", "low-delay")
QUALITIES = (30, 50, 70)
CRFS = (22, 27, 32, 37, 42)
FRAMES = 33


def points(clips: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Every measurement, the cheap ones first."""
    for clip in clips:
        for gop in GOPS:
            for codec in ("x264", "x265"):
                for crf in CRFS:
                    yield {"clip": clip, "codec": codec, "gop": gop, "setting": f"crf {crf}"}
    for clip in clips:
        for gop in GOPS:
            for quality in QUALITIES:
                yield {"clip": clip, "codec": "vireo", "gop": gop, "setting": f"q {quality}"}


def measure(point: dict[str, Any], clip: Path, preset: str, threads: int) -> dict[str, Any]:
    with open_source(clip, frames=FRAMES) as source:
        frames = list(source)
    value = int(point["setting"].split()[1])
    began = perf_counter()
    if point["codec"] != "vireo":
        result = run_anchor(point["codec"], point["gop"], value, frames)
        size, mse, extra = result.size, result.mse, {}
        seconds = perf_counter() - began
    else:
        size, mse, seconds, extra = _measure_vireo(
            clip, point["gop"], value, frames, preset, threads
        )
    return {
        **point,
        "frames": len(frames),
        "size": size,
        "bpp": 8 * size / (len(frames) * frames[0].y.size),
        "psnr": psnr(weighted_mse(mse)),
        "psnr_y": psnr(mse[0]),
        "seconds": seconds,
        "machine": platform.processor() or platform.machine(),
        **extra,
    }


def _measure_vireo(
    clip: Path, gop: str, quality: int, frames: list[Any], preset: str, threads: int
) -> tuple[int, tuple[float, ...], float, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.mkv"
        report = vireo.encode(
            clip, target, gop=gop, quality=quality, preset=preset, frames=FRAMES, threads=threads
        )
        decoded = vireo.decode(target, Path(folder) / "out.yuv", threads=threads)
        info = vireo.probe(target)
        with vireo.open(target) as video:
            errors = [
                [plane_mse(a, b) for a, b in zip(v.planes, f.planes, strict=True)]
                for v, f in zip(video, frames, strict=True)
            ]
    y, u, v = np.mean(errors, axis=0)
    extra = {
        "preset": preset,
        "threads": threads,
        "decode_seconds": decoded.seconds,
        "networks": info.parts["networks"],
        "headers": info.parts["headers"],
        "container": info.parts["container and other tracks"],
        "report": asdict(report),
    }
    return info.size, (float(y), float(u), float(v)), report.seconds, extra


def run(arguments: argparse.Namespace) -> None:
    key = ("clip", "codec", "gop", "setting")
    done = set()
    if arguments.out.exists():
        lines = arguments.out.read_text().splitlines()
        done = {tuple(json.loads(line)[k] for k in key) for line in lines}
    for point in points(tuple(arguments.only or CLIPS)):
        if tuple(point[k] for k in key) in done:
            continue
        clip = arguments.clips / f"{point['clip']}.mkv"
        record = measure(point, clip, arguments.preset, arguments.threads)
        with arguments.out.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(
            f"{point['clip']} {point['codec']} {point['gop']} {point['setting']}: "
            f"{record['size']} bytes, {record['psnr']:.2f} dB, {record['seconds']:.1f} s",
            flush=True,
        )


def table(arguments: argparse.Namespace) -> None:
    records = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    for clip in dict.fromkeys(r["clip"] for r in records):
        for gop in GOPS:
            print(f"\n#### {clip}, {gop}\n")
            print(
                "| codec | setting | bytes | bpp | PSNR | PSNR Y | encode s | decode s "
                "| networks | headers, container |"
            )
            print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
            chosen = [r for r in records if r["clip"] == clip and r["gop"] == gop]
            for r in sorted(chosen, key=lambda r: (r["codec"], -r["psnr"])):
                ours = r["codec"] == "vireo"
                overhead = r["headers"] + r["container"] if ours else 0
                tail = (
                    f"{r['decode_seconds']:.2f} | {100 * r['networks'] / r['size']:.1f} % "
                    f"| {100 * overhead / r['size']:.1f} %"
                    if ours
                    else "| |"
                )
                print(
                    f"| {r['codec']} | {r['setting']} | {r['size']} | {r['bpp']:.4f} "
                    f"| {r['psnr']:.2f} | {r['psnr_y']:.2f} | {r['seconds']:.1f} | {tail} |"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    runner = commands.add_parser("run", help="measure what is not measured yet")
    runner.add_argument("--clips", type=Path, required=True, help="folder of the clips")
    runner.add_argument("--only", action="append", help="this clip (its name without .mkv)")
    runner.add_argument("--out", type=Path, required=True, help="JSON-lines file to append to")
    runner.add_argument("--preset", default="fast")
    runner.add_argument("--threads", type=int, default=2)
    runner.set_defaults(call=run)
    printer = commands.add_parser("table", help="Markdown tables")
    printer.add_argument("results", type=Path)
    printer.set_defaults(call=table)
    arguments = parser.parse_args()
    arguments.call(arguments)


if __name__ == "__main__":
    main()
