"""What training computes with parts against what the integer core decodes and codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic import parts_model
from vireo.codecs.coolchic.config import KERNEL_BITS, STANDARD, LatentGrid
from vireo.codecs.coolchic.initialise import cubic_kernel
from vireo.codecs.coolchic.motion import predict
from vireo.codecs.coolchic.parts_model import PartNetworks
from vireo.codecs.coolchic.stream import StreamShape
from vireo.codecs.coolchic.trainer import trained_grids
from vireo.gop import FrameType

HEIGHT, WIDTH = 98, 130
CORE = StreamShape(STANDARD).core()
MAGNITUDE_BITS = 5
LAST_LAYER = {"arm": 0.5, "synthesis": 0.15}  # scales that make moderate bits and residuals


def scene(t: float) -> list[NDArray[np.uint8]]:
    """A lit, textured wall that pans, with a disc before it that goes the other way."""
    rng = np.random.default_rng(3)
    waves = rng.normal(0, 0.35, (40, 2))
    phases = rng.uniform(0, 2 * math.pi, 40)

    def wall(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.floating]:
        parts = (
            np.cos(
                np.multiply.outer(waves[:, 0], x)
                + np.multiply.outer(waves[:, 1], y)
                + phases[:, None, None]
            )
            / (4 + 60 * (waves**2).sum(1))[:, None, None]
        )
        return parts.sum(0)

    planes = []
    for scale, light, texture, disc in ((1, 110, 90, 60), (2, 120, 25, -30), (2, 135, -20, 35)):
        y, x = np.mgrid[0 : HEIGHT // scale, 0 : WIDTH // scale] * float(scale)
        inside = np.hypot(x - 70 + 1.7 * t, y - 50 - 0.6 * t) < 25
        plane = light + 0.2 * x + texture * wall(x + 2.3 * t, y - 0.4 * t)
        plane = np.where(inside, plane * 0.4 + disc + 60, plane)
        planes.append(plane.clip(0, 255).round().astype(np.uint8))
    return planes


def make_parameters(frame_type: FrameType, rng: np.random.Generator) -> NDArray[np.int32]:
    """Networks in the format's fixed point, whose residuals and scales are moderate.

    Without references a residual of zero is mid-grey.
    """
    slices = STANDARD.parameter_slices(FrameType.I)
    parameters = np.zeros(STANDARD.stored, np.int32)
    parameters[slices["upsampling"]] = np.rint(
        cubic_kernel(STANDARD.upsampling_kernel).ravel() * 2**KERNEL_BITS
    )
    formats = STANDARD.formats()
    for name, widths in STANDARD.networks(FrameType.I).items():
        parts = []
        for inputs, outputs in pairwise(widths):
            last = LAST_LAYER[name.split("_")[0]] if outputs <= 2 else 1.0
            weights = rng.normal(0, last / math.sqrt(inputs), (outputs, inputs))
            if name == "arm_chroma" and inputs == 13:
                weights[:, -1] *= 12  # of `other`, so that it matters
            biases = rng.normal(0, 0.1 * last, outputs)
            parts.append(np.rint(weights.ravel() * 2 ** formats[name].weight_bits))
            parts.append(np.rint(biases * 2 ** formats[name].bias_bits))
        if name.startswith("synthesis") and not frame_type:
            parts[-1] += 2 ** formats[name].bias_bits // 2
        parameters[slices[name]] = np.concatenate(parts)
    return parameters


def as_floats(parameters: NDArray[np.int32]) -> NDArray[np.float64]:
    """What the numbers of the format mean."""
    slices = STANDARD.parameter_slices(FrameType.I)
    result = parameters.astype(np.float64)
    result[slices["upsampling"]] /= 2**KERNEL_BITS
    for name, widths in STANDARD.networks(FrameType.I).items():
        at = slices[name].start
        form = STANDARD.formats()[name]
        for inputs, outputs in pairwise(widths):
            result[at : at + inputs * outputs] /= 2**form.weight_bits
            at += inputs * outputs
            result[at : at + outputs] /= 2**form.bias_bits
            at += outputs
    return result


def make_latents(rng: np.random.Generator, grids: Sequence[LatentGrid]) -> list[NDArray[np.int16]]:
    """Sparse in the fine grids, as they are after training."""
    return [
        (
            rng.normal(0, 2, (g.height, g.width))
            * (rng.random((g.height, g.width)) < 0.1 * (1 + g.level))
        )
        .round()
        .astype(np.int16)
        for g in grids
    ]


def make_temporal(rng: np.random.Generator) -> list[NDArray[np.int16]]:
    """Luma's temporal contexts, anything that they may be."""
    sizes = STANDARD.grid_sizes(HEIGHT, WIDTH)
    return [rng.integers(0, 16, size, dtype=np.int16) for size in sizes]


@pytest.mark.parametrize("frame_type", list(FrameType))
def test_the_core_decodes_and_codes_what_was_trained(frame_type: FrameType) -> None:
    rng = np.random.default_rng(6)
    references = [scene(t) for t in (-1, 1)][:frame_type]
    parameters = make_parameters(frame_type, rng)
    grids = STANDARD.latent_grids(frame_type, HEIGHT, WIDTH)
    latents = make_latents(rng, grids)
    core = _core.Networks(CORE, int(frame_type), MAGNITUDE_BITS, parameters)
    decoded = _core.reconstruct(CORE, core, latents, references)
    temporal = make_temporal(rng) if references else []
    bits = _core.measure_latents(CORE, core, latents, temporal)

    trained = len(trained_grids(STANDARD, frame_type, HEIGHT, WIDTH))
    prediction = None
    if references:
        assert STANDARD.parts is not None
        predicted = predict(latents[trained:], references, STANDARD.parts)
        prediction = [torch.from_numpy(p).double() / (64 * 255) for p in predicted]
    networks = PartNetworks.of(torch.from_numpy(as_floats(parameters)), STANDARD, frame_type)
    quantised = [torch.from_numpy(g).double() for g in latents[:trained]]
    planes = parts_model.decode(quantised, networks, STANDARD, prediction)
    for ours, theirs in zip(planes, decoded, strict=True):
        assert theirs.std() > 3
        error = np.abs((255 * ours).clamp(0, 255).numpy() - theirs)
        # Half a level is the last rounding's.
        assert error.max() < 1
        assert error.mean() < 0.3
    contexts = [torch.from_numpy(p).double() for p in temporal] or None
    for kind in STANDARD.modelled:
        rate = parts_model.rate_of_kind(kind, quantised, networks, STANDARD, contexts)
        coded = sum(b for b, g in zip(bits, grids, strict=True) if g.kind == kind)
        assert float(rate) == pytest.approx(coded, rel=0.03), kind
