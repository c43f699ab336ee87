"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.clips import Sample, make_sample, moving

settings.register_profile("vireo", deadline=None)  # where others work too, time says nothing
settings.load_profile("vireo")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """One thread for each worker, of which there are as many as processors.

    Where a test wants more, they sleep while they wait: spinning, they would take up to seven
    times the processor time, and from the other workers.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of evaluation clips: `$VIREO_DATA/clips`, or `../shared/data/clips`."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("VIREO_DATA", root.parent / "shared" / "data")) / "clips"
    if not folder.is_dir():
        pytest.skip(f"no evaluation clips at {folder}: set VIREO_DATA")
    return folder


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    """Tiny encodes: each GOP structure, and profile `paper`; the last GOP is a shorter one."""
    folder = tmp_path_factory.mktemp("samples")
    return {
        "random-access": make_sample(
            folder, "random-access", moving(48, 40, 8), gop="random-access", gop_size=4
        ),
        "low-delay": make_sample(
            folder, "low-delay", moving(35, 27, 5), gop="low-delay", gop_size=2
        ),
        "intra": make_sample(folder, "intra", moving(35, 27, 2), gop="intra"),
        "paper": make_sample(folder, "paper", moving(35, 27, 5), profile="paper", gop_size=4),
    }


@pytest.fixture
def sample(samples: dict[str, Sample]) -> Sample:
    """The random access encode: I, P and B frames, two GOPs (5 and 3 frames)."""
    return samples["random-access"]
