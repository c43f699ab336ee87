"""What long work keeps on disk of PyTorch's state: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vireo.errors import UsageError


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes tensors and plain values; the file that was there stays until the new one is whole.

    Raises OSError where that can't be done.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except RuntimeError as error:  # PyTorch's own of a write that failed
        partial.unlink(missing_ok=True)
        raise OSError(str(error)) from error
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `save` wrote; raises UsageError for a file that is none of its."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever unpickling a damaged file raises
        raise UsageError(f"{path} is no checkpoint: {error}") from error
    if not isinstance(state, dict):
        raise UsageError(f"{path} is no checkpoint")
    return state
