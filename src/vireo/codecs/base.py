"""What every codec offers, and where to find it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

from vireo.container import CodedFrame, Packet, StoredPacket, StreamHeader
from vireo.container.header import Codec, Exactness
from vireo.errors import LimitError, UsageError
from vireo.profiling import TimeProfile
from vireo.video.frame import Frame, Plane

Planes = tuple[Plane, Plane, Plane]
"""Y, U and V of one picture, uint8 `[H, W]` and `[ceil(H / 2), ceil(W / 2)]`."""


class Encoder(Protocol):
    """Turns frames into packets. Made for one stream: its header is final."""

    header: StreamHeader

    def encode(self, frames: Iterable[Frame]) -> Iterator[Packet]: ...


class Decoder(Protocol):
    """Turns packets into frames, in display order."""

    def decode(self, packets: Iterable[StoredPacket]) -> Iterator[Frame]: ...


@dataclass(frozen=True)
class Complexity:
    """What it takes to decode a frame, counted from the networks' shapes.

    Attributes:
        parameters: numbers that the networks hold.
        multiplications: per luma sample, everything from latents to picture.
    """

    parameters: float
    multiplications: float


class ParsedPicture(Protocol):
    """A packet on its way to a picture.

    Attributes:
        parts: what is left to do before it can be reconstructed, in any order and at the
            same time. A part raises a StreamError as parsing does.
        state: what parsing a picture that refers to this one needs of it, before its parts
            have run; as long as it may be referred to, it stays in memory.
    """

    @property
    def parts(self) -> Sequence[Callable[[], None]]: ...

    @property
    def state(self) -> Any: ...


class Stage(NamedTuple):
    """A part of a picture's making, and what has to be done before, of it or of others."""

    run: Callable[[], None]
    after: Sequence[Future[None]]


class Begun(Protocol):
    """A picture that is made in stages.

    Attributes:
        stages: in an order in which they could run; `after` names stages of this and of earlier
            pictures, failed ones too.
        result: the decoded picture, when all have run.
    """

    @property
    def stages(self) -> Sequence[Stage]: ...
    @property
    def result(self) -> Any: ...


class PictureDecoder(Protocol):
    """How a codec with one picture per packet decodes; `decoding.GopDecoder` does the rest.

    Parsing needs no other picture's samples, so that it can run ahead. All of it raises a
    StreamError for what the format doesn't allow.

    Attributes:
        needs_pictures: whether `late_parts` are part of reading a packet.
    """

    needs_pictures: bool

    def needs_earlier(self, frame: CodedFrame) -> bool:
        """Whether a key packet leaves to an earlier one what its GOP needs besides the header."""

    def provides(self, frame: CodedFrame) -> bool:
        """Whether a key packet has what later GOPs may need, those that `needs_earlier` names."""

    def gop_decoder(self, frame: CodedFrame) -> PictureDecoder:
        """What decodes a GOP's pictures; called for every key packet, in the packets' order.

        Raises MissingReferenceError where the GOP needs what no packet so far has sent.
        """

    def parse(self, frame: CodedFrame, states: Sequence[Any]) -> Any:
        """What the packet says, as a ParsedPicture whose parts have not run.

        `states` holds that of each reference.
        """

    def begin(self, parsed: Any, references: Sequence[Any]) -> Begun | None:
        """For pictures that can start before those that they refer to are whole.

        `references` are what this has given for them. None where `reconstruct` is to be called
        when they are.
        """

    def late_parts(self, parsed: Any, references: Sequence[Any]) -> Sequence[Callable[[], None]]:
        """What of a packet can be read only with the samples of its references, in any order.

        `reconstruct` does what of these hasn't run.
        """

    def reconstruct(
        self, parsed: Any, references: Sequence[Any], times: TimeProfile | None = None
    ) -> Any:
        """The decoded picture, with all that pictures referring to it need, as the codec has it.

        Adds to `times` the seconds that its stages took.
        """

    def crop(self, decoded: Any) -> Planes:
        """The part of a decoded picture that is shown."""

    def hash(self, decoded: Any) -> int:
        """The 32 bits of which a packet carries what fits, to check a decoded picture by.

        Of exact codecs it is the picture's (`container.picture_hash`); of bounded ones, whose
        pictures may differ, that of what was parsed.
        """

    def layers(self, decoded: Any) -> Layers:
        """How much of what was sent a decoded picture is made of."""

    def account(self, frame: CodedFrame, parsed: Any) -> dict[str, float]:
        """Where the bytes of a packet's sections went, all its parts having run: bytes by part."""

    def complexity(self, frame: CodedFrame) -> Complexity:
        """What decoding the packet takes, by the shape of its networks."""


class ReadsAlone:
    """That part of a `PictureDecoder` whose packets are read without other pictures' samples."""

    needs_pictures = False

    def late_parts(self, parsed: Any, references: Sequence[Any]) -> Sequence[Callable[[], None]]:
        """Nothing."""
        return ()


class GopsStandAlone:
    """That part of a `PictureDecoder` whose GOPs need nothing of each other."""

    def needs_earlier(self, frame: CodedFrame) -> bool:
        """Nothing."""
        return False

    def provides(self, frame: CodedFrame) -> bool:
        """Nothing."""
        return False

    def gop_decoder(self, frame: CodedFrame) -> Self:
        """The same for all GOPs."""
        return self


@runtime_checkable
class StandsIn(Protocol):
    """A `PictureDecoder` that can do with the picture before in place of a lost reference."""

    def stand_in(self, before: Any) -> Any:
        """A lost picture, as the codec has pictures; `before` is the one before it."""

    def stand_in_state(self, before: Any) -> Any:
        """The same of `ParsedPicture.state`; raises a StreamError where parsing can't go on."""


class Layers(NamedTuple):
    """Of a picture's layers how many were used: all, or something is missing or of no use.

    Attributes:
        within: whether its samples are as near to the encoder's as its packet says; of exact
            codecs the hash tells.
    """

    used: int
    of: int
    within: bool = True

    @property
    def whole(self) -> bool:
        """Whether the picture is what the encoder had."""
        return self.used == self.of


class Precision(StrEnum):
    """Of a bounded codec's arithmetic."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class Limits:
    """What a decoder refuses to go beyond, whatever a header says.

    Attributes:
        pixels: luma samples of a picture.
        pictures: pictures held at a time, for reference or for their turn to be shown.
        multiplications: of a decoder whose networks come with the stream, per luma sample; those
            of pretrained codecs are bounded by the weights that are installed.
        network: numbers that a segment's network holds, where a stream brings whole networks
            (`nvrc`); 16 times as many may be held to parse them, and a picture, as parsing a
            segment, may take 2**16 multiplications for each of this limit.
    """

    pixels: int = 8192 * 4352
    pictures: int = 64
    multiplications: int = 20_000
    network: int = 1 << 25

    def check(self, header: StreamHeader) -> None:
        """Raises LimitError where the header asks for more."""
        video = header.video_format
        if video.width * video.height > self.pixels:
            raise LimitError(
                f"pictures of {video.width}x{video.height} exceed the limit of "
                f"{self.pixels} samples; raise it to decode this stream"
            )
        if header.max_references > self.pictures:
            raise LimitError(
                f"{header.max_references} reference pictures exceed the limit of "
                f"{self.pictures}; raise it to decode this stream"
            )


UNLIMITED = Limits(pixels=2**32, network=2**62)
"""What an encoder allows the decoder of its own stream."""


def parse_whole(decoder: PictureDecoder, frame: CodedFrame, states: Sequence[Any]) -> Any:
    """Parses a picture with all its parts but late ones; `states` as in `PictureDecoder.parse`."""
    parsed = decoder.parse(frame, states)
    for part in parsed.parts:
        part()
    return parsed


class Shape(Protocol):
    """What a codec's part of the stream header says."""

    @property
    def profile(self) -> int: ...

    def write(self) -> bytes: ...


_FOLDERS = {codec: f"vireo.codecs.{codec.name.lower()}" for codec in Codec}


def _module(codec: Codec, name: str) -> ModuleType:
    try:
        return import_module(f"{_FOLDERS[codec]}.{name}")
    except ImportError as error:
        raise UsageError(
            f"{codec.name.lower()} needs {error.name}, which is not installed: install vireo[torch]"
        ) from error


def encoder_module(codec: Codec) -> ModuleType:
    """The module whose `open_picture_encoder` makes a codec's encoder; raises UsageError."""
    return _module(codec, "open")


def picture_decoder(
    header: StreamHeader,
    limits: Limits,
    precision: Precision | None = None,
    device: str = "cpu",
) -> PictureDecoder:
    """The decoder for a stream; raises HeaderError, LimitError or UsageError."""
    limits.check(header)
    name = header.codec.name.lower()
    if precision is not None and header.codec.exactness is Exactness.EXACT:
        raise UsageError(f"{name} computes with integers: there is no precision to choose")
    if precision is not None and header.codec is Codec.NVRC:
        raise UsageError(f"{name} computes in single precision: there is none to choose")
    if device != "cpu" and header.codec is Codec.COOLCHIC:
        raise UsageError(f"{name} decodes on the cpu only: its decoder is no network of PyTorch's")
    chosen: dict[str, Any] = {} if precision is None else {"precision": precision}
    if device != "cpu":
        chosen["device"] = device
    module = _module(header.codec, "decoder")
    decoder: PictureDecoder = module.open_decoder(header, limits, **chosen)
    return decoder
