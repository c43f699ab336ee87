"""Profile `standard` of Cool-chic with each of its tools switched off, against all of them.

    python benchmarks/standard_ablation.py CLIP... --out ablation.jsonl [--jobs 13] [--seconds 400]

A tool is switched off by patching the encoder, or, where it is inside the native motion search,
by a build of it with some lines changed (`--build`; wants CMake and a compiler). Training starts
are changed in both encoder and decoder. Every stream is decoded again. An encode is one line of
the output; those that are there already are not made again. The most telling ones come first: all
tools with two seeds, which shows what luck does, then switch by switch with the first seed, then
again with the second. `--table` only prints what an output says.

In the table is the BD-rate (PSNR of Y, U, V, 4:1:1) of each switch against all tools in the same
structure with the same seed, mean over the seeds that are there: above zero is what a tool saves.
A dash means that the curves can't be compared, or that encodes are missing. "*" marks switches
whose streams no released decoder reads.

What is part of the format, and no choice of an encoder, has no switch: autoregressive models and
their contexts, latents of chroma apart, motion's grids and their smoothness, filters, empty blocks.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

import numpy as np

import vireo
from vireo import gop
from vireo.codecs.coolchic import importance, motion, networks, parts_encoder, updates
from vireo.codecs.coolchic.config import FILTER_WEIGHTS, STANDARD
from vireo.codecs.coolchic.initialise import initial_networks
from vireo.codecs.coolchic.networks import NetworkSets
from vireo.codecs.coolchic.parts_encoder import PartsEncoder
from vireo.codecs.coolchic.presets import PRESETS, RECIPE, STANDARD_RECIPES, Preset
from vireo.codecs.coolchic.updates import magnitude_bits, to_integers, with_parameters
from vireo.gop import FrameType
from vireo.metrics import Curve, bd_rate

ROOT = Path(__file__).resolve().parents[1]
QUALITIES = (20, 50, 80)
FULL = {"random-access": "all tools", "low-delay": "all tools, low delay"}
MIDDLE_LAMBDA = 1e-3  # of the shipped sets
SEARCH = "native/train/motion_search.cpp"
MOVES, CELLS, SWEEPS = (f"native/train/motion_{name}.cpp" for name in ("moves", "cells", "sweeps"))
CHOOSE_ANEW = SEARCH, "k >= finest_; --k) moves_.choose_anew(k);", "k >= finest_; --k) {}"

Patches = list[AbstractContextManager[Any]]
set_encoder = partial(patch.multiple, parts_encoder)


@dataclass(frozen=True)
class Switch:
    """One tool, and how it is switched off.

    Attributes:
        patches: what the encoder is without it.
        edits: lines of a native source that are others without it: (file, old, new).
        gop: the structure of GOPs that it matters in.
        normative: whether decoders have to know of it.
    """

    name: str
    patches: Callable[[], Patches] = list
    edits: tuple[tuple[str, str, str], ...] = ()
    gop: str = "random-access"
    normative: bool = False

    @property
    def key(self) -> str:
        """Its name as that of a file."""
        return "_".join(re.findall(r"\w+", self.name))


def _recipes(**changes: Any) -> Patches:
    changed = {kind: replace(recipe, **changes) for kind, recipe in STANDARD_RECIPES.items()}
    return [patch.dict(STANDARD_RECIPES, changed)]


def _presets(**changes: Any) -> Patches:
    return [patch.dict(PRESETS, {n: replace(p, **changes) for n, p in PRESETS.items()})]


def _partial_worth() -> Patches:
    _, power = parts_encoder.WORTH_POWERS[-1]
    return [set_encoder(WORTH_POWERS=((1.0, power),))]


def _long_moments() -> Patches:
    return _recipes(latent_betas=(0.9, 0.999), latent_pooling=0.0)


def _long_end() -> Patches:
    """A fifth of the steps, in which latents move as they did at the end of those before."""

    def ended(preset: Preset) -> Preset:
        steps = preset.main + preset.final
        return replace(preset, main=steps - steps // 5, final=steps // 5)

    longer = {name: ended(preset) for name, preset in PRESETS.items()}
    return [*_recipes(final_latent_rate=1e-3), patch.dict(PRESETS, longer)]


def _no_updates() -> Patches:
    def base_alone(parameters: Any, architecture: Any, cost: updates.UpdateCost) -> Any:
        return with_parameters(cost.base.parameters, cost, magnitude_bits(cost.grids, architecture))

    return [
        *_recipes(network_rate=0.0, final_network_rate=0.0),
        set_encoder(choose_update=base_alone),
    ]


def _untrained_sets() -> Patches:
    shipped = networks._load()
    rows = [
        to_integers(initial_networks(STANDARD, FrameType(kind), np.random.default_rng(0)), STANDARD)
        for kind in shipped.frame_types
    ]
    filters = shipped.parameters[:, -sum(FILTER_WEIGHTS) :]
    untrained = replace(shipped, parameters=np.hstack([np.array(rows, np.int16), filters]))
    return [patch.object(networks, "_load", lambda: untrained)]


def _even_probabilities() -> Patches:
    shipped = networks._load()
    even = {name: np.full_like(getattr(shipped, name), 1 << 15) for name in ("motion", "frame")}
    untrained = replace(shipped, **even)
    return [patch.object(networks, "_load", lambda: untrained)]


def _one_set_a_type() -> Patches:
    nearest = NetworkSets.nearest
    return [
        patch.object(NetworkSets, "nearest", lambda s, kind, _: nearest(s, kind, MIDDLE_LAMBDA))
    ]


def _first_base_alone() -> Patches:
    bases = PartsEncoder._bases
    return [patch.object(PartsEncoder, "_bases", lambda encoder, job: bases(encoder, job)[:1])]


def _luma_search() -> Patches:
    whole = motion.search_fields

    def grey(planes: Any) -> Any:
        return planes[0], *(np.full_like(p, 128) for p in planes[1:])

    def search(target: Any, references: Any, *others: Any, **named: Any) -> Any:
        return whole(grey(target), [grey(r) for r in references], *others, **named)

    return [
        patch.object(module, "search_fields", search)
        for module in (motion, importance, parts_encoder)
    ]


def _one_reference() -> Patches:
    def plan(*arguments: Any) -> tuple[gop.PlannedFrame, ...]:
        frames = gop.plan_gop(*arguments)
        return gop._mark_releases([replace(f, references=f.references[:1]) for f in frames])

    return [set_encoder(plan_gop=plan)]


def _planned(**changes: Any) -> Patches:
    """Of each frame of a plan."""
    plan = PartsEncoder.plan

    def changed(*arguments: Any) -> tuple[gop.PlannedFrame, ...]:
        return tuple(replace(frame, **changes) for frame in plan(*arguments))

    return [patch.object(PartsEncoder, "plan", changed)]


def _no_filter() -> Patches:
    return [patch.object(PartsEncoder, "_filter", lambda encoder, job, coded: coded)]


def _interval(frames: int | None) -> Patches:
    return [set_encoder(prediction_interval=lambda *_: frames)]


# The most telling ones first; the last one saves time only, in all that was tried.
SWITCHES = (
    Switch(FULL["random-access"]),
    Switch("updates of networks", _no_updates),
    Switch("loop filter", _no_filter),
    Switch("refinement of latents", lambda: _presets(refinements=0)),
    Switch("lambda by importance", lambda: _planned(importance=parts_encoder.LAMBDA_MOST)),
    Switch("weights by importance", lambda: _planned(block_weights=None)),
    Switch("temporal filter", lambda: _planned(target=None)),
    Switch("training effort by importance", lambda: _planned(effort=1.0)),
    Switch("the whole worth at high rates", _partial_worth),
    Switch("short and shared moments of latents", _long_moments),
    Switch("short end with small steps", _long_end),
    Switch("latents' rate by lambda", lambda: _recipes(fine_lambda=0.0)),
    Switch("trained networks to start from", _untrained_sets, normative=True),
    Switch("inherited motion", lambda: [set_encoder(inherited_motion=lambda *_: ())]),
    Switch("motion of the whole picture", lambda: [set_encoder(global_motion=lambda *_: None)]),
    Switch("B frames' second reference", _one_reference),
    Switch("chroma in the motion search", _luma_search),
    Switch(
        "motion search: means against neighbours",
        edits=(
            (
                "native/train/square_costs.cpp",
                "for (std::size_t p = 0; p < 3 && count > 0; ++p) result[p]",
                "for (std::size_t p = 0; p < 3 && count < 0; ++p) result[p]",
            ),
        ),
    ),
    Switch("motion search: cells chosen anew", edits=(CHOOSE_ANEW,)),
    Switch(
        "motion search: B frames' measured price",
        edits=((MOVES, "lambda_ < kLeastMeasured) return;", "true) return;"),),
    ),
    Switch(
        "motion search: descents from smaller cells",
        edits=((SEARCH, "int from = std::min(coarsest_ - 1, kSquareLevel + 1)", "int from = 0"),),
    ),
    Switch(
        # Steps of four quarters of a sample; large cells still move smoothly between them.
        "motion search: vectors in parts of samples",
        edits=(
            (
                CELLS,
                "add({(x - here.x + 8) >> 4, (y - here.y + 8) >> 4});",
                "add({4 * ((x - here.x + 32) >> 6), 4 * ((y - here.y + 32) >> 6)});",
            ),
            (CELLS, "for (const int size : {8, 4, 2, 1})", "for (const int size : {8, 4})"),
            (
                SWEEPS,
                "return static_cast<int>(std::lround(std::clamp(v, -farthest, farthest)));",
                "return 4 * static_cast<int>(std::lround(std::clamp(v / 4, -farthest, farthest)));",
            ),
            (
                CELLS,
                "steps.push_back({difference(2 * r), difference(2 * r + 1)});",
                "steps.push_back({4 * (difference(2 * r) / 4), 4 * (difference(2 * r + 1) / 4)});",
            ),
            (
                SWEEPS,
                "const bool x = step(1, 0) || step(-1, 0), y = step(0, 1) || step(0, -1);",
                "const bool x = step(4, 0) || step(-4, 0), y = step(0, 4) || step(0, -4);",
            ),
        ),
    ),
    Switch("references' networks to start from", _first_base_alone),
    Switch("networks' rate in training", lambda: _presets(parameter_rate=0.0)),
    Switch(
        "recipe of its own (paper's instead)",
        lambda: [patch.dict(STANDARD_RECIPES, dict.fromkeys(FrameType, RECIPE))],
    ),
    Switch(
        "motion search: blocks without prediction",
        edits=(
            (SEARCH, "if (pass == 0 && k >= kSquareLevel) moves_.search_alpha(k);", ""),
            (SEARCH, "moves_.sweep_blending(fields.alpha(), k);", ""),
        ),
    ),
    Switch(
        "motion search: weights of two references",
        edits=(
            (
                SEARCH,
                "if (references_ == 2) moves_.sweep_blending(moves_.state().fields.beta(), k);",
                "",
            ),
            (SEARCH, "moves_.sweep_blending(fields.beta(), k);", "{}"),
            CHOOSE_ANEW,
        ),
    ),
    Switch("P frames by content: always 8 apart", lambda: _interval(8)),
    Switch("P frames by content: one a GOP", lambda: _interval(None)),
    Switch(FULL["low-delay"], gop="low-delay"),
    Switch(
        "low delay: the kept reference",
        lambda: [set_encoder(LOW_DELAY_INTERVAL=None)],
        gop="low-delay",
    ),
    Switch("updates' steps by cost", lambda: [patch.object(updates, "_descend", lambda *_: None)]),
    Switch("sets of networks by lambda", _one_set_a_type),
    Switch("trained probabilities of decisions", _even_probabilities, normative=True),
    Switch("larger lambda in the search", lambda: [set_encoder(SEARCH_LAMBDA=1.0)]),
    Switch(
        "motion search: mirrored beginnings",
        edits=(
            (
                SEARCH,
                "for (const bool mirrored : {false, true}) {",
                "for (const bool mirrored : {false}) {",
            ),
        ),
    ),
    Switch(
        "motion search: rates learnt on the way",
        edits=((SEARCH, "moves_.learn_rates();\n", ""),),
    ),
    Switch(
        "moved references alone", lambda: [patch.object(PartsEncoder, "_moved", lambda *_: None)]
    ),
)


@dataclass(frozen=True)
class Task:
    """One encode, by everything that tells it from others."""

    switch: str
    seed: int
    clip: str
    quality: int
    frames: int
    preset: str


def build(folder: Path) -> None:
    """Make the native searches that switches want, each in a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        source, made = Path(temporary) / "source", Path(temporary) / "build"
        shutil.copytree(ROOT / "native", source / "native")
        shutil.copy(ROOT / "CMakeLists.txt", source)
        python = f"-DPython_EXECUTABLE={sys.executable}"
        quietly("cmake", "-S", source, "-B", made, "-DCMAKE_BUILD_TYPE=Release", python)
        for switch in SWITCHES:
            if not switch.edits:
                continue
            before = {file: (source / file).read_text() for file, _, _ in switch.edits}
            edit(source, switch)
            quietly("cmake", "--build", made, "--target", "_train", "--parallel")
            (library,) = made.glob("_train*.so")
            shutil.copy(library, _library(folder, switch))
            print(f"built: {switch.name}", flush=True)
            for file, text in before.items():
                (source / file).write_text(text)


def edit(source: Path, switch: Switch) -> None:
    """Change the lines of a copy of the native sources that a switch wants others."""
    for file, old, new in switch.edits:
        text = (source / file).read_text()
        if text.count(old) != 1:
            raise SystemExit(f"{file} has not once what {switch.name!r} changes: {old}")
        (source / file).write_text(text.replace(old, new))


def quietly(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _library(folder: Path, switch: Switch) -> Path:
    return folder / f"{switch.key}.so"


def _changed_search(library: Path) -> AbstractContextManager[Any]:
    loader = ExtensionFileLoader("_train", str(library))
    spec = spec_from_loader("_train", loader)
    assert spec is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # its trainer is there already
        module = module_from_spec(spec)
        loader.exec_module(module)
    return patch.object(motion, "_train", module)


def encode(task: Task, clip: Path, native: Path) -> dict[str, Any]:
    """The line of one encode; runs in another process."""
    (switch,) = (s for s in SWITCHES if s.name == task.switch)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for change in switch.patches():
            stack.enter_context(change)
        if switch.edits:
            stack.enter_context(_changed_search(_library(native, switch)))
        began = process_time()
        report = vireo.encode(
            clip,
            folder / "out.mkv",
            quality=task.quality,
            preset=task.preset,
            frames=task.frames,
            gop=switch.gop,
            seed=task.seed,
            threads=1,
        )
        seconds = process_time() - began
        checked = vireo.verify(folder / "out.mkv", threads=1)
    return {
        **asdict(task),
        "bytes": report.video_size,
        "psnr": report.psnr,
        "psnr_yuv": [report.psnr_y, report.psnr_u, report.psnr_v],
        "seconds": round(seconds, 1),
        "exact": checked.frames == task.frames and not checked.damage,
    }


def plan(arguments: argparse.Namespace, done: set[Task]) -> Iterator[tuple[Task, Path]]:
    """What is to be encoded, in this order."""
    asked = [s for s in SWITCHES if not arguments.only or s.name in arguments.only]
    wanted = {s.name for s in asked} | {FULL[s.gop] for s in asked}
    full, *others = (s for s in SWITCHES if s.name in wanted or s is SWITCHES[0])
    runs = [(full, 0), (full, 1), *((s, 0) for s in others), *((s, 1) for s in others)]
    for switch, seed in runs:
        if seed >= arguments.seeds:
            continue
        if switch.edits and not _library(arguments.native, switch).exists():
            print(f"not built: {switch.name}", flush=True)
            continue
        for clip, frames in zip(arguments.clips, arguments.frames, strict=True):
            for quality in sorted(arguments.qualities, reverse=True):  # the longest first
                task = Task(switch.name, seed, clip.stem, quality, frames, arguments.preset)
                if task not in done:
                    yield task, clip


def run(arguments: argparse.Namespace) -> None:
    """Encode side by side until all is done or time is up."""
    began = perf_counter()
    done = {task_of(line) for line in read(arguments.out)}
    left = plan(arguments, done)
    running: set[Future[dict[str, Any]]] = set()
    pool = ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn"))
    with pool, arguments.out.open("a") as out:
        while True:
            while len(running) < arguments.jobs and perf_counter() - began < arguments.seconds:
                following = next(left, None)
                if following is None:
                    break
                running.add(pool.submit(encode, *following, arguments.native))
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                if (error := future.exception()) is not None:
                    print(f"failed: {error!r}", flush=True)  # the others go on
                    continue
                line = future.result()
                out.write(json.dumps(line) + "\n")
                out.flush()
                print(
                    f"{perf_counter() - began:4.0f} s: {line['switch']}, {line['clip']}, "
                    f"q {line['quality']}, seed {line['seed']}: {line['bytes']} bytes, "
                    f"{line['psnr']:.3f} dB, {line['seconds']:.0f} s"
                    f"{'' if line['exact'] else ', NOT EXACT'}",
                    flush=True,
                )


def read(file: Path) -> list[dict[str, Any]]:
    """The lines of an output, none where there is none yet."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]


def task_of(line: dict[str, Any]) -> Task:
    return Task(**{name: line[name] for name in Task.__dataclass_fields__})


def table(lines: Sequence[dict[str, Any]], switches: Sequence[Switch] = SWITCHES) -> str:
    """Markdown: BD-rate by switch and clip."""
    curves: dict[tuple[str, int, str], Curve] = {}
    for line in lines:
        key = line["switch"], line["seed"], _source(line)
        old = curves.get(key, Curve((), ()))
        curves[key] = Curve((*old.rates, line["bytes"]), (*old.qualities, line["psnr"]))
    clips = list(dict.fromkeys(map(_source, lines)))
    most = max(len(curve.rates) for curve in curves.values())

    def delta(anchor: tuple[str, int, str], test: tuple[str, int, str]) -> float | None:
        if any(key not in curves or len(curves[key].rates) < most for key in (anchor, test)):
            return None
        return bd_rate(curves[anchor], curves[test]).value

    def row(name: str, pairs: Sequence[tuple[tuple[str, int], tuple[str, int]]]) -> str | None:
        cells: list[float | None] = []
        for clip in clips:
            found = [delta((*a, clip), (*b, clip)) for a, b in pairs]
            values = [value for value in found if value is not None]
            cells.append(fmean(values) if values else None)
        if all(cell is None for cell in cells):
            return None
        mean = None if None in cells else fmean(c for c in cells if c is not None)
        return f"| {name} | " + " | ".join(map(_cell, [*cells, mean])) + " |"

    rows = [
        f"| switched off | {' | '.join(clips)} | mean |",
        f"|---|{'---:|' * (len(clips) + 1)}",
    ]
    for switch in switches:
        full = FULL[switch.gop]
        if switch.name == full:
            found = row(f"({full}: another seed)", [((full, 0), (full, 1))])
        else:
            name = switch.name + "*" * switch.normative
            found = row(name, [((full, seed), (switch.name, seed)) for seed in (0, 1)])
        rows += [found] if found else []
    return "\n".join(rows)


def _source(line: dict[str, Any]) -> str:
    return f"{line['clip']}, {line['frames']} frames, {line['preset']}"


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=Path, help="the longest to encode first")
    parser.add_argument("--out", type=Path, required=True, help="file of lines, gone on with")
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[17], help="one number, or one for each clip"
    )
    parser.add_argument("--preset", default="faster")
    parser.add_argument("--qualities", type=int, nargs="+", default=QUALITIES)
    parser.add_argument("--seeds", type=int, default=2, choices=(1, 2))
    parser.add_argument("--jobs", type=int, default=1, help="encodes at a time, a thread each")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="after which none is begun"
    )
    parser.add_argument("--only", nargs="+", metavar="SWITCH", help="only these, and all tools")
    parser.add_argument("--native", type=Path, default=ROOT / "build" / "ablation")
    parser.add_argument("--build", action="store_true", help="make the changed searches first")
    parser.add_argument("--table", action="store_true", help="print the table, encode nothing")
    arguments = parser.parse_args()
    if len(arguments.frames) == 1:
        arguments.frames *= len(arguments.clips)
    if len(arguments.frames) != len(arguments.clips):
        parser.error("--frames wants one number, or one for each clip")
    if arguments.build:
        build(arguments.native)
    if not arguments.table:
        run(arguments)
    lines = read(arguments.out)
    if lines:
        print(table(lines))


if __name__ == "__main__":
    main()
