"""Arithmetic that is as precise as its numbers, whatever a process allows elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import RLock

import torch

PROCESSOR = torch.device("cpu")

_FLAGS = RLock()


@contextmanager
def full_precision(device: str) -> Iterator[None]:
    """Convolutions and products of matrices on a kind of device are sums of products, as given.

    Autocast is off. On CUDA so is TF32, and so is cuDNN: its faster ways for convolutions
    (Winograd's, by Fourier transforms) add up other numbers than the products, which round, and
    which way it takes is for it to choose. Without it PyTorch gathers what a convolution needs and
    multiplies matrices, and has kernels of its own for depthwise ones: all of them round nothing
    where no sum of products is too long for its float. In training, where gradients are recorded,
    cuDNN may go its faster ways: what it rounds disappears where results are brought to their grid,
    but for what lies next to a half.

    Those flags are the process'. Threads take turns here, so that none finds them as another one
    left them; kernels have chosen their way when they are launched, so turns are short. A process
    must not change them elsewhere at the same time.
    """
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    with torch.autocast(device, enabled=False) if autocast else nullcontext():
        if device != "cuda":
            yield
            return
        with _FLAGS:
            matmul = torch.backends.cuda.matmul
            cudnn, precision = torch.backends.cudnn.enabled, matmul.fp32_precision
            torch.backends.cudnn.enabled = cudnn and torch.is_grad_enabled()
            conv = torch.backends.cudnn.conv  # type: ignore[attr-defined]
            convolutions, conv.fp32_precision = conv.fp32_precision, "ieee"
            lower = precision not in ("none", "ieee")
            if lower:
                matmul.fp32_precision = "ieee"
            try:
                yield
            finally:
                torch.backends.cudnn.enabled = cudnn
                conv.fp32_precision = convolutions
                if lower:
                    matmul.fp32_precision = precision
