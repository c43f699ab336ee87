"""Steps of training as CUDA graphs: thousands of small kernels by one launch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from threading import RLock

import torch

_BEFORE = 3  # times that a step is taken kernel by kernel: libraries get ready, memory is found

ALONE = RLock()
"""Held while kernels are recorded, or launched one by one: by one thread of a process at a time."""


class Graphs:
    """Of each kind of step, once it has been taken some times.

    They share their memory, as one is taken at a time. A step reads what differs between steps of a
    kind from tensors that stay where they are, and random numbers from a generator of its own.

    Trainings go on side by side, each in a thread with a stream of its own as the current one.
    Streams are PyTorch's, of which there are 32; what is recorded must not share its stream.

    Args:
        device: where steps are taken.
        generator: what they take random numbers from, if they do.
    """

    def __init__(self, device: torch.device, generator: torch.Generator | None = None) -> None:
        self._generator = generator
        self._taken: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._pool = torch.cuda.graph_pool_handle()
        current = torch.cuda.current_stream(device)
        is_default = current == torch.cuda.default_stream(device)
        # The default stream can't be recorded.
        self._stream = torch.cuda.Stream(device) if is_default else current  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """All kinds so far: they won't be taken again."""
        with ALONE:
            torch.cuda.current_stream().synchronize()
            self._graphs.clear()

    def run(self, kind: Hashable, step: Callable[[], None]) -> None:
        """Takes a step."""
        if kind not in self._graphs and self._taken[kind] >= _BEFORE:
            with ALONE:
                self._graphs[kind] = self._recorded(step)
        if kind in self._graphs:
            self._graphs[kind].replay()
            return
        self._taken[kind] += 1
        with ALONE:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                step()
            torch.cuda.current_stream().wait_stream(self._stream)

    def _recorded(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        if self._generator is not None:
            graph.register_generator_state(self._generator)
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            step()
        return graph
