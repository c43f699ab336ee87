"""The decoder's threads: what is urgent goes first, and nothing blocks."""

from __future__ import annotations

from threading import Event, Thread, get_ident
from time import sleep

from vireo.codecs.workers import Countdown, Workers


def test_of_what_waits_the_least_rank_goes_first() -> None:
    workers = Workers(1, "test")
    started, go = Event(), Event()
    done: list[tuple[int, int]] = []

    def first() -> None:
        started.set()
        go.wait()

    workers.submit(5, first)
    started.wait()
    finished = Event()
    for order, rank in enumerate([3, 1, 2, 1]):
        workers.submit(rank, lambda rank=rank, order=order: done.append((rank, order)))
    workers.submit(9, finished.set)
    go.set()
    finished.wait()
    workers.close()
    assert done == [(1, 1), (1, 3), (2, 2), (3, 0)]


def test_calls_run_at_the_same_time() -> None:
    workers = Workers(2, "test")
    a, b = Event(), Event()
    threads: set[int] = set()

    def meet(mine: Event, other: Event) -> None:
        threads.add(get_ident())
        mine.set()
        assert other.wait(10)

    workers.submit(0, lambda: meet(a, b))
    workers.submit(1, lambda: meet(b, a))
    assert a.wait(10)
    assert b.wait(10)
    workers.close()
    assert len(threads) == 2


def test_closing_drops_what_waits() -> None:
    workers = Workers(1, "test")
    started, go = Event(), Event()
    done: list[int] = []

    def first() -> None:
        started.set()
        go.wait()

    workers.submit(0, first)
    started.wait()
    workers.submit(1, lambda: done.append(1))
    closing = Thread(target=workers.close)
    closing.start()
    while workers.waiting:
        sleep(0.001)
    go.set()
    closing.join()
    workers.submit(0, lambda: done.append(2))
    assert done == []


def test_a_countdown_fires_once_and_forgets() -> None:
    calls: list[int] = []
    countdown = Countdown(2, lambda: calls.append(1))
    countdown.arrive()
    assert calls == []
    countdown.arrive()
    countdown.arrive()
    assert calls == [1]
