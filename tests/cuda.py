"""What tests on a GPU have in common; where there is none, they are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

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
