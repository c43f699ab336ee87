"""What instance adaptation saves, and how soon (InstA, figure 5).

    python benchmarks/adaptation.py run clip.mkv --how full --qualities 20 40 60 80 --minutes 20 \\
        --results adaptation.jsonl
    python benchmarks/adaptation.py report adaptation.jsonl

`run` adapts to a clip at each quality and appends, for every trial on the way, the seconds since
the start, bits per luma sample (sections and updates, without packets' headers) and PSNR. What
trials take is counted. In the end the clip is coded by what was best with symbols refined, as
`--preset` says. `report` makes BD-rates against the model as it was, by time: a quality has
what its best trial so far gave; and of the refined end, which has the time that that takes besides.
What is adapted is coarser at the same quality, so the model needs lower ones too:

    python benchmarks/adaptation.py run clip.mkv --how none --preset ultrafast --qualities 14 22
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from vireo import weights
from vireo.codecs.base import Planes
from vireo.codecs.encoding import pad_to_even
from vireo.codecs.pretrained import padded
from vireo.codecs.rate_points import places_of
from vireo.codecs.ssf.adaptation import Trial, adaptation_of, try_out
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.config import STRIDE
from vireo.codecs.ssf.encoder import INTRA_FINER
from vireo.codecs.ssf.presets import ADAPTED, PRESETS
from vireo.codecs.ssf.refinement import Refinement
from vireo.metrics import psnr
from vireo.metrics.bd_rate import Curve, bd_rate
from vireo.options import lambda_of_quality
from vireo.video import open_source

GOP = 12
MINUTES = (1, 2, 5, 10, 20, 40)


def run(args: argparse.Namespace) -> None:
    found = weights.named(args.model)
    with open_source(args.clip) as source:
        video = [padded(pad_to_even(f), STRIDE) for f in islice(source, args.frames)]
    for quality in args.qualities:
        line = {"clip": args.clip.stem, "how": args.how, "model": found.name, "quality": quality}
        line["preset"] = args.preset
        lambda_ = lambda_of_quality(quality)
        seconds = 0.0 if args.how == "none" else 60 * args.minutes
        line |= adapt(found, video, lambda_, args.how, seconds, PRESETS[args.preset])
        with args.results.open("a") as file:
            file.write(json.dumps(line) + "\n")


def adapt(
    found: weights.Weights,
    video: list[Planes],
    lambda_: float,
    how: str,
    seconds: float,
    steps: int,
) -> dict[str, Any]:
    """Steps and trials of one adaptation, and what its best comes to with symbols refined."""
    coder = Coder(found, places_of(lambda_, found.lambdas, finer=INTRA_FINER, say=print))
    trials: list[dict[str, float]] = []
    began = perf_counter()

    def tried(
        own: dict[str, Tensor], updates: bytes, refinement: Refinement | None = None
    ) -> tuple[dict[str, float], Trial]:
        coded = Coder(found, coder.places, updates, own)
        trial = try_out(coded, video, GOP, refinement=refinement)
        return {
            "seconds": round(perf_counter() - began, 1),
            "bits": trial.bits,
            "psnr": psnr(trial.distortion * 255**2),
            "cost": trial.cost(lambda_),
            "updates": len(updates),
        }, trial

    def evaluate(own: dict[str, Tensor], updates: bytes) -> tuple[float, dict[int, Planes]]:
        measured, trial = tried(own, updates)
        trials.append(measured)
        return measured["cost"], dict(enumerate(trial.decoded))

    adaptation = adaptation_of(coder, lambda_, video, evaluate, decoder=how == "full", gop=GOP)
    adapted = adaptation.run(
        seconds, lambda share, cost: print(f"{share:6.1%} {cost:.4f}", flush=True)
    )
    samples = sum(planes[0].size for planes in video)
    line = {"steps": adapted.steps, "samples": samples, "trials": trials}
    if steps:
        line["refined"], _ = tried(adapted.state, adapted.updates, Refinement(steps, lambda_))
    return line


def report(args: argparse.Namespace) -> None:
    runs: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    shipped: dict[str, dict[float, dict[str, float]]] = defaultdict(dict)
    for text in args.results.read_text().splitlines():
        line = json.loads(text)
        shipped[line["clip"]][line["quality"]] = line["trials"][0]
        if line["how"] != "none" or "refined" in line:
            runs[line["clip"], line["how"], line.get("preset", "")].append(line)
    print("| clip | what | " + " | ".join(f"{m} min" for m in MINUTES) + " | refined | updates |")
    print("|---|---|" + "---:|" * (len(MINUTES) + 2))
    for (clip, how, preset), lines in sorted(runs.items()):
        lines.sort(key=lambda line: line["quality"])
        base = curve([trial for _, trial in sorted(shipped[clip].items())])
        cells = []
        for minutes in MINUTES:
            if max(line["trials"][-1]["seconds"] for line in lines) < 40 * minutes:
                cells.append("")
                continue
            cells.append(saved(base, curve([best(line, 60 * minutes) for line in lines])))
        refined = [line["refined"] for line in lines if "refined" in line]
        cells.append(saved(base, curve(refined)) if len(refined) == len(lines) else "")
        shares = [
            8 * trial["updates"] / (trial["bits"] * line["samples"])
            for line, trial in ((line, best(line, 1e9)) for line in lines)
        ]
        share = sum(shares) / len(shares)
        print(f"| {clip} | {how}, {preset} | " + " | ".join(cells) + f" | {share:.1%} |")


def saved(base: Curve, other: Curve) -> str:
    found = bd_rate(base, other)
    return "–" if found.value is None else f"{found.value:+.1f} %"


def best(line: dict[str, Any], seconds: float) -> dict[str, float]:
    """The trial of least cost that was there in time."""
    there = [t for t in line["trials"] if t["seconds"] <= seconds] or line["trials"][:1]
    return min(there, key=lambda trial: trial["cost"])


def curve(trials: list[dict[str, float]]) -> Curve:
    return Curve(tuple(t["bits"] for t in trials), tuple(t["psnr"] for t in trials))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    runs = commands.add_parser("run")
    runs.add_argument("clip", type=Path)
    runs.add_argument("--model", default="ssf1")
    runs.add_argument("--how", choices=("full", "encoder", "none"), default="full")
    runs.add_argument("--qualities", type=float, nargs="+", default=[20, 40, 60, 80])
    runs.add_argument("--frames", type=int, default=33)
    runs.add_argument("--minutes", type=float, default=20)
    runs.add_argument("--preset", choices=tuple(PRESETS), default=ADAPTED)
    runs.add_argument("--results", type=Path, default=Path("adaptation.jsonl"))
    runs.set_defaults(call=run)
    reports = commands.add_parser("report")
    reports.add_argument("results", type=Path)
    reports.set_defaults(call=report)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
