"""A small model, and streams of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import vireo
from tests.clips import moving, write_y4m
from vireo import weights
from vireo.codecs.codebook.config import CONFIGS, Config
from vireo.codecs.codebook.training import ClipLoss
from vireo.train.data import SIDE, Clips
from vireo.video.frame import Frame

FRAMES = 8
GOP = 4  # P frames of a GOP
LAMBDAS = (8e-3, 2e-3, 5e-4)
PROFILES = ("paper", "entropy")


def few_entries() -> Config:
    """Like the small model."""
    return replace(CONFIGS["small"], key=(64, 32, 16), predicted=((8, 8, 8), (32, 16, 8)))


def clips() -> Clips:
    """Of pictures from code, each clip's moving another way."""
    runs = []
    for start in range(4):
        frames = moving(SIDE, SIDE, 7 + 5 * start)[5 * start :]
        runs.append([np.concatenate([p.ravel() for p in (f.y, f.u, f.v)]) for f in frames])
    return Clips(np.array(runs, np.uint8))


@dataclass(frozen=True)
class Folder:
    """Where the model's weights are, and a video's."""

    path: Path
    source: Path
    frames: list[Frame]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """Weights as training starts from them: a transform codec, its codebooks by k-means.

    Where it is used, the small model is this one.
    """
    path = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        config = replace(few_entries(), predicted=((8, 8, 8), (16, 8, 8), (32, 16, 8)))
        patch.setitem(CONFIGS, "small", config)
        torch.manual_seed(0)
        loss = ClipLoss("small")
        loss.prepare(clips(), 0, count=16, side=64)
        weights.save(loss.model, "small", LAMBDAS, path / "codebook-small.safetensors", {})
        patch.setenv(weights.FOLDERS, str(path))
        frames = moving(149, 89, FRAMES)
        yield Folder(path, write_y4m(path / "source.y4m", frames), frames)


@pytest.fixture(scope="module")
def streams(folder: Folder) -> Mapping[str, Path]:
    """Frames of a size that is no multiple of anything, by profile."""
    found = {}
    for profile in PROFILES:
        found[profile] = folder.path / f"{profile}.mkv"
        report = vireo.encode(
            folder.source, found[profile], codec="codebook", profile=profile, gop_size=GOP
        )
        assert report.frames == FRAMES
    return found
