"""The paper's table 1, counted from the shapes and from the models themselves."""

from __future__ import annotations

import numpy as np
import pytest

from vireo import _core
from vireo.codecs.coolchic.config import NEAREST_12, PAPER, STANDARD
from vireo.codecs.coolchic.stream import StreamShape
from vireo.codecs.coolchic.torch_trainer import TorchTrainer
from vireo.codecs.coolchic.trainer import Trainer
from vireo.gop import FrameType

TABLE_1 = {"arm": 338, "upsampling": 64, "synthesis": 405}


def pictures(count: int) -> list[list[np.ndarray]]:
    return [[np.zeros(s, np.uint8) for s in ((16, 16), (8, 8), (8, 8))] for _ in range(count)]


def test_parameters_are_the_papers() -> None:
    assert PAPER.parameters(FrameType.B) == TABLE_1
    assert sum(TABLE_1.values()) == 807


@pytest.mark.parametrize(("frame_type", "outputs"), list(zip(FrameType, (3, 6, 9), strict=True)))
def test_every_model_has_as_many(frame_type: FrameType, outputs: int) -> None:
    """The integer decoder, the native trainer and the PyTorch twin hold what is counted."""
    assert PAPER.outputs(frame_type) == outputs
    counts = PAPER.parameters(frame_type)
    networks = _core.Networks(StreamShape(PAPER).core(), int(frame_type), 3)
    assert networks.arm[0].size == counts["arm"]
    assert networks.kernel[0].size == counts["upsampling"]
    assert networks.synthesis[0].size == counts["synthesis"]
    target, *references = pictures(1 + frame_type)
    native = Trainer(PAPER, frame_type, target, references)
    twin = TorchTrainer(PAPER, frame_type, target, references)
    assert native.parameters.size == twin.parameters.size == sum(counts.values())


@pytest.mark.parametrize(("height", "width"), [(480, 832), (512, 768)])
def test_multiplications_are_the_papers(height: int, width: int) -> None:
    """The paper rounds each module down but for the upsampling, whose count includes the
    four samples of border replication on each side; these two sizes give its total."""
    counted = PAPER.multiplications(FrameType.B, height, width, padding=4)
    assert int(counted["arm"]) == 415
    assert round(counted["upsampling"]) in (129, 130)
    assert counted["synthesis"] == 369
    assert counted["inter"] == 10
    assert int(sum(counted.values())) == 924


def test_multiplications_without_borders() -> None:
    """What the arithmetic needs at 1080p, wherever the border is."""
    counted = PAPER.multiplications(FrameType.B, 1080, 1920)
    assert counted["upsampling"] == pytest.approx(120.9, abs=0.1)


def test_seven_grids_from_full_size_to_a_64th() -> None:
    sizes = list(PAPER.grid_sizes(1080, 1920))
    assert len(sizes) == 7
    assert sizes[0] == (1080, 1920)
    assert sizes[6] == (17, 30)


@pytest.mark.parametrize("frame_type", list(FrameType))
def test_standard_networks_are_the_same_in_all_frames(frame_type: FrameType) -> None:
    counts = STANDARD.parameters(frame_type)
    assert counts == STANDARD.parameters(FrameType.I)
    assert list(counts.values()) == [350, 350, 64, 417, 230]
    slices = list(STANDARD.parameter_slices(frame_type).values())
    assert [s.start for s in slices[1:]] == [s.stop for s in slices[:-1]]


def test_multiplications_with_parts() -> None:
    """Chroma's synthesis runs at a quarter of the places; motion is coded without a network."""
    counted = STANDARD.multiplications(FrameType.B, 1024, 2048)
    assert counted["synthesis"] == 7 * 16 + 16 * 16 + 16 + (16 * 12 + 12 * 2) / 4
    luma, chroma = sum(4.0**-k for k in range(7)), 2 * sum(4.0**-k for k in range(2, 7))
    assert counted["arm"] == (luma + chroma) * (13 * 12 + 12 * 12 + 24)
    assert counted["temporal"] == luma * (10 * 8 + 8)
    doubled = sum(4.0**-k for k in range(2, 6))
    assert counted["inter"] == 2 * 37 + 3 * 1.5 + 6 * 4 * doubled
    intra = STANDARD.multiplications(FrameType.I, 1024, 2048)
    assert intra["inter"] == intra["temporal"] == 0


def test_the_context_is_causal() -> None:
    assert len(set(NEAREST_12)) == 12
    assert all(dy < 0 or (dy == 0 and dx < 0) for dy, dx in NEAREST_12)
