"""Networks between floats and the stream's integers."""

from __future__ import annotations

import numpy as np
import pytest

from vireo import _core
from vireo.codecs.coolchic.config import PAPER
from vireo.codecs.coolchic.quantise import (
    FloatNetworks,
    Formats,
    MlpFormat,
    build_networks,
    float_parameters,
)
from vireo.codecs.coolchic.stream import StreamShape
from vireo.gop import FrameType


@pytest.mark.parametrize("frame_type", list(FrameType))
def test_floats_come_back_from_the_stream(frame_type: FrameType) -> None:
    core = StreamShape(PAPER).core()
    rng = np.random.default_rng(int(frame_type))
    count = sum(PAPER.parameters(frame_type).values())
    floats = rng.uniform(-1, 1, count).astype(np.float32)
    formats = Formats(MlpFormat(6, 5, (7, 7)), 8, MlpFormat(9, 7, (11, 11)))
    split = FloatNetworks.split(floats, PAPER, frame_type)
    written = build_networks(split, formats, core, frame_type, 5).encode()
    networks = _core.Networks.decode(core, int(frame_type), written)
    back = float_parameters(networks, PAPER, frame_type)
    assert back.dtype == np.float32
    assert np.abs(back - floats).max() <= 2.0**-6  # half a step of the coarsest format
    again = FloatNetworks.split(back, PAPER, frame_type)
    assert build_networks(again, formats, core, frame_type, 5).encode() == written
