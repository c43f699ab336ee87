"""Motion that was put into pictures is found, and none is found where there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from vireo import _core, _train
from vireo.codecs.coolchic.networks import motion_probabilities

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]
Grids = list[NDArray[np.int16]]

HEIGHT, WIDTH = 96, 160
FIRST, GRIDS = 3, 4
LAMBDA = 1e-3


def texture(y: Floats, x: Floats) -> Floats:
    """Waves of many lengths, so that no shift but the right one will do."""
    rng = np.random.default_rng(7)
    value = np.full(np.broadcast_shapes(y.shape, x.shape), 128.0)
    for length in np.geomspace(4, 60, 60):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        along = x * np.cos(angle) + y * np.sin(angle)
        value += 6 * np.sin(2 * np.pi * along / length + phase)
    return value


def picture(warp: Callable[[Floats, Floats], tuple[Floats, Floats]]) -> Picture:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    return texture(*warp(y, x)).clip(0, 255).round().astype(np.uint8)


def shifted(dx: float, dy: float) -> Picture:
    return picture(lambda y, x: (y + dy, x + dx))


def noise(seed: int) -> Picture:
    """As cameras have it: of what is stronger, parts that are somewhat alike can be found."""
    values = np.random.default_rng(seed).normal(128, 8, (HEIGHT, WIDTH))
    return values.clip(0, 255).round().astype(np.uint8)


def with_chroma(luma: Picture, colour: Picture | None = None) -> list[Picture]:
    """Planes Y, U, V; grey without `colour`, which has their size."""
    if colour is None:
        colour = np.full([n // 2 for n in luma.shape], 128, np.uint8)
    return [luma, colour, colour]


def search(target: Picture, *references: Picture) -> Grids:
    return search_planes(with_chroma(target), *map(with_chroma, references))


def search_planes(target: list[Picture], *references: list[Picture]) -> Grids:
    grids, inherits, _ = _train.search_motion(
        target, list(references), LAMBDA, FIRST, GRIDS, motion_probabilities()
    )
    assert not inherits
    return grids


def fields(grids: Grids, references: int) -> list[NDArray[np.int32]]:
    return _core.block_fields(grids, FIRST, HEIGHT, WIDTH, references)


def psnr(target: Picture, grids: Grids, *references: Picture, margin: int = 0) -> float:
    planes = [with_chroma(r) for r in references]
    luma = _core.predict(fields(grids, len(references)), planes, HEIGHT, WIDTH)[0]
    error = (luma / 64 - target)[margin : HEIGHT - margin, margin : WIDTH - margin]
    return float(-10 * np.log10(np.mean((error / 255) ** 2) + 1e-12))


def count(grids: Grids) -> int:
    return sum(int(np.count_nonzero(g)) for g in grids)


def without_motion(grids: Grids) -> Grids:
    return [np.zeros_like(g) for g in grids]


@pytest.mark.parametrize(("dx", "dy"), [(5, -3), (20, 9), (2.5, 0.25)])
def test_a_translation_costs_the_coarsest_grids_only(dx: float, dy: float) -> None:
    target, reference = shifted(dx, dy), shifted(0, 0)
    grids = search(target, reference)
    # What left the picture takes some latents more at its border, of 600.
    coarsest = grids[GRIDS - 1 : 2 * GRIDS : GRIDS]
    assert count(grids) - count(coarsest) <= 2 * (abs(dx) + abs(dy))
    found = fields(grids, 1)
    inner = np.s_[4:-8, 2:-8]
    assert np.abs(found[0][inner] - 64 * dx).max() <= 8
    assert np.abs(found[1][inner] - 64 * dy).max() <= 8
    assert psnr(target, grids, reference, margin=24) > 45


def test_no_motion_costs_nothing() -> None:
    still = shifted(0, 0)
    assert count(search(still, still)) == 0
    assert count(search(still, still, still)) == 0


@pytest.mark.parametrize(("dx", "dy"), [(5, -7), (-13, 3)])
def test_what_one_reference_alone_shows_moves_by_itself(dx: int, dy: int) -> None:
    """Things that come into view, or go: another vector helps with another mixture only."""
    side, rows = 16, (64, 16, 16, 16)
    pictures = before, now, after = [shifted(time, 0) for time in (0, 1, 2)]
    places = zip(rows, range(16, WIDTH - 16, 32), strict=True)
    things = [np.s_[y : y + side, x : x + side] for y, x in places]
    for i, (y, x) in enumerate(things):
        patch = texture(*(np.mgrid[:side, :side] + 1000.0 * (i + 1)))
        shown = pictures[2 if i % 2 == 0 else 0]
        now[y, x] = patch.clip(0, 255).round()
        shown[y.start + dy : y.stop + dy, x.start + dx : x.stop + dx] = now[y, x]
    grids = search(now, before, after)
    planes = [with_chroma(r) for r in (before, after)]
    luma = _core.predict(fields(grids, 2), planes, HEIGHT, WIDTH)[0] / 64
    errors = [np.mean((luma - now)[thing] ** 2) for thing in things]
    assert sum(error < 20 for error in errors) >= 3


def inheriting(
    target: Picture, references: list[Picture], inherited: Sequence[NDArray[np.int32]]
) -> tuple[Grids, bool]:
    planes = [with_chroma(r) for r in references]
    probabilities = motion_probabilities()
    grids, inherits, _ = _train.search_motion(
        with_chroma(target), planes, LAMBDA, FIRST, GRIDS, probabilities, inherited
    )
    return grids, inherits


def test_what_is_inherited_need_not_be_sent() -> None:
    """Two halves that move apart, as they did from frame to frame before."""
    speed = np.where(np.arange(WIDTH) < WIDTH // 2, -3.0, 2.5)

    def at(time: float) -> Picture:
        return picture(lambda y, x: (y + time * speed, x + 2 * time * speed))

    before, now, after = at(0), at(1), at(2)
    alone = search(now, before, after)
    blocks = np.broadcast_to(64 * speed[::4], (HEIGHT // 4, WIDTH // 4))
    past = np.stack([2 * blocks, blocks]).astype(np.int32)
    inherited = [past[0], past[1], -past[0], -past[1]]
    grids, inherits = inheriting(now, [before, after], inherited)
    assert inherits
    assert count(grids) < count(alone) / 5
    moved = _core.block_fields(grids, FIRST, HEIGHT, WIDTH, 2, inherited)
    planes = [with_chroma(r) for r in (before, after)]
    luma = _core.predict(moved, planes, HEIGHT, WIDTH)[0] / 64
    assert np.mean((luma - now) ** 2) < 2 * 10 ** (-psnr(now, alone, before, after) / 10) * 255**2


def test_what_misleads_is_not_inherited() -> None:
    target, reference = shifted(5, -3), shifted(0, 0)
    rng = np.random.default_rng(3)
    blocks = HEIGHT // 4, WIDTH // 4
    inherited = [rng.integers(-640, 641, blocks, dtype=np.int32) for _ in range(2)]
    grids, inherits = inheriting(target, [reference], inherited)
    assert not inherits
    for ours, alone in zip(grids, search(target, reference), strict=True):
        np.testing.assert_array_equal(ours, alone)


@pytest.mark.parametrize(
    ("planes", "size", "message"),
    [(1, (24, 40), "two planes per reference"), (2, (24, 39), "one value per block")],
)
def test_inherited_motion_of_another_shape_is_refused(
    planes: int, size: tuple[int, int], message: str
) -> None:
    still = shifted(0, 0)
    inherited = [np.zeros(size, np.int32)] * planes
    with pytest.raises(ValueError, match=message):
        inheriting(still, [still], inherited)
    with pytest.raises(ValueError, match=message):
        _core.block_fields(search(still, still), FIRST, HEIGHT, WIDTH, 1, inherited)


@pytest.mark.parametrize(
    "warp",
    [
        lambda y, x: (0.97 * (y - 48) + 48, 0.97 * (x - 80) + 80),
        lambda y, x: (
            48 + np.cos(0.04) * (y - 48) - np.sin(0.04) * (x - 80),
            80 + np.sin(0.04) * (y - 48) + np.cos(0.04) * (x - 80),
        ),
    ],
    ids=["zoom", "rotation"],
)
def test_zoom_and_rotation_are_followed(
    warp: Callable[[Floats, Floats], tuple[Floats, Floats]],
) -> None:
    target, reference = picture(warp), shifted(0, 0)
    grids = search(target, reference)
    still = psnr(target, without_motion(grids), reference)
    assert psnr(target, grids, reference) > max(30, still + 10)


def test_a_part_moves_and_the_rest_does_not() -> None:
    reference, target = shifted(0, 0), shifted(0, 0)
    target[:, 80:] = shifted(11, 6)[:, 80:]
    grids = search(target, reference)
    found = fields(grids, 1)
    inner = np.s_[4:20, 27:36]
    assert np.abs(found[0][inner] - 11 * 64).max() <= 16
    assert np.abs(found[1][inner] - 6 * 64).max() <= 16
    assert np.abs(found[0][:, :14]).mean() <= 16
    still = psnr(target, without_motion(grids), reference)
    assert psnr(target, grids, reference) > still + 4


def test_an_object_is_not_followed_where_that_costs_more_than_it() -> None:
    reference, target = shifted(0, 0), shifted(0, 0)
    target[32:48, 64:80] = shifted(11, 6)[32:48, 64:80]
    grids = search(target, reference)
    assert count(grids[: 2 * GRIDS]) <= 8


def test_of_noise_nothing_is_predicted() -> None:
    grids = search(noise(1), noise(2))
    assert (fields(grids, 1)[2] == 0).all()
    assert all(count(grids[GRIDS * f : GRIDS * (f + 1)]) == 0 for f in range(2))
    both = search(noise(1), noise(2), noise(3))
    assert (fields(both, 2)[4] == 0).all()


def test_a_part_that_is_new_is_not_predicted() -> None:
    reference, target = shifted(0, 0), shifted(0, 0)
    target[:, 96:] = noise(1)[:, 96:]
    reference[:, 96:] = noise(2)[:, 96:]
    alpha = fields(search(target, reference), 1)[2]
    assert (alpha[:, :20] >= 60).all()
    # Squares matched by themselves find some likeness in noise, so not quite nothing.
    assert alpha[:, 32:].mean() < 40


def test_two_references_share_the_work() -> None:
    target = shifted(0, 0)
    before, behind = shifted(-6, 2), shifted(6, -2)
    grids = search(target, before, behind)
    found = fields(grids, 2)
    inner = np.s_[4:-4, 4:-4]
    for field, expected in zip(found, (6, -2, -6, 2), strict=False):
        assert np.abs(np.median(field[inner]) - 64 * expected) <= 4
    assert psnr(target, grids, before, behind, margin=16) > 45


def test_what_only_chroma_shows_is_followed() -> None:
    grey = np.full((HEIGHT, WIDTH), 128, np.uint8)
    colour, moved = shifted(0, 0)[::2, ::2], shifted(6, -4)[::2, ::2]
    target, reference = (with_chroma(grey, np.ascontiguousarray(c)) for c in (moved, colour))
    found = fields(search_planes(target, reference), 1)
    inner = np.s_[4:-8, 4:-8]
    assert np.abs(found[0][inner] - 6 * 64).max() <= 16
    assert np.abs(found[1][inner] + 4 * 64).max() <= 16


@pytest.mark.parametrize("good", [0, 1])
def test_of_two_references_the_better_one_is_taken(good: int) -> None:
    target = shifted(0, 0)
    references = [noise(1), noise(1)]
    references[good] = shifted(4, 0)
    grids = search(target, *references)
    beta = fields(grids, 2)[5]
    assert (beta == (0 if good else 64)).mean() > 0.9
    assert psnr(target, grids, *references, margin=16) > 36


def test_results_do_not_change() -> None:
    target, references = shifted(0, 0), (shifted(3, 1), noise(1))
    once, twice = search(target, *references), search(target, *references)
    assert all(np.array_equal(a, b) for a, b in zip(once, twice, strict=True))


@pytest.mark.parametrize("size", [(2, 2), (6, 10), (2, 140), (50, 34)])
@pytest.mark.parametrize("first", [2, 3, 5])
def test_any_size_has_its_grids(size: tuple[int, int], first: int) -> None:
    rng = np.random.default_rng(0)
    target, *references = rng.integers(0, 256, (3, *size), dtype=np.uint8)
    for n in (1, 2):
        planes = [with_chroma(r) for r in references[:n]]
        grids, _, _ = _train.search_motion(
            with_chroma(target), planes, LAMBDA, first, 2, motion_probabilities()
        )
        shapes = [(-(-size[0] >> k), -(-size[1] >> k)) for k in (first, first + 1)]
        assert [g.shape for g in grids] == 3 * n * shapes


def test_what_does_not_fit_is_refused() -> None:
    still = with_chroma(shifted(0, 0))
    smaller = with_chroma(still[0][:-2].copy())
    for arguments, message in [
        ((still, [], LAMBDA, 3, 4), "references"),
        ((still, [smaller], LAMBDA, 3, 4), "size"),
        ((still[:1], [still], LAMBDA, 3, 4), "three planes"),
        (([still[0]] * 3, [still], LAMBDA, 3, 4), "half the size"),
        (([p[:-1].copy() for p in still], [still], LAMBDA, 3, 4), "even"),
        ((still, [still], 0.0, 3, 4), "lambda"),
        ((still, [still], LAMBDA, 1, 4), "grids"),
    ]:
        with pytest.raises(ValueError, match=message):
            _train.search_motion(*arguments, motion_probabilities())
    with pytest.raises(ValueError, match="probabilities"):
        _train.search_motion(still, [still], LAMBDA, 3, 4, motion_probabilities()[:1])
