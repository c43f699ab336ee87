"""Where networks compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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


@contextmanager
def threads_of_pytorch(count: int, usual: int) -> Iterator[None]:
    """So many compute in here: more would wait in a loop, on cores that others are to have.

    Afterwards there are `usual` again: what was found might be another thread's, in here as well.
    """
    import torch

    torch.get_num_threads()  # else a new thread's first operation takes what others have set
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


class ComputesWithPyTorch:
    """Picture encoders whose networks PyTorch computes (see `codecs.encoding.PictureEncoder`)."""

    def __init__(self) -> None:
        import torch

        self._usual = torch.get_num_threads()  # here, not where a picture is encoded

    def computing(self, threads: int) -> AbstractContextManager[None]:
        """PyTorch has so many."""
        return threads_of_pytorch(threads, self._usual)
