"""What parts of frames are worth to those that are predicted from them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vireo.codecs.base import Planes
from vireo.codecs.coolchic.config import STANDARD
from vireo.codecs.coolchic.importance import error_weights, per_sample
from vireo.gop import GopStructure, plan_gop

LAMBDA = 1e-3
HEIGHT, WIDTH = 64, 96
PARTS = STANDARD.parts
assert PARTS is not None


def texture(seed: int, width: int) -> NDArray[np.float64]:
    """Smooth random waves, some 8 samples long."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(128, 60, (HEIGHT // 8 + 2, width // 8 + 2))
    fine = coarse.repeat(8, axis=0).repeat(8, axis=1)
    for axis in (0, 1):
        fine = sum(np.roll(fine, shift, axis) for shift in range(-4, 4)) / 8
    return fine[8 : HEIGHT + 8, 8 : width + 8]


def picture(luma: NDArray[np.floating]) -> Planes:
    grey = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    return luma.clip(0, 255).astype(np.uint8), grey, grey


def half_and_half(frames: int) -> list[Planes]:
    """The left half stays, the right half is another one in each frame."""
    left = texture(0, WIDTH // 2)
    return [picture(np.hstack([left, texture(1 + t, WIDTH // 2)])) for t in range(frames)]


@pytest.mark.parametrize("structure", [GopStructure.RANDOM_ACCESS, GopStructure.LOW_DELAY])
def test_what_stays_is_worth_more_than_what_goes(structure: GopStructure) -> None:
    plan = plan_gop(structure, 9)
    weights = error_weights(plan, half_and_half(9), PARTS, LAMBDA)
    referred = {r for frame in plan for r in frame.references}
    assert set(weights) == referred
    for own in weights.values():
        assert own.shape == (HEIGHT // 8, WIDTH // 8)
        assert own.dtype == np.float32
        assert own.mean() == pytest.approx(1, abs=1e-4)
        assert own.min() > 0
    for index in (0, 4):
        assert weights[index][:, :5].mean() > 1.2 * weights[index][:, 7:].mean()
    # The more frames depend on it, the more so.
    first, middle = (own[:, :5].mean() / own[:, 7:].mean() for own in (weights[0], weights[4]))
    assert first > middle


def test_worth_is_passed_on_along_the_motion() -> None:
    """What moves to the right by 16 samples is worth more there where it comes from."""
    moved, before = texture(0, 32), texture(1, WIDTH)
    frames = []
    for t in range(2):
        luma = before.copy() if t == 0 else texture(2, WIDTH)
        luma[:, 16 + 16 * t : 48 + 16 * t] = moved
        frames.append(picture(luma))
    weights = error_weights(plan_gop(GopStructure.LOW_DELAY, 2), frames, PARTS, LAMBDA)[0]
    assert weights[2:6, 3:5].min() > 1.2 * weights[2:6, 7:].max()


def test_still_pictures_are_worth_the_same_everywhere() -> None:
    plan = plan_gop(GopStructure.RANDOM_ACCESS, 5)
    for own in error_weights(plan, [picture(texture(0, WIDTH))] * 5, PARTS, LAMBDA).values():
        np.testing.assert_allclose(own, 1, atol=0.05)


def test_frames_without_references_have_no_weights() -> None:
    plan = plan_gop(GopStructure.INTRA, 2)
    assert error_weights(plan, half_and_half(2), PARTS, LAMBDA) == {}


@pytest.mark.parametrize("size", [(34, 50), (62, 94), (2, 40), (2, 2)])
def test_sizes_that_are_no_multiples_of_anything(size: tuple[int, int]) -> None:
    h, w = size
    frames = [
        (np.ascontiguousarray(y[:h, -w:]), u[: h // 2, : w // 2], v[: h // 2, : w // 2])
        for y, u, v in half_and_half(5)
    ]
    frames = [(y, np.ascontiguousarray(u), np.ascontiguousarray(v)) for y, u, v in frames]
    weights = error_weights(plan_gop(GopStructure.RANDOM_ACCESS, 5), frames, PARTS, LAMBDA, 2)
    for own in weights.values():
        spread = per_sample(own, h // 2, w // 2)
        assert spread.shape == (h // 2, w // 2)
        assert spread.mean() == pytest.approx(1, abs=1e-4)
        assert own.min() > 0
    if size == (62, 94):  # what stays is on the left
        assert weights[0][:, 0].min() > weights[0][:, -1].max()
