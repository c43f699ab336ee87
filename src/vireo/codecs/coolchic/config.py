"""What fixes a Cool-chic decoder: the shapes of its networks and latent grids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, pairwise

from vireo.gop import FrameType

FLOW_UNIT = 16.0  # luma samples of motion per unit of the synthesis' output

# The nearest twelve causal neighbours, (dy, dx), in reading order. The paper gives
# their number only. The furthest reach to the right is two samples in the row
# above, so a wavefront advances three columns per row.
NEAREST_12: tuple[tuple[int, int], ...] = (
    (-3, 0),
    (-2, -1),
    (-2, 0),
    (-2, 1),
    (-1, -2),
    (-1, -1),
    (-1, 0),
    (-1, 1),
    (-1, 2),
    (0, -3),
    (0, -2),
    (0, -1),
)


class GridKind(IntEnum):
    """What a grid of latents is for; luma and chroma have an autoregressive model each."""

    LUMA = 0
    CHROMA = 1
    VECTORS = 2
    BLENDING = 3


@dataclass(frozen=True)
class LatentGrid:
    """A grid's place in a frame.

    Attributes:
        kind: what its latents are for.
        level: the grid is 2**level times smaller than luma.
        height, width: its size.
        other: index of the grid of the same size whose latents chroma's model sees besides the
            context, always one that is coded before it; None where that input is 0.
    """

    kind: GridKind
    level: int
    height: int
    width: int
    other: int | None = None

    @property
    def is_motion(self) -> bool:
        """Whether it is part of a field."""
        return self.kind >= GridKind.VECTORS


@dataclass(frozen=True)
class MlpFormat:
    """Fixed-point format of a network: fractional bits of its parts.

    Attributes:
        weight_bits, bias_bits: of all weights, of all biases.
        hidden_bits: of each hidden layer's activations.
    """

    weight_bits: int
    bias_bits: int
    hidden_bits: tuple[int, ...]


@dataclass(frozen=True)
class Parts:
    """Luma, chroma and motion with latents of their own (profile `standard`).

    Luma's latents are those of `Architecture.grids`. Chroma has a pyramid per plane and a
    synthesis at half resolution, which also sees luma's grids. Motion has no network: its
    latents are the field, a pyramid of vectors and blending weights, one value per 4x4 block,
    and are coded as decisions with adaptive probabilities.

    Attributes:
        chroma_first: the finest grid of U and of V is 2**n times smaller than luma, n >= 1;
            the coarsest is luma's.
        chroma_hidden: widths of the chroma synthesis' hidden layers.
        motion_first: the finest grid of a field is 2**n times smaller than luma, n >= 2.
        motion_grids: grids per field.
    """

    chroma_first: int = 2
    chroma_hidden: tuple[int, ...] = (12,)
    motion_first: int = 3
    motion_grids: int = 4


# The fields of I, P and B frames in the order of their grids.
_P_FIELDS = (GridKind.VECTORS,) * 2 + (GridKind.BLENDING,)  # x0, y0, alpha
_B_FIELDS = (GridKind.VECTORS,) * 4 + (GridKind.BLENDING,) * 2  # x0, y0, x1, y1, alpha, beta
_FIELDS: tuple[tuple[GridKind, ...], ...] = ((), _P_FIELDS, _B_FIELDS)

TEMPORAL_HIDDEN = 8  # of the network that gives luma's temporal contexts, a constant of the format
TEMPORAL_INPUTS = 10  # six features, and which level it is

# Weights of the loop filters of luma and of chroma, constants of the format (docs/bitstream.md,
# "Loop filter"): a set's and a frame's parameters end with them.
FILTER_WEIGHTS = 36, 12

_INTERPOLATION = (8 * 11 + 8 * 4) / 4 + 2 * (4 * 5 + 4 * 2) / 4 / 2  # per luma sample, by blocks

# Fixed-point formats of networks with parts: constants of the format (docs/bitstream.md,
# "Networks"), in C++ in native/core/coolchic.hpp.
KERNEL_BITS = 10
_ARM_BITS = 8, 8, 8  # weights, biases, activations
_SYNTHESIS_BITS = 10, 12, 11


@dataclass(frozen=True)
class Architecture:
    """Shapes of the latent grids and the networks (paper, section 3.1, table 1).

    Attributes:
        grids: number of latent grids; grid k has size `ceil(H / 2**k) x ceil(W / 2**k)`.
        context: causal neighbours (dy, dx) that the autoregressive model sees.
        arm_hidden: widths of the autoregressive model's hidden layers.
        upsampling_kernel: side of the stride-2 transposed convolution's kernel, even.
        synthesis_hidden: widths of the synthesis' hidden layers: with parts all of luma's,
            else those before the last one, whose width is the number of outputs X.
        parts: None where one synthesis gives every signal from one pyramid, as in the paper;
            otherwise the above are luma's.
    """

    grids: int = 7
    context: tuple[tuple[int, int], ...] = NEAREST_12
    arm_hidden: tuple[int, ...] = (12, 12)
    upsampling_kernel: int = 8
    synthesis_hidden: tuple[int, ...] = (18,)
    parts: Parts | None = None

    def outputs(self, frame_type: FrameType) -> int:
        """Signals X that the (luma) synthesis gives.

        With parts 1. Otherwise 3 for I, 6 for P, 9 for B frames.
        """
        return 1 if self.parts else 3 + 3 * frame_type

    @property
    def modelled(self) -> tuple[GridKind, ...]:
        """The kinds of grids that have an autoregressive model."""
        return (GridKind.LUMA, GridKind.CHROMA) if self.parts else (GridKind.LUMA,)

    def arm_widths(self, kind: GridKind = GridKind.LUMA) -> tuple[int, ...]:
        """Widths of luma's or chroma's autoregressive model.

        With parts there is an input behind the context: luma's is the temporal context, chroma's
        the `other` grid.
        """
        return (len(self.context) + (self.parts is not None), *self.arm_hidden, 2)

    def synthesis_widths(self, frame_type: FrameType) -> tuple[int, ...]:
        """Widths of the synthesis, with parts of luma's."""
        if self.parts:
            return (self.grids, *self.synthesis_hidden, 1)
        x = self.outputs(frame_type)
        return (self.grids, *self.synthesis_hidden, x, x)

    def chroma_synthesis_widths(self) -> tuple[int, ...]:
        """Widths of the chroma synthesis.

        Its inputs are the grids of U, those of V, and luma's grids but the finest one, each
        finest first; its results are the residuals of U and V.
        """
        parts = self._parts()
        chroma = self.grids - parts.chroma_first
        return (2 * chroma + self.grids - 1, *parts.chroma_hidden, 2)

    def networks(self, frame_type: FrameType) -> dict[str, tuple[int, ...]]:
        """Widths of the networks by name, in the order of the parameters; not the kernel."""
        if not self.parts:
            return {"arm": self.arm_widths(), "synthesis": self.synthesis_widths(frame_type)}
        return {
            **{f"arm_{kind.name.lower()}": self.arm_widths(kind) for kind in self.modelled},
            "synthesis_luma": self.synthesis_widths(frame_type),
            "synthesis_chroma": self.chroma_synthesis_widths(),
        }

    def formats(self) -> dict[str, MlpFormat]:
        """The networks' fixed-point formats by name; only with parts are they fixed."""
        self._parts()
        return {
            name: _format(_ARM_BITS if name.startswith("arm") else _SYNTHESIS_BITS, widths)
            for name, widths in self.networks(FrameType.I).items()
        }

    def grid_sizes(self, height: int, width: int) -> Iterator[tuple[int, int]]:
        """Height and width of each (luma) grid, finest first."""
        for k in range(self.grids):
            yield _grid_size(height, width, k)

    def latent_grids(
        self, frame_type: FrameType, height: int, width: int
    ) -> tuple[LatentGrid, ...]:
        """All grids of a frame in list order; the picture's are coded in reverse.

        Luma, finest first. With parts then U, V and each field, finest first; the fields are
        x0, y0, alpha in P frames and x0, y0, x1, y1, alpha, beta in B frames.
        """
        # Kind, finest level, number of grids, and how many pyramids behind `other` is.
        pyramids: list[tuple[GridKind, int, int, int]] = [(GridKind.LUMA, 0, self.grids, 0)]
        if self.parts:
            chroma = GridKind.CHROMA, self.parts.chroma_first, self.grids - self.parts.chroma_first
            pyramids += [(*chroma, 1), (*chroma, 0)]
            motion = self.parts.motion_first, self.parts.motion_grids
            pyramids += [(kind, *motion, 0) for kind in _FIELDS[frame_type]]
        grids: list[LatentGrid] = []
        for kind, first, count, behind in pyramids:
            for k in range(first, first + count):
                other = len(grids) + behind * count if behind else None
                grids.append(LatentGrid(kind, k, *_grid_size(height, width, k), other))
        return tuple(grids)

    def parameters(self, frame_type: FrameType) -> dict[str, int]:
        """Parameters per module, biases included (paper, table 1), in the order of the flat
        array that training and shipped networks use.

        A network's are, per layer, weights `[out, in]`, then biases. With parts they are the
        same in all frames.
        """
        counts = {
            name: _mlp_parameters(widths) for name, widths in self.networks(frame_type).items()
        }
        arms = {name: n for name, n in counts.items() if name.startswith("arm")}
        return {**arms, "upsampling": self.upsampling_kernel**2} | counts

    @property
    def stored(self) -> int:
        """How many parameters a frame's networks and filters have (with parts)."""
        self._parts()
        return sum(self.parameters(FrameType.I).values()) + sum(FILTER_WEIGHTS)

    def parameter_slices(self, frame_type: FrameType) -> dict[str, slice]:
        """Where each module's parameters are in the flat array."""
        counts = self.parameters(frame_type)
        ends = accumulate(counts.values())
        return {
            name: slice(end - count, end)
            for (name, count), end in zip(counts.items(), ends, strict=True)
        }

    def multiplications(
        self, frame_type: FrameType, height: int, width: int, *, padding: int = 0
    ) -> dict[str, float]:
        """Multiplications per decoded luma sample and module (paper, table 1).

        The autoregressive model runs once per latent, the synthesis once per luma sample. A
        transposed convolution multiplies each input sample by each of the kernel's; with
        `padding`, the samples that border replication adds on each side count too, as a counter
        of operations sees them. Inter coding takes four per reference for bilinear interpolation
        and one each to weight by beta and alpha.

        With parts the chroma synthesis runs once per chroma sample. Inter coding takes, per
        reference, eight taps across for 11 rows and eight down for 4 rows of a 4x4 block of luma,
        four across for 5 rows and four down for 2 rows of the two 2x2 blocks of chroma; one per
        sample to weight by alpha, two more by beta; and four per value of a doubled field. The
        network of temporal contexts, of P and B frames, runs once per latent of luma. The loop
        filter's weights are each for a sum of two differences.
        """
        pixels = height * width

        def size(k: int) -> int:
            h, w = _grid_size(height, width, k)
            return (h + 2 * padding) * (w + 2 * padding)

        upsampled = sum((self.grids - k) * size(k) for k in range(1, self.grids))
        synthesis = float(_mlp_multiplications(self.synthesis_widths(frame_type)))
        inter = (0.0, 5.0, 10.0)[frame_type]
        if self.parts:
            upsampled += sum(
                2 * (self.grids - max(k, self.parts.chroma_first)) * size(k)
                for k in range(2, self.grids)
            )
            synthesis += _mlp_multiplications(self.chroma_synthesis_widths()) / 4
            coarsest = self.parts.motion_first + self.parts.motion_grids - 1
            doubled = sum(
                h * w for h, w in (_grid_size(height, width, k) for k in range(2, coarsest))
            )
            inter = frame_type * (_INTERPOLATION + 1.5) + 1.5 * (frame_type == FrameType.B)
            inter += len(_FIELDS[frame_type]) * 4 * doubled / pixels
        arm = sum(
            _mlp_multiplications(self.arm_widths(grid.kind)) * grid.height * grid.width
            for grid in self.latent_grids(frame_type, height, width)
            if not grid.is_motion
        )
        counts = {
            "arm": arm / pixels,
            "upsampling": self.upsampling_kernel**2 * upsampled / pixels,
            "synthesis": synthesis,
            "inter": inter,
        }
        if self.parts:
            latents = sum(h * w for h, w in self.grid_sizes(height, width)) * bool(frame_type)
            network = _mlp_multiplications((TEMPORAL_INPUTS, TEMPORAL_HIDDEN, 1))
            counts["temporal"] = network * latents / pixels
            luma, chroma = FILTER_WEIGHTS
            counts["filter"] = luma + 2 * chroma / 4
        return counts

    def _parts(self) -> Parts:
        if self.parts is None:
            raise ValueError("the architecture has no parts")
        return self.parts


def _grid_size(height: int, width: int, level: int) -> tuple[int, int]:
    return -(-height >> level), -(-width >> level)


def _format(bits: tuple[int, int, int], widths: tuple[int, ...]) -> MlpFormat:
    weight_bits, bias_bits, hidden_bits = bits
    return MlpFormat(weight_bits, bias_bits, (hidden_bits,) * (len(widths) - 2))


def _mlp_parameters(widths: tuple[int, ...]) -> int:
    return sum((i + 1) * o for i, o in pairwise(widths))


def _mlp_multiplications(widths: tuple[int, ...]) -> int:
    return sum(i * o for i, o in pairwise(widths))


PAPER = Architecture()
STANDARD = Architecture(synthesis_hidden=(16, 16), parts=Parts())
