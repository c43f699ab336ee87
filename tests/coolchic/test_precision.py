"""What the integer decoder's fixed-point formats cost against floats."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from vireo import _core
from vireo.codecs.coolchic.config import PAPER
from vireo.codecs.coolchic.encoder import CoolchicEncoder, Settings
from vireo.codecs.coolchic.presets import Preset
from vireo.codecs.coolchic.stream import SectionKind, StreamShape
from vireo.codecs.coolchic.trainer import Trainer
from vireo.codecs.encoding import PictureJob
from vireo.gop import FrameType
from vireo.metrics import plane_mse, psnr, weighted_mse
from vireo.video import open_source

BOUND = 0.02  # dB
PRESET = Preset(1, 40, 150, 40)


def dequantised(networks: _core.Networks, frame_type: FrameType) -> np.ndarray:
    """The parameters that the stream holds, as floats in the trainer's order."""

    def mlp(values: tuple, widths: tuple[int, ...]) -> np.ndarray:
        parameters, weight_bits, bias_bits, _ = values
        bits = []
        for i, o in pairwise(widths):
            bits += [np.full(i * o, weight_bits), np.full(o, bias_bits)]
        return parameters / 2.0 ** np.concatenate(bits)

    kernel, kernel_bits = networks.kernel
    return np.concatenate(
        [
            mlp(networks.arm, PAPER.arm_widths()),
            kernel / 2.0**kernel_bits,
            mlp(networks.synthesis, PAPER.synthesis_widths(frame_type)),
        ]
    ).astype(np.float32)


@pytest.mark.parametrize("lambda_", [2e-3, 1e-4])
def test_fixed_point_costs_under_a_fiftieth_of_a_decibel(clips: Path, lambda_: float) -> None:
    """The same quantised parameters and latents in integers and in floats, frame by frame."""
    with open_source(clips / "carphone_176x144_97f.mkv", frames=9) as source:
        frames = [f.planes for f in source]
    shape = StreamShape(PAPER)
    core = shape.core()
    decoded: dict[int, tuple] = {}
    for index, references in ((0, ()), (8, (0,)), (4, (0, 8))):
        pictures = [decoded[r] for r in references]
        frame_type = FrameType(len(references))
        job = PictureJob(index, index, frame_type, 1.0, frames[index], pictures)
        trainer = Trainer(PAPER, frame_type, job.target, pictures)
        encoder = CoolchicEncoder(shape, Settings(lambda_, PRESET), lambda *_, t=trainer: t)
        picture = encoder.encode(job, lambda done, of: None)
        decoded[index] = picture.decoded
        assert picture.sections[0].kind == SectionKind.NETWORKS
        networks = _core.Networks.decode(core, int(frame_type), picture.sections[0].data)
        trainer.parameters = dequantised(networks, frame_type)
        planes = [np.clip(np.rint(p * 255), 0, 255).astype(np.uint8) for p in trainer.decode()[0]]
        in_floats = quality(planes, job.target)
        in_integers = quality(picture.decoded, job.target)
        assert in_integers > in_floats - BOUND, f"{frame_type.name}: {in_floats - in_integers:.4f}"


def quality(planes: object, target: object) -> float:
    errors = [plane_mse(a, b) for a, b in zip(planes, target, strict=True)]  # type: ignore[call-overload]
    return psnr(weighted_mse(errors))
