"""RGB against a conversion in NumPy's floats, written from BT.601, BT.709 and Keys' kernel."""

from __future__ import annotations

import numpy as np
import pytest

from tests.metrics.pictures import coarse, first_frames
from vireo.metrics import psnr, rgb_mse, to_rgb
from vireo.video import Frame

KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
RANGES = pytest.mark.parametrize("full_range", [False, True])
MATRICES = pytest.mark.parametrize("matrix", list(KR_KB))


def interpolation(length: int, source_length: int) -> np.ndarray:
    """Matrix that spreads a line over `length`: Keys' cubic kernel, a = -0.6, centred samples."""
    a = -0.6
    matrix = np.zeros((length, source_length))
    for i in range(length):
        center = (i + 0.5) * source_length / length - 0.5
        for k in range(int(np.floor(center)) - 1, int(np.floor(center)) + 3):
            x = abs(center - k)
            inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
            outer = a * (x**3 - 5 * x**2 + 8 * x - 4)
            matrix[i, min(max(k, 0), source_length - 1)] += inner if x < 1 else outer
    return matrix


def float_rgb(frame: Frame, matrix: str, full_range: bool) -> np.ndarray:
    """R, G, B as floats `[3, H, W]`, not rounded, clipped to 0…255."""
    kr, kb = KR_KB[matrix]
    down = interpolation(frame.height, frame.u.shape[0])
    across = interpolation(frame.width, frame.u.shape[1]).T
    y = frame.y.astype(float)
    u, v = (down @ (plane.astype(float) - 128) @ across for plane in (frame.u, frame.v))
    if not full_range:
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.stack([red, green, blue]).clip(0, 255)


def flat(y: int, u: int, v: int) -> Frame:
    sizes = ((16, 16), (8, 8), (8, 8))
    return Frame(*(np.full(s, x, np.uint8) for s, x in zip(sizes, (y, u, v), strict=True)))


@RANGES
@MATRICES
def test_flat_colours_are_the_matrix_to_one_level(matrix, full_range):
    rng = np.random.default_rng(2)
    for y, u, v in [
        (16, 128, 128),
        (235, 128, 128),
        (81, 90, 240),
        *rng.integers(16, 236, (40, 3)),
    ]:
        frame = flat(y, u, v)
        rgb = to_rgb(frame, matrix, full_range)
        assert rgb.shape == (3, 16, 16)
        assert rgb.dtype == np.uint8
        assert np.abs(rgb - float_rgb(frame, matrix, full_range)).max() < 1


def test_flat_colours_by_figures():
    # 75 % red of the colour bars of BT.601, and of BT.709: 191, 0, 0.
    for matrix, red in (("bt601", (65, 100, 212)), ("bt709", (51, 109, 212))):
        np.testing.assert_allclose(to_rgb(flat(*red), matrix, False)[:, 0, 0], (191, 0, 0), atol=1)
    np.testing.assert_array_equal(to_rgb(flat(255, 128, 128), "bt709", True), 255)
    np.testing.assert_array_equal(to_rgb(flat(128, 128, 128), "bt601", True), 128)


@pytest.mark.parametrize(("width", "height"), [(176, 144), (171, 139)])
@RANGES
@MATRICES
def test_agrees_with_floats_on_a_clip(clips, matrix, full_range, width, height):
    frame = first_frames(clips / "carphone_176x144_97f.mkv", 1)[0]
    half = (slice((height + 1) // 2), slice((width + 1) // 2))
    frame = Frame(frame.y[:height, :width], frame.u[half], frame.v[half])
    expected = float_rgb(frame, matrix, full_range)
    # Measured: 0.89 at most, 0.289 root mean square; ideal rounding gives 0.5 and 0.289.
    difference = to_rgb(frame, matrix, full_range) - expected
    assert np.abs(difference).max() < 1
    assert np.sqrt((difference**2).mean()) < 0.3
    for step in (4, 8, 24):
        decoded = coarse(frame, step)
        mse = rgb_mse(frame, decoded, matrix, full_range)
        rounded = np.rint(expected) - np.rint(float_rgb(decoded, matrix, full_range))
        # Measured: 0.004 dB.
        assert psnr(mse) == pytest.approx(psnr(np.square(rounded).mean()), abs=0.01)


def test_order_of_the_channels():
    red, green, blue = to_rgb(flat(81, 90, 240), "bt601", False)[:, 0, 0]
    assert red > 250
    assert max(green, blue) < 5


def test_mse_of_flat_colours():
    white, grey = flat(235, 128, 128), flat(126, 128, 128)
    assert rgb_mse(white, white, "bt709", False) == 0
    assert rgb_mse(white, grey, "bt709", False) == (255 - 128) ** 2
    # Red against black: 255 in one channel of three.
    assert rgb_mse(flat(81, 90, 240), flat(16, 128, 128), "bt601", False) == pytest.approx(
        255**2 / 3, rel=0.01
    )
