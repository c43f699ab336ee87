"""Tiny models, and streams of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import vireo
from tests.clips import moving, write_y4m
from tests.dhvc.models import loud, tiny
from tests.dhvc.streams import FRAMES, LAMBDAS, MODELS
from vireo import weights
from vireo.codecs.dhvc.config import CONFIGS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    """Files of weights of tiny models, made at random: they needn't compress.

    In a module that uses it, the models are these.
    """
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        for name in MODELS:
            patch.setitem(CONFIGS, name, tiny(name))
        for name in MODELS:
            weights.save(
                loud(CONFIGS[name]), name, LAMBDAS, folder / f"{name}.safetensors", {"steps": 0}
            )
        patch.setenv(weights.FOLDERS, str(folder))
        yield folder


@pytest.fixture(scope="module")
def streams(folder: Path) -> Mapping[str, Path]:
    """Frames of a size that is no multiple of anything, by model."""
    source = write_y4m(folder / "source.y4m", moving(150, 90, FRAMES))
    found = {}
    for model in MODELS:
        found[model] = folder / f"{model}.mkv"
        report = vireo.encode(source, found[model], codec="dhvc", model=model, gop_size=5)
        assert report.frames == FRAMES
    return found
