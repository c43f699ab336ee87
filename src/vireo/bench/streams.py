"""The pictures of an encoded file, whichever codec made it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import vireo
from vireo.video import Frame, open_source

VIREO_SUFFIX = ".mkv"
"""Vireo's files are Matroska; anchors' are elementary streams."""


def pictures(path: Path, *, threads: int | None = None) -> Iterator[Frame]:
    """The decoded frames of a stream, in display order.

    `threads` holds for Vireo's decoder; FFmpeg's take as many as there are processors.
    Raises InputError or StreamError where the file is missing or damaged.
    """
    if path.suffix == VIREO_SUFFIX:
        with vireo.open(path, threads=threads) as video:
            yield from video
    else:
        with open_source(path) as source:
            yield from source
