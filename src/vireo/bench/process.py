"""Runs one function in a process of its own, on processors of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from vireo.errors import VireoError

_context = get_context("spawn")


class StageError(VireoError):
    """A stage failed, or its process ended without a result."""


class Stage:
    """A process that runs one function; `stop` ends it from another thread."""

    def __init__(self, processors: Collection[int] | None = None) -> None:
        self._processors = processors
        self._process: BaseProcess | None = None
        self._stopped = False

    def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        say: Callable[[str], None] | None = None,
    ) -> Any:
        """The function's result; raises StageError for whatever it raises.

        With `say`, the function gets one more argument: a function for messages, which
        arrive here while it runs.
        """
        ours, theirs = _context.Pipe(duplex=False)
        with ours:
            self._process = _context.Process(
                target=_work,
                args=(theirs, self._processors, function, arguments, say is not None),
                daemon=True,
            )
            self._process.start()
            theirs.close()
            if self._stopped:
                self._process.kill()
            try:
                while True:
                    kind, value = ours.recv()
                    if kind == "say" and say:
                        say(value)
                    elif kind == "result":
                        return value
                    elif kind == "error":
                        raise StageError(value)
            except EOFError:
                self._process.join()
                code = self._process.exitcode or 0
                how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with {code}"
                raise StageError(f"its process ended {how}") from None
            finally:
                self._process.join()

    def stop(self) -> None:
        """End the process that runs now, and any started later."""
        self._stopped = True
        if self._process is not None and self._process.pid is not None:
            self._process.terminate()


def _work(
    pipe: Connection,
    processors: Collection[int] | None,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    talks: bool,
) -> None:
    settle()
    if processors and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, processors)
    try:
        if talks:
            arguments = (*arguments, lambda sentence: pipe.send(("say", sentence)))
        pipe.send(("result", function(*arguments)))
    except VireoError as error:
        pipe.send(("error", str(error)))
    except MemoryError:
        pipe.send(("error", "there is not enough memory"))
    except Exception as error:
        pipe.send(("error", f"{type(error).__name__}: {error}"))


def settle() -> None:
    """Make this process a quiet one that ends with its parent, and not at Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends a child of ours too
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # x265 and SVT-AV1 print to standard error whatever they are told.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


def _end_with_parent() -> None:
    """A parent that was killed can't tell."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
