"""A hierarchical decoder in plain int64 arithmetic: what all other ways are held against.

Everything is `[C, H, W]`, in units of the grid that `model` and `blocks` have it on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vireo.codecs.dhvc.blocks import FEATURES, GATES, MODULATION, NORMED, waves
from vireo.codecs.dhvc.config import STRIDES
from vireo.codecs.dhvc.model import CELL, CENTRED, RESIDUALS, Model, place_count
from vireo.codecs.dhvc.scale import STEPS, Scale
from vireo.codecs.rate_points import STEP_PARTS
from vireo.entropy.normal import SCALE_ONE
from vireo.entropy.tables import latent_tables
from vireo.exact import ExactLayer, Grid, Lookup
from vireo.exact.reference import Integers, looked_up, normalised, rounded, run_layer
from vireo.nn.picture import SAMPLES


@dataclass(frozen=True)
class Decoded:
    """As `model.Decoded`; the picture is Y, U and V."""

    picture: tuple[Integers, Integers, Integers]
    features: tuple[tuple[Integers, ...], ...]
    intact: tuple[bool, ...]


def decode(
    model: Model,
    place: int,
    sections: Mapping[int, bytes],
    size: tuple[int, int],
    reference: Decoded | None,
    alone: Collection[int] = (),
) -> Decoded:
    """A frame from its scales' sections, as `coding.Coder.decoding`; of what arguments, see there.

    Args:
        place: of the frame's type, between the model's rate points.
    """
    embedded = _units(waves(place_count(model.config), model.config.embedding)[place], MODULATION)
    embedded = _through(model.embedding, embedded[:, None, None])
    shape = size[0] // STRIDES[0], size[1] // STRIDES[0]
    spatial, decoded = (
        np.broadcast_to(start[:, None, None], (len(start), *shape))
        for start in _units(model.first, FEATURES)
    )
    auxiliary: list[Integers | None] = [None] * len(STRIDES)
    if model.auxiliary is not None and reference is not None:
        auxiliary = _auxiliary(model, reference, embedded)
    features: list[tuple[Integers, ...]] = []
    intact: list[bool] = []
    for scale in model.latent_blocks():
        level = scale.level
        earlier = None if level in alone else reference
        before = earlier.features[level] if earlier else ()
        needed = [*intact]
        if earlier is not None:
            needed += [earlier.intact[level]] if model.auxiliary is None else earlier.intact
        of_use = level in sections and all(needed)
        spatial, decoded = _scale(
            scale,
            place,
            sections[level] if of_use else None,
            (spatial, decoded),
            before,
            auxiliary[level] if earlier else None,
            embedded,
        )
        features.append((decoded, *before)[: model.config.references])
        intact.append(of_use)
    x = _blocks(model.tail.blocks, decoded, embedded)
    cells = run_layer(model.tail.picture, x) + (1 << (RESIDUALS.bits - 1))
    samples = rounded(cells, RESIDUALS.bits, SAMPLES)
    half = CELL // 2
    luma = _shuffled(samples[: CELL * CELL], CELL)[0]
    chroma = _shuffled(samples[CELL * CELL :], half)
    return Decoded((luma, chroma[0], chroma[1]), tuple(features), tuple(intact))


def _scale(
    scale: Scale,
    place: int,
    section: bytes | None,
    below: tuple[Integers, Integers],
    before: Sequence[Integers],
    auxiliary: Integers | None,
    embedded: Integers,
) -> tuple[Integers, Integers]:
    spatial, decoded = below
    if scale.level:
        spatial = _through(scale.raise_spatial, spatial)
        decoded = _through(scale.raise_decoded, decoded)
    width, size = spatial.shape[0], spatial.shape[1:]
    latest: Integers | None = None
    absent = _units(scale.absent, FEATURES)
    if before:
        kept = len(absent) // width - (auxiliary is not None)
        temporal = [*before, *[before[-1]] * kept][:kept]
        latest = temporal[0] if auxiliary is None else auxiliary
        temporal += [] if auxiliary is None else [auxiliary]
    else:
        temporal = [np.broadcast_to(absent[:, None, None], (len(absent), *size))]
    c = run_layer(scale.merge, np.concatenate([spatial, *temporal]))
    c = _blocks(scale.mixing, c, embedded)
    for block in scale.prediction:
        c = _prediction(block, c)
    mean, octaves = run_layer(scale.mean, c), run_layer(scale.octaves, c)
    direct = scale.steps is not None
    coded = slice(0, scale.latents)
    kept = np.zeros((width - scale.latents, *size), np.int64)
    bits = GATES.bits + FEATURES.bits
    if direct and latest is not None:
        change = _through(scale.keep, c) * (latest - spatial)
        mean = rounded((mean << GATES.bits) + change[coded], bits, FEATURES)
        kept = change[scale.latents :]
    indices = (octaves + SCALE_ONE).astype(np.uint8).ravel()
    symbols = np.zeros(mean.shape, np.int64)
    if section is not None:
        symbols = latent_tables().decode(section, indices).astype(np.int64).reshape(mean.shape)
    latents = _within(mean + (symbols << FEATURES.bits), FEATURES)
    if scale.steps is not None:
        steps = _steps(np.maximum(_units(scale.steps, STEPS), 1), place)
        finer = STEPS.bits - FEATURES.bits
        total = (mean << finer) + symbols * steps[:, None, None]
        latents = rounded(total, STEPS.bits, FEATURES)
    total = (spatial + run_layer(scale.widen, latents)) << GATES.bits
    if direct:
        total[coded] += latents << GATES.bits
        total[scale.latents :] += kept
    spatial = _blocks(scale.spatial, rounded(total, bits, FEATURES), embedded)
    result = run_layer(scale.fuse, np.concatenate([decoded, c, spatial]))
    if direct:
        result = _within(result + spatial, FEATURES)
    return spatial, _blocks(scale.decode, result, embedded)


def _auxiliary(model: Model, reference: Decoded, embedded: Integers) -> list[Integers | None]:
    assert model.auxiliary is not None
    y, u, v = reference.picture
    cells = np.concatenate([_unshuffled(y[None], CELL), _unshuffled(np.stack([u, v]), CELL // 2)])
    x = run_layer(model.auxiliary.patch, cells - (1 << (CENTRED.bits - 1)))
    found: list[Integers | None] = []
    for down, blocks in zip(
        [None, *model.auxiliary.downsample], model.auxiliary.blocks, strict=True
    ):
        if isinstance(down, ExactLayer):
            x = run_layer(down, x)
        x = _blocks(blocks, x, embedded)
        found.append(x)
    return found[::-1]


def _blocks(blocks: Any, x: Integers, embedded: Integers) -> Integers:
    for block in blocks:
        scale, offset = np.split(run_layer(block.modulation, embedded), 2)
        normed = normalised(block.norm, run_layer(block.depthwise, x))
        one = 1 << MODULATION.bits
        moved = normed * (one + scale) + (offset << NORMED.bits)
        moved = rounded(moved, NORMED.bits + MODULATION.bits, NORMED)
        x = _within(x + _through(block.perceptron, moved), FEATURES)
    return x


def _prediction(block: Any, x: Integers) -> Integers:
    normed = normalised(block.norm, x)
    seen = run_layer(block.far, run_layer(block.near, normed))
    gates = looked_up(block.squash, run_layer(block.gate, seen))
    bits = NORMED.bits + GATES.bits
    x = rounded((x << (bits - FEATURES.bits)) + normed * gates, bits, FEATURES)
    return _within(x + _through(block.perceptron, normalised(block.norm_again, x)), FEATURES)


def _through(layers: Any, x: Integers) -> Integers:
    """A sequence of layers, tables and shuffles."""
    for layer in layers:
        if isinstance(layer, Lookup):
            x = looked_up(layer, x)
        elif hasattr(layer, "upscale_factor"):
            x = _shuffled(x, layer.upscale_factor)
        else:
            x = run_layer(layer, x)
    return x


def _steps(steps: Integers, place: int) -> Integers:
    whole, part = divmod(place, STEP_PARTS)
    low, high = steps[whole], steps[min(whole + 1, len(steps) - 1)]
    bits = STEPS.bits + STEP_PARTS.bit_length() - 1
    return rounded(low * (STEP_PARTS - part) + high * part, bits, STEPS)


def _shuffled(x: Integers, factor: int) -> Integers:
    channels, height, width = x.shape
    cells = x.reshape(channels // factor**2, factor, factor, height, width)
    return cells.transpose(0, 3, 1, 4, 2).reshape(-1, height * factor, width * factor)


def _unshuffled(x: Integers, factor: int) -> Integers:
    channels, height, width = x.shape
    cells = x.reshape(channels, height // factor, factor, width // factor, factor)
    return cells.transpose(0, 2, 4, 1, 3).reshape(-1, height // factor, width // factor)


def _units(values: Any, grid: Grid) -> Integers:
    return np.rint(grid.rounded(values.detach()).double().numpy() * 2.0**grid.bits).astype(np.int64)


def _within(x: Integers, grid: Grid) -> Integers:
    clipped: Integers = np.clip(x, grid.low, grid.high)
    return clipped
