"""The network: patches are parts of pictures, and frames follow from grids."""

from __future__ import annotations

from math import prod

import pytest
import torch
from torch import Tensor

from vireo.codecs.nvrc.config import CELL, CONFIGS, Config, Extent, layers
from vireo.codecs.nvrc.model import Patch, pictures
from vireo.codecs.nvrc.network import Network, patches

XXS = CONFIGS["xxs"]
EXTENT = Extent.of(5, 12 * CELL - 10, 9 * CELL)


def numbers(config: Config, extent: Extent) -> tuple[list[Tensor], dict[str, Tensor]]:
    random = torch.Generator().manual_seed(1)
    grids = [torch.randn(s, generator=random) for s in extent.grids(config)]
    tensors = {
        name: torch.randn(shape, generator=random) / max(1, prod(shape[1:])) ** 0.5
        for name, shape in layers(config, extent)
    }
    return grids, tensors


@pytest.mark.parametrize(
    "patch", [Patch(0, 0, 3, 3), Patch(4, 3, 2, 5), Patch(9, 6, 3, 3), Patch(0, 4, 12, 1)]
)
def test_a_patch_has_the_samples_that_the_whole_picture_has_there(patch: Patch) -> None:
    grids, tensors = numbers(XXS, EXTENT)
    frames = torch.tensor([0, 3])
    whole = pictures(XXS, EXTENT, grids, tensors, frames)
    part = pictures(XXS, EXTENT, grids, tensors, frames, patch)
    rows = slice(patch.top * CELL, (patch.top + patch.rows) * CELL)
    columns = slice(patch.left * CELL, (patch.left + patch.columns) * CELL)
    assert whole.std() > 0.1
    torch.testing.assert_close(part, whole[:, :, rows, columns], rtol=0, atol=2e-5)


def test_a_decoder_may_make_pictures_patch_by_patch() -> None:
    grids, tensors = numbers(XXS, EXTENT)
    network = Network(XXS, EXTENT, grids, tensors, 0)
    size = 12 * CELL - 10, 9 * CELL
    whole, parts = (network.picture(2, size, cells) for cells in (1000, 20))
    assert len(patches(EXTENT, 20)) > 4
    assert whole[0].shape == size
    assert whole[0].std() > 10
    for a, b in zip(whole, parts, strict=True):
        assert abs(a.astype(int) - b).max() <= 1


def test_patches_cover_a_picture_once() -> None:
    seen = torch.zeros(EXTENT.rows, EXTENT.columns)
    for patch in patches(EXTENT, 20):
        seen[patch.top : patch.top + patch.rows, patch.left : patch.left + patch.columns] += 1
    assert (seen == 1).all()


def test_a_frame_sees_the_grids_near_it() -> None:
    grids, tensors = numbers(XXS, EXTENT)
    before = pictures(XXS, EXTENT, grids, tensors, torch.arange(5))
    grids[0] = grids[0].clone()
    grids[0][4] += 1.0
    changed = (pictures(XXS, EXTENT, grids, tensors, torch.arange(5)) - before).abs()
    assert changed[:3].max() == 0
    assert changed[3].max() > 1e-3  # the stem sees the frame behind
    assert changed[4].max() > 1e-3
