"""Where networks compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vireo.errors import UsageError

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> torch.device:
    """PyTorch's device for "cpu" or "cuda", the current one of several; raises UsageError."""
    try:
        import torch
    except ImportError as error:
        raise UsageError(f"device {name} needs PyTorch: install vireo[torch]") from error
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UsageError("device cuda: PyTorch finds no CUDA device here")
    # By its number: which one is current is each thread's own.
    return torch.device("cuda", torch.cuda.current_device())
