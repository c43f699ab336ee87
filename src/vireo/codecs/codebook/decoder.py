"""Decodes pictures of a codebook stream, in any precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vireo.codecs.base import (
    Complexity,
    GopsStandAlone,
    Layers,
    Limits,
    Planes,
    Precision,
    ReadsAlone,
)
from vireo.codecs.codebook.coding import Coder, Decoded, reconstruct
from vireo.codecs.codebook.config import STRIDES
from vireo.codecs.codebook.count import decoder_multiplications, decoder_parameters
from vireo.codecs.codebook.indices import Indices, Past
from vireo.codecs.codebook.stream import (
    PROFILES,
    CodebookShape,
    SectionKind,
    sections_of,
)
from vireo.codecs.devices import torch_device
from vireo.codecs.pretrained import check_kind, coded_size, cropped, with_weights
from vireo.codecs.probes import Probes
from vireo.container import CodedFrame, FrameType, StreamHeader
from vireo.profiling import TimeProfile, measured

STRIDE = STRIDES[-1]  # samples that the sides of coded pictures are multiples of


@dataclass(frozen=True)
class ParsedPicture:
    """A packet's indices.

    Attributes:
        probes: what its picture is checked by, if anything.
        state: what the next frame's indices are parsed with.
    """

    indices: Indices
    probes: Probes | None
    state: Past
    parts: tuple[()] = ()


class CodebookDecoder(ReadsAlone, GopsStandAlone):
    """A stream's picture decoder (see `codecs.base.PictureDecoder`).

    What it takes is bounded by the size of the pictures and by the weights that are here: a
    stream can ask for no others.

    Args:
        twin: decodes all latents, and pictures that are probed, once more at another precision.
    """

    def __init__(self, header: StreamHeader, coder: Coder, twin: Coder | None = None) -> None:
        self._coder = coder
        self._twin = twin
        self._indices = coder.index_code(header.profile)
        self._shown = header.video_format.height, header.video_format.width

    def parse(self, frame: CodedFrame, states: Sequence[Past]) -> ParsedPicture:
        """Indices, from those of the frame before."""
        sections = sections_of(frame)
        past = states[0] if states else None
        indices, state = self._indices.decode(sections.indices, past)
        return ParsedPicture(indices, sections.probes, state)

    def begin(self, parsed: ParsedPicture, references: Sequence[None]) -> None:
        """Pictures need whole latents of the one before."""

    def reconstruct(
        self,
        parsed: ParsedPicture,
        references: Sequence[Decoded],
        times: TimeProfile | None = None,
    ) -> Decoded:
        """The picture at its coded size, and its latents."""
        with measured(times, "networks"):
            reference = references[0] if references else None
            found = reconstruct(self._coder, self._twin, parsed.indices, reference)
        if parsed.probes is None or not found.intact:
            return found
        return replace(found, within=parsed.probes.hold(self.crop(found)[0]))

    def stand_in(self, before: Decoded) -> Decoded:
        """In place of a picture that is lost; `before` is that before it."""
        return replace(before, intact=False)

    def stand_in_state(self, before: Past) -> Past:
        """In place of what parsing needs of a lost picture; raises MissingReferenceError."""
        return self._indices.lost(before)

    def crop(self, decoded: Decoded) -> Planes:
        """The part of a picture that is shown."""
        assert decoded.planes is not None
        return cropped(decoded.planes, *self._shown)

    def hash(self, decoded: Decoded) -> int:
        """That of the GOP's indices so far: pictures are about the same, not the same."""
        return decoded.crc

    def layers(self, decoded: Decoded) -> Layers:
        """All or, where a frame was lost that it depends on, nothing."""
        return Layers(int(decoded.intact), 1, decoded.within)

    def account(self, frame: CodedFrame, parsed: ParsedPicture) -> dict[str, float]:
        """Bytes of indices, and of probes."""
        return {
            "probes" if s.kind == SectionKind.PROBES else "indices": float(len(s.data))
            for s in frame.sections
        }

    def complexity(self, frame: CodedFrame) -> Complexity:
        """The whole decoder's parameters, and the multiplications of the frame's type."""
        key = frame.frame_type is FrameType.I
        config = self._coder.model.config
        return Complexity(decoder_parameters(config), decoder_multiplications(config, key=key))


def open_decoder(
    header: StreamHeader,
    limits: Limits,
    precision: Precision = Precision.FLOAT32,
    device: str = "cpu",
) -> CodebookDecoder:
    """The entry point that `codecs.base` looks up."""
    check_kind(header, range(len(PROFILES)))
    shape = CodebookShape.read(header.profile, header.configuration)
    video = header.video_format
    size = coded_size(video.height, video.width, STRIDE)
    where = torch_device(device)
    coder = with_weights(
        shape.weights, lambda found: Coder(found, shape.rate, size, precision, where)
    )
    return CodebookDecoder(header, coder)
