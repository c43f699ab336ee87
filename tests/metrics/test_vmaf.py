from __future__ import annotations

import json
import sys
from fractions import Fraction
from statistics import fmean

import pytest

from tests.clips import moving
from tests.metrics.pictures import coarse, first_frames, run_ffmpeg, write_raw
from vireo.errors import InputError, UsageError, VireoError
from vireo.metrics import vmaf, vmaf_available, vmaf_neg

SIZE = (352, 288)


@pytest.fixture(scope="module")
def reference(clips):
    return first_frames(clips / "mobile_calendar_352x288_30f.mkv", 5)


@pytest.fixture
def measured(reference, tmp_path):
    """VMAF NEG of damaged copies of the clip: `measured(step, frames)`."""
    # A folder whose name a filter's option could not hold unquoted.
    folder = tmp_path / "it's a: [folder], 100%"
    folder.mkdir()
    source = write_raw(folder / "reference.yuv", reference)

    def measure(step, frames=5, **options):
        decoded = write_raw(folder / "decoded.yuv", [coarse(f, step) for f in reference])
        return vmaf_neg(source, decoded, SIZE, frames, Fraction(30000, 1001), **options)

    return measure


def test_agrees_with_ffmpeg_by_hand(reference, measured, tmp_path):
    decoded = [coarse(frame, 30) for frame in reference]
    options = "model=version=vmaf_v0.6.1neg:log_fmt=json:log_path=log.json"
    run_ffmpeg(tmp_path, reference, decoded, f"libvmaf={options}")
    frames = json.loads((tmp_path / "log.json").read_text())["frames"]
    expected = [frame["metrics"]["vmaf"] for frame in frames]
    assert 20 < min(expected) < max(expected) < 95
    assert measured(30) == pytest.approx(expected, abs=0.01)
    assert measured(30, threads=2) == pytest.approx(expected, abs=0.01)


def test_worse_pictures_score_lower(measured):
    best, good, bad = (fmean(measured(step)) for step in (2, 16, 60))
    assert best > 95
    assert best > good + 3
    assert good > bad + 10


def test_only_the_frames_asked_for_count(reference, measured, tmp_path):
    found = measured(30, 2)
    short = [write_raw(tmp_path / "a", reference[:2])]
    short += [write_raw(tmp_path / "b", [coarse(f, 30) for f in reference[:2]])]
    assert found == vmaf_neg(*short, SIZE, 2, Fraction(25))
    assert len(found) == 2


def test_equal_pictures_score_high(reference, tmp_path):
    path = write_raw(tmp_path / "a.yuv", reference)
    assert min(vmaf_neg(path, path, SIZE, len(reference), Fraction(25))) > 95


def test_a_short_or_missing_file_is_named(reference, measured, tmp_path):
    with pytest.raises(InputError, match=r"reference.yuv holds 5 frames of 352x288, not 6"):
        measured(30, 6)
    path = write_raw(tmp_path / "a.yuv", reference)
    with pytest.raises(InputError, match=r"missing.yuv can't be read"):
        vmaf_neg(path, tmp_path / "missing.yuv", SIZE, 1, Fraction(25))


def test_a_failure_is_an_error_with_the_programs_own_words(monkeypatch, tmp_path):
    path = write_raw(tmp_path / "a.yuv", moving(16, 8, 2))
    # Python stands in for an ffmpeg that fails: it does not know ffmpeg's options.
    monkeypatch.setattr(vmaf, "_ffmpeg", lambda: sys.executable)
    with pytest.raises(VireoError, match=r"a.yuv, 16x8, failed: .*[Uu]nknown option"):
        vmaf_neg(path, path, (16, 8), 2, Fraction(25))


def test_says_what_to_install(monkeypatch, tmp_path):
    assert vmaf_available()
    vmaf._ffmpeg.cache_clear()
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    try:
        assert not vmaf_available()
        with pytest.raises(UsageError, match=r"vireo\[bench\]"):
            vmaf_neg(tmp_path, tmp_path, SIZE, 1, Fraction(25))
    finally:
        vmaf._ffmpeg.cache_clear()
