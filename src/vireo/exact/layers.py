"""Layers of networks whose numbers are the same on every machine.

A layer takes numbers of one grid and gives numbers of another. Its weights are trained as floats
and used as multiples of `2**-weight_bits`, in training and afterwards, by the same arithmetic:
what a network gives in training is what it gives in a decoder. `prove` shows from the weights that
no sum can round; a layer whose weights allow for more than a float holds goes over to doubles.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from vireo.errors import VireoError
from vireo.exact.full_precision import PROCESSOR, full_precision
from vireo.exact.grid import EXACT_BITS, Grid, is_unrounded

WEIGHT_BITS = 10
"""Of a weight's fraction, where nothing else is said: 2**-10 is the step of an update in the paper
on instance adaptation (0.001, appendix B.4), as near as a power of two comes."""


class InexactError(VireoError):
    """A network's weights allow for sums that a float can't hold exactly."""


class ExactLayer(nn.Module):
    """A linear layer, the rounding of its result, and what is done against sums that are too long.

    Attributes:
        source, result: grids of its inputs and outputs.
        weight: `[out, in, …]` as the kind of layer has it, bias: `[out]`, floats in training.
        weight_bits: of a weight's fraction. A bias has those of a sum, `source.bits` more.
    """

    def __init__(
        self, source: Grid, result: Grid, shape: tuple[int, ...], outputs: int, weight_bits: int
    ) -> None:
        super().__init__()
        self.source = source
        self.result = result
        self.weight_bits = weight_bits
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._double = False
        self._on_grids = False
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        if is_unrounded():
            return self.result.nearest(self.linear(x, self.weight, self.bias))
        double = x.dtype == torch.float64
        result = torch.float64 if double else torch.float32  # whatever autocast makes of inputs
        exact = torch.float64 if self._double else result
        with full_precision(x.device.type):
            given = (self.weight, self.bias) if self._on_grids else self.quantised()
            weight, bias = (t.to(exact) for t in given)
            return self.result.nearest(self.linear(x.to(exact), weight, bias)).to(result)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        raise NotImplementedError

    def quantised(self) -> tuple[Tensor, Tensor]:
        """Weight and bias on their grids, with a gradient as if they had not been moved."""
        weight, bias = self.parameter_grids()
        return weight.nearest(self.weight), bias.nearest(self.bias)

    def parameter_grids(self) -> tuple[Grid, Grid]:
        """Of the weight and of the bias."""
        most = 1 << 23  # of more no sum could be proved in single precision
        return Grid(self.weight_bits, -most, most), Grid(self.sum_bits, -most, most)

    @property
    def sum_bits(self) -> int:
        """Of a sum's fraction, before it is rounded."""
        return self.weight_bits + self.source.bits

    def prove(self) -> Tensor:
        """The most that a sum of each output can come to, in its unit, whatever the inputs.

        `[out]`, doubles; the unit is a half of the result's where that is finer. The layer goes
        on in single precision if that is below 2**24 for all and its device's single precision
        is what it should be, else in double precision; weights that are on their grids already are
        not rounded again. To be called anew when weights have changed.

        Raises InexactError where not even doubles would do, or where a weight is no number.
        """
        with torch.no_grad():
            if not (torch.isfinite(self.weight).all() and torch.isfinite(self.bias).all()):
                raise InexactError("a network's weights are not all numbers")
            weight, bias = (t.double() for t in self.quantised())
            self._on_grids = torch.equal(weight, self.weight.double()) and torch.equal(
                bias, self.bias.double()
            )
            terms = self.terms(weight * 2.0**self.weight_bits)  # [out, phases, terms]
            up, down = terms.clamp(min=0).sum(-1), (-terms).clamp(min=0).sum(-1)
            low, high = -self.source.low, self.source.high
            sums = torch.maximum(up * high + down * low, up * low + down * high).amax(1)
            # The half that rounds the result is the last term: of the sum's units, or where the
            # result has as fine ones or finer, half of one of those.
            shift = self.sum_bits - self.result.bits
            finer = 2.0 ** max(1 - shift, 0)
            bound = finer * (sums + bias.abs() * 2.0**self.sum_bits + 2.0 ** (shift - 1))
        worst = float(bound.max())
        if worst >= 2.0 ** EXACT_BITS[torch.float64]:
            raise InexactError(
                f"sums of up to {worst:.3g} units are more than double precision holds exactly"
            )
        too_long = worst >= 2.0 ** EXACT_BITS[torch.float32]
        self._double = too_long or not single_precision_is_exact(self.weight.device)
        return bound

    def terms(self, weight: Tensor) -> Tensor:
        """Weights by what they add up to: `[out, phases, terms]`."""
        return weight.flatten(1)[:, None]

    @property
    def in_double(self) -> bool:
        return self._double


class Conv(ExactLayer):
    """A convolution: pointwise, strided, depthwise or dilated, by its arguments.

    There are zeros around what odd kernels get; even ones are for cells of as many samples.
    """

    def __init__(
        self,
        source: Grid,
        result: Grid,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        weight_bits: int = WEIGHT_BITS,
    ) -> None:
        shape = outputs, inputs // groups, kernel, kernel
        super().__init__(source, result, shape, outputs, weight_bits)
        self.stride = stride
        self.groups = groups
        self.dilation = dilation

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        kernel = weight.shape[-1]
        padding = self.dilation * (kernel // 2) if kernel % 2 else 0
        return functional.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)


class TransposedConv(ExactLayer):
    """A transposed convolution that makes a picture `stride` times as large, odd kernels only."""

    def __init__(
        self,
        source: Grid,
        result: Grid,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 2,
        weight_bits: int = WEIGHT_BITS,
    ) -> None:
        super().__init__(source, result, (inputs, outputs, kernel, kernel), outputs, weight_bits)
        self.stride = stride

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        padding = weight.shape[-1] // 2
        return functional.conv_transpose2d(x, weight, bias, self.stride, padding, self.stride - 1)

    def terms(self, weight: Tensor) -> Tensor:
        """Of each phase of the result only every `stride`-th row and column counts."""
        s, by_output = self.stride, weight.transpose(0, 1)
        phases = [by_output[..., y::s, x::s].flatten(1) for y in range(s) for x in range(s)]
        most = max(p.shape[1] for p in phases)
        return torch.stack([functional.pad(p, (0, most - p.shape[1])) for p in phases], 1)


_TRIED = (
    (1, 1, 1, 1),
    (3, 1, 1, 1),
    (5, 2, 1, 1),
    (3, 1, 32, 1),
    (5, 1, 32, 1),
    (7, 1, 32, 1),
    (3, 1, 32, 3),
    (7, 1, 32, 3),
)
"""Sides of kernels, strides, groups and dilations of convolutions with 32 inputs and outputs."""


@cache
def single_precision_is_exact(device: torch.device = PROCESSOR) -> bool:
    """Whether this process' single-precision convolutions on a device give exact sums.

    A library may be set to take fewer bits than it is given, by its environment or by whoever
    imported it: oneDNN's `DNNL_DEFAULT_FPMATH_MODE` is such a setting. Or it may have a faster way
    than to add products up, as Winograd's for small kernels, whose intermediate results round.
    """
    rng = torch.Generator().manual_seed(0)
    size = 2, 32, 12, 16
    x = torch.randint(-(1 << 11) + 1, 1 << 11, size, generator=rng).double()
    x[0].abs_()  # so that some sums are nearly as large as they may be
    for kernel, stride, groups, dilation in _TRIED:
        # Factors of all sizes, up to more bits than a bfloat16 or TF32 has, 2**13 in all.
        shares = torch.rand(32, 32 // groups, kernel, kernel, generator=rng).double() ** 8
        weight = torch.floor((1 << 13) * shares / shares.sum((1, 2, 3), keepdim=True))
        weight[::2].neg_()
        padding = dilation * (kernel // 2)
        way = partial(functional.conv2d, padding=padding, dilation=dilation, groups=groups)
        ways = [(partial(way, stride=stride), weight)]
        if groups == dilation == 1:
            way = partial(functional.conv_transpose2d, stride=stride, padding=padding)
            ways.append((way, weight.transpose(0, 1)))
        for way, factors in ways:
            with full_precision(device.type):
                found = way(x.float().to(device), factors.float().to(device))
            if not torch.equal(found.cpu().double(), way(x, factors)):
                return False
    return True


def exact_layers(model: nn.Module) -> Iterator[tuple[str, ExactLayer]]:
    """A model's layers by name, in order."""
    for name, module in model.named_modules():
        if isinstance(module, ExactLayer):
            yield name, module


def prove(model: nn.Module) -> None:
    """`ExactLayer.prove` for all layers of a model; an InexactError says which one it is about."""
    for name, layer in exact_layers(model):
        try:
            layer.prove()
        except InexactError as error:
            raise InexactError(f"{name}: {error}") from error
