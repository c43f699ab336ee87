"""Where training starts: networks before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.coolchic.config import Architecture
from vireo.gop import FrameType

INITIAL_LOG2_SCALE = -1.0  # of the latents' Laplace distribution: mostly zeros, not quite sure
UNIT = 256.0  # sample values per unit of the synthesis
PREDICT = 0.5  # output for which alpha is 1: half above its middle


def initial_parameters(
    architecture: Architecture,
    frame_type: FrameType,
    target: Sequence[NDArray[np.uint8]],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Random networks that decode zero latents sensibly, flat in the trainer's order.

    An I frame starts from its planes' means, other frames from their unmoved first
    references; the upsampling starts as cubic interpolation.
    """
    arm = _mlp(architecture.arm_widths(), rng, last=0.1)
    arm[-1] = INITIAL_LOG2_SCALE
    synthesis = _mlp(architecture.synthesis_widths(frame_type), rng, last=0.2)
    biases = np.zeros(architecture.outputs(frame_type), np.float32)
    if frame_type == FrameType.I:
        biases[:] = [plane.mean() / UNIT for plane in target]
    else:
        biases[2 * frame_type + 3] = PREDICT
    synthesis[-len(biases) :] = biases
    kernel = cubic_kernel(architecture.upsampling_kernel).ravel()
    return np.concatenate([arm, kernel, synthesis]).astype(np.float32)


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
