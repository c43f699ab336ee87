"""Goes through a plan: every point that the results file lacks, several at a time."""

from __future__ import annotations

import math
import queue
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

from vireo.bench import stages
from vireo.bench.anchors import shell
from vireo.bench.clips import Clip
from vireo.bench.environment import machine, versions
from vireo.bench.plan import Plan
from vireo.bench.points import Encoded, Point
from vireo.bench.process import Stage, StageError, settle
from vireo.bench.record import CostRecord, Record
from vireo.bench.results import Results
from vireo.errors import UsageError, VireoError
from vireo.metrics.quality import MEASURES
from vireo.options import available_processors, lambda_of_quality
from vireo.targets import Goal, search

_SERIES = {
    "rgb": ("mse_rgb_bt601", "mse_rgb_bt709"),
    "ms-ssim": ("ms_ssim_y", "ms_ssim_rgb"),
    "vmaf": ("vmaf_neg",),
}


class Watcher(Protocol):
    """Told what happens; may be called from any thread."""

    def plan(self, total: int, done: int) -> None: ...
    def begin(self, slot: int, point: Point) -> None: ...
    def stage(self, slot: int, what: str) -> None: ...
    def finish(self, slot: int, point: Point, record: Record | None, error: str) -> None: ...
    def say(self, sentence: str) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What came of a run: points there were already, computed now, and failed."""

    known: int
    computed: int
    failed: int


def run(plan: Plan, results: Results, watcher: Watcher, *, jobs: int | None = None) -> Outcome:
    """Compute every point of `plan` that `results` lacks.

    Each of `jobs` points at a time has its own processors, as many as the plan has threads;
    by default as many points as the processors suffice for. A point that fails is told to
    the watcher and left out. Raises UsageError or InputError before anything is computed
    where the plan can't be run.
    """
    cores = available_processors()
    jobs = jobs or max(1, len(cores) // plan.threads)
    _check_available(plan)
    results.streams.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vireo-bench-") as folder:
        clips = {path: Clip.open(path, plan.frames, Path(folder)) for path in plan.clips}
        for clip in clips.values():
            for sentence in clip.notices:
                watcher.say(f"{clip.path.name}: {sentence}")
        points = [Point(e, clips[c], v, plan.threads) for e, c, v in plan.points()]
        missing = _missing(points, results, plan.measures)
        watcher.plan(len(points), len(points) - len(missing))
        crew = _Crew(results, watcher, plan, jobs, cores)
        # Points of one key are one stream: it is computed once, then repeated.
        unique = {point.key: (point, record) for point, record in reversed(missing)}
        failed = crew.work(list(reversed(unique.values())))
        others = [point for point, _ in missing if unique[point.key][0] is not point]
        failed += len(_missing(others, results, plan.measures))
    return Outcome(len(points) - len(missing), len(missing) - failed, failed)


def _check_available(plan: Plan) -> None:
    for entry in plan.entries:
        if entry.anchor and not entry.anchor.is_available():
            raise UsageError(
                f"{entry.label}: {entry.anchor.encoder.name} needs imageio-ffmpeg: "
                "pip install 'vireo[bench]'"
            )
    if "vmaf" in plan.measures:
        from vireo.metrics.vmaf import vmaf_available

        if not vmaf_available():
            raise UsageError("VMAF needs imageio-ffmpeg: pip install 'vireo[bench]'")
    if "ms-ssim" in plan.measures and "pytorch-msssim" not in versions():
        raise UsageError("MS-SSIM needs pytorch-msssim: pip install 'vireo[bench]'")


def _missing(
    points: Iterable[Point], results: Results, measures: tuple[str, ...]
) -> list[tuple[Point, Record | None]]:
    """Points without a finished record, each with the record that lacks only measures.

    A record of the same stream under another label is repeated under this one.
    """
    by_key = {r.key: r for r in results.records}
    whole = {(r.key, r.label, r.clip.name) for r in results.records if _has(r, measures)}
    missing = []
    for point in points:
        if (point.key, point.entry.label, point.clip.path.stem) in whole:
            continue
        record = by_key.get(point.key)
        if record is not None and _has(record, measures):
            results.append(_repeated(record, point))
        else:
            missing.append((point, record))
    return missing


def _repeated(record: Record, point: Point) -> Record:
    """The record of the same stream under the point's names."""
    label, codec = point.entry.label, point.entry.codec
    return replace(record, label=label, codec=codec, clip=point.clip.record())


def _has(record: Record, measures: tuple[str, ...]) -> bool:
    return all(name in record.frames for group in measures for name in _SERIES[group])


class _Crew:
    """Threads that take points and run their stages in processes."""

    def __init__(
        self, results: Results, watcher: Watcher, plan: Plan, jobs: int, cores: tuple[int, ...]
    ) -> None:
        self._results = results
        self._watcher = watcher
        self._plan = plan
        self._jobs = jobs
        share = plan.threads if jobs * plan.threads <= len(cores) else len(cores)
        self._slots: queue.Queue[int] = queue.Queue()
        for slot in range(jobs):
            self._slots.put(slot)
        starts = [slot * share % len(cores) for slot in range(jobs)]
        self._stages = [Stage(cores[s : s + share] or cores) for s in starts]
        self._stopped = threading.Event()
        # These stay: importing what measures takes longer than measuring.
        self._measurers = self._new_measurers()
        self._mutex = threading.Lock()
        self._preparing = threading.Lock()

    def _new_measurers(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._jobs, get_context("spawn"), initializer=settle)

    def work(self, points: list[tuple[Point, Record | None]]) -> int:
        """Returns how many failed; on KeyboardInterrupt the processes are ended first."""
        with ThreadPoolExecutor(self._jobs) as pool:
            futures: list[Future[bool]] = [pool.submit(self._compute, *p) for p in points]
            try:
                return sum(not future.result() for future in as_completed(futures))
            except BaseException:
                self._stopped.set()
                for future in futures:
                    future.cancel()
                for stage in self._stages:
                    stage.stop()
                raise
            finally:
                self._measurers.shutdown(cancel_futures=True)

    def _compute(self, point: Point, known: Record | None) -> bool:
        slot = self._slots.get()
        self._watcher.begin(slot, point)
        record, error = None, ""
        try:
            with self._preparing:
                point.clip.prepare()
            record = self._measured_again(slot, point, known) or self._record(slot, point)
            self._results.append(record)
        except (VireoError, OSError) as reason:
            error = str(reason)
        except Exception as reason:  # one point must not end the others
            error = f"{type(reason).__name__}: {reason}"
        if not self._stopped.is_set():
            self._watcher.finish(slot, point, record, error)
        self._slots.put(slot)
        return record is not None

    def _measured_again(self, slot: int, point: Point, known: Record | None) -> Record | None:
        """A known record with the measures that it lacks, where its stream is still there."""
        if known is None:
            return None
        stream = self._results.streams / known.stream
        if not stream.is_file() or stream.stat().st_size != known.size.file:
            return None
        self._watcher.stage(slot, "measures")
        frames = self._measure(stream, point, self._plan.measures).frames
        return replace(_repeated(known, point), frames={**known.frames, **frames})

    def _measure(self, stream: Path, point: Point, wanted: tuple[str, ...]) -> stages.Measured:
        pool = self._measurers
        try:
            return pool.submit(stages.measure, stream, point.clip, wanted, point.threads).result()
        except BrokenProcessPool as error:
            with self._mutex:
                if self._measurers is pool:
                    self._measurers = self._new_measurers()
            raise StageError("the process that measures ended without a result") from error

    def _record(self, slot: int, point: Point) -> Record:
        stage, entry = self._stages[slot], point.entry
        stream = self._results.streams / point.stream

        def tell(what: str) -> None:
            self._watcher.stage(slot, what)

        encoded = Encoded.read(stream)
        if encoded is None:
            tell("encodes")
            encoded = self._encode(stage, point, stream, tell)
            encoded.write(stream)
        tell("decodes")
        decode = stage.run(stages.decode, stream, point.threads)
        tell("measures")
        measured = self._measure(stream, point, self._plan.measures)
        found = {**versions(), **({"encoder": measured.encoder} if measured.encoder else {})}
        return Record(
            key=point.key,
            label=entry.label,
            codec=entry.codec,
            settings=entry.settings(),
            control=entry.control,
            value=point.value,
            clip=point.clip.record(),
            size=measured.size,
            parts=measured.parts,
            frames=measured.frames,
            encode=encoded.cost,
            decode=decode,
            decoder=measured.decoder,
            trials=encoded.trials,
            threads=point.threads,
            jobs=self._jobs,
            versions=found,
            machine=machine(),
            command=encoded.command,
            stream=stream.name,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _encode(
        self, stage: Stage, point: Point, stream: Path, tell: Callable[[str], None]
    ) -> Encoded:
        entry, clip, threads = point.entry, point.clip, point.threads
        if entry.anchor is None:
            options = entry.options_at(point.value)
            options = replace(options, frames=clip.frames, threads=threads)
            cost, trials = stage.run(stages.encode_vireo, options, clip, stream, say=tell)
            return Encoded(cost, trials, shell(point.vireo_command()))
        anchor = entry.anchor

        def encode(value: float) -> CostRecord:
            cost: CostRecord = stage.run(stages.encode_anchor, anchor, value, clip, stream, threads)
            return cost

        if entry.control == anchor.control:
            value = point.value
            costs = [encode(value)]
        else:
            value, costs = self._search(point, stream, encode, tell)
        total = CostRecord(
            round(sum(c.wall for c in costs), 4),
            round(sum(c.cpu for c in costs), 4),
            max(c.peak_memory for c in costs),
        )
        command = anchor.command(clip.path, stream.name, value, frames=clip.frames, threads=threads)
        return Encoded(total, len(costs), shell(command))

    def _search(
        self,
        point: Point,
        stream: Path,
        encode: Callable[[float], CostRecord],
        tell: Callable[[str], None],
    ) -> tuple[float, list[CostRecord]]:
        """An anchor's rate value that meets the point's target, and the cost of each trial."""
        anchor = point.entry.anchor
        assert anchor is not None
        at_psnr = point.entry.control == "target-psnr"
        goal = (Goal.psnr if at_psnr else Goal.bit_rate)(point.value)
        costs: list[CostRecord] = []
        found: dict[float, float] = {}

        def trial(lambda_: float) -> float:
            value = anchor.value_of_lambda(lambda_)
            if value not in found:
                tell(f"tries {anchor.control} {value:g}")
                costs.append(encode(value))
                found[value] = _aimed_at(self._measure(stream, point, ()), point, at_psnr=at_psnr)
            return found[value]

        outcome = search(goal, lambda_of_quality(50), trial)
        if not outcome.met:
            self._watcher.say(f"{point}: no trial met the target; the nearest is kept")
        chosen = anchor.value_of_lambda(outcome.lambda_)
        if chosen != list(found)[-1]:
            costs.append(encode(chosen))
        return chosen, costs


def _aimed_at(measured: stages.Measured, point: Point, *, at_psnr: bool) -> float:
    """What a target's search compares: dB, or the logarithm of bits per second."""
    if at_psnr:
        quality = MEASURES["psnr"].of(measured.frames)
        assert quality is not None  # these series are always there
        return quality
    return math.log(8 * measured.size.video * point.clip.frame_rate / point.clip.frames)
