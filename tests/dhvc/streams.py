"""Streams of the tiny models, for tests."""

from __future__ import annotations

from pathlib import Path

import vireo
from vireo.container import CodedFrame, GopStart, MatroskaReader, read_packet

LAMBDAS = (8e-3, 2e-3, 5e-4, 1.25e-4)
FRAMES = 8
MODELS = ("small", "small-parallel", "paper", "paper-parallel")


def frames_of(path: Path, target: Path, **options: object) -> tuple[list, vireo.api.DecodeReport]:
    report = vireo.decode(path, target, overwrite=True, **options)
    with vireo.api.open_source(target) as source:
        return [f.planes for f in source], report


def packets(path: Path) -> tuple[list[CodedFrame], GopStart]:
    found, start = [], None
    with MatroskaReader(path) as file:
        for stored in file:
            frame = read_packet(stored.data, start)
            start = frame.gop_start if frame.is_key else start
            found.append(frame)
    assert start is not None
    return found, start
