"""The report as one HTML file that needs nothing besides itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from vireo.bench.record import Record
from vireo.bench.report import summary
from vireo.bench.report.facts import command, count, facts, setting
from vireo.bench.report.pictures import ClipPictures, Point
from vireo.bench.report.summary import Comparison, Pair
from vireo.metrics.bd_rate import BdRate
from vireo.metrics.quality import Measure

SCRIPTS = ("common.js", "plots.js", "tables.js", "viewer.js", "page.js")

Level = tuple[float, list[Record]]
"""A rate in bits per pixel, and of each codec the point nearest to it."""


def levels_of(comparison: Comparison, measure: Measure) -> dict[str, list[Level]]:
    """For each clip the rates at which codecs are compared, with each codec's nearest point."""
    found = {}
    for clip in comparison.clips:
        curves = [
            points
            for label in comparison.labels
            if (points := [r for r in comparison.points(clip, label) if _has(r, measure)])
        ]
        rates = summary.matched_rates(
            [(points[0].bits_per_pixel, points[-1].bits_per_pixel) for points in curves]
        )
        levels: dict[tuple[Point, ...], Level] = {}
        for rate in rates:
            chosen = [r for points in curves if (r := summary.nearest(points, rate)) is not None]
            levels.setdefault(tuple(r.point for r in chosen), (rate, chosen))
        found[clip] = list(levels.values())
    return found


def page(
    comparison: Comparison,
    measure: Measure,
    anchor: str,
    levels: Mapping[str, Sequence[Level]],
    pictures: Mapping[str, ClipPictures],
    notes: Sequence[str],
) -> str:
    """The HTML text.

    Args:
        comparison: what to show.
        measure: shown first; the page can switch to any other that the records have.
        anchor: the codec that times are compared with first.
        levels: of `levels_of`.
        pictures: of the viewer, by clip.
        notes: a sentence on each thing left out.
    """
    data = page_data(comparison, measure, anchor, levels, pictures, notes)
    folder = files("vireo.bench.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((folder / "page.html.j2").read_text("utf-8"))
    return template.render(
        style=Markup((folder / "page.css").read_text("utf-8")),
        plotly=Markup(get_plotlyjs()),
        scripts=Markup("\n".join((folder / name).read_text("utf-8") for name in SCRIPTS)),
        data=Markup(_json(data)),
        comparison=comparison,
        command=command,
        count=count,
        notes=notes,
        facts=facts(comparison),
    )


def page_data(
    comparison: Comparison,
    measure: Measure,
    anchor: str,
    levels: Mapping[str, Sequence[Level]],
    pictures: Mapping[str, ClipPictures],
    notes: Sequence[str],
) -> dict[str, Any]:
    """What the page's script draws, as plain values. Points are known by their position."""
    measures = comparison.measures()
    position = {record.point: i for i, record in enumerate(comparison.records)}
    shown = {record.point: record for at in levels.values() for _, rs in at for record in rs}
    return {
        "measures": [
            {"name": m.name, "title": m.title, "unit": m.unit, "explanation": m.explanation}
            for m in measures.values()
        ],
        "measure": measure.name,
        "anchor": comparison.labels.index(anchor),
        "codecs": [
            {"label": r.label, "learned": bool(r.decoder)} for r in facts(comparison).examples
        ],
        "clips": [
            {"name": c.name, "width": c.width, "height": c.height, "frames": c.frames}
            for c in comparison.clips.values()
        ],
        "points": [_point(comparison, record, measures) for record in comparison.records],
        "bd_rates": {m.name: _bd_rates_and_times(comparison, m) for m in measures.values()},
        "levels": [
            [
                {"bpp": rate, "points": [position[record.point] for record in chosen]}
                for rate, chosen in levels[clip]
            ]
            for clip in comparison.clips
        ],
        "details": {position[point]: _details(record, measures) for point, record in shown.items()},
        "pictures": [
            {
                "frame": p.frame,
                "window": vars(p.window),
                "original": p.original,
                "decoded": {position[point]: uri for point, uri in p.decoded.items()},
            }
            if (p := pictures.get(clip))
            else None
            for clip in comparison.clips
        ],
    }


def _has(record: Record, measure: Measure) -> bool:
    return measure.of(record.frames) is not None


def _point(
    comparison: Comparison, record: Record, measures: Mapping[str, Measure]
) -> dict[str, Any]:
    return {
        "clip": list(comparison.clips).index(record.clip.name),
        "codec": comparison.labels.index(record.label),
        "setting": setting(record),
        "bpp": record.bits_per_pixel,
        "kbps": record.kbit_per_second,
        "size": vars(record.size),
        "encode": vars(record.encode),
        "decode": vars(record.decode),
        "quality": {m.name: _rounded(m.of(record.frames), 4) for m in measures.values()},
    }


def _bd_rates_and_times(comparison: Comparison, measure: Measure) -> dict[str, Any]:
    """BD-rates by clip and on average, and time ratios, `[test][anchor]`."""
    curves = summary.curves(comparison, measure)
    by_clip = summary.bd_rates(curves, comparison.clips, comparison.labels)
    means = {
        (test, anchor): summary.mean_bd_rate(by_clip, (test, anchor))
        for test in comparison.labels
        for anchor in comparison.labels
        if test != anchor
    }

    def mean(pair: Pair) -> dict[str, Any] | None:
        found = means.get(pair)
        if found is None:
            return None
        return {
            "value": _rounded(found.value, 3),
            "clips": len(found.clips),
            "refusals": found.refusals,
            "times": {
                clock: _rounded(summary.time_ratio(comparison, pair, found.clips, clock), 6)
                for clock in summary.CLOCKS
            },
        }

    def square(cell: Any) -> list[list[Any]]:
        return [
            [cell((test, anchor)) for anchor in comparison.labels] for test in comparison.labels
        ]

    return {
        "mean": square(mean),
        "clips": [
            square(lambda pair, rates=rates: _bd(rates.get(pair))) for rates in by_clip.values()
        ],
    }


def _bd(rate: BdRate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    if rate.value is None:
        return {"value": None, "refusal": rate.refusal or "refused"}
    return {"value": _rounded(rate.value, 3), "overlap": _rounded(rate.overlap, 3)}


def _details(record: Record, measures: Mapping[str, Measure]) -> dict[str, Any]:
    return {
        "types": record.frames["type"],
        "bytes": record.frames["bytes"],
        "quality": {
            m.name: [_significant(v) for v in summary.per_frame(record, m)]
            for m in measures.values()
        },
        "parts": summary.bytes_by_part(record),
        "by_type": summary.bytes_by_frame_type(record),
    }


def _significant(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _json(data: Any) -> str:
    """JSON that can stand inside a script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
