"""Clips and damaged copies of them, and the ffmpeg that checks what is measured on them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from vireo.video import Frame, open_source


def first_frames(path: Path, count: int) -> list[Frame]:
    with open_source(path, frames=count) as source:
        return list(islice(source, count))


def coarse(frame: Frame, step: int) -> Frame:
    """The frame with its samples rounded to multiples of `step`; chroma half as finely."""

    def rounded(plane, step):
        return (np.rint(plane / step) * step).clip(0, 255).astype(np.uint8)

    y, u, v = frame.planes
    return Frame(rounded(y, step), rounded(u, step // 2), rounded(v, step // 2), frame.pts)


def write_raw(path: Path, frames: Sequence[Frame]) -> Path:
    path.write_bytes(b"".join(plane.tobytes() for frame in frames for plane in frame.planes))
    return path


def run_ffmpeg(
    folder: Path, reference: Sequence[Frame], decoded: Sequence[Frame], filter_: str
) -> None:
    """Run a filter of two videos, the measured one first, in `folder`."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    size = f"{reference[0].width}x{reference[0].height}"
    command = [ffmpeg, "-nostdin", "-y", "-loglevel", "error"]
    for name, frames in (("decoded.yuv", decoded), ("reference.yuv", reference)):
        write_raw(folder / name, frames)
        command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-i", name]
    subprocess.run([*command, "-lavfi", filter_, "-f", "null", "-"], cwd=folder, check=True)
