"""What every command shares: where its words go, and how its errors end it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
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
