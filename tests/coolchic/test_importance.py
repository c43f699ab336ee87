"""What parts of frames are worth to those that are predicted from them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vireo.codecs.base import Planes
from vireo.codecs.coolchic.config import STANDARD
from vireo.codecs.coolchic.importance import kept, per_sample, worth
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
    found = worth(plan, half_and_half(9), PARTS, LAMBDA)
    referred = {r for frame in plan for r in frame.references}
    assert set(found) == referred
    for own in found.values():
        assert own.shape == (HEIGHT // 8, WIDTH // 8)
        assert own.dtype == np.float32
        assert own.min() >= 1
    for index in (0, 4):
        assert found[index][:, :5].mean() > 1.4 * found[index][:, 7:].mean()
    # The more frames depend on it, the more so.
    first, middle = (own[:, :5].mean() / own[:, 7:].mean() for own in (found[0], found[4]))
    assert first > middle


def test_worth_is_passed_on_along_the_motion() -> None:
    """What moves to the right by 16 samples is worth more there where it comes from."""
    moved, before = texture(0, 32), texture(1, WIDTH)
    frames = []
    for t in range(2):
        luma = before.copy() if t == 0 else texture(2, WIDTH)
        luma[:, 16 + 16 * t : 48 + 16 * t] = moved
        frames.append(picture(luma))
    found = worth(plan_gop(GopStructure.LOW_DELAY, 2), frames, PARTS, LAMBDA)[0]
    assert found[2:6, 3:5].min() > 1.2 * found[2:6, 7:].max()


def test_still_pictures_are_worth_what_they_are_to_all_others() -> None:
    """Frame 4 has itself, half of 2, which has half of 1 and of 3, and half of 3."""
    plan = plan_gop(GopStructure.RANDOM_ACCESS, 5)
    found = worth(plan, [picture(texture(0, WIDTH))] * 5, PARTS, LAMBDA)
    for index, expected in ((0, 5), (2, 2), (4, 2.5)):
        np.testing.assert_allclose(found[index], expected, rtol=0.05)


def test_a_frame_that_low_delay_keeps_is_worth_more_than_those_around() -> None:
    plan = plan_gop(GopStructure.LOW_DELAY, 10, 4)
    found = worth(plan, [picture(texture(0, WIDTH))] * 10, PARTS, LAMBDA)
    assert found[4].mean() > max(found[3].mean(), found[5].mean())


def test_the_more_a_bit_costs_the_more_errors_are_kept() -> None:
    missing = np.array([0.0, 1.0, 10.0, 100.0])
    cheap, dear = kept(1.0, missing), kept(10.0, missing)
    assert cheap[0] == dear[0] == 1
    assert (np.diff(cheap) < 0).all()
    assert (cheap[1:] < dear[1:]).all()
    rng = np.random.default_rng(3)
    scene = texture(0, WIDTH)
    noisy = [picture(scene + rng.normal(0, 8, scene.shape)) for _ in range(2)]
    plan = plan_gop(GopStructure.LOW_DELAY, 2)
    low, high = (worth(plan, noisy, PARTS, lambda_)[0].mean() for lambda_ in (1e-5, 1e-3))
    assert 1 < low < high - 0.2 < 1.8


def test_what_is_further_away_is_worth_more_to_fewer() -> None:
    """Of pictures that change a little from one to the next, a last one has little of the first."""
    first, last = texture(0, WIDTH), texture(1, WIDTH)
    fading = [picture(first + (last - first) * t / 8) for t in range(9)]
    found = worth(plan_gop(GopStructure.RANDOM_ACCESS, 9), fading, PARTS, LAMBDA)
    still = worth(plan_gop(GopStructure.RANDOM_ACCESS, 9), fading[:1] * 9, PARTS, LAMBDA)
    shares = [(found[i].mean() - 1) / (still[i].mean() - 1) for i in (2, 4, 0)]
    assert shares == sorted(shares, reverse=True)


def test_frames_without_references_have_no_weights() -> None:
    plan = plan_gop(GopStructure.INTRA, 2)
    assert worth(plan, half_and_half(2), PARTS, LAMBDA) == {}


@pytest.mark.parametrize("size", [(34, 50), (62, 94), (2, 40), (2, 2)])
def test_sizes_that_are_no_multiples_of_anything(size: tuple[int, int]) -> None:
    h, w = size
    frames = [
        (np.ascontiguousarray(y[:h, -w:]), u[: h // 2, : w // 2], v[: h // 2, : w // 2])
        for y, u, v in half_and_half(5)
    ]
    frames = [(y, np.ascontiguousarray(u), np.ascontiguousarray(v)) for y, u, v in frames]
    found = worth(plan_gop(GopStructure.RANDOM_ACCESS, 5), frames, PARTS, LAMBDA, 2)
    for own in found.values():
        assert per_sample(own, h // 2, w // 2).shape == (h // 2, w // 2)
        assert own.min() >= 1
    if size == (62, 94):  # what stays is on the left
        assert found[0][:, 0].min() > found[0][:, -1].max()
