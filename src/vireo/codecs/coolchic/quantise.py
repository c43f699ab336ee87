"""From trained networks to the integers of the stream, by rate-distortion cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic.config import Architecture, MlpFormat
from vireo.gop import FrameType
from vireo.metrics import plane_mse, weighted_mse
from vireo.metrics.psnr import PEAK

MAX_WEIGHT = 32767
MAX_BITS = 15  # of any fixed-point format


@dataclass(frozen=True)
class Formats:
    """Fixed-point formats of the three networks."""

    arm: MlpFormat
    kernel_bits: int
    synthesis: MlpFormat


@dataclass(frozen=True)
class FloatNetworks:
    """Trained parameters, each network's as it is stored: per layer weights, then biases.

    Attributes:
        arm, synthesis: flat arrays, their layers' widths beside them.
        kernel: the upsampling's `[K * K]`.
    """

    arm: NDArray[np.float32]
    arm_widths: tuple[int, ...]
    kernel: NDArray[np.float32]
    synthesis: NDArray[np.float32]
    synthesis_widths: tuple[int, ...]

    @staticmethod
    def split(
        parameters: NDArray[np.float32], architecture: Architecture, frame_type: FrameType
    ) -> FloatNetworks:
        """Take apart one flat array: autoregressive model, kernel, synthesis."""
        counts = architecture.parameters(frame_type)
        arm, kernel, synthesis = np.split(
            parameters, np.cumsum([counts["arm"], counts["upsampling"]])
        )
        return FloatNetworks(
            arm,
            architecture.arm_widths(),
            kernel,
            synthesis,
            architecture.synthesis_widths(frame_type),
        )


def _is_bias(widths: Sequence[int]) -> NDArray[np.bool_]:
    parts = []
    for inputs, outputs in pairwise(widths):
        parts += [np.zeros(inputs * outputs, bool), np.ones(outputs, bool)]
    return np.concatenate(parts)


def _to_grid(
    values: NDArray[np.float32], widths: Sequence[int], format_: MlpFormat
) -> NDArray[np.int32]:
    bits = np.where(_is_bias(widths), format_.bias_bits, format_.weight_bits)
    return np.rint(values * np.exp2(bits)).clip(-MAX_WEIGHT, MAX_WEIGHT).astype(np.int32)


def build_networks(
    floats: FloatNetworks,
    formats: Formats,
    core: _core.Architecture,
    frame_type: FrameType,
    magnitude_bits: int,
) -> _core.Networks:
    """The networks with every parameter rounded to its grid."""
    networks = _core.Networks(core, int(frame_type), magnitude_bits)
    a, s = formats.arm, formats.synthesis
    networks.set_arm(
        _to_grid(floats.arm, floats.arm_widths, a), a.weight_bits, a.bias_bits, a.hidden_bits
    )
    kernel = np.rint(floats.kernel * 2.0**formats.kernel_bits).clip(-MAX_WEIGHT, MAX_WEIGHT)
    networks.set_kernel(kernel.astype(np.int32), formats.kernel_bits)
    networks.set_synthesis(
        _to_grid(floats.synthesis, floats.synthesis_widths, s),
        s.weight_bits,
        s.bias_bits,
        s.hidden_bits,
    )
    return networks


def float_parameters(
    networks: _core.Networks, architecture: Architecture, frame_type: FrameType
) -> NDArray[np.float32]:
    """The parameters of a frame's networks as floats, flat in the trainer's order."""
    kernel, kernel_bits = networks.kernel
    parts = [
        _from_grid(networks.arm, architecture.arm_widths()),
        kernel.ravel() / 2.0**kernel_bits,
        _from_grid(networks.synthesis, architecture.synthesis_widths(frame_type)),
    ]
    return np.concatenate(parts).astype(np.float32)


def _from_grid(network: _core.Mlp, widths: Sequence[int]) -> NDArray[np.float64]:
    parameters, weight_bits, bias_bits, _ = network
    values: NDArray[np.float64] = parameters / np.exp2(
        np.where(_is_bias(widths), bias_bits, weight_bits)
    )
    return values


@dataclass
class FrameCost:
    """What decides on the formats of one frame.

    Attributes:
        core: the stream's shapes.
        frame_type: which signals the synthesis gives.
        grids: quantised latents, finest first.
        target, references: the planes to match and those predicted from.
        lambda_: cost of a bit per luma sample against mean squared error (samples 0…1).
        temporal: luma's temporal contexts, with parts and references.
        weights: of squared errors, `[H/2, W/2]`; None for ones.
        inherited: what vectors begin with.
    """

    core: _core.Architecture
    frame_type: FrameType
    grids: list[NDArray[np.int16]]
    target: Sequence[NDArray[np.uint8]]
    references: Sequence[Sequence[NDArray[np.uint8]]]
    lambda_: float
    temporal: list[NDArray[np.int16]] = field(default_factory=list)
    weights: NDArray[np.float32] | None = None
    inherited: Sequence[NDArray[np.int32]] = ()
    magnitude_bits: int = field(init=False)

    def __post_init__(self) -> None:
        largest = max(int(np.abs(g).max(initial=0)) for g in self.grids)
        self.magnitude_bits = largest.bit_length()
        self._plane_weights: list[NDArray[np.float32] | None] = [None] * 3
        if self.weights is not None:
            luma = self.weights.repeat(2, axis=0).repeat(2, axis=1)
            self._plane_weights = [luma, self.weights, self.weights]

    def rate_cost(self, bits: float) -> float:
        return self.lambda_ * bits / self.grids[0].size

    def total(self, networks: _core.Networks) -> float:
        """Distortion and rate of the frame."""
        rate = self.rate_cost(self.network_bits(networks))
        return self.picture_cost(networks) + self.latent_cost(networks) + rate

    def network_bits(self, networks: _core.Networks) -> float:
        return networks.bits

    def latent_cost(self, networks: _core.Networks) -> float:
        bits = _core.measure_latents(self.core, networks, self.grids, self.temporal)
        return self.rate_cost(sum(bits))

    def picture_cost(self, networks: _core.Networks) -> float:
        picture = _core.reconstruct(
            self.core, networks, self.grids, self.references, inherited=self.inherited
        )
        pairs = zip(picture, self.target, self._plane_weights, strict=True)
        return weighted_mse([plane_mse(*pair) for pair in pairs]) / PEAK**2


def quantise_networks(
    parameters: NDArray[np.float32], architecture: Architecture, frame: FrameCost
) -> _core.Networks:
    """Choose every fixed-point format by the cost of the real stream.

    The autoregressive model's formats change only the latents' rate, the others' only
    the picture, so that the two searches are independent. Each moves one format at a
    time by one bit as long as that pays, measuring with the integer decoder itself.
    """
    floats = FloatNetworks.split(parameters, architecture, frame.frame_type)
    formats = Formats(
        MlpFormat(6, 6, (7,) * len(architecture.arm_hidden)),
        7,
        MlpFormat(8, 8, (11,) * (len(architecture.synthesis_hidden) + 1)),
    )

    def network(candidate: Formats) -> _core.Networks:
        return build_networks(floats, candidate, frame.core, frame.frame_type, frame.magnitude_bits)

    def arm_cost(candidate: Formats) -> float:
        n = network(candidate)
        return frame.latent_cost(n) + frame.rate_cost(n.bits)

    def picture_cost(candidate: Formats) -> float:
        n = network(candidate)
        return frame.picture_cost(n) + frame.rate_cost(n.bits)

    def arm(change: Callable[[MlpFormat], MlpFormat]) -> Callable[[Formats], Formats]:
        return lambda f: replace(f, arm=change(f.arm))

    def synthesis(change: Callable[[MlpFormat], MlpFormat]) -> Callable[[Formats], Formats]:
        return lambda f: replace(f, synthesis=change(f.synthesis))

    def kernel(by: int) -> Callable[[Formats], Formats]:
        return lambda f: replace(f, kernel_bits=f.kernel_bits + by)

    moves = [tuple(arm(move) for move in pair) for pair in _mlp_moves(len(architecture.arm_hidden))]
    formats = _descend(formats, moves, arm_cost)
    moves = [
        tuple(synthesis(move) for move in pair)
        for pair in reversed(_mlp_moves(len(architecture.synthesis_hidden) + 1))
    ]
    formats = _descend(formats, [*moves, (kernel(1), kernel(-1))], picture_cost)
    return network(formats)


def _mlp_moves(hidden: int) -> list[tuple[Callable[[MlpFormat], MlpFormat], ...]]:
    """Pairs of opposite changes by one bit, of each part of a network's format."""

    def weight(by: int) -> Callable[[MlpFormat], MlpFormat]:
        return lambda f: replace(f, weight_bits=f.weight_bits + by)

    def bias(by: int) -> Callable[[MlpFormat], MlpFormat]:
        return lambda f: replace(f, bias_bits=f.bias_bits + by)

    def activation(layer: int, by: int) -> Callable[[MlpFormat], MlpFormat]:
        return lambda f: replace(
            f, hidden_bits=tuple(b + by * (i == layer) for i, b in enumerate(f.hidden_bits))
        )

    return [
        (weight(-1), weight(1)),
        (bias(-1), bias(1)),
        *((activation(i, -1), activation(i, 1)) for i in range(hidden)),
    ]


def _descend(
    start: Formats,
    moves: Sequence[tuple[Callable[[Formats], Formats], ...]],
    cost: Callable[[Formats], float],
) -> Formats:
    """Coordinate descent: follow each change while it lowers the cost."""
    tried: dict[Formats, float] = {}

    def cached(candidate: Formats) -> float:
        if candidate not in tried:
            tried[candidate] = cost(candidate) if _allowed(candidate) else float("inf")
        return tried[candidate]

    best = start
    while True:
        before = best
        for opposite in moves:
            for move in opposite:
                while cached(move(best)) < cached(best):
                    best = move(best)
        if best == before:
            return best


def _allowed(formats: Formats) -> bool:
    a, s = formats.arm, formats.synthesis
    bits = [a.weight_bits, a.bias_bits, *a.hidden_bits, formats.kernel_bits]
    bits += [s.weight_bits, s.bias_bits, *s.hidden_bits]
    return all(0 <= b <= MAX_BITS for b in bits)
