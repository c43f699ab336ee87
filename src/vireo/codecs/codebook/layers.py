"""What the codebook networks are made of. All of it is floats: nothing parsed depends on it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_EXPANSION = 4  # of the channels between a perceptron's layers


class Residual(nn.Module):
    """Two convolutions of 3x3, added to what they start from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.last(functional.silu(self.first(functional.silu(x))))
        return x + added


def residuals(channels: int, count: int) -> nn.Sequential:
    """Residual blocks, one behind the other."""
    return nn.Sequential(*(Residual(channels) for _ in range(count)))


def half(inputs: int, outputs: int) -> nn.Conv2d:
    """To half the resolution."""
    return nn.Conv2d(inputs, outputs, 2, stride=2)


def twice(inputs: int, outputs: int) -> nn.Sequential:
    """To twice the resolution."""
    return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 1), nn.PixelShuffle(2))


class Norm(nn.Module):
    """Layer normalisation of each place's channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.layer(x.movedim(1, -1))
        return normed.movedim(-1, 1)


class WindowAttention(nn.Module):
    """Cross-attention of windows to a reference's wider windows (section 3.2), then a perceptron.

    Args:
        channels: of both.
        heads, head: of the attention, and channels of each.
        window: places, the side of a window of the query.
        padding: by which the reference's window is wider on each side, its border repeated.
    """

    def __init__(self, channels: int, heads: int, head: int, window: int, padding: int) -> None:
        super().__init__()
        self._heads, self._window, self._padding = heads, window, padding
        self._wide = window + 2 * padding
        inner = heads * head
        self.norm = Norm(channels)
        self.reference_norm = Norm(channels)
        self.query = nn.Conv2d(channels, inner, 1)
        self.key_value = nn.Conv2d(channels, 2 * inner, 1)
        self.merge = nn.Conv2d(inner, channels, 1)
        # Of a key's place against the query's: rows, and columns.
        self.offsets = nn.Parameter(torch.zeros(2, heads, window + self._wide - 1))
        self.perceptron = nn.Sequential(
            Norm(channels),
            nn.Conv2d(channels, _EXPANSION * channels, 1),
            nn.GELU(),
            nn.Conv2d(_EXPANSION * channels, channels, 1),
        )

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """`x` and `reference` are `[B, C, h, w]`, and so is what comes out."""
        height, width = x.shape[-2:]
        query = self.query(self.norm(x))
        both = self.key_value(self.reference_norm(reference))
        below, right = -height % self._window, -width % self._window
        query = functional.pad(query, (0, right, 0, below), mode="replicate")
        pad = self._padding
        both = functional.pad(both, (pad, pad + right, pad, pad + below), mode="replicate")
        key, value = _windows(both, self._wide, self._window, 2 * self._heads).chunk(2, 1)
        found = functional.scaled_dot_product_attention(
            _windows(query, self._window, self._window, self._heads).transpose(2, 3),
            key.transpose(2, 3),
            value.transpose(2, 3),
            attn_mask=self._bias().to(query.dtype),
        )
        size = query.shape[-2] // self._window, query.shape[-1] // self._window
        x = x + self.merge(_together(found, self._window, size)[..., :height, :width])
        added: Tensor = self.perceptron(x)
        return x + added

    def _bias(self) -> Tensor:
        """`[heads, queries, keys]`."""
        device = self.offsets.device
        query, key = (torch.arange(n, device=device) for n in (self._window, self._wide))
        distance = key[None] - query[:, None] + self._window - 1
        rows, columns = self.offsets[:, :, distance]  # [heads, window, wide] each
        bias: Tensor = rows[:, :, None, :, None] + columns[:, None, :, None, :]
        return bias.reshape(len(bias), self._window**2, self._wide**2)


def _windows(x: Tensor, side: int, stride: int, heads: int) -> Tensor:
    """`[B * windows, heads, C / heads, side**2]` of `[B, C, h, w]`."""
    channels = x.shape[1]
    tiles = x.unfold(2, side, stride).unfold(3, side, stride)  # [B, C, rows, columns, side, side]
    tiles = tiles.permute(0, 2, 3, 1, 4, 5)
    return tiles.reshape(-1, heads, channels // heads, side * side)


def _together(found: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """`[B, C, h, w]` of `[B * windows, heads, side**2, C / heads]`."""
    rows, columns = size
    heads, _, head = found.shape[1:]
    tiles = found.reshape(-1, rows, columns, heads, side, side, head)
    return tiles.permute(0, 3, 6, 1, 4, 2, 5).reshape(
        len(tiles), heads * head, rows * side, columns * side
    )
