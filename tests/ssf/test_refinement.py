"""Symbols refined by gradients: a lower cost, exact streams, and never worse than one pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import vireo
from tests.clips import moving, write_y4m
from vireo import weights
from vireo.codecs.encoding import FrameProgress
from vireo.codecs.pretrained import padded
from vireo.codecs.rate_points import Places
from vireo.codecs.ssf import refinement
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.config import STRIDE
from vireo.codecs.ssf.encoder import SameCoder, SsfEncoder
from vireo.codecs.ssf.refinement import Refinement, worth
from vireo.codecs.ssf.training import error
from vireo.errors import UsageError
from vireo.gop import GopStructure
from vireo.metrics import plane_mse
from vireo.options import EncodeOptions

LAMBDA = 1e-3
FRAMES, WIDTH, HEIGHT = 4, 136, 104


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a size that is no multiple of a latent's."""
    folder = tmp_path_factory.mktemp("source")
    return write_y4m(folder / "source.y4m", moving(WIDTH, HEIGHT, FRAMES))


def _cost(source: Path, target: Path, preset: str) -> float:
    """Distortion and lambda times rate of what the file holds, which decodes as it was encoded."""
    report = vireo.encode(source, target, codec="ssf", lambda_=LAMBDA, preset=preset, threads=1)
    assert vireo.verify(target).frames == FRAMES
    rate = 8 * report.video_size / (FRAMES * WIDTH * HEIGHT)
    return float(10 ** (-report.psnr / 10) + LAMBDA * rate)


def test_more_steps_cost_less(source: Path, tmp_path: Path) -> None:
    one_pass, few, more = (
        _cost(source, tmp_path / f"{preset}.mkv", preset)
        for preset in ("ultrafast", "faster", "medium")
    )
    assert few < 0.98 * one_pass
    assert more < few


def test_the_same_steps_give_the_same_file(source: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.mkv", tmp_path / "second.mkv"
    for target in (first, second):
        _cost(source, target, "faster")
    assert first.read_bytes() == second.read_bytes()


def test_steps_that_only_harm_are_not_taken(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refinement, "LEARNING_RATE", 30.0)
    one_pass, harmed = tmp_path / "one_pass.mkv", tmp_path / "harmed.mkv"
    _cost(source, one_pass, "ultrafast")
    _cost(source, harmed, "faster")
    assert harmed.read_bytes() == one_pass.read_bytes()


def test_progress_counts_the_steps_of_each_picture(source: Path, tmp_path: Path) -> None:
    seen = []

    def listen(event: object) -> None:
        if isinstance(event, FrameProgress):
            seen.append((event.iterations, event.planned))

    vireo.encode(
        source, tmp_path / "out.mkv", codec="ssf", preset="faster", frames=2, listener=listen
    )
    assert seen == [(n + 1, 10) for _ in range(2) for n in range(10)]


def test_what_others_refer_to_is_worth_more() -> None:
    assert worth(0, intra=True) == worth(0, intra=False) == 1
    assert worth(1, intra=False) < worth(1, intra=True) < worth(11, intra=True) < 5
    assert worth(11, intra=False) < 2


def test_presets() -> None:
    assert EncodeOptions(codec="ssf").preset == "ultrafast"
    assert EncodeOptions(codec="ssf", adapt="full").preset == "medium"
    assert EncodeOptions(codec="ssf", adapt="full", preset="faster").preset == "faster"
    with pytest.raises(UsageError, match="no preset 'best'; there is ultrafast, faster"):
        EncodeOptions(codec="ssf", preset="best")
    with pytest.raises(UsageError, match="dhvc has no presets"):
        EncodeOptions(codec="dhvc", preset="fast")


def test_threads_change_no_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In larger pictures the gradient's last bits would: it is worked out in one thread."""
    used = set()

    def noted(*pictures: object) -> torch.Tensor:
        used.add(torch.get_num_threads())
        return error(*pictures)

    monkeypatch.setattr(refinement, "error", noted)
    files = []
    for threads in (1, 2, 3):
        target = tmp_path / f"{threads}.mkv"
        vireo.encode(source, target, codec="ssf", preset="faster", gop_size=1, threads=threads)
        files.append(target.read_bytes())
    assert files[0] == files[1] == files[2]
    assert used == {1}


def test_pictures_count_as_many_as_follow_them() -> None:
    video = moving(WIDTH, HEIGHT, FRAMES)
    found = weights.named("ssf1")
    coder = Coder(found, Places(16, 16))
    encoder = SsfEncoder(SameCoder(coder))
    low_delay = encoder.plan(GopStructure.LOW_DELAY, video)
    assert [f.importance for f in low_delay] == [
        worth(3, intra=True), worth(2, intra=False), worth(1, intra=False), 1.0
    ]  # fmt: skip
    assert [f.importance for f in encoder.plan(GopStructure.INTRA, video)] == [1.0] * FRAMES


def test_what_counts_more_is_better(source: Path) -> None:
    coder = Coder(weights.named("ssf1"), Places(16, 16))
    target = padded(moving(WIDTH, HEIGHT, 1)[0].planes, STRIDE)
    encoder = SsfEncoder(SameCoder(coder), Refinement(10, LAMBDA))
    little, much = (encoder.picture(coder, target, [], importance) for importance in (1.0, 6.0))
    assert plane_mse(much.decoded[0], target[0]) < plane_mse(little.decoded[0], target[0])
    assert len(much.sections[0].data) > len(little.sections[0].data)
