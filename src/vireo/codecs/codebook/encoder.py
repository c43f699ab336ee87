"""Encodes pictures of a codebook stream: one pass of the networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.base import PictureDecoder, Planes
from vireo.codecs.codebook.choice import Prices, choose
from vireo.codecs.codebook.coding import Coder, Decoded, reconstruct, with_twin
from vireo.codecs.codebook.decoder import STRIDE, CodebookDecoder
from vireo.codecs.codebook.indices import Flat, Indices, Past
from vireo.codecs.codebook.stream import SectionKind
from vireo.codecs.devices import ComputesWithPyTorch
from vireo.codecs.encoding import EncodedPicture, PictureJob, Progress
from vireo.codecs.pretrained import cropped, padded
from vireo.codecs.probes import Probes
from vireo.container import StreamHeader
from vireo.gop import GopStructure, PlannedFrame, held_pictures, plan_gop
from vireo.metrics import PLANE_WEIGHTS
from vireo.profiling import TimeProfile, measured
from vireo.video.frame import Frame


class CodebookEncoder(ComputesWithPyTorch):
    """A stream's picture encoder (see `codecs.encoding.PictureEncoder`).

    Args:
        coder: the model, in single precision.
        twin: the same in the lowest precision that decoders have.
        profile: the stream's.
        shown: rows and columns of the pictures.
        lambda_: what a bit per luma sample costs against mean squared error of samples in 0…1.
    """

    identity = ""

    def __init__(
        self,
        coder: Coder,
        twin: Coder,
        profile: int,
        shown: tuple[int, int],
        lambda_: float,
        times: TimeProfile | None = None,
    ) -> None:
        super().__init__()
        self._coder = coder
        self._twin = twin
        self._code = coder.index_code(profile)
        self._shown = shown
        self._lambda = lambda_
        self._times = times
        self._decoder: CodebookDecoder | None = None

    def encode(self, job: PictureJob, progress: Progress) -> EncodedPicture:
        """One picture, from the one before as it was decoded."""
        target = padded(job.target, STRIDE)
        reference: Decoded | None = job.references[0] if job.references else None
        past: Past | None = job.parsed[0].state if job.parsed else None
        adapted = self._code.adapted(past)
        layout = self._coder.predicted if reference else self._coder.key
        prices = (
            Prices(layout, adapted, past, self._lambda, self._coder.device) if adapted else None
        )
        with measured(self._times, "choice"):
            values = choose(self._coder, target, reference.latents if reference else None, prices)
        indices = Indices(values, np.zeros(layout.window_count, np.uint8))
        with measured(self._times, "networks"):
            decoded = reconstruct(self._coder, None, indices, reference)
        if reference is not None and past is not None and prices is not None:
            with measured(self._times, "skips"):
                skips = self._skips(target, indices, decoded, reference, prices)
            if skips.any():
                indices = self._with_skips(values, skips, past)
                with measured(self._times, "networks"):
                    decoded = reconstruct(self._coder, None, indices, reference)
        with measured(self._times, "networks"):
            decoded = with_twin(decoded, self._twin, indices, reference)
        sections = [self._code.encode(indices, past)]
        if job.is_last:
            with measured(self._times, "probes"):
                sections.append(self._probes(decoded).section(SectionKind.PROBES))
        return EncodedPicture(tuple(sections), decoded, 0)

    def _skips(
        self,
        target: Planes,
        indices: Indices,
        sent: Decoded,
        reference: Decoded,
        prices: Prices,
    ) -> NDArray[np.uint8]:
        """Of each window whether leaving it as it was costs less than sending it.

        `sent` is what the indices make of the reference.
        """
        cost = _errors(target, _planes(sent))
        cost += self._lambda * prices.bits(indices.values) / STRIDE**2
        return (_errors(target, _planes(reference)) <= cost).astype(np.uint8).ravel()

    def _with_skips(self, values: Flat, skips: NDArray[np.uint8], past: Past) -> Indices:
        """Skipped windows have the indices of the frame before."""
        assert past.values is not None
        layout = self._coder.predicted
        rows, columns = layout.windows
        mask = skips.astype(bool).reshape(rows, columns)
        parts = []
        for own, before in zip(layout.split(values), layout.split(past.values), strict=True):
            sides = own.shape[0] // rows, own.shape[1] // columns
            skipped = mask.repeat(sides[0], 0).repeat(sides[1], 1)[..., None]
            parts.append(np.where(skipped, before, own).ravel())
        return Indices(np.concatenate(parts), skips)

    def _probes(self, decoded: Decoded) -> Probes:
        """With the difference that the twin's picture has."""
        assert decoded.twin is not None
        own, other = (
            cropped(planes, *self._shown)
            for planes in (_planes(decoded), self._twin.planes(decoded.twin.latents))
        )
        found = max(int(abs(a.astype(int) - b).max()) for a, b in zip(own, other, strict=True))
        return Probes.of(own[0], min(found + 1, 255))

    def plan(self, structure: GopStructure, gop: Sequence[Frame]) -> tuple[PlannedFrame, ...]:
        """Each frame from the one before."""
        return plan_gop(structure, len(gop))

    def decoder(self, header: StreamHeader, index: int) -> PictureDecoder:
        """The same for all pictures."""
        if self._decoder is None:
            self._decoder = CodebookDecoder(header, self._coder, self._twin)
        return self._decoder

    def held_pictures(self, structure: GopStructure, frames: int) -> int:
        """One, where there are P frames."""
        return held_pictures(plan_gop(structure, frames))


def _planes(decoded: Decoded) -> Planes:
    assert decoded.planes is not None
    return decoded.planes


def _errors(target: Planes, planes: Planes) -> NDArray[np.float64]:
    """Of each window the mean squared error of samples in 0…1, weighted as `weighted_mse`."""
    found = np.zeros([n // STRIDE for n in target[0].shape])
    for a, b, weight in zip(target, planes, PLANE_WEIGHTS, strict=True):
        side = STRIDE * a.shape[0] // target[0].shape[0]
        squares = ((a.astype(float) - b) / 255) ** 2
        rows, columns = (n // side for n in a.shape)
        found += weight * squares.reshape(rows, side, columns, side).mean((1, 3))
    return found
