"""A segment's network, as a decoder has it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from vireo.codecs.base import Planes
from vireo.codecs.devices import threads_of_pytorch
from vireo.codecs.nvrc import coding
from vireo.codecs.nvrc.coding import Coded
from vireo.codecs.nvrc.config import CELL, Extent
from vireo.codecs.nvrc.layout import Layout
from vireo.codecs.nvrc.model import Native, Patch, halved, pictures
from vireo.codecs.nvrc.stages import Stages
from vireo.exact import PROCESSOR, full_precision

_MOST_CELLS = 1024  # of a picture that is made at once; of 0.6 million samples


@dataclass(frozen=True)
class Network:
    """Grids and layers, and what they cover.

    Attributes:
        vector: all numbers of the layers.
        crc: of all that was sent of it.
        threads: of which pictures are made, on a processor; by default as many as PyTorch has.
        native: whether C++ makes them, on a processor; else PyTorch does.
    """

    layout: Layout
    grids: list[Tensor]
    vector: Tensor
    crc: int
    threads: int | None = None
    native: bool = True

    @staticmethod
    def of(
        layout: Layout,
        coded: Coded,
        device: torch.device = PROCESSOR,
        threads: int | None = None,
    ) -> Network:
        """From the numbers that were sent."""
        vector, grids = coding.values(layout, coded)
        return Network(
            layout,
            [torch.from_numpy(grid).to(device) for grid in grids],
            torch.from_numpy(vector).to(device),
            coding.crc(coded),
            threads,
        )

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return self.layout.tensors(self.vector)

    @cached_property
    def _native(self) -> Native | None:
        if not self.native or self.vector.device.type != "cpu":
            return None
        return partial(Stages(self.layout, self._threads).pictures, self.vector)

    @cached_property
    def _threads(self) -> int:
        return self.threads or torch.get_num_threads()

    @torch.inference_mode()
    def picture(self, frame: int, size: tuple[int, int], patch_cells: int = _MOST_CELLS) -> Planes:
        """A frame's planes, of so many luma rows and columns, both even.

        Args:
            patch_cells: a picture of more is made patch by patch.
        """
        height, width = size
        extent = self.layout.extent
        luma = np.empty((extent.rows * CELL, extent.columns * CELL), np.uint8)
        chroma = np.empty((2, luma.shape[0] // 2, luma.shape[1] // 2), np.uint8)
        place = torch.tensor([frame], device=self.grids[0].device)
        with threads_of_pytorch(1, self._threads) if self._native else nullcontext():
            for patch in patches(extent, patch_cells):
                made = self._made(place, patch)
                rows = slice(patch.top * CELL, (patch.top + patch.rows) * CELL)
                columns = slice(patch.left * CELL, (patch.left + patch.columns) * CELL)
                luma[rows, columns] = _samples(made[0, 0])
                half = (slice(s.start // 2, s.stop // 2) for s in (rows, columns))
                chroma[:, *half] = _samples(halved(made[:, 1:])[0])
        y, u, v = luma[:height, :width], *chroma[:, : height // 2, : width // 2]
        return np.ascontiguousarray(y), np.ascontiguousarray(u), np.ascontiguousarray(v)

    def _made(self, frames: Tensor, patch: Patch) -> Tensor:
        own = self.layout
        with full_precision(frames.device.type):
            return pictures(
                own.config, own.extent, self.grids, self._tensors, frames, patch, self._native
            )


def patches(extent: Extent, most: int) -> list[Patch]:
    """Equal shares, about, of a picture, none of more than so many cells."""
    counts = [1, 1]
    sides = extent.rows, extent.columns
    while -(-sides[0] // counts[0]) * -(-sides[1] // counts[1]) > max(most, 1):
        shares = [side / count for side, count in zip(sides, counts, strict=True)]
        counts[shares.index(max(shares))] += 1
    rows, columns = (
        [side * i // count for i in range(count + 1)]
        for side, count in zip(sides, counts, strict=True)
    )
    return [
        Patch(top, left, bottom - top, right - left)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _samples(values: Tensor) -> np.ndarray:
    found: np.ndarray = (
        torch.nan_to_num(values * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    )
    return found
