"""The weights that come with the package: what a user gets who asks for `dhvc`."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import vireo
from tests.clips import middle, moving, write_y4m
from vireo import weights
from vireo.codecs.dhvc.config import CONFIGS
from vireo.codecs.dhvc.model import Model
from vireo.codecs.rate_points import place_of
from vireo.container import MatroskaReader
from vireo.exact import exact_layers, prove
from vireo.options import lambda_of_quality

STREAM = Path(__file__).parent / "shipped.mkv"
"""Four frames that another machine encoded."""
SHIPPED = ("small", "small-parallel")


@pytest.mark.parametrize("name", SHIPPED)
def test_they_are_small_and_say_how_they_were_made(name: str) -> None:
    path = weights.named(name).path
    assert path.parent == Path(weights.__file__).parent
    assert path.stat().st_size < 20e6
    record = json.loads(path.with_suffix(".json").read_text())
    assert {"recipe", "clips", "steps", "seconds", "machine", "commit", "curve"} <= set(record)
    assert len(record["validation"]) == CONFIGS[name].rates


@pytest.mark.parametrize("name", SHIPPED)
def test_sums_are_proved_exact_and_few_need_double_precision(name: str) -> None:
    model = Model(CONFIGS[name])
    weights.named(name).load_into(model)
    prove(model)
    assert sum(layer.in_double for _, layer in exact_layers(model)) < 6


def test_a_stream_of_another_machine_decodes_to_the_same_samples() -> None:
    """Every frame is compared with the hash that its packet has."""
    assert vireo.verify(STREAM).frames == 4


@pytest.mark.parametrize("name", SHIPPED)
def test_every_quality_decodes_and_is_nearer_and_larger_than_the_one_below(
    name: str, tmp_path: Path
) -> None:
    source = write_y4m(tmp_path / "a.y4m", moving(64, 64, 3))
    target = tmp_path / "a.mkv"
    lambdas = weights.named(name).lambdas
    found: dict[int, set[tuple[int, float]]] = {}
    for quality in range(0, 101, 10):
        report = vireo.encode(
            source, target, codec="dhvc", model=name, quality=quality, overwrite=True
        )
        assert vireo.verify(target).frames == 3
        place = place_of(lambda_of_quality(quality), lambdas)
        found.setdefault(place, set()).add((report.video_size, report.psnr))
    assert len(found) == 9  # beyond the model's lambdas all are alike
    assert {len(same) for same in found.values()} == {1}
    for (lower,), (higher,) in pairwise(found.values()):
        assert lower[0] < higher[0]
        assert lower[1] < higher[1]


@pytest.mark.parametrize("name", ["highway_drive_416x240_65f.mkv", "carphone_176x144_97f.mkv"])
def test_p_frames_are_far_smaller_than_i_frames(name: str, clips: Path, tmp_path: Path) -> None:
    """The frame before is of use."""
    target = tmp_path / "out.mkv"
    source = middle(clips / name, tmp_path / "a.y4m", 176, 128, 8)
    report = vireo.encode(source, target, codec="dhvc", quality=40)
    assert report.psnr > 31
    with MatroskaReader(target) as file:
        sizes = [len(packet.data) for packet in file]
    assert np.mean(sizes[1:]) < 0.5 * sizes[0]


def test_more_scales_are_nearer(clips: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    source = clips / "carphone_176x144_97f.mkv"
    vireo.encode(source, target, codec="dhvc", model="small-parallel", frames=6)
    errors = []
    with vireo.open(target) as video:
        whole = [f.y.astype(float) for f in video]
    for scales in (1, 2, 3, 4):
        vireo.decode(target, tmp_path / "a.y4m", scales=scales, overwrite=True)
        with vireo.api.open_source(tmp_path / "a.y4m") as part:
            errors.append(
                np.mean([np.square(f.y - y).mean() for f, y in zip(part, whole, strict=True)])
            )
    assert errors[3] == 0
    assert errors[0] > errors[1] > errors[2] > 0
