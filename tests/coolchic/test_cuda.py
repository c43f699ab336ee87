"""Cool-chic trained on a GPU: the steps that the processor makes, and streams for every decoder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import vireo
from tests.clips import moving, write_y4m
from tests.coolchic.test_torch_trainer import copied, pair, with_parts
from tests.cuda import PRECISIONS, caller_allows, needs_cuda
from vireo.codecs.coolchic import model
from vireo.codecs.coolchic.torch_trainer import StepBatcher, TorchTrainer
from vireo.codecs.coolchic.trainer import Adam, schedule
from vireo.gop import FrameType

ADAM = Adam(clip=0.01, parameter_rate=4.0)
STEPS = schedule(12, lambda_=1e-3, latents_rate=0.01, networks_rate=1e-3, noise_shape=2.0)


def run(trainer: TorchTrainer) -> np.ndarray:
    return trainer.run(STEPS, seed=3, first_iteration=5, adam=ADAM)


@needs_cuda
@pytest.mark.parametrize("frame_type", list(FrameType))
@pytest.mark.parametrize("make", [pair, with_parts])
@pytest.mark.parametrize(
    ("piece", "precision"), [(100, PRECISIONS[0]), *((model.PIECE, p) for p in PRECISIONS)]
)
def test_steps_are_the_processors(
    make, piece: int, precision: str, frame_type: FrameType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise included; of 12 steps the last ones are a captured graph."""
    monkeypatch.setattr(model, "PIECE", piece)
    twin = make(frame_type)[1]
    there = copied(twin, StepBatcher(torch.device("cuda")))
    with caller_allows(precision):
        found = run(there)
    np.testing.assert_allclose(found, run(twin), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(there.parameters, twin.parameters, atol=5e-4)


@needs_cuda
@pytest.mark.parametrize("make", [pair, with_parts])
@pytest.mark.filterwarnings("error:There is a performance drop")
def test_frames_trained_together_make_the_steps_that_each_makes_alone(make) -> None:
    batcher = StepBatcher(torch.device("cuda"), most=8)
    twins = [make(FrameType.B)[1] for _ in range(5)]
    for i, twin in enumerate(twins):
        twin.latents = [g + 0.1 * i for g in twin.latents]
    there = [copied(twin, batcher) for twin in twins]
    with ThreadPoolExecutor(5) as pool:
        metrics = list(pool.map(run, there))
    for found, twin, trainer in zip(metrics, twins, there, strict=True):
        np.testing.assert_allclose(found, run(twin), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(trainer.parameters, twin.parameters, atol=5e-4)


@needs_cuda
@pytest.mark.parametrize("profile", ["standard", "paper"])
def test_what_is_trained_there_decodes_here(profile: str, tmp_path: Path) -> None:
    source = write_y4m(tmp_path / "in.y4m", moving(64, 48, 9))
    reports = [
        vireo.encode(
            source,
            tmp_path / f"{device}.mkv",
            profile=profile,
            preset="ultrafast",
            gop_size=8,
            device=device,
            threads=4,
        )
        for device in ("cuda", "cpu")
    ]
    assert vireo.verify(tmp_path / "cuda.mkv").frames == 9
    there, here = reports
    assert there.psnr == pytest.approx(here.psnr, abs=2.5)  # other seeds differ by 2
    assert there.video_size == pytest.approx(here.video_size, rel=0.2)
