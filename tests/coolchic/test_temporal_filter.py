"""What is coded in place of frames that others are predicted from."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vireo.codecs.base import Planes
from vireo.codecs.coolchic.config import STANDARD
from vireo.codecs.coolchic.temporal_filter import filtered, neighbourhoods
from vireo.gop import GopStructure, plan_gop

LAMBDA = 1e-3
HEIGHT, WIDTH = 64, 96
PARTS = STANDARD.parts
assert PARTS is not None


def scene(shift: int = 0) -> NDArray[np.float64]:
    """Waves in both directions, moved to the right by some samples."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    x -= shift
    return 128 + 40 * np.sin(x / 5 + y / 9) + 30 * np.sin(y / 6 - x / 17)


def picture(luma: NDArray[np.floating], rng: np.random.Generator, noise: float = 0) -> Planes:
    """With noise of a standard deviation in all planes."""
    planes = (luma, luma[::2, ::2], luma[1::2, 1::2])
    y, u, v = ((p + rng.normal(0, noise, p.shape)).clip(0, 255).astype(np.uint8) for p in planes)
    return y, u, v


def error(picture: Planes, clean: Planes) -> list[float]:
    """Mean squared, by plane."""
    pairs = zip(picture, clean, strict=True)
    return [float(((a.astype(float) - b) ** 2).mean()) for a, b in pairs]


def each(
    pictures: list[Planes],
    lambda_: float = LAMBDA,
    structure: GopStructure = GopStructure.RANDOM_ACCESS,
    threads: int = 1,
) -> dict[int, Planes]:
    """Those of a GOP that others refer to."""
    found = {}
    for index, around in neighbourhoods(plan_gop(structure, len(pictures))).items():
        near = [pictures[i] for i in around]
        found[index] = filtered(near, around.index(index), PARTS, lambda_, threads)
    return found


@pytest.mark.parametrize("speed", [0, 3])
def test_noise_goes_and_what_moves_stays_sharp(speed: int) -> None:
    rng = np.random.default_rng(0)
    pictures = [picture(scene(speed * t), rng, 5) for t in range(5)]
    result = each(pictures)
    assert set(result) == {0, 2, 4}
    for index, planes in result.items():
        clean = picture(scene(speed * index), rng)
        for before, after in zip(error(pictures[index], clean), error(planes, clean), strict=True):
            assert after < 0.8 * before
        for plane, source in zip(planes, pictures[index], strict=True):
            assert plane.shape == source.shape
            assert plane.dtype == np.uint8
            assert plane.flags.c_contiguous


def test_the_more_a_bit_costs_the_more_is_filtered() -> None:
    rng = np.random.default_rng(1)
    pictures = [picture(scene(), rng, 5) for _ in range(3)]
    moved = [error(each(pictures, lambda_)[0], pictures[0])[0] for lambda_ in (1e-5, 1e-4, 1e-2)]
    assert moved[0] < 0.5 * moved[1] < 0.5 * moved[2]


def test_frames_that_show_something_else_have_no_say() -> None:
    rng = np.random.default_rng(2)
    pictures = [picture(rng.uniform(0, 255, (HEIGHT, WIDTH)), rng) for _ in range(3)]
    for index, planes in each(pictures, 1e-4).items():
        assert error(planes, pictures[index])[0] < 10


def test_a_reference_hears_no_more_than_those_that_refer_to_it() -> None:
    """In low delay only the next frame does, so that a third one changes nothing."""
    rng = np.random.default_rng(3)
    pictures = [picture(scene(), rng, 5) for _ in range(3)]
    first = each(pictures, structure=GopStructure.LOW_DELAY)
    others = [*pictures[:2], picture(scene(), rng, 20)]
    again = each(others, structure=GopStructure.LOW_DELAY)
    for a, b in zip(first[0], again[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert set(first) == {0, 1}
    assert neighbourhoods(plan_gop(GopStructure.INTRA, 3)) == {}
    assert neighbourhoods(plan_gop(GopStructure.RANDOM_ACCESS, 9)) == {
        0: range(5),
        2: range(1, 4),
        4: range(2, 7),
        6: range(5, 8),
        8: range(4, 9),
    }


def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(4)
    pictures = [picture(scene(t), rng, 5) for t in range(5)]
    one, two = (each(pictures, threads=threads) for threads in (1, 2))
    for index in one:
        for a, b in zip(one[index], two[index], strict=True):
            np.testing.assert_array_equal(a, b)


def test_pictures_of_two_samples() -> None:
    rng = np.random.default_rng(5)
    pictures = [picture(rng.uniform(0, 255, (2, 2)), rng) for _ in range(3)]
    for planes in each(pictures).values():
        assert [p.shape for p in planes] == [(2, 2), (1, 1), (1, 1)]
