"""The loop filter: its equations, what is chosen of it, and what it does to coded pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic import reference_standard as twin
from vireo.codecs.coolchic.config import FILTER_WEIGHTS
from vireo.codecs.coolchic.loop_filter import Equations, PooledEquations, choose

KINDS = {36: twin.LUMA, 12: twin.CHROMA}


def planes(height: int, width: int, noise: float = 6.0) -> tuple[NDArray[np.uint8], ...]:
    """A picture with an edge, and what noise makes of it."""
    rng = np.random.default_rng(height)
    y, x = np.mgrid[0:height, 0:width]
    target = 80 + 40 * np.sin(x / 9) * np.cos(y / 7) + 60 * (x + y > (height + width) / 2)
    decoded = target + rng.normal(0, noise, target.shape)
    clean, noisy = (a.round().clip(0, 255).astype(np.uint8) for a in (target, decoded))
    return clean, noisy


def error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return int(((a.astype(int) - b) ** 2).sum())


@pytest.mark.parametrize("count", FILTER_WEIGHTS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (17, 40), (9, 300)])
def test_equations_give_the_squared_error(count: int, height: int, width: int) -> None:
    target, decoded = planes(height, width)
    equations = Equations.of([decoded, decoded], [target, target], count)
    rng = np.random.default_rng(1)
    weights = rng.integers(-30, 30, count).astype(np.int32)
    # Sample by sample, without rounding or clamping of the result.
    kind = KINDS[count]
    shape = len(twin.LIMITS[kind]), len(twin.PLACES[kind])
    reach = twin.PLACES[kind][-1][0]
    padded = np.pad(decoded.astype(int), reach, mode="edge")
    change = np.zeros(decoded.shape)
    for limit, row in zip(twin.LIMITS[kind], weights.reshape(shape), strict=True):
        for (dy, dx), weight in zip(twin.PLACES[kind], row, strict=True):
            for y, x in ((dy, dx), (-dy, -dx)):
                around = padded[reach + y :, reach + x :][:height, :width]
                change += weight / 1024 * np.clip(around - decoded.astype(int), -limit, limit)
    left = ((target - decoded.astype(float) - change) ** 2).sum()
    expected = 2 * (left - error(target, decoded))
    assert equations.change(weights) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def changed(weights: NDArray[np.int32] | None) -> float:
    return 0.0 if weights is None else 5.0 * np.count_nonzero(weights)


@pytest.mark.parametrize("count", FILTER_WEIGHTS)
def test_chosen_weights_take_noise_away(count: int) -> None:
    target, decoded = planes(64, 80)
    equations = Equations.of([decoded], [target], count)
    base = np.zeros(count, np.int32)

    cheap, gained = choose(equations, base, 1.0, changed)
    assert cheap is not None
    after = error(target, _core.filter_plane(decoded, cheap))
    assert after < 0.6 * error(target, decoded)
    # Rounding to whole samples is all that the prediction leaves out.
    bits = 5.0 * np.count_nonzero(cheap)
    assert after == pytest.approx(error(target, decoded) + gained - bits, rel=0.05)
    dear, lost = choose(equations, base, 1e9, changed)
    assert (dear is None, lost) == (True, 0.0)

    # A base that is good already is taken as it is, one that does harm is not.
    def changes(base: NDArray[np.int32]) -> Callable[[NDArray[np.int32] | None], float]:
        return lambda w: 0.0 if w is None else float(np.any(w != base))

    again, _ = choose(equations, cheap, 1e9, changes(cheap))
    np.testing.assert_array_equal(again, cheap)
    assert choose(equations, -cheap, 1e9, changes(-cheap))[0] is None
    # Nor is one where that takes more bits than it gains.
    assert choose(equations, cheap, 1e9, lambda w: float(w is not None))[0] is None


def test_dearer_bits_buy_fewer_changes() -> None:
    target, decoded = planes(64, 80)
    equations = Equations.of([decoded], [target], 36)
    base = np.zeros(36, np.int32)
    counts = []
    for bit_cost in (1.0, 100.0, 3000.0):
        weights, _ = choose(equations, base, bit_cost, changed)
        counts.append(0 if weights is None else np.count_nonzero(weights))
    assert counts[0] > counts[1] > counts[2]


def test_pooled_weights_suit_every_picture() -> None:
    pooled = PooledEquations(36)
    np.testing.assert_array_equal(pooled.best(), np.zeros(36))
    pictures = [planes(48, width) for width in (40, 64, 90)]
    for target, decoded in pictures:
        pooled.add([decoded], [target])
    for target, decoded in pictures:
        filtered = _core.filter_plane(decoded, pooled.best())
        assert error(target, filtered) < 0.7 * error(target, decoded)


@pytest.mark.parametrize("count", FILTER_WEIGHTS)
@pytest.mark.parametrize("isa", list(_core.Isa), ids=lambda isa: isa.name)
def test_planes_equal_the_twins(count: int, isa: _core.Isa) -> None:
    if not _core.has_isa(isa):
        pytest.skip(f"this machine has no {isa}")
    kind = KINDS[count]
    shape = len(twin.LIMITS[kind]), len(twin.PLACES[kind])
    rng = np.random.default_rng(5)
    _core.force_isa(isa)
    try:
        for height, width in ((1, 1), (3, 2), (6, 17), (5, 300)):
            for most in (60, 32767):
                plane = rng.choice(np.array([0, 3, 128, 252, 255], np.uint8), (height, width))
                weights = rng.integers(-most, most + 1, count).astype(np.int32)
                expected = twin.loop_filter(plane.astype(np.int64), kind, weights.reshape(shape))
                np.testing.assert_array_equal(_core.filter_plane(plane, weights), expected)
        extreme = np.full(count, 32767, np.int32)
        plane = np.zeros((7, 7), np.uint8)
        plane[3, 3] = 255
        for weights in (extreme, -extreme):
            expected = twin.loop_filter(plane.astype(np.int64), kind, weights.reshape(shape))
            np.testing.assert_array_equal(_core.filter_plane(plane, weights), expected)
    finally:
        _core.force_isa(next(i for i in reversed(_core.Isa) if _core.has_isa(i)))


def test_wrong_arguments_are_refused() -> None:
    plane = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="no loop filter"):
        _core.filter_plane(plane, np.zeros(13, np.int32))
    with pytest.raises(ValueError, match="32767"):
        _core.filter_plane(plane, np.full(36, 40000, np.int32))
    with pytest.raises(ValueError, match="different sizes"):
        _core.filter_equations(plane, np.zeros((4, 5), np.uint8), 36)
    with pytest.raises(ValueError, match="samples"):
        _core.filter_plane(np.zeros((0, 4), np.uint8), np.zeros(36, np.int32))
