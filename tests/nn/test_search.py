"""The motion search of learned codecs' encoders finds motion that is there, and no other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vireo.nn.search import CELL, motion_field, moved


def texture(height: int, width: int) -> Tensor:
    """Smooth and without period, `[1, 1, height, width]`."""
    rng = torch.Generator().manual_seed(1)
    total = torch.zeros(1, 1, height, width)
    for size in (8, 16, 32):
        noise = torch.rand(1, 1, height // size, width // size, generator=rng)
        total += functional.interpolate(noise, (height, width), mode="bicubic") / 3
    return total


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.0, -1.0), (0.5, 1.25), (-30.0, 19.0)])
def test_a_shift_is_found(shift: tuple[float, float]) -> None:
    reference = texture(160, 192)
    vectors = torch.tensor(shift).reshape(1, 2, 1, 1).expand(1, 2, 160, 192)
    target = moved(reference, vectors)
    field = motion_field(target, reference)
    assert field.shape == (1, 2, 160 // CELL, 192 // CELL)
    inside = field[..., 10:-10, 10:-10]
    wrong = (inside - torch.tensor(shift).reshape(1, 2, 1, 1)).abs()
    assert float(wrong.mean()) < 0.2
    assert float((wrong < 0.25).float().mean()) > 0.8


def test_what_stands_still_stays() -> None:
    picture = texture(64, 64)
    assert float(motion_field(picture, picture).abs().max()) < 1e-3


def test_parts_that_move_apart_are_told_apart() -> None:
    reference = texture(128, 192)
    target = torch.cat([reference[..., 2:98], reference[..., 90:186]], -1)  # by 2 and by -6
    field = motion_field(target, reference)[0, 0, 4:-4]
    assert float((field[:, 4:20] - 2).abs().mean()) < 0.3
    assert float((field[:, 28:44] + 6).abs().mean()) < 0.3


def test_pictures_in_a_batch_have_their_own_motion() -> None:
    reference = texture(96, 96)
    targets = torch.cat([reference.roll(4, -1), reference.roll(-3, -2)])
    together = motion_field(targets, reference.expand(2, -1, -1, -1))
    for one, field in zip(targets, together, strict=True):
        torch.testing.assert_close(motion_field(one[None], reference)[0], field)
