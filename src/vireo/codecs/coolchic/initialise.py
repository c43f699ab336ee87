"""Where training starts: networks before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.coolchic.config import FLOW_UNIT, Architecture
from vireo.gop import FrameType


class Start(Enum):
    """What a frame looks like before training, as far as the synthesis' biases can say it.

    Which of them leads to the lowest cost depends on the content: a prediction that is
    wrong in most places is harder to unlearn than a prediction is to learn.
    """

    MEAN = auto()  # the planes' means, no prediction
    TRANSLATION = auto()  # the references, moved as a whole
    MOTION = auto()  # the same, and the flow is drawn to estimated motion in the warm-up
    NEIGHBOUR = auto()  # the networks that a reference of the same type ended with


INITIAL_LOG2_SCALE = -1.0  # of the latents' Laplace distribution: mostly zeros, not quite sure
UNIT = 256.0  # sample values per unit of the synthesis
PREDICT = 0.45  # above its middle, output that makes alpha nearly 1


def initial_parameters(
    architecture: Architecture,
    frame_type: FrameType,
    target: Sequence[NDArray[np.uint8]],
    start: Start,
    translations: Sequence[NDArray[np.floating]],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Random networks that decode zero latents as `start` says, flat in the trainer's order.

    `translations` holds (x, y) per reference, in luma samples. The upsampling starts as
    cubic interpolation.
    """
    arm = _mlp(architecture.arm_widths(), rng, last=0.1)
    arm[-1] = INITIAL_LOG2_SCALE
    synthesis = _mlp(architecture.synthesis_widths(frame_type), rng, last=0.2)
    biases = np.zeros(architecture.outputs(frame_type), np.float32)
    residual = 2 * frame_type
    if start is Start.MEAN:
        biases[residual : residual + 3] = [plane.mean() / UNIT for plane in target]
        biases[residual + 3 : residual + 4] = -PREDICT
    else:
        biases[:residual] = np.concatenate(translations) / FLOW_UNIT
        biases[residual + 3] = PREDICT
    synthesis[-len(biases) :] = biases
    kernel = cubic_kernel(architecture.upsampling_kernel).ravel()
    return np.concatenate([arm, kernel, synthesis]).astype(np.float32)


def initial_networks(
    architecture: Architecture, frame_type: FrameType, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Random networks for an architecture with parts: grey pictures, or the prediction as it is."""
    parts = []
    for name, count in architecture.parameters(frame_type).items():
        if name == "upsampling":
            parts.append(cubic_kernel(architecture.upsampling_kernel).ravel())
            continue
        network = _mlp(architecture.networks(frame_type)[name], rng, 0.1)
        assert len(network) == count
        if name.startswith("arm"):
            network[-1] = INITIAL_LOG2_SCALE
        elif frame_type == FrameType.I:
            network[-architecture.networks(frame_type)[name][-1] :] = 0.5
        parts.append(network)
    return np.concatenate(parts).astype(np.float32)


def _mlp(widths: Sequence[int], rng: np.random.Generator, last: float) -> NDArray[np.float32]:
    """He initialisation with small positive hidden biases, and a last layer of scale `last`."""
    parts = []
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        final = layer == len(widths) - 2
        scale = last / np.sqrt(inputs) if final else np.sqrt(2 / inputs)
        parts.append(rng.normal(0, scale, inputs * outputs))
        parts.append(np.zeros(outputs) if final else rng.uniform(0, 0.1, outputs))
    return np.concatenate(parts).astype(np.float32)


def cubic_kernel(side: int) -> NDArray[np.float32]:
    """`[side, side]` samples of the Catmull-Rom kernel at the doubled resolution; sums to 4."""
    distance = np.abs((np.arange(side) - (side - 1) / 2) / 2)
    a = -0.5
    inner = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    outer = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    taps = np.where(distance < 1, inner, np.where(distance < 2, outer, 0.0))
    taps *= 2 / taps.sum()
    return np.outer(taps, taps).astype(np.float32)
