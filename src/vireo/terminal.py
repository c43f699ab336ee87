"""What every command shares: where its words go, and how its errors end it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from vireo.errors import StreamError, VireoError

USAGE, DAMAGED, INTERRUPTED = 2, 3, 130
"""Exit status: a wrong request or unreadable input, a damaged stream, Ctrl-C."""


def say(sentence: str) -> None:
    click.echo(f"vireo: {sentence}", err=True)


def print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value))


def fail(error: VireoError) -> NoReturn:
    say(str(error))
    sys.exit(DAMAGED if isinstance(error, StreamError) else USAGE)


@contextmanager
def errors() -> Iterator[None]:
    """Vireo's errors become one line and an exit status."""
    try:
        yield
    except VireoError as error:
        fail(error)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        sys.exit(USAGE)
    except MemoryError:
        _no_memory()
    except RuntimeError as error:
        if "allocate" not in str(error):  # PyTorch's allocator
            raise
        _no_memory()


def _no_memory() -> NoReturn:
    say("there is not enough memory for this")
    sys.exit(USAGE)


_MOST_RUNS = 12


def partial_frames(used: Mapping[int, int]) -> str:
    """Frames and how many scales each has, in runs: `frames 5-7 (3 used), 9 (1 used)`."""
    runs: list[tuple[int, int, int]] = []
    for frame, count in sorted(used.items()):
        if runs and runs[-1][1] == frame - 1 and runs[-1][2] == count:
            runs[-1] = runs[-1][0], frame, count
        else:
            runs.append((frame, frame, count))
    texts = [f"{a if a == b else f'{a}-{b}'} ({n} used)" for a, b, n in runs[:_MOST_RUNS]]
    rest = len(runs) - _MOST_RUNS
    return "frames " + ", ".join(texts) + (f" and {rest} more runs" if rest > 0 else "")
