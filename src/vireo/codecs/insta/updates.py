"""Updates of a decoder's weights: from and to the bytes of a stream."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vireo import _core
from vireo.codecs.insta.prior import FARTHEST, STEP_BITS, change_table
from vireo.exact import Grid
from vireo.weights import grids_of

Integers = NDArray[np.int16]


@dataclass(frozen=True)
class UpdateGrid:
    """The steps that a tensor's updates have: STEP_BITS, or its own grid's where that is coarser.

    Attributes:
        grid: of the tensor itself.
    """

    grid: Grid

    @property
    def bits(self) -> int:
        return min(STEP_BITS, self.grid.bits)

    @property
    def unit(self) -> float:
        """A step, in the tensor's values."""
        return float(2.0**-self.bits)


def update_grids(model: nn.Module) -> dict[str, UpdateGrid]:
    """Of all parameters of the decoder's side, in the order of the stream."""
    return {name: UpdateGrid(grid) for name, grid in sorted(grids_of(model).items())}


def write(updates: Mapping[str, Tensor], grids: Mapping[str, UpdateGrid]) -> bytes:
    """Updates in steps, whole numbers of at most FARTHEST, by the names of `grids`."""
    values = [updates[name].detach().cpu().to(torch.int16).numpy().ravel() for name in grids]
    flat = np.concatenate(values)
    assert np.abs(flat).max(initial=0) <= FARTHEST
    return _core.encode_updates(change_table(), flat, [v.size for v in values])


def read(data: bytes, model: nn.Module) -> dict[str, Tensor]:
    """What `write` wrote for a model of these shapes; any bytes are some updates."""
    grids = update_grids(model)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    sizes = [shapes[name].numel() for name in grids]
    flat = _core.decode_updates(change_table(), data, sizes).clip(-FARTHEST, FARTHEST)
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return {
        name: torch.from_numpy(part).reshape(shapes[name])
        for name, part in zip(grids, parts, strict=True)
    }


def shares(data: bytes, model: nn.Module) -> dict[str, float]:
    """Where the bytes of updates go, by autoencoder and network; in all as many as there are.

    Each is what its tensors would take by themselves.
    """
    found = read(data, model)
    grids = update_grids(model)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in grids:
        groups[" ".join(name.split(".")[:2]).replace("_", " ")].append(name)
    sizes = {
        group: len(write(found, {name: grids[name] for name in names}))
        for group, names in groups.items()
        if any(bool(found[name].any()) for name in names)
    }
    scale = len(data) / max(1, sum(sizes.values()))
    return {f"updates {group}": size * scale for group, size in sizes.items()}


@torch.no_grad()
def apply(model: nn.Module, updates: Mapping[str, Tensor]) -> None:
    """Adds updates to a model whose parameters lie on their grids; they stay on them."""
    grids = update_grids(model)
    parameters = dict(model.named_parameters())
    for name, update in updates.items():
        changed = parameters[name].double() + update.double() * grids[name].unit
        parameters[name].copy_(grids[name].grid.nearest(changed))
