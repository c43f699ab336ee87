"""Frames that are their references moved as a whole: a dozen bytes instead of a training.

All weights and latents are zero; the synthesis' last biases say how far each reference
moves and which of them count. Where little changes, that costs less than any residual.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic.config import FLOW_UNIT, Architecture
from vireo.codecs.coolchic.quantise import FrameCost
from vireo.gop import FrameType

BIAS_BITS = 10  # a quarter of the flow's own 1/64 sample
PREDICT = 0.5  # alpha is 1
WEIGHTINGS = (0.0, 0.5, -0.5)  # beta is 1/2, 1, 0


def best_skip(
    architecture: Architecture, cost: FrameCost, translations: Sequence[NDArray[np.floating]]
) -> _core.Networks:
    """The networks of the cheapest such frame.

    `translations` holds the references' motion (x, y) in luma samples. `cost` is that of
    the inter frame at hand with zero latents.
    """
    trials = [
        _networks(architecture, cost, biases) for biases in _biases(cost.frame_type, translations)
    ]
    return min(trials, key=cost.total)


def _biases(
    frame_type: FrameType, translations: Sequence[NDArray[np.floating]]
) -> Iterator[list[float]]:
    moved = [float(x) / FLOW_UNIT for t in translations for x in t]
    for flows in ([0.0] * len(moved), moved):
        for weighting in WEIGHTINGS if frame_type == FrameType.B else (None,):
            beta = [] if weighting is None else [weighting]
            yield [*flows, 0.0, 0.0, 0.0, PREDICT, *beta]


def _networks(architecture: Architecture, cost: FrameCost, biases: list[float]) -> _core.Networks:
    networks = _core.Networks(cost.core, int(cost.frame_type), 0)
    count = architecture.parameters(cost.frame_type)["synthesis"]
    parameters = np.zeros(count, np.int32)
    parameters[-len(biases) :] = np.rint(np.array(biases) * 2.0**BIAS_BITS)
    layers = len(architecture.synthesis_hidden) + 1
    networks.set_synthesis(parameters, 0, BIAS_BITS, [0] * layers)
    return networks
