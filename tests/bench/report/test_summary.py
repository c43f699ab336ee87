"""The report's numbers against what they are by hand."""

from __future__ import annotations

import math

import pytest

from tests.bench.report.records import clip_record, line, point
from vireo.bench.report import summary
from vireo.bench.report.summary import Comparison
from vireo.errors import InputError
from vireo.metrics.quality import MEASURES

PSNR = MEASURES["psnr"]


def psnr(mse: float) -> float:
    return 10 * math.log10(255**2 / mse)


def test_results_keep_one_record_per_point_and_their_order():
    old, new = point("b", 30, 100), point("b", 30, 200)
    comparison = Comparison.of([old, point("a", 20, 50, clip="other"), new])
    assert comparison.labels == ("b", "a")
    assert list(comparison.clips) == ["clip", "other"]
    assert comparison.points("clip", "b") == (new,)
    assert comparison.points("clip", "a") == ()


def test_results_refuse_one_name_for_different_pictures():
    longer = point("b", 30, 100, clip=clip_record(frames=2, sha256="another"))
    with pytest.raises(InputError, match="clip is not the same for a and b"):
        Comparison.of([point("a", 30, 100), longer])
    with pytest.raises(InputError, match="no results"):
        Comparison(())


def test_measures_are_those_that_some_record_has_the_series_for():
    measures = Comparison.of([point("a", 30, 100)]).measures()
    assert {"psnr", "psnr-y"} <= measures.keys()
    assert "vmaf-neg" not in measures


def test_curves_rise_in_rate_in_bits_per_pixel():
    comparison = Comparison.of([point("a", 20, 400, 1.0), point("a", 30, 100, 4.0)])
    (curve,) = summary.curves(comparison, PSNR).values()
    assert curve.rates == (8 * 100 / 200, 8 * 400 / 200)
    assert curve.qualities == pytest.approx((psnr(4.0), psnr(1.0)))


def test_bd_rate_of_every_ordered_pair():
    half = line("half", [100, 200, 400, 800])
    full = line("full", [200, 400, 800, 1600])
    comparison = Comparison.of(half + full)
    curves = summary.curves(comparison, PSNR)
    by_clip = summary.bd_rates(curves, comparison.clips, comparison.labels)
    assert by_clip["clip"]["half", "full"].value == pytest.approx(-50)
    assert by_clip["clip"]["full", "half"].value == pytest.approx(100)
    assert len(by_clip["clip"]) == 2


def test_mean_bd_rate_counts_clips_and_what_kept_others_out():
    anchor, test = [], []
    for clip, factor in (("one", 2), ("two", 4)):
        anchor += line("anchor", [100, 200, 400, 800], clip=clip)
        test += line("test", [factor * 100 * 2**i for i in range(4)], clip=clip)
    few = line("anchor", [100, 200], clip="few") + line("test", [100, 200], clip="few")
    alone = line("anchor", [100, 200, 400, 800], clip="alone")
    comparison = Comparison.of(anchor + test + few + alone)
    by_clip = summary.bd_rates(
        summary.curves(comparison, PSNR), comparison.clips, comparison.labels
    )
    mean = summary.mean_bd_rate(by_clip, ("test", "anchor"))
    assert mean.value == pytest.approx((100 + 300) / 2)
    assert mean.clips == ("one", "two")
    assert mean.refused == 2
    assert mean.refusals[summary.NO_POINTS] == 1
    (reason,) = (r for r in mean.refusals if r != summary.NO_POINTS)
    assert "different points, fewer than 3" in reason


def test_refusals_of_one_kind_count_as_one():
    curves = {
        (clip, label): summary.curve(line(label, sizes, clip=clip), PSNR)
        for clip, label, sizes in (
            ("one", "a", [100, 200]), ("one", "b", [100, 200, 300]),
            ("two", "a", [100]), ("two", "b", [100, 200, 300]),
        )
    }  # fmt: skip
    by_clip = summary.bd_rates(curves, ["one", "two"], ["a", "b"])
    (count,) = summary.mean_bd_rate(by_clip, ("b", "a")).refusals.values()
    assert count == 2


def test_time_ratios_are_geometric_means_without_interrupted_encodes():
    records = [
        point("slow", 20, 100, seconds=8.0),
        point("slow", 30, 100, seconds=2.0),
        point("slow", 40, 100, seconds=1e6, complete=False),
        point("fast", 20, 100, seconds=1.0),
        point("slow", 20, 100, seconds=9.0, clip="other"),
        point("fast", 20, 100, seconds=1.0, clip="other"),
        point("part", 20, 100, complete=False),
    ]
    comparison = Comparison.of(records)
    clock = "encode wall"
    assert summary.time_per_frame(comparison.points("clip", "slow"), clock) == pytest.approx(4 / 2)
    assert summary.time_per_frame(comparison.points("clip", "part"), clock) is None
    both = comparison.clips
    assert summary.time_ratio(comparison, ("slow", "fast"), both, clock) == pytest.approx(6.0)
    assert summary.time_ratio(comparison, ("fast", "slow"), ["clip"], clock) == pytest.approx(0.25)
    assert summary.time_ratio(comparison, ("part", "fast"), both, clock) is None


def test_average_is_of_settings_that_all_clips_have():
    one = [point("a", 20, 100, 4.0), point("a", 30, 50, 8.0), point("a", 40, 20, 16.0)]
    two = [point("a", 30, 150, 2.0, clip="two"), point("a", 20, 300, 1.0, clip="two")]
    low, high = summary.average_points([one, two], PSNR)
    assert (low.setting, high.setting) == ("crf 30", "crf 20")
    assert high.bits_per_pixel == pytest.approx(8 * 200 / 200)
    assert high.kbit_per_second == pytest.approx(8 * 200 / 1000 / 0.2)
    assert high.quality == pytest.approx((psnr(4.0) + psnr(1.0)) / 2)


def test_matched_rates_lie_where_most_codecs_reach():
    ranges = [(1.0, 8.0), (2.0, 16.0), (2.0, 16.0)]
    rates = summary.matched_rates(ranges, 3)
    assert rates == pytest.approx([2 * 8 ** (k / 6) for k in (1, 3, 5)])
    assert summary.matched_rates([(1.0, 4.0), (16.0, 64.0)]) == pytest.approx((32.0,))
    assert summary.matched_rates([]) == ()


def test_nearest_is_by_ratio():
    near, far = point("a", 20, 100), point("a", 30, 400)
    assert summary.nearest([near, far], 1.9 * near.bits_per_pixel) is near
    assert summary.nearest([near, far], 2.1 * near.bits_per_pixel) is far
    assert summary.nearest([], 1.0) is None


def test_per_frame_is_the_measure_of_each_frame():
    record = point("a", 20, 100)
    frames = record.frames | {name: [1.0, 4.0] for name in ("mse_y", "mse_u", "mse_v")}
    record = point("a", 20, 100, frames=frames)
    assert summary.per_frame(record, PSNR) == pytest.approx([psnr(1.0), psnr(4.0)])
    assert summary.per_frame(record, MEASURES["vmaf-neg"]) == [None, None]


def test_bytes_add_up_to_the_coded_video():
    record = point("a", 20, 100, container=7, remarks=5)
    assert summary.bytes_by_part(record) == {summary.WHOLE_STREAM: 100}
    assert summary.bytes_by_frame_type(record) == {"I": 40, "P": 40, summary.BETWEEN_FRAMES: 20}
    parted = point("a", 20, 100, parts={"networks": 60.0, "headers": 40.0})
    assert summary.bytes_by_part(parted) == {"networks": 60.0, "headers": 40.0}
