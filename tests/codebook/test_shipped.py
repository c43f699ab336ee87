"""The weights that come with the package: what a user gets who asks for `codebook`."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import vireo
from tests.clips import middle
from vireo import weights
from vireo.codecs.base import Precision
from vireo.codecs.codebook.config import CONFIGS
from vireo.container import MatroskaReader

STREAM = Path(__file__).parent / "shipped.mkv"
"""Eight frames that another machine encoded."""


def test_they_are_small_and_say_how_they_were_made() -> None:
    path = weights.named("small", "codebook").path
    assert path.parent == Path(weights.__file__).parent
    assert path.stat().st_size < 20e6
    record = json.loads(path.with_suffix(".json").read_text())
    assert {"recipe", "clips", "steps", "seconds", "machine", "commit", "curve"} <= set(record)
    assert len(record["validation"]) == CONFIGS["small"].rates
    for rate, row in enumerate(record["validation"]):
        key, predicted = row["perplexity"]
        sizes = CONFIGS["small"].predicted[rate]
        assert min(key) > 10
        used = np.array(predicted).reshape(3, -1) / np.array(sizes)[:, None]
        assert (used > 0.1).all(), "codebooks are used"


@pytest.mark.parametrize("precision", list(Precision))
def test_a_stream_of_another_machine_decodes_to_about_the_same(precision: Precision) -> None:
    """To the same indices, and within the bound that the encoder found."""
    report = vireo.verify(STREAM, precision=precision)
    assert report.frames == 8
    assert report.beyond == ()


def test_every_quality_is_nearer_and_larger_than_the_one_below(clips: Path, tmp_path: Path) -> None:
    source = middle(clips / "carphone_176x144_97f.mkv", tmp_path / "a.y4m", 128, 128, 4)
    found = []
    for quality in (5, 25, 45, 65):
        target = tmp_path / f"{quality}.mkv"
        report = vireo.encode(source, target, codec="codebook", quality=quality)
        assert vireo.verify(target).frames == 4
        found.append((report.video_size, report.psnr))
    for lower, higher in pairwise(found):
        assert lower[0] < higher[0]
        assert lower[1] < higher[1]


@pytest.mark.parametrize("name", ["highway_drive_416x240_65f.mkv", "traffic_cam_352x288_49f.mkv"])
def test_p_frames_are_smaller_than_i_frames_and_improve_on_them(
    name: str, clips: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    psnr: list[float] = []
    vireo.encode(
        middle(clips / name, tmp_path / "a.y4m", 192, 128, 8),
        target,
        codec="codebook",
        quality=50,
        threads=1,
        listener=lambda event: psnr.append(getattr(event, "mse", (0,))[0]),
    )
    with MatroskaReader(target) as file:
        sizes = [len(packet.data) for packet in file]
    assert np.mean(sizes[1:]) < 0.6 * sizes[0]
    errors = [e for e in psnr if e]
    assert np.mean(errors[4:]) < 1.05 * errors[0]
