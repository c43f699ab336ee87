from __future__ import annotations

import re

import numpy as np
import pytest

from tests.clips import moving
from tests.metrics.pictures import coarse, first_frames, run_ffmpeg
from vireo.metrics import plane_mse, psnr, weighted_mse, weighted_psnr
from vireo.metrics.psnr import (
    mean_psnr,
    psnr_of_mean,
    psnr_yuv_411,
    psnr_yuv_411_mean,
    psnr_yuv_611,
    psnr_yuv_611_of_mean,
)

# The frames' squared errors in Y, U and V, and round figures: 20, 30, 40 dB are 650.25 and on.
TWENTY, THIRTY, FORTY = 650.25, 65.025, 6.5025


def test_agrees_with_ffmpeg_on_a_clip(clips, tmp_path):
    reference = first_frames(clips / "carphone_176x144_97f.mkv", 4)
    check_against_ffmpeg(reference, tmp_path)


def test_agrees_with_ffmpeg_where_sides_are_odd(tmp_path):
    check_against_ffmpeg(moving(35, 27, 4), tmp_path)


def check_against_ffmpeg(reference, folder):
    decoded = [coarse(frame, step) for frame, step in zip(reference, (8, 12, 20, 40), strict=True)]
    run_ffmpeg(folder, reference, decoded, "psnr=stats_file=psnr.log")
    lines = (folder / "psnr.log").read_text().splitlines()
    assert len(lines) == len(reference)
    for line, a, b in zip(lines, reference, decoded, strict=True):
        stats = dict(re.findall(r"(\w+):(\S+)", line))
        for plane in "yuv":
            mse = plane_mse(getattr(a, plane), getattr(b, plane))
            # ffmpeg prints two decimals.
            assert mse == pytest.approx(float(stats[f"mse_{plane}"]), abs=0.0051)
            assert psnr(mse) == pytest.approx(float(stats[f"psnr_{plane}"]), abs=0.01)


def test_mse_of_a_large_picture_does_not_overflow():
    black = np.zeros((1088, 1920), np.uint8)
    assert plane_mse(black, black + np.uint8(255)) == 255**2
    half = np.zeros(black.shape, np.float32)
    half[: black.shape[0] // 2] = 1
    assert plane_mse(black, black + np.uint8(255), half) == pytest.approx(255**2 * half.mean())
    assert plane_mse(black + np.uint8(100), black) == 100**2


def test_equal_pictures_have_100_db():
    assert psnr(0.0) == mean_psnr([0.0]) == psnr_of_mean([0.0]) == 100.0


def test_averages_before_and_after_the_logarithm():
    series = [TWENTY, FORTY]
    assert mean_psnr(series) == pytest.approx(30.0)
    assert psnr_of_mean(series) == pytest.approx(22.967086)  # 20 - 10 log10(1.01 / 2)


def test_planes_are_weighted_411_in_mse_and_611_in_db():
    planes = (TWENTY, THIRTY, FORTY)
    assert weighted_mse(planes) == pytest.approx((4 * TWENTY + THIRTY + FORTY) / 6)
    assert weighted_psnr(planes) == pytest.approx((6 * 20 + 30 + 40) / 8)


def test_psnr_yuv_in_all_four_ways():
    y, u, v = [TWENTY, FORTY], [THIRTY, THIRTY], [FORTY, FORTY]
    first, second = (4 * TWENTY + THIRTY + FORTY) / 6, (4 * FORTY + THIRTY + FORTY) / 6
    assert psnr_yuv_411(y, u, v) == pytest.approx(psnr((first + second) / 2))
    assert psnr_yuv_411_mean(y, u, v) == pytest.approx((psnr(first) + psnr(second)) / 2)
    assert psnr_yuv_611(y, u, v) == pytest.approx((6 * 30 + 30 + 40) / 8)
    assert psnr_yuv_611_of_mean(y, u, v) == pytest.approx((6 * 22.967086 + 30 + 40) / 8)


def test_planes_of_different_length_are_refused():
    for function in (psnr_yuv_411, psnr_yuv_411_mean, psnr_yuv_611):
        with pytest.raises(ValueError, match="shorter"):
            function([1.0, 1.0], [1.0], [1.0])
