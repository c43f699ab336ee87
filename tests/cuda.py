"""What tests on a GPU have in common; where there is none, they are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vireo
from tests.clips import moving, write_y4m
from tests.dhvc.streams import frames_of
from vireo.video.frame import Frame

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

PRECISIONS = ("as it is", "TF32, by its flags", "TF32, by its precision")
"""What a caller may have let cuDNN and cuBLAS do."""


@contextmanager
def caller_allows(precision: str) -> Iterator[None]:
    """Within it, the process is set to one of PRECISIONS."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if precision == PRECISIONS[0]:
        yield
    elif precision == PRECISIONS[1]:
        allowed = cudnn.allow_tf32
        cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision("highest")
            cudnn.allow_tf32 = allowed
    else:
        matmul.fp32_precision = "tf32"
        try:
            yield
        finally:
            matmul.fp32_precision = "ieee"


def farthest(a: Frame, b: Frame) -> int:
    """The largest difference of two pictures' samples."""
    return max(int(abs(x.astype(int) - y).max()) for x, y in zip(a.planes, b.planes, strict=True))


def check_samples(stream: Path, precision: str, folder: Path) -> None:
    """A stream of an exact codec has the same samples there, whatever the process allows."""
    expected, _ = frames_of(stream, folder / "a.y4m")
    with caller_allows(precision):
        found, report = frames_of(stream, folder / "b.y4m", device="cuda", threads=4)
        assert vireo.verify(stream, device="cuda").frames == len(expected)
    assert report.frames == len(expected)
    assert all(
        np.array_equal(a, b)
        for x, y in zip(found, expected, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def check_encoders(folder: Path, **options: Any) -> None:
    """What one device encodes the other decodes, and both about alike."""
    source = write_y4m(folder / "a.y4m", moving(150, 90, 6))
    reports = {}
    for device, other in (("cpu", "cuda"), ("cuda", "cpu")):
        target = folder / f"{device}.mkv"
        reports[device] = vireo.encode(source, target, gop_size=2, device=device, **options)
        assert vireo.verify(target, device=other).frames == 6
        assert vireo.verify(target, device=device).frames == 6
    cpu, cuda = reports["cpu"], reports["cuda"]
    # Symbols come of floats: some few may be others.
    assert cuda.video_size == pytest.approx(cpu.video_size, rel=0.05)
    assert cuda.psnr == pytest.approx(cpu.psnr, abs=0.2)
