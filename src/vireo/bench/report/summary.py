"""The report's numbers: pure functions of a benchmark's records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import exp, log
from statistics import fmean
from typing import Any

from vireo.bench.record import ClipRecord, CostRecord, Record, latest
from vireo.errors import InputError
from vireo.metrics.bd_rate import BdRate, Curve, bd_rate
from vireo.metrics.quality import MEASURES, Measure

WHOLE_STREAM = "coded video"
"""The one part of a stream whose parts nobody counted."""

BETWEEN_FRAMES = "outside frames"
"""What a stream has besides its frames."""

FRAME_TYPES = ("I", "P", "B")


@dataclass(frozen=True)
class Comparison:
    """Records, one per point, and what they are about in order of appearance.

    Raises InputError for no records at all, and where one clip's name stands for different
    pictures: nothing could be compared.
    """

    records: tuple[Record, ...]

    def __post_init__(self) -> None:
        if not self.records:
            raise InputError("there are no results to report on")
        seen: dict[str, Record] = {}
        for record in self.records:
            first = seen.setdefault(record.clip.name, record)
            if _pictures(first.clip) != _pictures(record.clip):
                raise InputError(
                    f"clip {record.clip.name} is not the same for {first.label} and "
                    f"{record.label} (another file, or {first.clip.frames} frames and "
                    f"{record.clip.frames}): report on these results separately"
                )

    @staticmethod
    def of(records: Iterable[Record]) -> Comparison:
        """Of records in which later ones may repeat a point of earlier ones."""
        return Comparison(tuple(latest(records)))

    @cached_property
    def clips(self) -> dict[str, ClipRecord]:
        """Each clip by its name."""
        return {record.clip.name: record.clip for record in self.records}

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(record.label for record in self.records))

    @cached_property
    def _groups(self) -> dict[tuple[str, str], tuple[Record, ...]]:
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in self.records:
            groups.setdefault((record.clip.name, record.label), []).append(record)
        return {key: tuple(sorted(g, key=lambda r: r.size.video)) for key, g in groups.items()}

    def points(self, clip: str, label: str) -> tuple[Record, ...]:
        """A codec's points on a clip by rising rate; none where it has none."""
        return self._groups.get((clip, label), ())

    def measures(self) -> dict[str, Measure]:
        """Those that at least one record has the series for."""
        return {
            name: measure
            for name, measure in MEASURES.items()
            if any(measure.of(record.frames) is not None for record in self.records)
        }


def _pictures(clip: ClipRecord) -> tuple[Any, ...]:
    return clip.sha256, clip.width, clip.height, clip.frames, clip.frame_rate


def curve(records: Sequence[Record], measure: Measure) -> Curve:
    """Bits per pixel and quality of those records that have the measure."""
    pairs = [(r.bits_per_pixel, q) for r in records if (q := measure.of(r.frames)) is not None]
    return Curve(tuple(rate for rate, _ in pairs), tuple(quality for _, quality in pairs))


def curves(comparison: Comparison, measure: Measure) -> dict[tuple[str, str], Curve]:
    """By clip and label, where there is at least one point."""
    found = {
        (clip, label): curve(comparison.points(clip, label), measure)
        for clip in comparison.clips
        for label in comparison.labels
    }
    return {key: points for key, points in found.items() if points.rates}


NO_POINTS = "not both have points"
"""Why a pair of codecs has no BD-rate on a clip that one was not run on or not measured on."""

Pair = tuple[str, str]
"""Labels of the codec under test and of its anchor."""


def bd_rates(
    curves: Mapping[tuple[str, str], Curve], clips: Iterable[str], labels: Sequence[str]
) -> dict[str, dict[Pair, BdRate]]:
    """Of every ordered pair of codecs that both have points on a clip, by clip."""
    return {
        clip: {
            (test, anchor): bd_rate(curves[clip, anchor], curves[clip, test])
            for test in labels
            for anchor in labels
            if test != anchor and (clip, test) in curves and (clip, anchor) in curves
        }
        for clip in clips
    }


@dataclass(frozen=True)
class MeanBdRate:
    """The arithmetic mean of one pair's BD-rates over clips.

    Attributes:
        value: per cent; None where no clip counts.
        clips: names of the clips that count.
        refusals: how often each reason kept a clip out.
    """

    value: float | None
    clips: tuple[str, ...] = ()
    refusals: dict[str, int] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        return sum(self.refusals.values())


def kind_of_refusal(rate: BdRate | None) -> str:
    """Why there is no BD-rate, without the figures of the one case, so that cases count."""
    reason = NO_POINTS if rate is None else rate.refusal or "refused"
    return re.sub(r"\d+(\.\d+)?%?", "…", reason.partition(":")[0], count=1)


def mean_bd_rate(by_clip: Mapping[str, Mapping[Pair, BdRate]], pair: Pair) -> MeanBdRate:
    """Over the clips on which the pair has a BD-rate; the others count as refusals."""
    values: dict[str, float] = {}
    refusals: Counter[str] = Counter()
    for clip, pairs in by_clip.items():
        rate = pairs.get(pair)
        if rate is None or rate.value is None:
            refusals[kind_of_refusal(rate)] += 1
        else:
            values[clip] = rate.value
    mean = fmean(values.values()) if values else None
    return MeanBdRate(mean, tuple(values), dict(refusals))


CLOCKS: dict[str, Callable[[Record], tuple[CostRecord, float]]] = {
    "encode cpu": lambda record: (record.encode, record.encode.cpu),
    "encode wall": lambda record: (record.encode, record.encode.wall),
    "decode cpu": lambda record: (record.decode, record.decode.cpu),
    "decode wall": lambda record: (record.decode, record.decode.wall),
}
"""The times that are compared, in seconds."""


def time_per_frame(records: Iterable[Record], clock: str) -> float | None:
    """Seconds: the geometric mean over points, without those whose time is only a part."""
    times = []
    for record in records:
        cost, seconds = CLOCKS[clock](record)
        if cost.complete and seconds > 0:
            times.append(log(seconds / record.clip.frames))
    return exp(fmean(times)) if times else None


def time_ratio(
    comparison: Comparison, pair: Pair, clips: Iterable[str], clock: str
) -> float | None:
    """Time of the test over the anchor's: the geometric mean over the clips given."""
    test, anchor = pair
    ratios = []
    for clip in clips:
        mine = time_per_frame(comparison.points(clip, test), clock)
        other = time_per_frame(comparison.points(clip, anchor), clock)
        if mine and other:
            ratios.append(log(mine / other))
    return exp(fmean(ratios)) if ratios else None


@dataclass(frozen=True)
class AveragePoint:
    """One setting's arithmetic means over clips."""

    setting: str
    bits_per_pixel: float
    kbit_per_second: float
    quality: float


def average_points(by_clip: Sequence[Sequence[Record]], measure: Measure) -> list[AveragePoint]:
    """A codec's average curve: means of each setting that all clips have, by rising rate."""
    tables = [
        {(r.control, r.value): (r, q) for r in records if (q := measure.of(r.frames)) is not None}
        for records in by_clip
    ]
    points = []
    for control, value in tables[0] if tables else ():
        found = [table[control, value] for table in tables if (control, value) in table]
        if len(found) == len(tables):
            points.append(
                AveragePoint(
                    f"{control} {value:g}",
                    fmean(r.bits_per_pixel for r, _ in found),
                    fmean(r.kbit_per_second for r, _ in found),
                    fmean(q for _, q in found),
                )
            )
    return sorted(points, key=lambda point: point.bits_per_pixel)


def matched_rates(ranges: Sequence[tuple[float, float]], count: int = 3) -> tuple[float, ...]:
    """Rates at which most codecs can be compared, rising.

    Args:
        ranges: each codec's lowest and highest rate, above 0.
        count: how many; they lie evenly in the rate's logarithm, within the widest stretch of
            rates that more than half of the codecs reach from both sides. Where there is
            none, one rate: the median of the ranges' middles.
    """
    edges = sorted({rate for pair in ranges for rate in pair})
    runs: list[list[float]] = []
    for low, high in pairwise(edges):
        if 2 * sum(a <= low and high <= b for a, b in ranges) > len(ranges):
            if runs and runs[-1][1] == low:
                runs[-1][1] = high
            else:
                runs.append([low, high])
    if not runs:
        middles = sorted((low * high) ** 0.5 for low, high in ranges)
        return (middles[len(middles) // 2],) if middles else ()
    low, high = max(runs, key=lambda run: run[1] / run[0])
    margin = 1 / (2 * count)
    return tuple(low * (high / low) ** (margin + i / count) for i in range(count))


def nearest(records: Sequence[Record], rate: float) -> Record | None:
    """The point whose bits per pixel are nearest to a rate, by ratio."""
    return min(records, key=lambda r: abs(log(r.bits_per_pixel / rate)), default=None)


def per_frame(record: Record, measure: Measure) -> list[float | None]:
    """A measure of each frame by itself."""
    series = {name: record.frames[name] for name in measure.series if name in record.frames}
    return [
        measure.of({name: values[i : i + 1] for name, values in series.items()})
        for i in range(record.clip.frames)
    ]


def bytes_by_part(record: Record) -> dict[str, float]:
    """Of the coded video, by what they are for as far as that was counted."""
    return dict(record.parts) or {WHOLE_STREAM: record.size.video}


def bytes_by_frame_type(record: Record) -> dict[str, float]:
    """Of the coded video, by the type of the frame."""
    sums: Counter[str] = Counter()
    for kind, size in zip(record.frames["type"], record.frames["bytes"], strict=True):
        sums[kind] += size
    rest = record.size.video - sum(sums.values())
    found = {kind: float(sums[kind]) for kind in FRAME_TYPES if kind in sums}
    return found | ({BETWEEN_FRAMES: float(rest)} if rest > 0 else {})
