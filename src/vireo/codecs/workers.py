"""Threads that take the most urgent of what can be done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from itertools import count
from threading import Lock

Call = Callable[[], None]


class Workers:
    """A fixed number of threads; of the calls that wait, the least rank goes first.

    Calls must not raise, and none waits for another: what can only start later is
    submitted later (see `Countdown`). So no thread is ever blocked.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._lock = Lock()
        self._calls: list[tuple[int, int, Call]] = []
        self._closed = False
        self._order = count()  # calls of one rank keep theirs

    def submit(self, rank: int, call: Call) -> None:
        """What comes after `close` is dropped."""
        with self._lock:
            if not self._closed:
                heappush(self._calls, (rank, next(self._order), call))
                self._pool.submit(self._run_next)

    @property
    def waiting(self) -> int:
        """Calls that no thread has taken yet."""
        with self._lock:
            return len(self._calls)

    def close(self) -> None:
        """Returns when running calls have ended; those that wait are dropped."""
        with self._lock:
            self._closed = True
            self._calls.clear()
        self._pool.shutdown(cancel_futures=True)

    def _run_next(self) -> None:
        with self._lock:
            if not self._calls:
                return
            call = heappop(self._calls)[2]
        call()


class Countdown:
    """Calls `then`, once, when `count` things have come."""

    def __init__(self, count: int, then: Call) -> None:
        self._lock = Lock()
        self._left = count
        self._then: Call | None = then

    def arrive(self, thing: object = None) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
            # Whoever still holds this shouldn't hold what was waited for.
            then, self._then = self._then, None
        if then:
            then()
