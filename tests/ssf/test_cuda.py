"""Streams of ssf on a GPU: the same samples, whatever the process allows there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cuda import PRECISIONS, check_encoders, check_samples, needs_cuda

STREAM = Path(__file__).parent / "shipped.mkv"


@needs_cuda
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_shipped_stream_decodes_to_the_same_samples(precision: str, tmp_path: Path) -> None:
    check_samples(STREAM, precision, tmp_path)


@needs_cuda
@pytest.mark.parametrize("preset", ["ultrafast", "faster"])
def test_what_one_device_encodes_the_other_decodes(preset: str, tmp_path: Path) -> None:
    check_encoders(tmp_path, codec="ssf", preset=preset)
