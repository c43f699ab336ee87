"""Where the time goes: seconds by stage, added up over frames and threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from time import perf_counter


class StageTimes:
    """Seconds by stage; any thread may add to it.

    Stages are timed apart, so that together they are what the threads were busy with.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = Lock()

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is inside."""
        began = perf_counter()
        try:
            yield
        finally:
            self.add(name, perf_counter() - began)

    @property
    def seconds(self) -> Mapping[str, float]:
        """By stage, in the order in which they were first met."""
        with self._lock:
            return dict(self._seconds)

    def lines(self, wall: float) -> list[str]:
        """A table for people: stage, seconds of all threads, share; `wall` is the clock's."""
        seconds = self.seconds
        total = sum(seconds.values()) or 1.0
        rows = [f"{name:>30}  {s:9.3f} s  {100 * s / total:5.1f} %" for name, s in seconds.items()]
        busy = f"{'busy, all threads':>30}  {total:9.3f} s  {total / max(wall, 1e-9):5.2f} threads"
        return [*rows, busy, f"{'by the clock':>30}  {wall:9.3f} s"]
