"""The pictures of an encoded file, whichever codec made it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import vireo
from vireo.bench.elementary import decode
from vireo.video import Frame

VIREO_SUFFIX = ".mkv"
"""Vireo's files are Matroska; anchors' are elementary streams."""


def pictures(path: Path, *, threads: int | None = None) -> Iterator[Frame]:
    """The decoded frames of a stream, in display order.

    `threads` are as many as there are processors by default. Raises InputError or
    StreamError where the file is missing or damaged.
    """
    if path.suffix == VIREO_SUFFIX:
        with vireo.open(path, threads=threads) as video:
            yield from video
    else:
        for _, frame in decode(path, threads=threads):
            yield frame
