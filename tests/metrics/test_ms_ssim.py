"""MS-SSIM against one in float64, written from Wang et al. 2003, and that against libvmaf's.

libvmaf differs in two choices: it halves the scales with a filter of nine taps, and averages
contrast and structure apart. The float64 one can do either, so that it is checked itself.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from scipy.ndimage import correlate1d

from tests.clips import moving
from tests.metrics.pictures import coarse, first_frames, run_ffmpeg
from vireo.errors import UsageError
from vireo.metrics import ms_ssim_fits, ms_ssim_rgb, ms_ssim_y, to_rgb

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


LIBVMAF_TAPS = np.array([0.026727, -0.016828, -0.078201, 0.266846, 0.602914])


def halve_by_mean(x: np.ndarray) -> np.ndarray:
    odd = [(n % 2, n % 2) for n in x.shape]
    x = np.pad(x, odd)[: (x.shape[0] + 1) // 2 * 2, : (x.shape[1] + 1) // 2 * 2]
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def halve_as_libvmaf(x: np.ndarray) -> np.ndarray:
    taps = np.concatenate([LIBVMAF_TAPS, LIBVMAF_TAPS[-2::-1]])
    return correlate1d(correlate1d(x, taps, 0, mode="mirror"), taps, 1, mode="mirror")[::2, ::2]


def reference_ms_ssim(a: np.ndarray, b: np.ndarray, *, as_libvmaf: bool = False) -> float:
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    halve = halve_as_libvmaf if as_libvmaf else halve_by_mean

    def blur(x):
        return correlate1d(correlate1d(x, taps, 0), taps, 1)[5:-5, 5:-5]

    x, y = a.astype(float), b.astype(float)
    result = 1.0
    for scale, weight in enumerate(WEIGHTS):
        mean_x, mean_y = blur(x), blur(y)
        covariance = blur(x * y) - mean_x * mean_y
        variance_x = np.maximum(blur(x * x) - mean_x**2, 0)
        variance_y = np.maximum(blur(y * y) - mean_y**2, 0)
        both = np.sqrt(variance_x * variance_y)
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        contrast = (2 * both + c2) / (variance_x + variance_y + c2)
        structure = (covariance + c2 / 2) / (both + c2 / 2)
        last = scale == len(WEIGHTS) - 1
        if as_libvmaf:
            value = contrast.mean() * structure.mean() * (luminance.mean() if last else 1)
        else:
            value = (contrast * structure * (luminance if last else 1)).mean()
        result *= max(value, 0.0) ** weight
        x, y = halve(x), halve(y)
    return result


@pytest.fixture(scope="module")
def pairs(clips):
    reference = first_frames(clips / "mobile_calendar_352x288_30f.mkv", 3)
    return [(f, coarse(f, step)) for f, step in zip(reference, (4, 16, 40), strict=True)]


def test_luma_agrees_with_float64(pairs):
    for reference, decoded in pairs:
        expected = reference_ms_ssim(reference.y, decoded.y)
        assert expected < 0.9999
        # Measured: 2.2e-7, from the library's window in single precision.
        assert ms_ssim_y(reference, decoded) == pytest.approx(expected, abs=1e-6)


def test_odd_sides_agree_with_float64():
    reference = moving(203, 171, 1)[0]
    decoded = coarse(reference, 30)
    expected = reference_ms_ssim(reference.y, decoded.y)
    assert ms_ssim_y(reference, decoded) == pytest.approx(expected, abs=1e-6)


def test_rgb_is_the_mean_of_three_channels(pairs):
    reference, decoded = pairs[1]
    for full_range in (False, True):
        a, b = (to_rgb(frame, "bt709", full_range) for frame in (reference, decoded))
        channels = [reference_ms_ssim(x, y) for x, y in zip(a, b, strict=True)]
        assert max(channels) - min(channels) > 1e-4
        found = ms_ssim_rgb(reference, decoded, full_range)
        assert found == pytest.approx(np.mean(channels), abs=1e-6)


def test_float64_agrees_with_libvmaf(pairs, tmp_path):
    options = "feature=name=float_ms_ssim:log_fmt=json:log_path=log.json"
    run_ffmpeg(tmp_path, *zip(*pairs, strict=True), f"libvmaf={options}")
    frames = json.loads((tmp_path / "log.json").read_text())["frames"]
    for frame, (reference, decoded) in zip(frames, pairs, strict=True):
        expected = frame["metrics"]["float_ms_ssim"]
        found = reference_ms_ssim(reference.y, decoded.y, as_libvmaf=True)
        assert found == pytest.approx(expected, abs=5e-5)
        # And the measure itself: 0.0006 on this clip.
        assert ms_ssim_y(reference, decoded) == pytest.approx(expected, abs=1e-3)


def test_equal_pictures_have_1(pairs):
    reference = pairs[0][0]
    assert ms_ssim_y(reference, reference) == pytest.approx(1.0, abs=1e-9)
    assert ms_ssim_rgb(reference, reference, False) == pytest.approx(1.0, abs=1e-9)


def test_small_pictures_have_none():
    assert not ms_ssim_fits(160, 400)
    assert not ms_ssim_fits(400, 160)
    assert ms_ssim_fits(161, 161)
    small, large = moving(200, 160, 1)[0], moving(161, 161, 1)[0]
    with pytest.raises(UsageError, match="200x160"):
        ms_ssim_y(small, small)
    assert ms_ssim_y(large, large) == pytest.approx(1.0)


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_msssim", None)
    frame = moving(161, 161, 1)[0]
    with pytest.raises(UsageError, match=r"vireo\[bench\]"):
        ms_ssim_y(frame, frame)
