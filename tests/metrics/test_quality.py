from __future__ import annotations

import subprocess
import sys

import pytest

from tests.clips import moving
from tests.metrics.pictures import coarse
from vireo.errors import UsageError
from vireo.metrics import (
    MEASURES,
    SERIES,
    measure_frame,
    ms_ssim_rgb,
    ms_ssim_y,
    plane_mse,
    psnr,
    rgb_mse,
)

TWENTY, THIRTY, FORTY = 650.25, 65.025, 6.5025
VIDEO = {
    "mse_y": [TWENTY, FORTY],
    "mse_u": [THIRTY, THIRTY],
    "mse_v": [FORTY, FORTY],
    "mse_rgb_bt601": [TWENTY, FORTY],
    "mse_rgb_bt709": [THIRTY, FORTY],
    "ms_ssim_y": [0.98, 1.0],
    "ms_ssim_rgb": [0.9, 0.9],
    "vmaf_neg": [70.0, 90.0],
}
OF_MEAN = 22.967086  # PSNR of the mean of the MSEs that are 20 and 40 dB
EXPECTED = {
    "psnr": psnr((4 * (TWENTY + FORTY) / 2 + THIRTY + FORTY) / 6),
    "psnr-y": OF_MEAN,
    "psnr-u": 30.0,
    "psnr-v": 40.0,
    "psnr-yuv-411-mean": sum(psnr((4 * y + THIRTY + FORTY) / 6) for y in (TWENTY, FORTY)) / 2,
    "psnr-yuv-611": (6 * 30 + 30 + 40) / 8,
    "psnr-yuv-611-mse": (6 * OF_MEAN + 30 + 40) / 8,
    "psnr-rgb-bt601": 30.0,
    "psnr-rgb-bt709": 35.0,
    "ms-ssim-y": 0.99,
    "ms-ssim-y-db": 20.0,
    "ms-ssim-rgb": 0.9,
    "ms-ssim-rgb-db": 10.0,
    "vmaf-neg": 80.0,
}


def test_every_measure_has_its_number():
    assert {name: m.of(VIDEO) for name, m in MEASURES.items()} == pytest.approx(EXPECTED)


def test_measures_say_what_they_are():
    assert next(iter(MEASURES)) == "psnr"
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert measure.unit == ("dB" if "psnr" in name or name.endswith("-db") else "")
        assert measure.explanation.endswith(".")
        assert set(measure.series) <= set(SERIES)
    labels = [(measure.title, measure.unit) for measure in MEASURES.values()]
    assert len(set(labels)) == len(labels)
    assert {name for measure in MEASURES.values() for name in measure.series} == set(SERIES)


def test_none_where_a_series_is_absent_or_has_a_gap():
    for measure in MEASURES.values():
        for name in measure.series:
            first, last = VIDEO[name]
            assert measure.of({k: v for k, v in VIDEO.items() if k != name}) is None
            for gap in ([first, None], [None, last], []):
                assert measure.of(VIDEO | {name: gap}) is None
        for other in set(SERIES) - set(measure.series):
            assert measure.of(VIDEO | {other: [None, None]}) is not None


def test_perfect_similarity_is_finite_in_db():
    assert MEASURES["ms-ssim-y-db"].of({"ms_ssim_y": [1.0, 1.0]}) == 100.0


@pytest.mark.parametrize("full_range", [False, True])
def test_a_frame_has_what_was_asked_for(full_range):
    reference = moving(170, 162, 1)[0]
    decoded = coarse(reference, 20)
    planes = {f"mse_{c}": plane_mse(getattr(reference, c), getattr(decoded, c)) for c in "yuv"}
    rgb = {f"mse_rgb_{m}": rgb_mse(reference, decoded, m, full_range) for m in ("bt601", "bt709")}
    similarity = {
        "ms_ssim_y": ms_ssim_y(reference, decoded),
        "ms_ssim_rgb": ms_ssim_rgb(reference, decoded, full_range),
    }
    assert len({*planes.values(), *rgb.values()}) == 5
    assert measure_frame(reference, decoded, (), full_range) == planes
    assert measure_frame(reference, decoded, {"rgb"}, full_range) == planes | rgb
    everything = measure_frame(reference, decoded, ["ms-ssim", "rgb"], full_range)
    assert everything == planes | rgb | similarity
    assert tuple(everything) == SERIES[:-1]


def test_small_frames_have_no_ms_ssim():
    frame = moving(170, 160, 1)[0]
    found = measure_frame(frame, coarse(frame, 20), ["ms-ssim"], False)
    assert found["ms_ssim_y"] is found["ms_ssim_rgb"] is None
    assert found["mse_y"] > 0


def test_an_unknown_group_is_named():
    frame = moving(16, 16, 1)[0]
    with pytest.raises(UsageError, match="lpips"):
        measure_frame(frame, frame, ["lpips"], False)


def test_importing_the_measures_imports_no_library_of_theirs():
    heavy = "{'torch', 'scipy', 'matplotlib', 'bjontegaard', 'pytorch_msssim', 'imageio_ffmpeg'}"
    code = f"import sys, vireo.metrics, vireo.api; sys.exit(str({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
