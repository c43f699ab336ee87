"""How a frame's networks differ from their base: which parameters change, and how finely.

The stream's parameters are integers of fixed formats. A group of them (a network's weights,
its biases) is either the base's or changed by multiples of a power of two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic.coding import Base
from vireo.codecs.coolchic.config import KERNEL_BITS, Architecture
from vireo.codecs.coolchic.global_motion import GlobalMotion
from vireo.codecs.coolchic.inheritance import Inherited
from vireo.codecs.coolchic.quantise import MAX_WEIGHT, FrameCost
from vireo.gop import FrameType

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]

MAX_STEP = 12  # log2 of the coarsest change
ROUNDING = 0.4  # of changes, towards none: 0.5 would take 0.7 % more bits


@dataclass(frozen=True)
class Group:
    """Parameters that change together.

    Attributes:
        network: the name of their network.
        members: where they are in the flat array.
        step: log2 of the change's step that the search starts from.
    """

    network: str
    members: NDArray[np.intp]
    step: int


def fractional_bits(architecture: Architecture) -> Integers:
    """Fractional bits of every parameter of the networks, in the flat order."""
    parts = []
    for name, count in architecture.parameters(FrameType.I).items():
        if name == "upsampling":
            parts.append(np.full(count, KERNEL_BITS))
            continue
        format_ = architecture.formats()[name]
        for inputs, outputs in pairwise(architecture.networks(FrameType.I)[name]):
            parts.append(np.full(inputs * outputs, format_.weight_bits))
            parts.append(np.full(outputs, format_.bias_bits))
    return np.concatenate(parts).astype(np.int32)


def to_integers(parameters: NDArray[np.floating], architecture: Architecture) -> Integers:
    """The nearest parameters that a stream can hold."""
    scaled = parameters * np.exp2(fractional_bits(architecture))
    integers: Integers = np.rint(scaled).clip(-MAX_WEIGHT, MAX_WEIGHT).astype(np.int32)
    return integers


def to_floats(parameters: NDArray[np.integer], architecture: Architecture) -> Floats:
    """What integer parameters of the networks stand for; filters' weights may follow them."""
    bits = fractional_bits(architecture)
    floats: Floats = (parameters[: len(bits)] / np.exp2(bits)).astype(np.float32)
    return floats


def groups(architecture: Architecture, frame_type: FrameType) -> list[Group]:
    """The groups that a frame can change, in the stream's order."""
    found = []
    for name, where in architecture.parameter_slices(frame_type).items():
        at = where.start
        if name == "upsampling":
            found.append(Group(name, np.arange(at, where.stop), 3))
            continue
        weights, biases = [], []
        for inputs, outputs in pairwise(architecture.networks(frame_type)[name]):
            weights.append(np.arange(at, at + inputs * outputs))
            biases.append(np.arange(at + inputs * outputs, at + (inputs + 1) * outputs))
            at += (inputs + 1) * outputs
        coarse = 3 if name.startswith("arm") else 4
        found.append(Group(name, np.concatenate(weights), coarse))
        found.append(Group(name, np.concatenate(biases), coarse))
    return found


class UpdateCost(FrameCost):
    """The cost of a frame whose networks are an update of a base."""

    def __init__(self, base: Base, cost: FrameCost) -> None:
        super().__init__(**{f.name: getattr(cost, f.name) for f in fields(cost) if f.init})
        self.base = base

    def network_bits(self, networks: _core.Networks) -> float:
        return networks.update_bits(self.base.number, self.base.parameters)


def with_parameters(parameters: Integers, cost: FrameCost, magnitude_bits: int) -> _core.Networks:
    """Networks of the frame at hand."""
    networks = _core.Networks(cost.core, int(cost.frame_type), magnitude_bits, parameters)
    begin_with(networks, cost.inherited)
    return networks


def begin_with(networks: _core.Networks, inherited: Inherited) -> None:
    """Let networks say what their frame's vectors begin with."""
    if isinstance(inherited, GlobalMotion):
        networks.corners = inherited.corners
    else:
        networks.inherits = len(inherited) > 0


def magnitude_bits(grids: Sequence[NDArray[np.int16]], architecture: Architecture) -> int:
    """Bits that hold the latents of luma and chroma, with which a frame's grids begin."""
    count = len(architecture.latent_grids(FrameType.I, *grids[0].shape))
    return max(int(np.abs(g).max(initial=0)) for g in grids[:count]).bit_length()


def choose_update(
    parameters: NDArray[np.floating],
    architecture: Architecture,
    cost: UpdateCost,
) -> _core.Networks:
    """The networks nearest to trained `parameters` that are worth their bits; no filter is on.

    For each group the step of its change is found by descent, and whether it changes at all,
    by the cost of the real stream: of the autoregressive models that is their latents' rate,
    of the others the picture's distortion.
    """
    wanted = to_integers(parameters, architecture)
    magnitudes = magnitude_bits(cost.grids, architecture)
    chosen = cost.base.parameters.copy()
    found = groups(architecture, cost.frame_type)
    steps: list[int | None] = [None] * len(found)

    def changed(group: Group, step: int | None) -> Integers:
        base = cost.base.parameters[group.members]
        if step is None:
            return base
        ratio = (wanted[group.members] - base) / 2.0**step
        change = np.copysign(np.floor(np.abs(ratio) + ROUNDING), ratio) * 2.0**step
        return (base + change.astype(np.int32)).clip(-MAX_WEIGHT, MAX_WEIGHT)

    for i, group in enumerate(found):
        steps[i] = group.step
        chosen[group.members] = changed(group, group.step)

    for kind, measure in ((True, cost.latent_cost), (False, cost.picture_cost)):
        mine = [i for i, g in enumerate(found) if g.network.startswith("arm") == kind]
        _descend(mine, found, steps, chosen, changed, cost, magnitudes, measure)
    return with_parameters(chosen, cost, magnitudes)


def _descend(
    mine: Sequence[int],
    found: Sequence[Group],
    steps: list[int | None],
    chosen: Integers,
    changed: Callable[[Group, int | None], Integers],
    cost: UpdateCost,
    magnitudes: int,
    measure: Callable[[_core.Networks], float],
) -> None:
    """Move one group's step at a time as long as that lowers the cost."""

    def total() -> float:
        networks = with_parameters(chosen, cost, magnitudes)
        return measure(networks) + cost.rate_cost(cost.network_bits(networks))

    best = total()
    while True:
        before = best
        for i in mine:
            group = found[i]
            for move in (None, -1, 1):
                while True:
                    step = steps[i]
                    if move is None:
                        candidate = None if step is not None else group.step
                    else:
                        candidate = None if step is None else step + move
                        if candidate is None or not 0 <= candidate <= MAX_STEP:
                            break
                    previous = chosen[group.members]
                    chosen[group.members] = changed(group, candidate)
                    found_cost = total()
                    if found_cost >= best:
                        chosen[group.members] = previous
                        break
                    best, steps[i] = found_cost, candidate
                    if move is None:
                        break
        if best >= before * (1 - 1e-4):
            return
