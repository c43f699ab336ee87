"""The report as Markdown tables, for documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import fmean

from vireo.bench.record import CostRecord, Record
from vireo.bench.report import summary
from vireo.bench.report.facts import command, count, facts, setting
from vireo.bench.report.summary import Comparison, MeanBdRate
from vireo.metrics.bd_rate import BdRate
from vireo.metrics.quality import Measure

NONE = "–"


def markdown(comparison: Comparison, measure: Measure, anchor: str) -> str:
    """The text.

    Args:
        comparison: what to report on.
        measure: of the BD-rates.
        anchor: label of the codec that the others are compared with clip by clip.
    """
    by_clip = summary.bd_rates(
        summary.curves(comparison, measure), comparison.clips, comparison.labels
    )
    sections = [
        _head(comparison, measure),
        _matrix(comparison, measure, by_clip),
        _against(comparison, measure, anchor, by_clip),
        _times(comparison, measure, anchor, by_clip),
        _averages(comparison, measure),
        *(_points(comparison, clip) for clip in comparison.clips),
        _measures(comparison),
        _bytes(comparison),
        _decoders(comparison),
        _origin(comparison),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table whose first `left` columns are text and whose others are numbers."""
    lines = [head, [":--" if i < left else "--:" for i in range(len(head))], *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _head(comparison: Comparison, measure: Measure) -> str:
    return (
        f"# Codec comparison\n\n{count(comparison.labels, 'codec')} on "
        f"{count(comparison.clips, 'clip')}, {count(comparison.records, 'point')}; "
        f"run {facts(comparison).when}.\n\n"
        "Rates are bytes of coded video in files that were written; what a container adds, and "
        "what an encoder writes about itself into the stream, stands apart. "
        f"{measure.title}: {measure.explanation}"
    )


def _matrix(
    comparison: Comparison, measure: Measure, by_clip: dict[str, dict[summary.Pair, BdRate]]
) -> str:
    refusals: Counter[str] = Counter()

    def cell(test: str, anchor: str) -> str:
        if test == anchor:
            return ""
        found = summary.mean_bd_rate(by_clip, (test, anchor))
        refusals.update(found.refusals)
        return _mean(found)

    rows = [
        [test, *(cell(test, anchor) for anchor in comparison.labels)] for test in comparison.labels
    ]
    text = (
        f"## BD-rate, {measure.title}\n\nPer cent of bits of the row's codec against the "
        f"column's at equal {measure.title}, mean over clips; negative needs fewer bits. "
        "Where only some clips count, how many of how many.\n\n"
    )
    return text + table(["codec ↓ anchor →", *comparison.labels], rows) + _counted(refusals)


def _against(
    comparison: Comparison,
    measure: Measure,
    anchor: str,
    by_clip: dict[str, dict[summary.Pair, BdRate]],
) -> str:
    others = [label for label in comparison.labels if label != anchor]
    if not others:
        return ""
    refusals: Counter[str] = Counter()

    def cell(clip: str, test: str) -> str:
        rate = by_clip[clip].get((test, anchor))
        if rate is not None and rate.value is not None:
            return _signed(rate.value)
        refusals[summary.kind_of_refusal(rate)] += 1
        return NONE

    rows = [[clip, *(cell(clip, test) for test in others)] for clip in comparison.clips]
    rows.append(
        [
            "**mean**",
            *(_mean(summary.mean_bd_rate(by_clip, (test, anchor))) for test in others),
        ]
    )
    text = f"## BD-rate against {anchor} by clip, {measure.title}\n\n"
    return text + table(["clip", *others], rows) + _counted(refusals)


def _times(
    comparison: Comparison,
    measure: Measure,
    anchor: str,
    by_clip: dict[str, dict[summary.Pair, BdRate]],
) -> str:
    def row(label: str) -> list[str]:
        own = label == anchor
        mean = summary.mean_bd_rate(by_clip, (label, anchor))
        clips = tuple(comparison.clips) if own else mean.clips
        records = [r for clip in comparison.clips for r in comparison.points(clip, label)]
        ratios = [summary.time_ratio(comparison, (label, anchor), clips, c) for c in summary.CLOCKS]
        frame = [summary.time_per_frame(records, c) for c in ("encode cpu", "decode cpu")]
        return [
            label,
            "anchor" if own else _mean(mean),
            *(_or_none(ratio, lambda r: f"{_significant(r)} ×") for ratio in ratios),
            *(_or_none(seconds, _significant) for seconds in frame),
        ]

    head = ["codec", "BD-rate, %", *summary.CLOCKS, "encode CPU s/frame", "decode CPU s/frame"]
    return (
        f"## Time and BD-rate against {anchor}, {measure.title}\n\n"
        "Ratios over the clips that have a BD-rate, seconds over all: geometric means.\n\n"
        + table(head, map(row, comparison.labels))
    )


def _averages(comparison: Comparison, measure: Measure) -> str:
    curves = summary.curves(comparison, measure)
    clips = [c for c in comparison.clips if all((c, la) in curves for la in comparison.labels)]
    if len(clips) < 2:
        return ""
    rows = []
    for label in comparison.labels:
        averages = summary.average_points([comparison.points(c, label) for c in clips], measure)
        rows += [
            [label, a.setting, f"{a.bits_per_pixel:.4f}", _significant(a.kbit_per_second),
             f"{a.quality:.3f}"]
            for a in averages
        ]  # fmt: skip
    head = ["codec", "setting", "bits/pixel", "kbit/s", _title(measure)]
    return (
        f"## Mean over {count(clips, 'clip')}\n\n"
        "Of each setting, over the clips that every codec has points on.\n\n"
        + table(head, rows, left=2)
    )


def _points(comparison: Comparison, clip: str) -> str:
    found = comparison.clips[clip]
    measures = comparison.measures()
    head = [
        "codec", "setting", "bytes", "kbit/s", "bits/pixel", *measures,
        "encode s", "encode CPU s", "encode MB", "decode s", "decode CPU s", "decode MB",
        "container", "remarks",
    ]  # fmt: skip
    rows = [
        [
            label,
            setting(r),
            _whole(r.size.video),
            _significant(r.kbit_per_second),
            f"{r.bits_per_pixel:.4f}",
            *(_or_none(m.of(r.frames), lambda q: f"{q:.3f}") for m in measures.values()),
            *_cost(r.encode),
            *_cost(r.decode),
            _whole(r.size.container),
            _whole(r.size.remarks),
        ]
        for label in comparison.labels
        for r in comparison.points(clip, label)
    ]
    return (
        f"## {clip}\n\n{found.width}×{found.height}, {count(found.frames, 'frame')} at "
        f"{found.frame_rate} per second. MB is the process's largest resident size; container "
        "and remarks are bytes beside those of the rate.\n\n" + table(head, rows, left=2)
    )


def _measures(comparison: Comparison) -> str:
    lines = [f"- {m.name}: {_title(m)}. {m.explanation}" for m in comparison.measures().values()]
    return "## Measures\n\n" + "\n".join(lines)


def _bytes(comparison: Comparison) -> str:
    def shares(records: Sequence[Record], of: Callable[[Record], dict[str, float]]) -> str:
        sums: Counter[str] = Counter()
        for record in records:
            sums.update(of(record))
        whole = sum(sums.values())
        return ", ".join(f"{name} {100 * part / whole:.1f} %" for name, part in sums.items())

    def row(label: str) -> list[str]:
        records = [r for clip in comparison.clips for r in comparison.points(clip, label)]
        return [
            label,
            shares(records, summary.bytes_by_part),
            shares(records, summary.bytes_by_frame_type),
            _whole(fmean(r.size.container for r in records)),
            _whole(fmean(r.size.remarks for r in records)),
        ]

    head = ["codec", "by part", "by frame type", "container", "remarks"]
    return (
        "## Where the bytes went\n\nShares of the coded video over all points; container and "
        "remarks in bytes per file.\n\n" + table(head, map(row, comparison.labels), left=3)
    )


def _decoders(comparison: Comparison) -> str:
    rows = []
    for label in comparison.labels:
        known = [r.decoder for r in comparison.records if r.label == label and r.decoder]
        if known:
            rows.append([label, *(_range(d.get(name) for d in known) for name in _DECODER)])
    if not rows:
        return ""
    head = ["codec", "parameters", "multiplications per luma sample"]
    return "## Decoders\n\nOver all points.\n\n" + table(head, rows)


_DECODER = ("parameters", "multiplications")


def _range(values: Iterable[float | None]) -> str:
    known = sorted({_whole(v): v for v in values if v is not None}.items(), key=lambda kv: kv[1])
    return NONE if not known else " … ".join(dict.fromkeys((known[0][0], known[-1][0])))


def _origin(comparison: Comparison) -> str:
    def lines() -> Iterator[str]:
        found = facts(comparison)
        yield "## How it was run\n"
        yield f"- Machine: {'; '.join(found.machines) or 'not recorded'}"
        yield f"- Threads: {'; '.join(found.threads)}"
        yield f"- Software: {', '.join(found.versions) or 'not recorded'}"
        yield f"- Finished: {found.when}"
        yield "\nOne command of each codec:\n"
        for record in found.examples:
            yield f"- {record.label}: `{command(record)}`"

    return "\n".join(lines())


def _title(measure: Measure) -> str:
    return f"{measure.title}, {measure.unit}" if measure.unit else measure.title


def _mean(mean: MeanBdRate) -> str:
    if mean.value is None:
        return NONE
    some = f" ({len(mean.clips)}/{len(mean.clips) + mean.refused})" if mean.refused else ""
    return _signed(mean.value) + some


def _counted(refusals: Counter[str]) -> str:
    if not refusals:
        return ""
    reasons = "; ".join(f"{reason} ({number} times)" for reason, number in refusals.most_common())
    return f"\n\n{NONE}, or a clip left out: {reasons}."


def _cost(cost: CostRecord) -> list[str]:
    times = [_significant(cost.wall), _significant(cost.cpu)]
    if not cost.complete:
        times = [f"> {time}" for time in times]
    return [*times, _whole(cost.peak_memory / 1e6)]


def _or_none(value: float | None, text: Callable[[float], str]) -> str:
    return NONE if value is None else text(value)


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _significant(value: float) -> str:
    """At least three digits, and no exponent."""
    rounded = float(f"{value:.3g}")
    if rounded >= 100:
        return _whole(value)
    return f"{value:.{2 if rounded >= 1 else 3 if rounded >= 0.1 else 4}f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"
