"""Decodes NVRC's pictures: a segment's network from its key packet, then a picture at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from vireo.codecs.base import Complexity, GopsStandAlone, Layers, Limits, Planes, ReadsAlone
from vireo.codecs.devices import torch_device
from vireo.codecs.nvrc import coding
from vireo.codecs.nvrc.config import Extent, multiplications, parameters
from vireo.codecs.nvrc.layout import Layout
from vireo.codecs.nvrc.limits import check
from vireo.codecs.nvrc.network import Network
from vireo.codecs.nvrc.stream import PROFILES, NvrcShape, SectionKind, Sections, sections_of
from vireo.codecs.pretrained import check_kind, coded_size, cropped
from vireo.codecs.probes import Probes
from vireo.container import CodedFrame, StreamHeader
from vireo.exact import PROCESSOR
from vireo.profiling import TimeProfile, measured


@dataclass
class ParsedPicture:
    """A packet's content.

    Attributes:
        frame: its place in the segment.
        network: of the segment, in its key packet, once the parts have run.
        probes: what its picture is checked by, if anything.
        parts: what makes the network.
        state: what other packets need to be parsed: nothing.
    """

    frame: int
    probes: Probes | None
    network: Network | None = None
    parts: Sequence[Callable[[], None]] = field(default=())
    state: None = None


@dataclass(frozen=True)
class Decoded:
    """A picture, and the network that made it.

    Attributes:
        within: whether its samples are within the bound that came with it.
    """

    network: Network
    planes: Planes
    within: bool = True


class NvrcDecoder(ReadsAlone, GopsStandAlone):
    """A stream's picture decoder (see `codecs.base.PictureDecoder`)."""

    def __init__(
        self, header: StreamHeader, limits: Limits, device: torch.device = PROCESSOR
    ) -> None:
        self._shape = NvrcShape.read(header.profile, header.configuration)
        self._device = device
        self._threads = torch.get_num_threads()  # here, not where a picture is made
        video = header.video_format
        self._shown = video.height, video.width
        self._size = coded_size(video.height, video.width, 2)
        self._longest = header.max_gop_frames
        check(self._shape.config, self._extent(self._longest), self._shape.method, limits)

    def _extent(self, frames: int) -> Extent:
        return Extent.of(frames, *self._size)

    def parse(self, frame: CodedFrame, states: Sequence[None]) -> ParsedPicture:
        """The network of a key packet, as a part; of others what they are checked by."""
        sections = sections_of(frame)
        parsed = ParsedPicture(frame.display_index, sections.probes)
        if frame.gop_frames is not None:
            parsed.parts = (partial(self._decode, parsed, sections, frame.gop_frames),)
        return parsed

    def _decode(self, parsed: ParsedPicture, sections: Sections, frames: int) -> None:
        layout = Layout(self._shape.config, self._extent(frames), self._shape.method)
        coded = coding.decode(layout, sections.side, sections.layers, sections.grids)
        parsed.network = Network.of(layout, coded, self._device, self._threads)

    def begin(self, parsed: ParsedPicture, references: Sequence[None]) -> None:
        """Pictures need a whole network."""

    def reconstruct(
        self,
        parsed: ParsedPicture,
        references: Sequence[Decoded],
        times: TimeProfile | None = None,
    ) -> Decoded:
        """The picture, by the network in its packet or that of the one it refers to."""
        network = references[0].network if references else parsed.network
        assert network is not None
        with measured(times, "networks"):
            found = Decoded(network, network.picture(parsed.frame, self._size))
        if parsed.probes is None:
            return found
        return replace(found, within=parsed.probes.hold(self.crop(found)[0]))

    def crop(self, decoded: Decoded) -> Planes:
        """The part of a picture that is shown."""
        return cropped(decoded.planes, *self._shown)

    def hash(self, decoded: Decoded) -> int:
        """That of the segment's numbers: pictures are about the same, not the same."""
        return decoded.network.crc

    def layers(self, decoded: Decoded) -> Layers:
        """All."""
        return Layers(1, 1, decoded.within)

    def account(self, frame: CodedFrame, parsed: ParsedPicture) -> dict[str, float]:
        """Bytes of each kind of section."""
        return {SectionKind(s.kind).name.lower(): float(len(s.data)) for s in frame.sections}

    def complexity(self, frame: CodedFrame) -> Complexity:
        """The segment's numbers, and the multiplications of a picture."""
        config, extent = self._shape.config, self._extent(frame.gop_frames or self._longest)
        samples = self._size[0] * self._size[1]
        return Complexity(parameters(config, extent), multiplications(config, extent) / samples)


def open_decoder(header: StreamHeader, limits: Limits, device: str = "cpu") -> NvrcDecoder:
    """The entry point that `codecs.base` looks up."""
    check_kind(header, range(len(PROFILES)))
    return NvrcDecoder(header, limits, torch_device(device))
