"""The weights that come with the package: what a user gets who asks for `ssf`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import vireo
from tests.clips import middle, moving, write_y4m
from vireo import weights
from vireo.codecs.ssf.config import CONFIGS
from vireo.codecs.ssf.model import Model
from vireo.container import MatroskaReader
from vireo.exact import exact_layers, prove

STREAM = Path(__file__).parent / "shipped.mkv"
"""Five frames that another machine encoded."""


def shipped() -> weights.Weights:
    return weights.named("ssf1")


def test_they_are_small_and_say_how_they_were_made() -> None:
    path = shipped().path
    assert path.parent == Path(weights.__file__).parent
    assert path.stat().st_size < 20e6
    record = json.loads(path.with_suffix(".json").read_text())
    assert {"recipe", "clips", "steps", "seconds", "machine", "commit", "curve"} <= set(record)
    assert len(record["validation"]) == CONFIGS["ssf1"].rates


def test_sums_are_proved_exact_and_few_need_double_precision() -> None:
    model = Model(CONFIGS["ssf1"])
    shipped().load_into(model)
    prove(model)
    assert sum(layer.in_double for _, layer in exact_layers(model)) < 4


def test_a_stream_of_another_machine_decodes_to_the_same_samples() -> None:
    """Every frame is compared with the hash that its packet has."""
    assert vireo.verify(STREAM).frames == 5


def test_more_quality_takes_more_bits_and_gives_more(tmp_path: Path) -> None:
    source = write_y4m(tmp_path / "a.y4m", moving(96, 80, 4))
    before = (0, 0.0)
    for quality in (20, 45, 70):
        report = vireo.encode(
            source, tmp_path / "a.mkv", codec="ssf", quality=quality, overwrite=True
        )
        now = report.video_size, report.psnr
        assert now > before
        assert now[1] > before[1] + 1
        before = now


@pytest.mark.parametrize("name", ["highway_drive_416x240_65f.mkv", "carphone_176x144_97f.mkv"])
def test_p_frames_are_far_smaller_than_i_frames(name: str, clips: Path, tmp_path: Path) -> None:
    """The flow has been learned."""
    target = tmp_path / "out.mkv"
    source = middle(clips / name, tmp_path / "a.y4m", 176, 128, 12)
    report = vireo.encode(source, target, codec="ssf", quality=40)
    assert report.psnr > 32
    with MatroskaReader(target) as file:
        sizes = [len(packet.data) for packet in file]
    assert np.mean(sizes[1:]) < 0.4 * sizes[0]
