"""Decodes pictures of scale-space flow: sections' latents, then the picture."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from torch import Tensor

from vireo.codecs.base import Complexity, Layers, Limits, Planes, ReadsAlone
from vireo.codecs.devices import torch_device
from vireo.codecs.insta import updates
from vireo.codecs.pretrained import coded_size, cropped, open_coder
from vireo.codecs.ssf.coding import Coder, Content
from vireo.codecs.ssf.config import STRIDE
from vireo.codecs.ssf.model import decoder_multiplications, decoder_parameters
from vireo.codecs.ssf.stream import CONFIGURATION, SectionKind, SentUpdates
from vireo.container import CodedFrame, FrameType, Section, StreamHeader, picture_hash
from vireo.errors import (
    MissingReferenceError,
    SyntaxElementError,
)
from vireo.exact import InexactError
from vireo.profiling import TimeProfile

_SECTIONS = {
    FrameType.I: (SectionKind.INTRA,),
    FrameType.P: (SectionKind.FLOW, SectionKind.RESIDUAL),
}


@dataclass
class _Part:
    """A section whose content comes when it is called."""

    decoder: SsfDecoder
    section: Section
    found: Content | None = None

    def __call__(self) -> None:
        decoder = self.decoder
        self.found = decoder.coder.read(self.section, decoder.height, decoder.width)

    @property
    def content(self) -> Content:
        assert self.found is not None
        return self.found


@dataclass(frozen=True)
class ParsedPicture:
    """A packet's sections; their content comes with the parts."""

    parts: tuple[_Part, ...]
    state: None = None

    def latents(self, place: int) -> Tensor:
        return self.parts[place].content.latents


class SsfDecoder(ReadsAlone):
    """A stream's picture decoder (see `codecs.base.PictureDecoder`).

    What it takes is bounded by the size of the pictures and by the weights that are here: a
    stream can ask for no others.
    """

    def __init__(self, header: StreamHeader, coder: Coder) -> None:
        self.coder = coder
        self._adapted: tuple[int, SsfDecoder] | None = None  # the last one, by its checksum
        video = header.video_format
        self.height, self.width = coded_size(video.height, video.width, STRIDE)
        self._shown = video.height, video.width

    def needs_earlier(self, frame: CodedFrame) -> bool:
        """Whether the updates of the GOP's weights are in an earlier packet."""
        sent = SentUpdates.of(frame)
        return sent is not None and sent.data is None

    def provides(self, frame: CodedFrame) -> bool:
        """Whether updates of weights are in it."""
        sent = SentUpdates.of(frame)
        return sent is not None and sent.data is not None

    def gop_decoder(self, frame: CodedFrame) -> SsfDecoder:
        """That with the weights that the GOP's first packet says."""
        sent = SentUpdates.of(frame)
        if sent is None:
            return self
        if self._adapted is not None and self._adapted[0] == sent.checksum:
            decoder = self._adapted[1]
            if sent.data is None or sent.data == decoder.coder.updates:
                return decoder
        self._adapted = None
        if sent.data is None:
            raise MissingReferenceError("the updates of the weights were in an earlier packet")
        try:
            before = self.coder
            coder = Coder(before.weights, before.places, sent.data, device=before.device)
        except InexactError as error:
            raise SyntaxElementError(str(error), offset=frame.sections[0].offset) from error
        adapted = copy(self)
        adapted.coder = coder
        adapted._adapted = None  # or each would hold all before it
        self._adapted = sent.checksum, adapted
        return adapted

    def parse(self, frame: CodedFrame, states: Sequence[None]) -> ParsedPicture:
        """Where the sections are; entropy decoding is left to the parts."""
        if frame.frame_type not in _SECTIONS:
            raise SyntaxElementError("scale-space flow has no B frames")
        kinds = _SECTIONS[frame.frame_type]
        sections = frame.sections
        if frame.header is not None and SentUpdates.of(frame):
            sections = sections[1:]
        found = tuple(section.kind for section in sections)
        if found != kinds:
            raise SyntaxElementError(
                f"sections of kinds {found} in {frame.frame_type.name} frame, not {tuple(kinds)}"
            )
        for section in frame.sections:
            if section.droppable:
                raise SyntaxElementError("no section is droppable", offset=section.offset)
        return ParsedPicture(tuple(_Part(self, section) for section in sections))

    def begin(self, parsed: ParsedPicture, references: Sequence[None]) -> None:
        """Pictures start when those that they refer to are whole."""

    def reconstruct(
        self, parsed: ParsedPicture, references: Sequence[Planes], times: TimeProfile | None = None
    ) -> Planes:
        """The picture at its coded size."""
        began = perf_counter()
        if not references:
            planes = self.coder.intra(parsed.latents(0))
            stages = {"synthesis": perf_counter() - began}
        else:
            moved = self.coder.moved(references[0], parsed.latents(0))
            between = perf_counter()
            planes = self.coder.inter(moved, parsed.latents(0), parsed.latents(1))
            stages = {"flow and warp": between - began, "synthesis": perf_counter() - between}
        if times:
            for stage, seconds in stages.items():
                times.add(stage, seconds)
        return planes

    def crop(self, decoded: Planes) -> Planes:
        """The part of a picture that is shown."""
        return cropped(decoded, *self._shown)

    def hash(self, decoded: Planes) -> int:
        """That of the picture."""
        return picture_hash(self.crop(decoded))

    def layers(self, decoded: Planes) -> Layers:
        """One, and it is there."""
        return Layers(1, 1)

    def account(self, frame: CodedFrame, parsed: ParsedPicture) -> dict[str, float]:
        """Bytes of latents and hyperlatents of each autoencoder, and of updates by module."""
        shares: dict[str, float] = {}
        if sent := SentUpdates.of(frame):
            if sent.data is not None:
                shares |= updates.shares(sent.data, self.coder.model)
            shares["updates checksum"] = len(frame.sections[0].data) - len(sent.data or b"")
        for part in parsed.parts:
            name = SectionKind(part.section.kind).name.lower()
            latents = part.content.latent_bytes
            shares[f"{name} hyperlatents"] = float(len(part.section.data) - latents)
            shares[f"{name} latents"] = float(latents)
        return shares

    def complexity(self, frame: CodedFrame) -> Complexity:
        """The whole model's parameters, and the multiplications of the frame's type."""
        intra = frame.frame_type is FrameType.I
        config = self.coder.model.config
        return Complexity(decoder_parameters(config), decoder_multiplications(config, intra=intra))


def open_decoder(header: StreamHeader, limits: Limits, device: str = "cpu") -> SsfDecoder:
    """The entry point that `codecs.base` looks up."""
    make = partial(Coder, device=torch_device(device))
    return SsfDecoder(header, open_coder(header, CONFIGURATION, make))
