"""Decodes pictures of a hierarchical stream, scale by scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from vireo.codecs.base import Complexity, GopsStandAlone, Layers, Limits, Planes, ReadsAlone, Stage
from vireo.codecs.devices import torch_device
from vireo.codecs.dhvc.coding import Coder, Walk
from vireo.codecs.dhvc.config import SCALES, STRIDE
from vireo.codecs.dhvc.count import decoder_multiplications, decoder_parameters
from vireo.codecs.dhvc.model import used_scales
from vireo.codecs.dhvc.stream import CONFIGURATION, sections_by_scale
from vireo.codecs.pretrained import coded_size, cropped, open_coder
from vireo.container import CodedFrame, FrameType, Section, StreamHeader, picture_hash
from vireo.errors import MissingReferenceError
from vireo.nn.picture import planes_of
from vireo.profiling import TimeProfile, measured


@dataclass(frozen=True)
class ParsedPicture:
    """A packet's sections by scale; what is in them depends on the pictures before.

    Attributes:
        sections: with whether they refer to no picture before.
    """

    sections: Mapping[int, tuple[Section, bool]]
    parts: tuple[()] = ()
    state: None = None


class Staged:
    """A picture in stages: a scale starts when that of the picture before is done (section 6.2.2).

    Attributes:
        stages: four scales, then the picture.
        result: the picture, as far as it has come.
    """

    def __init__(self, walk: Walk, before: Staged | None) -> None:
        self.result = walk
        self._done: list[Future[None]] = [Future() for _ in range(SCALES + 1)]
        auxiliary = walk.has_auxiliary
        self._after: list[list[Future[None]]] = []
        for level in range(SCALES):
            after = [self._done[level - 1]] if level else []
            if before is not None and walk.refers(level):
                after.append(before._done[SCALES if auxiliary else level])
            self._after.append(after)
        self._after.append([self._done[-2]])

    @property
    def stages(self) -> Sequence[Stage]:
        """Not kept: a cycle of references would hold the features until a collection."""
        return [
            Stage(partial(self._run, place, after), after)
            for place, after in enumerate(self._after)
        ]

    def _run(self, place: int, after: Sequence[Future[None]]) -> None:
        try:
            for future in after:
                if future.exception() is not None:
                    raise MissingReferenceError("a reference could not be decoded")
            if place < SCALES:
                self.result.scale(place)
            else:
                self.result.finish()
        except BaseException:
            self.result.release()
            # Without a traceback, which would hold the frames that it passed through.
            failed = MissingReferenceError("a reference could not be decoded")
            self._done[place].set_exception(failed)
            raise
        self._done[place].set_result(None)


class DhvcDecoder(ReadsAlone, GopsStandAlone):
    """A stream's picture decoder (see `codecs.base.PictureDecoder`).

    What it takes is bounded by the size of the pictures and by the weights that are here: a
    stream can ask for no others.
    """

    def __init__(self, header: StreamHeader, coder: Coder) -> None:
        self._coder = coder
        video = header.video_format
        self._size = coded_size(video.height, video.width, STRIDE)
        self._shown = video.height, video.width

    def parse(self, frame: CodedFrame, states: Sequence[None]) -> ParsedPicture:
        """Which scales are there."""
        return ParsedPicture(sections_by_scale(frame))

    def begin(self, parsed: ParsedPicture, references: Sequence[Staged]) -> Staged:
        """The picture in stages, a scale each; then `Staged.result`."""
        before = references[0] if references else None
        return Staged(self._walk(parsed, before.result if before else None), before)

    def reconstruct(
        self, parsed: ParsedPicture, references: Sequence[Walk], times: TimeProfile | None = None
    ) -> Walk:
        """The picture at its coded size, and its features."""
        walk = self._walk(parsed, references[0] if references else None)
        with measured(times, "networks"):
            walk.run()
        return walk

    def _walk(self, parsed: ParsedPicture, reference: Walk | None) -> Walk:
        sections = {level: section.data for level, (section, _) in parsed.sections.items()}
        alone = [level for level, (_, is_alone) in parsed.sections.items() if is_alone]
        return self._coder.decoding(sections, self._size, reference, alone)

    def crop(self, decoded: Walk) -> Planes:
        """The part of a picture that is shown."""
        return cropped(planes_of(decoded.picture), *self._shown)

    def hash(self, decoded: Walk) -> int:
        """That of the picture."""
        return picture_hash(self.crop(decoded))

    def layers(self, decoded: Walk) -> Layers:
        """Scales that were there, with all that they refer to."""
        return Layers(used_scales(decoded), SCALES)

    def account(self, frame: CodedFrame, parsed: ParsedPicture) -> dict[str, float]:
        """Bytes of each scale."""
        return {
            f"scale {level + 1}": float(len(section.data))
            for level, (section, _) in parsed.sections.items()
        }

    def complexity(self, frame: CodedFrame) -> Complexity:
        """The whole model's parameters, and the multiplications of the frame's type."""
        intra = frame.frame_type is FrameType.I
        config = self._coder.model.config
        return Complexity(decoder_parameters(config), decoder_multiplications(config, intra=intra))


def open_decoder(header: StreamHeader, limits: Limits, device: str = "cpu") -> DhvcDecoder:
    """The entry point that `codecs.base` looks up."""
    make = partial(Coder, device=torch_device(device))
    return DhvcDecoder(header, open_coder(header, CONFIGURATION, make))
