"""Which indices an encoder sends: the nearest, or of those that cost bits the cheapest."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vireo import _core
from vireo.codecs.base import Planes
from vireo.codecs.codebook.coding import Coder
from vireo.codecs.codebook.indices import Flat, Layout, Past
from vireo.codecs.codebook.model import Codebooks, Penalties
from vireo.errors import UsageError
from vireo.exact import PROCESSOR
from vireo.nn.picture import picture_of

_PER_BIT = 5.0
"""Half a squared distance that a bit is worth at lambda 1.

It would be 0.75 if latents were as long as samples are, and no frame referred to this one; the
best by trial on clips that are trained with but held out, where 3 to 10 are about as good.
"""


@torch.inference_mode()
def choose(coder: Coder, target: Planes, reference: Tensor | None, prices: Prices | None) -> Flat:
    """A picture's indices: of the nearest entries, or of the cheapest at some prices.

    Raises UsageError where the model's analysis gives no numbers.
    """
    model = coder.model
    with coder.arithmetic():
        wanted = model.analyse(picture_of(target, coder.device), reference)
    if not bool(torch.isfinite(wanted).all()):
        raise UsageError("the model's analysis gives no numbers for this picture")
    quantiser, books = model.quantiser(None if reference is None else coder.rate)

    def choice(stage: int, wanted: Tensor) -> Tensor:
        if prices is None:
            return books[stage].nearest(wanted)
        return prices.cheapest(stage, wanted, books[stage])

    with coder.arithmetic():
        stages = quantiser.stages(wanted, books, choice)
        found = [s.indices[0].permute(1, 2, 0).ravel() for s in stages]
    return torch.cat(found).cpu().numpy().astype(np.uint16)


class Prices:
    """What indices of a frame will cost, from what their code is adapted to.

    Args:
        layout: of the frame.
        adapted: the code of its indices, as it is before it.
        past: of the frame before; None for a key frame.
        lambda_: what a bit per luma sample costs against mean squared error of samples in 0…1.
        device: of what is quantised.
    """

    def __init__(
        self,
        layout: Layout,
        adapted: _core.IndexCoder,
        past: Past | None,
        lambda_: float,
        device: torch.device = PROCESSOR,
    ) -> None:
        self._device = device
        self._layout = layout
        self._bit = _PER_BIT * lambda_
        statistics = adapted.statistics()
        self._entries: list[Tensor] = []  # [books, size] of each stage, bits
        self._same: list[Tensor] = []  # [books, 6], of being as before
        self._other: list[Tensor] = []  # [books, 6], of not being as before
        for stage in range(len(layout.stages)):
            books = statistics[stage * layout.books : (stage + 1) * layout.books]
            frequencies, likely = (
                torch.from_numpy(np.stack(values).astype(np.float32)).to(device)
                for values in zip(*books, strict=True)
            )
            likely = likely / 65536
            self._entries.append(frequencies.sum(1, keepdim=True).log2() - frequencies.log2())
            self._same.append(-likely.log2())
            self._other.append(-(1 - likely).log2())
        self._before: list[Tensor] | None = None
        if past is not None and past.values is not None:
            self._before = self._of_stages(past.values)

    def cheapest(self, stage: int, wanted: Tensor, book: Codebooks) -> Tensor:
        """`[1, books, h, w]` of `[1, C, h, w]`: distance and bits together are the least."""
        entries = self._bit * self._entries[stage]
        if self._before is None:
            return book.nearest(wanted, Penalties(entries))
        before = self._before[stage]
        more = self._same[stage] - self._other[stage]  # to be as before, than not to be
        kept = more.mean(1)[:, None].expand(-1, before[0].numel())
        for _ in range(2):  # what is likely to be as before depends on what else is
            penalties = Penalties(entries, before.flatten(1), self._bit * kept)
            found = book.nearest(wanted, penalties)
            kept = more.gather(1, contexts(found[0] == before).flatten(1))
        return found

    def bits(self, values: Flat) -> NDArray[np.float64]:
        """Of each window of a P frame `[rows, columns]`, neighbours aside."""
        assert self._before is not None
        rows, columns = self._layout.windows
        found = np.zeros((rows, columns))
        for stage, own in enumerate(self._of_stages(values)):
            same = own == self._before[stage]
            context = contexts(same).flatten(1)
            bits = self._entries[stage].gather(1, own.flatten(1))
            bits = bits + self._other[stage].gather(1, context)
            kept = self._same[stage].gather(1, context)
            bits = torch.where(same.flatten(1), kept, bits).reshape(own.shape).sum(0)
            sides = rows, bits.shape[0] // rows, columns, bits.shape[1] // columns
            found += bits.reshape(sides).sum((1, 3)).cpu().numpy()
        return found

    def _of_stages(self, values: Flat) -> list[Tensor]:
        """`[books, h, w]` each."""
        split = self._layout.split(values)
        return [
            torch.from_numpy(s.astype(np.int64)).to(self._device).permute(2, 0, 1) for s in split
        ]


def contexts(same: Tensor) -> Tensor:
    """`[books, h, w]`: by which of six likelihoods an index is coded, from what is as before."""
    left = functional.pad(same, (1, 0))[..., :-1]
    above = functional.pad(same, (0, 0, 1, 0))[:, :-1]
    book = torch.cat([torch.zeros_like(same[:1]), same[:-1]])
    return left.long() + above.long() + 3 * book.long()
