"""A run on the terminal: what is at work, what was finished, how far it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic
from types import TracebackType

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from vireo.bench.points import Point
from vireo.bench.record import Record
from vireo.metrics.quality import MEASURES

_SHOWN = 12


@dataclass
class _Work:
    point: Point
    what: str
    since: float


class LiveTable:
    """The watcher of a run on a terminal; elsewhere a line per finished point.

    Args:
        as_json: whether finished records go to standard output as JSON lines.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._console = Console(stderr=True)
        self._mutex = threading.RLock()
        self._work: dict[int, _Work] = {}
        self._finished: list[tuple[str, ...]] = []
        self._progress = Progress(
            TextColumn("points"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
        )
        self._task = self._progress.add_task("", total=None, left="")
        self._began = monotonic()
        self._known = 0
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4)

    def plan(self, total: int, done: int) -> None:
        self._known = done
        self._progress.update(self._task, total=total, completed=done)
        self.say(f"{total - done} of {total} points to compute")

    def begin(self, slot: int, point: Point) -> None:
        with self._mutex:
            self._work[slot] = _Work(point, "reads", monotonic())

    def stage(self, slot: int, what: str) -> None:
        with self._mutex:
            self._work[slot].what = what

    def finish(self, slot: int, point: Point, record: Record | None, error: str) -> None:
        with self._mutex:
            del self._work[slot]
            self._progress.advance(self._task)
            self._progress.update(self._task, left=self._time_left())
            if record is not None:
                cells = _cells(record)
                self._finished = [*self._finished, cells][-_SHOWN:]
        # Nothing is printed under the lock: drawing the table takes both, the other way round.
        if record is None:
            self.say(f"{point}: {error}")
            return
        if not self._console.is_terminal:
            self.say(" ".join(cell for cell in cells if cell))
        if self._as_json:
            click.echo(record.to_line())

    def say(self, sentence: str) -> None:
        self._console.print(f"vireo: {sentence}", highlight=False, markup=False, soft_wrap=True)

    def _time_left(self) -> str:
        """By the points so far: the codecs differ, so this is no more than a guess."""
        task = self._progress.tasks[0]
        done = task.completed - self._known
        if not done or task.total is None or task.completed >= task.total:
            return ""
        seconds = (monotonic() - self._began) / done * (task.total - task.completed)
        left = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
        return f"about {left} left at this pace"

    def _render(self) -> RenderableType:
        with self._mutex:
            table = Table(box=None, pad_edge=False)
            for name in ("clip", "codec", "rate"):
                table.add_column(name, overflow="ellipsis", no_wrap=True)
            for name in ("kbit/s", "PSNR", "encode s", "decode s"):
                table.add_column(name, justify="right", no_wrap=True)
            for cells in self._finished:
                table.add_row(*cells)
            for work in self._work.values():
                entry, clip = work.point.entry, work.point.clip.path.stem
                at = f"{entry.control} {work.point.value:g}"
                elapsed = f"{monotonic() - work.since:.0f}"
                table.add_row(clip, entry.label, at, work.what, "", elapsed, "", style="cyan")
            return Group(table, self._progress)

    def __enter__(self) -> LiveTable:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()


def _cells(record: Record) -> tuple[str, ...]:
    quality = MEASURES["psnr"].of(record.frames)
    return (
        record.clip.name,
        record.label,
        f"{record.control} {record.value:g}",
        f"{record.kbit_per_second:.1f}",
        "" if quality is None else f"{quality:.2f}",
        f"{record.encode.wall:.1f}" + ("" if record.encode.complete else "+"),
        f"{record.decode.wall:.2f}",
    )
