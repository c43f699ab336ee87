"""The network: patches are parts of pictures, and frames follow from grids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod

import numpy as np
import pytest
import torch
from torch import Tensor

from vireo import _train
from vireo.codecs.base import Planes
from vireo.codecs.nvrc.config import CELL, CONFIGS, STRIDES, Config, Extent
from vireo.codecs.nvrc.layout import Layout, Method
from vireo.codecs.nvrc.model import Patch, pictures
from vireo.codecs.nvrc.network import Network, patches
from vireo.codecs.nvrc.stages import Stages

XXS = CONFIGS["xxs"]
EXTENT = Extent.of(5, 12 * CELL - 10, 9 * CELL)
WIDE = Extent.of(5, CELL, 1920)  # so that a row takes several tiles
LAYOUT = Layout(XXS, EXTENT, Method.of(XXS))
KERNELS = _train.available_kernels()


def vectors(layout: Layout) -> tuple[list[Tensor], Tensor]:
    random = torch.Generator().manual_seed(1)
    grids = [torch.randn(s, generator=random) for s in layout.grids]
    parts = [
        torch.randn(prod(place.shape), generator=random) / max(1, prod(place.shape[1:])) ** 0.5
        for place in layout.layers.values()
    ]
    return grids, torch.cat(parts)


def numbers() -> tuple[list[Tensor], dict[str, Tensor]]:
    grids, vector = vectors(LAYOUT)
    return grids, LAYOUT.tensors(vector)


@pytest.mark.parametrize(
    "patch", [Patch(0, 0, 3, 3), Patch(4, 3, 2, 5), Patch(9, 6, 3, 3), Patch(0, 4, 12, 1)]
)
def test_a_patch_has_the_samples_that_the_whole_picture_has_there(patch: Patch) -> None:
    grids, tensors = numbers()
    frames = torch.tensor([0, 3])
    whole = pictures(XXS, EXTENT, grids, tensors, frames)
    part = pictures(XXS, EXTENT, grids, tensors, frames, patch)
    rows = slice(patch.top * CELL, (patch.top + patch.rows) * CELL)
    columns = slice(patch.left * CELL, (patch.left + patch.columns) * CELL)
    assert whole.std() > 0.1
    torch.testing.assert_close(part, whole[:, :, rows, columns], rtol=0, atol=2e-5)


def test_a_decoder_may_make_pictures_patch_by_patch() -> None:
    network = Network(LAYOUT, *vectors(LAYOUT), 0)
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
    grids, tensors = numbers()
    before = pictures(XXS, EXTENT, grids, tensors, torch.arange(5))
    grids[0] = grids[0].clone()
    grids[0][4] += 1.0
    changed = (pictures(XXS, EXTENT, grids, tensors, torch.arange(5)) - before).abs()
    assert changed[:3].max() == 0
    assert changed[3].max() > 1e-3  # the stem sees the frame behind
    assert changed[4].max() > 1e-3


def differ(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b).norm() / b.norm())


def made_and_gradients(
    layout: Layout,
    dtype: torch.dtype,
    frames: Tensor,
    patch: Patch | None,
    stages: Stages | None = None,
) -> list[Tensor]:
    """Pictures, and the gradients of grids and layers by a weighted sum of their samples."""
    grids, vector = vectors(layout)
    given = [own.to(dtype).requires_grad_() for own in (*grids, vector)]
    vector = given[-1]
    made = pictures(
        layout.config,
        layout.extent,
        given[:-1],
        layout.tensors(vector),
        frames,
        patch,
        partial(stages.pictures, vector) if stages else None,
    )
    weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(2))
    (made * weights).sum().backward()
    return [made.detach(), *(own.grad for own in given if own.grad is not None)]


@pytest.mark.parametrize("isa", KERNELS)
@pytest.mark.parametrize(
    ("config", "extent", "patch"),
    [
        (XXS, EXTENT, None),
        (XXS, WIDE, None),
        (XXS, EXTENT, Patch(4, 3, 2, 5)),
        (Config("odd", (39, 17, 3, 2), 1, 2, 1, "all", 4), EXTENT, Patch(1, 0, 5, 9)),
        (Config("wide", (150, 70, 20, 9), 1, 2, 1, "all", 4), EXTENT, Patch(3, 2, 1, 2)),
    ],
)
def test_native_stages_are_those_of_pytorch(
    config: Config, extent: Extent, patch: Patch | None, isa: str
) -> None:
    layout = Layout(config, extent, Method.of(config))
    frames = torch.tensor([1, 4])
    wanted = made_and_gradients(layout, torch.float64, frames, patch)
    found = made_and_gradients(layout, torch.float32, frames, patch, Stages(layout, 2, isa))
    assert len(found) == len(wanted) == 6
    for a, b in zip(found, wanted, strict=True):
        assert differ(a, b) < 5e-6


def test_sums_do_not_depend_on_the_threads() -> None:
    frames = torch.tensor([0])
    one, three = (
        made_and_gradients(LAYOUT, torch.float32, frames, None, Stages(LAYOUT, threads))
        for threads in (1, 3)
    )
    for a, b in zip(one, three, strict=True):
        assert torch.equal(a, b)


def test_pictures_side_by_side_leave_pytorch_its_threads() -> None:
    network = Network(LAYOUT, *vectors(LAYOUT), 0)
    size = 12 * CELL - 10, 9 * CELL
    wanted = [network.picture(frame, size) for frame in range(5)]
    before = torch.get_num_threads()

    def picture(frame: int) -> tuple[Planes, int]:
        return network.picture(frame, size), torch.get_num_threads()

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(picture, [*range(5), *range(5)]))
    for (planes, threads), expected in zip(found, [*wanted, *wanted], strict=True):
        assert threads == before
        for a, b in zip(planes, expected, strict=True):
            assert np.array_equal(a, b)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


def test_features_without_columns_are_refused() -> None:
    native = Stages(LAYOUT)._native
    additions = [
        np.zeros((1, s, s, c), np.float32) for s, c in zip(STRIDES, XXS.inputs, strict=True)
    ]
    vector = np.zeros(LAYOUT.layer_count, np.float32)
    with pytest.raises(ValueError, match="rows and columns"):
        native.forward(np.zeros((1, 32, 3, 0), np.float32), additions, vector, [], False)
    _, held = native.forward(np.zeros((1, 32, 1, 1), np.float32), additions, vector, [], True)
    gradient = np.zeros((1, 3, CELL, CELL), np.float32)
    assert held is not None
    with pytest.raises(ValueError, match="another"):
        Stages(LAYOUT)._native.backward(held, gradient, vector)
