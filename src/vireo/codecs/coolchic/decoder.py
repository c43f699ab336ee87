"""Decodes Cool-chic's pictures: what a packet's sections say, and the picture from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.base import Complexity, GopsStandAlone, Layers, Limits, Planes
from vireo.codecs.coolchic.global_motion import GlobalMotion
from vireo.codecs.coolchic.inheritance import Motion, MovedPicture, inherited_motion
from vireo.codecs.coolchic.networks import shipped_sets
from vireo.codecs.coolchic.stream import (
    LATENT_SECTION,
    PROFILES,
    SectionKind,
    StreamShape,
    coded_size,
)
from vireo.container import CodedFrame, Exactness, FrameType, Section, StreamHeader, picture_hash
from vireo.container.syntax import ByteReader
from vireo.errors import HeaderError, LimitError, SyntaxElementError
from vireo.profiling import TimeProfile, measured


@dataclass(frozen=True)
class LatentSection:
    """A section's tiles."""

    reader: _core.SectionReader
    count: int
    offset: int | None

    def __call__(self, references: Sequence[Planes] | None = None) -> None:
        """What needs no references' samples; given these, the rest."""
        try:
            self.reader.read(references)
        except ValueError as error:
            raise SyntaxElementError(str(error), offset=self.offset) from error


@dataclass(frozen=True)
class LatentSections:
    """Sections whose tiles depend on those of the sections before."""

    sections: tuple[LatentSection, ...]

    def __call__(self) -> None:
        for section in self.sections:
            section()


@dataclass(frozen=True)
class _TileBytes:
    """What a section of latents says, before it is known which tiles there are."""

    data: bytes
    count: int | None
    offset: int | None

    @staticmethod
    def of(section: Section, *, last: bool) -> _TileBytes:
        if section.kind != SectionKind.LATENTS:
            raise SyntaxElementError(
                f"a section of kind {section.kind} among the latents", offset=section.offset
            )
        reader = ByteReader(section.data, base=section.offset or 0)
        count: int | None = LATENT_SECTION.read(reader, {"last": last}).get("tiles")
        return _TileBytes(reader.take(reader.remaining, "latents"), count, section.offset)

    def section(
        self, latents: _core.LatentReader, first: int, *, behind_networks: bool
    ) -> LatentSection:
        """Its tiles, of which the first one is `first`."""
        left = latents.tiles - first
        if left == 0:
            raise SyntaxElementError("no tiles are left for the section", offset=self.offset)
        count = left if self.count is None else self.count
        if count > left:
            raise SyntaxElementError(
                f"a section of {count} tiles where {left} are left", offset=self.offset
            )
        tiles = _core.SectionReader(latents, self.data, first, count, behind_networks)
        return LatentSection(tiles, count, self.offset)


@dataclass(frozen=True)
class ParsedPicture:
    """A packet's content: quantised networks, and latents that come with the parts.

    Attributes:
        display_index, references: as in `container.CodedFrame`.
        referred: whether later packets may refer to the picture.
    """

    display_index: int
    references: tuple[int, ...]
    referred: bool
    networks: _core.Networks
    latents: _core.LatentReader
    sections: tuple[LatentSection, ...]
    parts: tuple[LatentSection | LatentSections, ...]

    @property
    def state(self) -> _core.Networks:
        """A picture's networks may be an update of its references'."""
        return self.networks


class CoolchicDecoder(GopsStandAlone):
    """A stream's picture decoder (see `codecs.base.PictureDecoder`)."""

    def __init__(self, header: StreamHeader, limits: Limits) -> None:
        exact = header.exactness is Exactness.EXACT
        if header.profile >= len(PROFILES) or not exact:
            raise HeaderError(
                f"the stream's Cool-chic profile {header.profile} "
                f"({header.exactness.name.lower()}) is unknown"
            )
        shape = StreamShape.read(header.configuration, header.profile)
        video = header.video_format
        self.height, self.width = coded_size(video.height, video.width)
        work = sum(
            shape.architecture.multiplications(FrameType.B, self.height, self.width).values()
        )
        # Small pictures have relatively more latents in coarse grids; don't refuse those.
        if work > limits.multiplications and self.height * self.width > 128 * 128:
            raise LimitError(
                f"{work:.0f} multiplications per sample exceed the limit of "
                f"{limits.multiplications}; raise it to decode this stream"
            )
        self.architecture = shape.architecture
        self.core = shape.core()
        self.needs_pictures = shape.architecture.parts is not None
        self._sets = _sets_of(shape)
        self._shown = video.height, video.width

    def parse(self, frame: CodedFrame, states: Sequence[_core.Networks]) -> ParsedPicture:
        """The networks, and where the latents are; entropy decoding is left to the parts.

        With temporal contexts that of luma is left until the references are there.

        Raises SyntaxElementError or TruncatedError.
        """
        sections = frame.sections
        for section in sections:
            if section.droppable:
                raise SyntaxElementError("no section is droppable", offset=section.offset)
        together = self._sets is not None  # networks stand before the first latents
        if not sections or (sections[0].kind == SectionKind.NETWORKS) == together:
            raise SyntaxElementError("the packet doesn't start with its networks")
        if len(sections) == 1 and not together:
            raise SyntaxElementError("the packet has no latents")
        tiles = [
            _TileBytes.of(section, last=section is sections[-1])
            for section in (sections if together else sections[1:])
        ]
        first_bytes = tiles[0].data if together else sections[0].data
        try:
            networks = self._decode_networks(frame, first_bytes, states)
        except ValueError as error:
            raise SyntaxElementError(str(error), offset=sections[0].offset) from error
        latents = _core.LatentReader(self.core, networks, self.height, self.width)
        luma = latents.tiles - latents.luma_tiles  # where its tiles, the last ones, begin
        chained: list[LatentSection] = []
        alone: list[LatentSection] = []
        done = 0
        for coded in tiles:
            part = coded.section(latents, done, behind_networks=together and not done)
            (chained if done < luma else alone).append(part)
            done += part.count
        first = (LatentSections(tuple(chained)),) if chained else ()
        at_once = alone if latents.free_tiles == latents.tiles else []
        return ParsedPicture(
            frame.display_index,
            frame.references,
            frame.display_index not in frame.released,
            networks,
            latents,
            (*chained, *alone),
            (*first, *at_once),
        )

    def _decode_networks(
        self, frame: CodedFrame, data: bytes, states: Sequence[_core.Networks]
    ) -> _core.Networks:
        kind = int(frame.frame_type)
        if self._sets is None:
            return _core.Networks.decode(self.core, kind, data)
        return _core.Networks.decode_update(self.core, kind, data, self._sets, states)

    def begin(self, parsed: ParsedPicture, references: Sequence[None]) -> None:
        """Pictures start when those that they refer to are whole."""

    def late_parts(
        self, parsed: ParsedPicture, references: Sequence[Planes]
    ) -> Sequence[Callable[[], None]]:
        """Luma's latents, where its models see temporal contexts."""
        self._inherit(parsed, references)
        left = [section for section in parsed.sections if not section.reader.done]
        return [partial(section, references) for section in left]

    def reconstruct(
        self,
        parsed: ParsedPicture,
        references: Sequence[Planes],
        times: TimeProfile | None = None,
    ) -> Planes:
        """The picture at its coded size."""
        with measured(times, "parse"):
            for part in self.late_parts(parsed, references):
                part()
        planes = self._reconstruct(parsed, references, times)
        if self._sets is None:
            return planes
        with measured(times, "motion"):
            vectors = parsed.latents.vectors() if references and parsed.referred else []
        motion = Motion(parsed.display_index, parsed.references, tuple(vectors))
        return MovedPicture(planes, motion)

    def _inherit(self, parsed: ParsedPicture, references: Sequence[Planes]) -> None:
        if self._sets is None or parsed.latents.inherits:
            return
        if parsed.networks.corners:
            size = self.height, self.width
            parsed.latents.set_inherited(GlobalMotion(parsed.networks.corners, size))
        elif parsed.networks.inherits:
            moved = [r.motion for r in cast(Sequence[MovedPicture], references)]
            parsed.latents.set_inherited(inherited_motion(parsed.display_index, moved))

    def _reconstruct(
        self, parsed: ParsedPicture, references: Sequence[Planes], times: TimeProfile | None
    ) -> Planes:
        if times is None:
            return parsed.latents.reconstruct(self.core, parsed.networks, references)
        stages = _core.StageTimes()
        began = perf_counter()
        planes = parsed.latents.reconstruct(self.core, parsed.networks, references, stages)
        whole = perf_counter() - began
        times.add("upsampling", stages.upsampling)
        times.add("synthesis", stages.synthesis)
        times.add("inter coding", stages.inter)
        times.add("loop filter", stages.filter)
        known = stages.upsampling + stages.synthesis + stages.inter + stages.filter
        times.add("preparation", whole - known)
        return planes

    def crop(self, planes: Planes) -> Planes:
        """The part of a picture that is shown."""
        height, width = self._shown
        y, u, v = planes
        return y[:height, :width], u, v

    def hash(self, decoded: Planes) -> int:
        """That of the picture."""
        return picture_hash(self.crop(decoded))

    def layers(self, decoded: Planes) -> Layers:
        """One, and it is there."""
        return Layers(1, 1)

    def account(self, frame: CodedFrame, parsed: ParsedPicture) -> dict[str, float]:
        """Bytes of the networks and of each kind of latents by the size of their grid.

        What shares a section is divided by the bits that each takes.
        """
        latents = parsed.latents
        bits = _core.measure_latents(
            self.core, parsed.networks, latents.grids(), latents.temporal()
        )
        sections = [len(section.data) for section in frame.sections]
        if self._sets is None:
            parts = defaultdict(float, networks=float(sections.pop(0)))
            scale = sum(sections) / max(1.0, sum(bits))
        else:
            scale = sum(sections) / max(1.0, parsed.networks.coded_bits + sum(bits))
            parts = defaultdict(float, networks=parsed.networks.coded_bits * scale)
        grids = self.architecture.latent_grids(frame.frame_type, self.height, self.width)
        for grid, b in zip(grids, bits, strict=True):
            kind = grid.kind.name.lower() if self.architecture.parts else "latents"
            parts[f"{kind} 1/{1 << grid.level}"] += b * scale
        return dict(parts)

    def complexity(self, frame: CodedFrame) -> Complexity:
        """Of networks without zeros, whatever the packet's values are."""
        size = frame.frame_type, self.height, self.width
        architecture = self.architecture
        parameters = sum(architecture.parameters(frame.frame_type).values())
        return Complexity(
            architecture.stored if architecture.parts else parameters,
            sum(self.architecture.multiplications(*size).values()),
        )


def _sets_of(shape: StreamShape) -> NDArray[np.int16] | None:
    """What networks can be updates of; None where they stand for themselves."""
    if shape.architecture.parts is None:
        return None
    try:
        return shipped_sets(shape.architecture).parameters
    except ValueError as error:
        raise HeaderError(str(error)) from error


def open_decoder(header: StreamHeader, limits: Limits) -> CoolchicDecoder:
    """The entry point that `codecs.base` looks up."""
    return CoolchicDecoder(header, limits)
