"""Steps that are recorded once and taken again: what a GPU does, tried on a processor.

Here a recording holds each operation with its arguments, as a CUDA graph holds each kernel with its
own: what a step finds in Python's variables stays as it was when it was recorded.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.clips import moving
from vireo.codecs import graphs
from vireo.codecs.graphs import Graphs
from vireo.codecs.nvrc.config import CONFIGS
from vireo.codecs.nvrc.layout import Method
from vireo.codecs.nvrc.presets import PAPER, STANDARD, Preset, Recipe
from vireo.codecs.nvrc.training import Job, Trainer

PRESET = Preset(4, 2)


class Recording(TorchDispatchMode):
    """Stands for a CUDA graph; what is recorded is done, too, and not again by the next replay."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result

    def register_generator_state(self, generator: torch.Generator) -> None:
        assert isinstance(generator, torch.Generator)

    def replay(self) -> None:
        self.replays += 1
        if self.replays == 1:
            return
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, result in self.operations:
                aliases = [returned.alias_info for returned in func._schema.returns]
                if any(alias is not None and not alias.is_write for alias in aliases):
                    continue  # a view sees what is there
                again = func(*args, **kwargs)
                if not any(aliases):
                    for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                        if isinstance(old, torch.Tensor):
                            old.copy_(new)


class Stream:
    """Of a device that has done all that it was asked for."""

    def wait_stream(self, other: Stream) -> None:
        pass

    def synchronize(self) -> None:
        pass


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """All that are made; steps are recorded on the processor."""
    found: list[Recording] = []

    def recording() -> Recording:
        found.append(Recording())
        return found[-1]

    monkeypatch.setattr(graphs, "_BEFORE", 1)
    cuda = "torch.cuda."
    monkeypatch.setattr(cuda + "CUDAGraph", recording)
    monkeypatch.setattr(cuda + "graph", lambda graph, **options: graph)
    monkeypatch.setattr(cuda + "graph_pool_handle", lambda: 0)
    monkeypatch.setattr(cuda + "stream", lambda stream: nullcontext())
    monkeypatch.setattr(cuda + "Stream", lambda device: Stream())
    default = Stream()
    for name in ("current_stream", "default_stream"):
        monkeypatch.setattr(cuda + name, lambda *device: default)
    return found


def trainer(recipe: Recipe) -> Trainer:
    """As one on a GPU: in PyTorch, with an optimiser that reads its rates when a step is taken."""
    frames = [f.planes for f in moving(48, 48, 3)]
    config = CONFIGS["xxs"]
    job = Job(config, Method.of(config), frames, 1e-3, PRESET, recipe)
    own = Trainer(job, native=False)
    groups = [{**g, "lr": torch.zeros(())} for g in own._optimiser.param_groups]
    kept = ("params", "factor", "lr")
    own._optimiser = torch.optim.Adam([{k: g[k] for k in kept} for g in groups], fused=True)
    return own


@pytest.mark.parametrize("recipe", [STANDARD, replace(PAPER, distortion="mse")])
def test_recorded_steps_are_those_taken_one_by_one(
    recipe: Recipe, recordings: list[Recording]
) -> None:
    recipe = replace(recipe, rate_every=4)
    plain, recorded = trainer(recipe), trainer(recipe)
    recorded._graphs = Graphs(torch.device("cpu"), recorded._generator)
    plain.train()
    recorded.train()
    # Distortion and rate of the first stage, distortion of the second.
    assert [r.replays > 1 for r in recordings] == 3 * [True]
    expected = plain.numbers.state_dict()
    for name, own in recorded.numbers.state_dict().items():
        assert torch.equal(own, expected[name]), name
