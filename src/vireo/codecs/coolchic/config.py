"""What fixes a Cool-chic decoder: the shapes of its networks and latent grids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

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


@dataclass(frozen=True)
class Architecture:
    """Shapes of the latent grids and the three networks (paper, section 3.1, table 1).

    Attributes:
        grids: number of latent grids; grid k has size `ceil(H / 2**k) x ceil(W / 2**k)`.
        context: causal neighbours (dy, dx) that the autoregressive model sees.
        arm_hidden: widths of the autoregressive model's hidden layers.
        upsampling_kernel: side of the stride-2 transposed convolution's kernel, even.
        synthesis_hidden: widths of the synthesis' hidden layers before the last one,
            whose width is the number of outputs X.
    """

    grids: int = 7
    context: tuple[tuple[int, int], ...] = NEAREST_12
    arm_hidden: tuple[int, ...] = (12, 12)
    upsampling_kernel: int = 8
    synthesis_hidden: tuple[int, ...] = (18,)

    def outputs(self, frame_type: FrameType) -> int:
        """Signals X that the synthesis gives: 3 for I, 6 for P, 9 for B frames."""
        return 3 + 3 * frame_type

    def arm_widths(self) -> tuple[int, ...]:
        return (len(self.context), *self.arm_hidden, 2)

    def synthesis_widths(self, frame_type: FrameType) -> tuple[int, ...]:
        x = self.outputs(frame_type)
        return (self.grids, *self.synthesis_hidden, x, x)

    def grid_sizes(self, height: int, width: int) -> Iterator[tuple[int, int]]:
        """Height and width of each latent grid, finest first."""
        for k in range(self.grids):
            yield -(-height >> k), -(-width >> k)

    def parameters(self, frame_type: FrameType) -> dict[str, int]:
        """Parameters per module, biases included (paper, table 1)."""
        return {
            "arm": _mlp_parameters(self.arm_widths()),
            "upsampling": self.upsampling_kernel**2,
            "synthesis": _mlp_parameters(self.synthesis_widths(frame_type)),
        }

    def multiplications(
        self, frame_type: FrameType, height: int, width: int, *, padding: int = 0
    ) -> dict[str, float]:
        """Multiplications per decoded luma sample and module (paper, table 1).

        The autoregressive model runs once per latent, the synthesis once per luma
        sample. A transposed convolution multiplies each input sample by each of the
        kernel's; with `padding`, the samples that border replication adds on each side
        count too, as a counter of operations sees them. Inter coding takes four per
        reference for bilinear interpolation and one each to weight by beta and alpha.
        """
        sizes = list(self.grid_sizes(height, width))
        pixels = height * width
        latents = sum(h * w for h, w in sizes)
        upsampled = sum(
            (self.grids - k) * (sizes[k][0] + 2 * padding) * (sizes[k][1] + 2 * padding)
            for k in range(1, self.grids)
        )
        return {
            "arm": _mlp_multiplications(self.arm_widths()) * latents / pixels,
            "upsampling": self.upsampling_kernel**2 * upsampled / pixels,
            "synthesis": float(_mlp_multiplications(self.synthesis_widths(frame_type))),
            "inter": (0.0, 5.0, 10.0)[frame_type],
        }


def _mlp_parameters(widths: tuple[int, ...]) -> int:
    return sum((i + 1) * o for i, o in pairwise(widths))


def _mlp_multiplications(widths: tuple[int, ...]) -> int:
    return sum(i * o for i, o in pairwise(widths))


PAPER = Architecture()
