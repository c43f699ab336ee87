"""Which indices an encoder sends where they don't all cost the same."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vireo import _core
from vireo.codecs.codebook.indices import Layout, Past
from vireo.codecs.codebook.model import Codebooks, Penalties

_PER_BIT = 0.75
"""Half a squared distance that a bit is worth at lambda 1, between latents as long as samples are:
2/3 of the squares of samples are luma samples' share of the mean squared error (`weighted_mse`)."""


class Prices:
    """What indices of a frame will cost, from what their code is adapted to.

    Args:
        layout: of the frame.
        coder: that of its indices, as it is before it.
        past: of the frame before; None for a key frame.
        lambda_: what a bit per luma sample costs against mean squared error of samples in 0…1.
    """

    def __init__(
        self, layout: Layout, coder: _core.IndexCoder, past: Past | None, lambda_: float
    ) -> None:
        self._bit = _PER_BIT * lambda_
        statistics = coder.statistics()
        self._other, self._kept = [], []
        for stage in range(len(layout.stages)):
            books = statistics[stage * layout.books : (stage + 1) * layout.books]
            frequencies = torch.from_numpy(np.stack([f for f, _ in books]).astype(np.float32))
            likely = torch.from_numpy(np.stack([p for _, p in books]).astype(np.float32)) / 65536
            self._other.append(frequencies.sum(1, keepdim=True).log2() - frequencies.log2())
            self._kept.append((1 - likely).log2() - likely.log2())  # [books, 6]
        self._before: list[Tensor] | None = None
        if past is not None and past.values is not None:
            split = layout.split(past.values.astype(np.int64))
            self._before = [torch.from_numpy(s).permute(2, 0, 1) for s in split]

    def cheapest(self, stage: int, wanted: Tensor, book: Codebooks) -> Tensor:
        """`[1, books, h, w]` of `[1, C, h, w]`: distance and bits together are the least."""
        other = self._bit * self._other[stage]
        if self._before is None:
            places = wanted[0, 0].numel()
            none = torch.zeros(len(other), places, dtype=torch.long)
            return book.nearest(wanted, Penalties(other, none, torch.full_like(none, 1e9).float()))
        before = self._before[stage]
        same = self._kept[stage].mean(1)[:, None, None].expand(before.shape)
        for _ in range(2):  # what is likely to be as before depends on what else is
            penalties = Penalties(other, before.flatten(1), self._bit * same.flatten(1))
            found = book.nearest(wanted, penalties)
            same = self._kept[stage].gather(1, _contexts(found[0] == before).flatten(1))
            same = same.reshape(before.shape)
        return found


def _contexts(same: Tensor) -> Tensor:
    """`[books, h, w]`: which of six likelihoods an index has, as `native/core/indices.hpp` says."""
    left = functional.pad(same, (1, 0))[..., :-1]
    above = functional.pad(same, (0, 0, 1, 0))[:, :-1]
    book = torch.cat([torch.zeros_like(same[:1]), same[:-1]])
    return left.long() + above.long() + 3 * book.long()
