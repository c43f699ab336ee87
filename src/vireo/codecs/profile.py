"""Where the time of decoding goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter


@dataclass
class TimeProfile:
    """Seconds by stage, summed over threads.

    Attributes:
        seconds: by stage, in the order in which the stages were met.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@contextmanager
def measured(profile: TimeProfile | None, stage: str) -> Iterator[None]:
    """Adds the time that the block takes, if there is a profile."""
    if profile is None:
        yield
        return
    began = perf_counter()
    try:
        yield
    finally:
        profile.add(stage, perf_counter() - began)
