"""From results files to the report's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from vireo.bench.record import Record, read_records
from vireo.bench.report.markdown import markdown
from vireo.bench.report.page import Level, levels_of, page
from vireo.bench.report.pictures import ClipPictures, Point, Wanted, collect
from vireo.bench.report.summary import Comparison
from vireo.bench.results import streams_folder
from vireo.errors import InputError, UsageError
from vireo.metrics.quality import MEASURES
from vireo.options import check_output

DEFAULT_MEASURE = "psnr"

MAX_PICTURES = 300
"""Of decoded frames in a page: some 100 MB where all are as large as `pictures.WINDOW`."""


@dataclass(frozen=True)
class ReportFiles:
    """What was written.

    Attributes:
        page: the HTML file.
        tables: the Markdown file.
        page_size: bytes of the HTML file.
        pictures: how many pictures are in it.
        notes: a sentence on each thing that was left out.
    """

    page: Path
    tables: Path
    page_size: int
    pictures: int
    notes: tuple[str, ...]


def write_report(
    results: Sequence[Path],
    out: Path,
    *,
    measure: str = DEFAULT_MEASURE,
    anchor: str | None = None,
    frame: int | None = None,
    pictures: bool = True,
    overwrite: bool = False,
    notify: Callable[[str], None] | None = None,
) -> ReportFiles:
    """Write `OUT.html` and `OUT.md`.

    Args:
        results: JSON-lines files of records, each with its streams in the folder `.streams`
            beside it. A point that is in several files counts as the last one has it.
        out: path of the report without a suffix.
        measure: name of the measure of quality to begin with.
        anchor: label of the codec to compare with; the first codec where None.
        frame: which frame of each clip the page shows, from 0; the middle where None.
        pictures: whether the page has pictures at all.
        overwrite: whether files that are there are replaced.
        notify: told what is being done, a sentence at a time.

    Raises:
        UsageError: an unknown measure or label, a negative frame, or an output that can't be.
        InputError: a file holds no results, or they can't be compared.
    """
    html_path, tables_path = (out.with_name(out.name + suffix) for suffix in (".html", ".md"))
    for source, target in product(results, (html_path, tables_path)):
        check_output(source, target, overwrite=overwrite)
    if frame is not None and frame < 0:
        raise UsageError(f"frame is {frame}: frames count from 0")
    if measure not in MEASURES:
        raise UsageError(f"no measure is called {measure}: there are {', '.join(MEASURES)}")

    streams: dict[Point, Path] = {}
    clips: dict[str, Path] = {}
    records = []
    for path in results:
        for record in read_records(path):
            records.append(record)
            streams[record.point] = streams_folder(path) / record.stream
            clips[record.clip.name] = _clip_path(record, path)
    if not records:
        raise InputError(f"{', '.join(str(p) for p in results)}: no results are in there")
    comparison = Comparison.of(records)
    if measure not in comparison.measures():
        raise UsageError(
            f"no result has {measure}: they have {', '.join(comparison.measures()) or 'none'}"
        )
    if anchor is None:
        anchor = comparison.labels[0]
    elif anchor not in comparison.labels:
        raise UsageError(f"no codec is called {anchor}: there are {', '.join(comparison.labels)}")

    levels = levels_of(comparison, MEASURES[measure])
    shown: dict[str, ClipPictures] = {}
    notes = ["the pictures, as was asked"]
    if pictures:
        records_shown, notes = _with_pictures(levels)
        wanted = [
            Wanted(clip, clips[name], {r.point: streams[r.point] for r in records_shown[name]})
            for name, clip in comparison.clips.items()
        ]
        shown, missing = collect(wanted, frame=frame, notify=notify)
        notes += missing
    html = page(comparison, MEASURES[measure], anchor, levels, shown, notes).encode()
    html_path.write_bytes(html)
    tables_path.write_text(markdown(comparison, MEASURES[measure], anchor), "utf-8")
    count = sum(1 + len(clip.decoded) for clip in shown.values())
    return ReportFiles(html_path, tables_path, len(html), count, tuple(notes))


def _clip_path(record: Record, results: Path) -> Path:
    """A path that is relative to no folder but the run's is taken to be so to its results."""
    path = Path(record.clip.path)
    return path if path.exists() else results.parent / path


def _with_pictures(
    levels: Mapping[str, Sequence[Level]],
) -> tuple[dict[str, list[Record]], list[str]]:
    """By clip the records whose pictures are shown, and a sentence on those that are not.

    Those of every rate, or of each clip's middle one where that would be too many.
    """
    every = {clip: {r.point: r for _, chosen in at for r in chosen} for clip, at in levels.items()}
    count = sum(map(len, every.values()))
    if count <= MAX_PICTURES:
        return {clip: list(chosen.values()) for clip, chosen in every.items()}, []
    middle = {clip: at[len(at) // 2][1] if at else [] for clip, at in levels.items()}
    note = f"pictures at all but each clip's middle rate: {count} would be too many for a page"
    return middle, [note]
