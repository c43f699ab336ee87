"""Steps of training as CUDA graphs: thousands of small kernels by one launch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

import torch

_BEFORE = 3  # times that a step is taken kernel by kernel: libraries get ready, memory is found


class Graphs:
    """Of each kind of step, once it has been taken some times.

    They share their memory, as one is taken at a time. A step reads what differs between steps of a
    kind from tensors that stay where they are, and its random numbers from CUDA's own generator.
    """

    def __init__(self, device: torch.device) -> None:
        self._taken: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """All kinds so far: they won't be taken again."""
        self._graphs.clear()

    def run(self, kind: Hashable, step: Callable[[], None]) -> None:
        """Takes a step."""
        if kind not in self._graphs and self._taken[kind] >= _BEFORE:
            graph = torch.cuda.CUDAGraph()
            torch.cuda.synchronize()
            # Other threads may use the device meanwhile.
            with torch.cuda.graph(
                graph,
                pool=self._pool,
                stream=self._stream,
                capture_error_mode="thread_local",
            ):
                step()
            self._graphs[kind] = graph
        if kind in self._graphs:
            self._graphs[kind].replay()
            return
        self._taken[kind] += 1
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            step()
        torch.cuda.current_stream().wait_stream(self._stream)
