"""All that is coded, in floats: what training changes, what it costs, and its rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2, prod
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vireo.codecs.nvrc import fixed
from vireo.codecs.nvrc.coding import Coded, Side, spread
from vireo.codecs.nvrc.config import BLOCK, CONTEXT_KERNEL, blocks_of
from vireo.codecs.nvrc.layout import LINEAR, PER_AXIS, WORDS, Kind, Layout, causal, to_blocks
from vireo.entropy.normal import SCALES, standard_deviation
from vireo.nn.latents import LEAST_MASS, lower_bound, normal_mass
from vireo.nn.rounding import kumaraswamy, noisy_quantise

Integers = NDArray[np.int64]

_LEAST, _MOST = (float(standard_deviation(i)) for i in (0, SCALES - 1))

_FIRST_GRID = 0.05  # deviation of grids where training starts
_GAINS = {"project": 1.5, "head": 0.3}
_FIRST_STEP = -3.0  # logarithm of steps, against that of the deviation of what is rounded
_GRID_STEP = -5.0
_SIDE_STEPS = {
    Kind.MEAN_OUT: -5.0,
    Kind.MEAN_IN: -5.0,
    Kind.GRID_MEAN: -5.0,
    Kind.CONTEXT_FIRST: -4.0,
    Kind.CONTEXT_SECOND: -4.0,
    Kind.CONTEXT_LAST: -4.0,
    Kind.CONTEXT_BIAS: -4.0,
}
_LOGARITHM_STEP = -2.0

Rounding = Callable[[Tensor], Tensor]
"""What stands for rounding in a step of training; of numbers in steps."""


def soft(
    temperature: float | Tensor, shape: float | Tensor, generator: torch.Generator | None
) -> Rounding:
    """Soft rounding with Kumaraswamy noise (section 3.4; Kim et al., C3)."""

    def rounded(x: Tensor) -> Tensor:
        uniform = torch.rand(x.shape, generator=generator, device=x.device)
        return noisy_quantise(x, temperature, kumaraswamy(uniform, shape))

    return rounded


def partly(ratio: float | Tensor, generator: torch.Generator | None) -> Rounding:
    """Quant-Noise: so much of the numbers is rounded, and learns nothing (section 3.4)."""

    def rounded(x: Tensor) -> Tensor:
        chosen = torch.rand(x.shape, generator=generator, device=x.device) < ratio
        return torch.where(chosen, x.detach().round(), x)

    return rounded


def hard(x: Tensor) -> Tensor:
    """Rounding."""
    return x.round()


class Bits(NamedTuple):
    """What is spent, by what it is spent on."""

    grids: Tensor
    layers: Tensor
    side: Tensor

    @property
    def total(self) -> Tensor:
        return self.grids + self.layers + self.side


@dataclass(frozen=True)
class _Rounded:
    """Numbers in steps, and the logarithms of these."""

    numbers: Tensor
    steps: Tensor

    @property
    def values(self) -> Tensor:
        return self.numbers * torch.exp2(self.steps)


class Numbers(nn.Module):
    """All numbers of a segment, while they are trained.

    Args:
        grid_steps: whether grids' steps are learned; else they keep the logarithm -4 / ln 2 (the
            paper's variant V5).
        linear_unit: in what units the words of means of kinds in `layout.LINEAR` are trained.
    """

    def __init__(
        self, layout: Layout, seed: int, *, grid_steps: bool = True, linear_unit: float = 1.0
    ) -> None:
        super().__init__()
        self.layout = layout
        self._grid_steps = grid_steps
        random = torch.Generator().manual_seed(seed)
        layers = torch.zeros(layout.layer_count)
        deviations = torch.zeros(layout.layer_count)
        for name, place in layout.layers.items():
            deviation = _first_deviation(name, place.shape)
            deviations[place.range] = deviation or 2.0**-4
            layers[place.range] = deviation * torch.randn(prod(place.shape), generator=random)
        self.layers = nn.Parameter(layers)
        self.grids = nn.ParameterList(
            _FIRST_GRID * torch.randn(s, generator=random) for s in layout.grids
        )
        self.side = nn.ParameterDict(
            {kind.name: self._first(kind, deviations.numpy(), random) for kind in layout.kinds}
        )
        words = torch.zeros(len(layout.kinds), WORDS)
        for row, kind in zip(words, layout.kinds, strict=True):
            own = self.side[kind.name].detach()
            step = _SIDE_STEPS.get(kind, _LOGARITHM_STEP)
            spread = float(own.std()) if own.numel() > 1 else 0.0
            row[0] = own.mean() if own.numel() else 0.0
            row[1], row[2] = log2(max(spread, 2.0**step)), step
        units = torch.ones_like(words)
        units[[kind in LINEAR for kind in layout.kinds], 0] = linear_unit
        self.words = nn.Parameter(words / units)
        self._units: Tensor
        self.register_buffer("_units", units, persistent=False)
        self.rows: Tensor
        self.columns: Tensor
        for name, values in (("rows", layout.rows), ("columns", layout.columns)):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)
        self._batches = _batches(layout.models)
        for index, (models, levels) in enumerate(self._batches):
            grids = (np.ones(layout.grids[level], np.int64) for level in levels)
            inside = [torch.from_numpy(to_blocks(grid).astype(bool)) for grid in grids]
            self.register_buffer(f"inside_{index}", _alike(inside, len(models)), persistent=False)
            self.register_buffer(f"models_{index}", torch.tensor(models), persistent=False)

    def _first(self, kind: Kind, deviations: np.ndarray, random: torch.Generator) -> nn.Parameter:
        """Side information where training starts."""
        layout = self.layout
        shape = layout.kinds[kind].shape
        found = torch.zeros(shape)
        if kind in (Kind.STEP_IN, Kind.SCALE_IN, Kind.STEP_OUT, Kind.SCALE_OUT):
            # A tensor's is that of its columns, or of its rows where columns have none.
            by_column = kind in (Kind.STEP_IN, Kind.SCALE_IN)
            own = layout.columns if by_column else layout.rows
            count = layout.ins if by_column else layout.outs
            coded = own < count
            if not by_column:
                coded &= layout.columns == layout.ins
            logs = np.log2(deviations[coded])
            if kind in (Kind.STEP_IN, Kind.STEP_OUT):
                logs = logs + _FIRST_STEP
            values = found.numpy()
            values[own[coded]] = logs
        elif kind is Kind.GRID_STEP:
            found.fill_(_GRID_STEP if self._grid_steps else -4 / np.log(2))
        elif kind is Kind.GRID_SCALE:
            found.fill_(log2(_FIRST_GRID))
        elif kind in (Kind.CONTEXT_FIRST, Kind.CONTEXT_SECOND, Kind.CONTEXT_LAST):
            found = torch.randn(shape, generator=random) / prod(shape[2:]) ** 0.5
        elif kind is Kind.CONTEXT_BIAS:
            found[:, -1] = log2(_FIRST_GRID)
        return nn.Parameter(found, requires_grad=self._grid_steps or kind is not Kind.GRID_STEP)

    def _words(self) -> Tensor:
        """In half precision; the gradient passes."""
        words = self.words * self._units
        return words + (words.half().float() - words).detach()

    def _rounded_side(self, kind: Kind, rounding: Rounding, words: Tensor) -> _Rounded:
        own = self.side[kind.name]
        if not self.layout.method.coded:
            return _Rounded(own + (own.half().float() - own).detach(), torch.zeros_like(own))
        step = _in_octaves(words[list(self.layout.kinds).index(kind), 2])
        return _Rounded(rounding(own * torch.exp2(-step)), step)

    def rounded(self, rounding: Rounding) -> Sample:
        """Numbers as they are coded, or as `rounding` has it."""
        words = self._words()
        kinds = *PER_AXIS[0], Kind.GRID_STEP
        return self._sample(
            rounding, {k: self._rounded_side(k, rounding, words).values for k in kinds}
        )

    def _sample(self, rounding: Rounding, side: dict[Kind, Tensor]) -> Sample:
        """By these steps."""
        steps = _in_octaves(self._both(side[Kind.STEP_OUT], side[Kind.STEP_IN]))
        layers = _Rounded(rounding(self.layers * torch.exp2(-steps)), steps)
        blocks = side[Kind.GRID_STEP]
        if not self._grid_steps:
            blocks = blocks.detach()
        grids = []
        for grid, block in zip(self.grids, self.layout.block_steps(), strict=True):
            own = _in_octaves(_spread(blocks[block], grid.shape))
            grids.append(_Rounded(rounding(grid * torch.exp2(-own)), own))
        return Sample(self, layers, grids)

    def _both(self, out: Tensor, inside: Tensor) -> Tensor:
        return self._of(out, self.rows) + self._of(inside, self.columns)

    def _of(self, own: Tensor, entries: Tensor) -> Tensor:
        """Of each number its row's or column's; what has none gets 0."""
        return functional.pad(own, (0, 1))[entries]

    def bits(self, rounding: Rounding) -> Bits:
        """What all of it takes (equation 9)."""
        words = self._words()
        kinds = {k: self._rounded_side(k, rounding, words) for k in self.layout.kinds}
        spent = words.new_zeros(()) + 16.0 * words.numel()
        if self.layout.method.coded:
            for row, own in zip(words, kinds.values(), strict=True):
                mean, deviation = row[0] * torch.exp2(-own.steps), torch.exp2(row[1] - own.steps)
                spent = spent + _spent(own.numbers, mean, deviation)
        else:
            spent = spent + 16.0 * self.layout.side_count
        side = {kind: own.values for kind, own in kinds.items()}
        sample = self._sample(rounding, side)
        layers = sample.layers
        out, inside, scale_out, scale_in = (
            self._of(side[kind], entries)
            for kinds in PER_AXIS[1:]
            for kind, entries in zip(kinds, (self.rows, self.columns), strict=True)
        )
        mean = out * torch.exp2(scale_in) + inside
        deviation = torch.exp2(scale_out + scale_in - layers.steps)
        of_layers = _spent(layers.numbers, mean * torch.exp2(-layers.steps), deviation)
        return Bits(self._grid_bits(sample.grids, side), of_layers, spent)

    def _grid_bits(self, grids: list[_Rounded], side: dict[Kind, Tensor]) -> Tensor:
        spent = self.words.new_zeros(())
        if not self.layout.method.contexts:
            for level, grid in enumerate(grids):
                mean, scale = side[Kind.GRID_MEAN][level], side[Kind.GRID_SCALE][level]
                steps = grid.steps
                spent = spent + _spent(
                    grid.numbers, mean * torch.exp2(-steps), torch.exp2(scale - steps)
                )
            return spent
        for index, (models, levels) in enumerate(self._batches):
            own = [grids[level] for level in levels]
            values, numbers, steps = (
                _alike([_blocks(part) for part in parts], len(models))
                for parts in zip(*((g.values, g.numbers, g.steps) for g in own), strict=True)
            )
            inside = getattr(self, f"inside_{index}")
            mean, scale = self._contexts(values, inside, side, getattr(self, f"models_{index}"))
            bits = _bits(numbers, mean * torch.exp2(-steps), torch.exp2(scale - steps))
            spent = spent + (bits * inside).sum()
        return spent

    def _contexts(
        self, values: Tensor, inside: Tensor, side: dict[Kind, Tensor], models: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Means and logarithms of deviations of values, all `[blocks, models, 16, 8, 8]`."""
        channels = len(models)
        width = self.layout.config.context_width
        biases = side[Kind.CONTEXT_BIAS][models]
        x = values
        mask = inside.repeat_interleave(width, 1)
        parts = torch.split(biases, [width, width, biases.shape[1] - 2 * width], 1)
        kinds = Kind.CONTEXT_FIRST, Kind.CONTEXT_SECOND, Kind.CONTEXT_LAST
        for kind, bias in zip(kinds, parts, strict=True):
            first, last = kind is kinds[0], kind is kinds[-1]
            weight = _unmasked(side[kind][models].clamp(-16, 16), strictly=first)
            x = _convolved(x, weight.flatten(0, 1), bias.flatten(), channels)
            if not last:
                x = functional.relu(x) * mask
        x = x.reshape(x.shape[0], channels, 2, *BLOCK)
        return x[:, :, 0], x[:, :, 1]

    @torch.no_grad()
    def coded(self) -> Coded:
        """The numbers that are sent."""
        layout = self.layout
        words = (self.words * self._units).half().cpu().numpy()
        flat = torch.cat([self.side[k.name].flatten() for k in layout.kinds]).cpu().double()
        most = fixed.MOST_QUANTISED
        if layout.method.coded:
            column = np.array([fixed.word(w, fixed.LOG_BITS) for w in words[:, 2]])
            steps = np.clip(column, -fixed.FARTHEST, fixed.FARTHEST)[layout.side_kinds]
            side = _nearest(flat.numpy() / fixed.power_of(steps), most)
        else:
            side = flat.numpy().astype(np.float16)
        found = Side(layout, words, side)
        layers = _nearest(
            self.layers.cpu().double().numpy() / fixed.power_of(found.layer_steps()), most
        )
        grids = []
        for grid, steps in zip(self.grids, found.grid_steps(), strict=True):
            powers = fixed.power_of(spread(steps, grid.shape))
            grids.append(_nearest(grid.cpu().double().numpy() / powers, most))
        return Coded(words, side, layers, grids)


@dataclass(frozen=True)
class Sample:
    """Numbers of one step of training."""

    numbers: Numbers
    layers: _Rounded
    grids: list[_Rounded]

    def tensors(self) -> dict[str, Tensor]:
        """Of the layers, by name."""
        places = self.numbers.layout.layers
        parts = torch.split(self.layers.values, [prod(p.shape) for p in places.values()])
        return {
            name: part.reshape(place.shape)
            for (name, place), part in zip(places.items(), parts, strict=True)
        }

    def grid_values(self) -> list[Tensor]:
        """Feature grids `[T, H, W, C]`."""
        return [grid.values for grid in self.grids]


def _first_deviation(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith("weight"):
        gain = _GAINS.get(name.split(".")[-2], 1.0)
        if "project" in name and ".0." not in name:
            gain = 0.5  # beside the way around
        return float(gain / prod(shape[1:]) ** 0.5)
    return 0.02 if ".local." in name and len(shape) == 4 else 0.0


def _in_octaves(logarithms: Tensor) -> Tensor:
    """To 64ths, as `fixed.octaves`; the gradient passes."""
    unit = 1 << fixed.LOG_BITS
    near = torch.floor(logarithms * unit + 0.5) / unit
    return logarithms + (near - logarithms).detach()


def _spent(numbers: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    return _bits(numbers, mean, deviation).sum()


def _bits(numbers: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    bounded = lower_bound(deviation, _LEAST).clamp(max=_MOST)
    return -lower_bound(normal_mass(numbers - mean, bounded), LEAST_MASS).log2()


def _spread(steps: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """`[T, H, W, C]` of the steps of channels' blocks (equation 2)."""
    t, h, w = blocks_of((shape[0], shape[1], shape[2], shape[3]))
    whole = steps.reshape(shape[3], t, h, w).permute(1, 2, 3, 0)
    for axis, side in enumerate(BLOCK):
        whole = whole.repeat_interleave(side, axis)
    return whole[: shape[0], : shape[1], : shape[2]]


def _blocks(grid: Tensor) -> Tensor:
    """`layout.to_blocks`, of tensors."""
    t, h, w, channels = grid.shape
    counts = blocks_of((t, h, w, channels))
    ends = [n * side - size for n, side, size in zip(counts, BLOCK, (t, h, w), strict=True)]
    whole = functional.pad(grid, (0, 0, 0, ends[2], 0, ends[1], 0, ends[0]))
    (a, b, c), (t, h, w) = counts, BLOCK
    parts = whole.reshape(a, t, b, h, c, w, channels).permute(6, 0, 2, 4, 1, 3, 5)
    return parts.reshape(channels, a * b * c, t, h, w)


def _batches(models: Sequence[tuple[int, ...]]) -> list[tuple[tuple[int, ...], list[int]]]:
    """Which context models which levels' channels go through: one for all, or each its own."""
    found: dict[tuple[int, ...], list[int]] = {}
    for level, own in enumerate(models):
        found.setdefault(own[:1] if len(set(own)) == 1 else own, []).append(level)
    return list(found.items())


def _alike(levels: list[Tensor], models: int) -> Tensor:
    """`[blocks, models, 16, 8, 8]` of levels' `[C, blocks, 16, 8, 8]`; channels of one model are
    blocks like any others."""
    parts = [x.flatten(0, 1)[:, None] if models == 1 else x.transpose(0, 1) for x in levels]
    return torch.cat(parts)


def _unmasked(weight: Tensor, *, strictly: bool) -> Tensor:
    """A convolution's `[..., 3, 5, 5]`: two frames before, and what it sees of its own."""
    side = CONTEXT_KERNEL
    shape = side // 2 + 1, side, side
    whole = functional.pad(weight, (0, prod(shape) - len(causal(strictly=strictly))))
    return whole.reshape(*weight.shape[:-1], *shape)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """`[blocks, C, 16, 8, 8]`, by frames with those before as channels: three times as fast."""
    blocks, _, frames, *sides = x.shape
    before = weight.shape[2] - 1
    padded = functional.pad(x, (0, 0, 0, 0, before, 0))
    seen = torch.stack([padded[:, :, t : t + frames] for t in range(before + 1)], 2)
    seen = seen.permute(0, 3, 1, 2, 4, 5).reshape(blocks * frames, -1, *sides)
    made = functional.conv2d(
        seen, weight.flatten(1, 2), bias, padding=CONTEXT_KERNEL // 2, groups=groups
    )
    return made.reshape(blocks, frames, -1, *sides).transpose(1, 2)


def _nearest(values: NDArray[np.float64], most: int) -> Integers:
    found: Integers = np.clip(np.rint(values), -most, most).astype(np.int64)
    return found
