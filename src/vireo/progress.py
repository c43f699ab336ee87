"""Progress on standard error, for people, and events for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vireo.codecs.encoding import FrameProgress, FrameReport
from vireo.journal import PacketJournal
from vireo.metrics import psnr, weighted_mse
from vireo.video import VideoSource


class EncodeProgress:
    """A bar per stream: frames, the frame at hand, PSNR and size so far, time left.

    Args:
        output: what is being made.
        emit: called with an event (plain values) for each finished frame, or None.
    """

    def __init__(self, output: Path, emit: Callable[[dict[str, Any]], None] | None) -> None:
        self._emit = emit
        self._reports: list[FrameReport] = []
        self._parts: dict[int, float] = {}  # of the frames that are being encoded
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task(output.name, total=None, status="opening", start=False)
        self._total: int | None = None

    def start(self, video: VideoSource, journal: PacketJournal) -> None:
        """The source is open, for the only encode or for one of several trials."""
        self._reports.clear()
        self._parts.clear()
        self._total = video.frame_count
        self._progress.reset(self._task, total=self._total, status="")
        self._progress.start_task(self._task)
        if journal.resumed:
            self.say(f"going on after {journal.resumed} frames of an earlier run")

    def __call__(self, event: FrameReport | FrameProgress) -> None:
        if isinstance(event, FrameProgress):
            self._parts[event.index] = min(event.iterations / max(1, event.planned), 1.0)
            self._progress.update(
                self._task,
                completed=len(self._reports) + sum(self._parts.values()),
                status=f"{self._so_far()} {event.frame_type.name}{event.index} "
                f"{event.iterations}/{event.planned}",
            )
            return
        self._reports.append(event)
        self._parts.pop(event.index, None)
        self._progress.update(
            self._task, completed=len(self._reports), status=self._so_far(), refresh=True
        )
        if self._emit:
            self._emit(
                {
                    "event": "frame",
                    "index": event.index,
                    "type": event.frame_type.name,
                    "bytes": event.size,
                    "psnr": psnr(weighted_mse(event.mse)),
                    "psnr_y": psnr(event.mse[0]),
                    "psnr_u": psnr(event.mse[1]),
                    "psnr_v": psnr(event.mse[2]),
                    "seconds": event.seconds,
                    "iterations": event.iterations,
                }
            )

    def _so_far(self) -> str:
        done = len(self._reports)
        frames = f"{done}/{self._total or '?'} frames"
        if not done:
            return frames
        mse = sum(weighted_mse(r.mse) for r in self._reports) / done
        size = sum(r.size for r in self._reports)
        estimate = f" of ~{size * self._total / done / 1000:.1f}" if self._total else ""
        return f"{frames} {psnr(mse):.2f} dB {size / 1000:.1f}{estimate} kB"

    @property
    def frames_done(self) -> int:
        return len(self._reports)

    def say(self, sentence: str) -> None:
        self._console.print(f"vireo: {sentence}", highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        if self._console.is_terminal:  # else it would print an empty line
            self._progress.stop()

    def __enter__(self) -> EncodeProgress:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def counter(what: str) -> Iterator[Callable[[int], None]]:
    """A count of frames on a terminal's standard error; silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda count: progress.update(task, completed=count)
