"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of evaluation clips: `$VIREO_DATA/clips`, or `../shared/data/clips`."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("VIREO_DATA", root.parent / "shared" / "data")) / "clips"
    if not folder.is_dir():
        pytest.skip(f"no evaluation clips at {folder}: set VIREO_DATA")
    return folder
