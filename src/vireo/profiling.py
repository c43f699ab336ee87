"""Where the time goes: seconds by stage, added up over frames and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter


@dataclass
class TimeProfile:
    """Seconds by stage; any thread may add to it.

    Stages are timed apart, so that together they are what the threads were busy with.

    Attributes:
        seconds: by stage, in the order in which the stages were met.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def lines(self, wall: float) -> list[str]:
        """A table for people: stage, seconds of all threads, share; `wall` is the clock's."""
        total = sum(self.seconds.values()) or 1.0
        rows = [
            f"{name:>30}  {s:9.3f} s  {100 * s / total:5.1f} %" for name, s in self.seconds.items()
        ]
        busy = f"{'busy, all threads':>30}  {total:9.3f} s  {total / max(wall, 1e-9):5.2f} threads"
        return [*rows, busy, f"{'by the clock':>30}  {wall:9.3f} s"]


@contextmanager
def measured(times: TimeProfile | None, stage: str) -> Iterator[None]:
    """Adds the time that the block takes, if there is a profile."""
    if times is None:
        yield
        return
    began = perf_counter()
    try:
        yield
    finally:
        times.add(stage, perf_counter() - began)
