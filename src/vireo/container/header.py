"""The stream header: what a decoder knows before the first frame.

It stands in the track's private data, and what it says in every key packet. `docs/bitstream.md`
describes it; its tables are generated from the structures here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

from vireo.container.checksum import bytes_crc
from vireo.container.syntax import (
    U8,
    U32,
    BitFields,
    Bits,
    ByteReader,
    Field,
    FixedBytes,
    PrefixedBytes,
    Rule,
    Structure,
    Varint,
)
from vireo.errors import ChecksumError, HeaderError, InputError
from vireo.video.frame import ColorDescription, ColorRange, VideoFormat

MAGIC = b"VIRE"
FORMAT_VERSION = 1
MAX_SIDE = 65535
MAX_GOP_FRAMES = 65535
MAX_CONFIGURATION = 1 << 16
MAX_BODY = 1 << 17

_BIT_DEPTH_8 = 0
_CHROMA_420 = 1
_IF_COLOR = Rule("`has_color` is 1", lambda values: values["has_color"])
_IF_DISPLAY = Rule("`has_display` is 1", lambda values: values["has_display"])


class Exactness(IntEnum):
    """What a decoder promises about its samples."""

    EXACT = 0
    BOUNDED = 1


class Codec(IntEnum):
    """Codec family of a stream."""

    COOLCHIC = 1
    SSF = 2
    DHVC = 3
    CODEBOOK = 4
    NVRC = 5

    @property
    def exactness(self) -> Exactness:
        """What all streams of the family have."""
        bounded = self in (Codec.CODEBOOK, Codec.NVRC)
        return Exactness.BOUNDED if bounded else Exactness.EXACT


def _ratio(
    name: str, description: str, *, low: int = 1, when: Rule | None = None
) -> tuple[Field, Field]:
    high = (1 << 31) - 1
    return (
        Field(f"{name}_num", Varint(high), f"{description}, numerator", low=low, when=when),
        Field(f"{name}_den", Varint(high), f"{description}, denominator", low=1, when=when),
    )


HEADER_FRONT = Structure(
    "header-front",
    "Front of the stream header",
    (
        Field("magic", FixedBytes(4), "`VIRE` in ASCII"),
        Field("version", U8, "format version; this text describes version 1"),
    ),
)

HEADER_REST = Structure(
    "header-rest",
    "Rest of the stream header",
    (
        Field("body", PrefixedBytes(MAX_BODY), "the body, then any extension"),
        Field("checksum", U32, "CRC-32C of all bytes of the header before this field"),
    ),
)

HEADER_BODY = Structure(
    "header-body",
    "Body of the stream header",
    (
        Field(
            "codec",
            U8,
            "codec family: 1 is `coolchic`, 2 is `ssf`, 3 is `dhvc`, 4 is `codebook`, 5 is `nvrc`",
        ),
        Field("profile", U8, "profile of the codec; the codec's chapter lists them"),
        BitFields(
            "format",
            (
                Bits(
                    "exactness",
                    1,
                    "whether every decoder gives the same samples, or samples within a bound",
                    names={Exactness.EXACT: "exact", Exactness.BOUNDED: "bounded"},
                ),
                Bits("bit_depth", 2, "bits per sample", names={_BIT_DEPTH_8: "8 bits"}),
                Bits("chroma_format", 2, "chroma subsampling", names={_CHROMA_420: "4:2:0"}),
                Bits("has_color", 1, "fields of colour are there"),
                Bits("has_display", 1, "fields of shape and rotation are there"),
            ),
        ),
        Field("width", Varint(MAX_SIDE), "luma samples per row, before rotation", low=1),
        Field("height", Varint(MAX_SIDE), "luma rows, before rotation", low=1),
        Field(
            "color_range",
            U8,
            "sample range",
            names={0: "unspecified", 1: "limited", 2: "full"},
            when=_IF_COLOR,
        ),
        Field(
            "color_primaries",
            U8,
            "ITU-T H.273 ColourPrimaries (2: unspecified)",
            when=_IF_COLOR,
        ),
        Field(
            "color_transfer",
            U8,
            "ITU-T H.273 TransferCharacteristics (2: unspecified)",
            when=_IF_COLOR,
        ),
        Field(
            "color_matrix",
            U8,
            "ITU-T H.273 MatrixCoefficients (2: unspecified)",
            when=_IF_COLOR,
        ),
        Field(
            "chroma_location",
            U8,
            "chroma sample position",
            names={
                0: "unspecified",
                1: "left",
                2: "center",
                3: "top left",
                4: "top",
                5: "bottom left",
                6: "bottom",
            },
            when=_IF_COLOR,
        ),
        *_ratio("sample_aspect", "width over height of one sample", when=_IF_DISPLAY),
        Field(
            "rotation",
            Varint(359),
            "degrees counter-clockwise to turn the picture for display",
            when=_IF_DISPLAY,
        ),
        *_ratio("time_base", "seconds per tick of presentation times"),
        *_ratio("frame_rate", "frames per second (0/1: the rate varies)", low=0),
        Field("max_gop_frames", Varint(MAX_GOP_FRAMES), "no GOP has more frames", low=1),
        Field(
            "max_references",
            Varint(MAX_GOP_FRAMES),
            "no more pictures are held for reference at any time",
        ),
        Field("configuration", PrefixedBytes(MAX_CONFIGURATION), "the codec's own parameters"),
    ),
)


def check_version(version: int, offset: int) -> None:
    """Raises HeaderError where this program doesn't read the version of the format."""
    if version != FORMAT_VERSION:
        raise HeaderError(
            f"the stream has format version {version}; this program reads version {FORMAT_VERSION}",
            offset=offset,
        )


@dataclass(frozen=True)
class StreamHeader:
    """What holds for a whole stream, and bounds a decoder's memory and work.

    Attributes:
        codec: the codec family.
        profile: profile of the codec, 0…255.
        exactness: whether decoded samples are the same everywhere.
        video_format: picture size, time base, frame rate, colour and display. Sides are
            1…65535; numerators and denominators are below 2**31.
        max_gop_frames: no GOP has more frames, 1…65535.
        max_references: no more decoded pictures are held for reference at once, 0…65535.
        configuration: the codec's own parameters, at most 65536 bytes.
    """

    codec: Codec
    profile: int
    exactness: Exactness
    video_format: VideoFormat
    max_gop_frames: int
    max_references: int
    configuration: bytes = b""

    @classmethod
    def for_video(
        cls,
        video_format: VideoFormat,
        *,
        codec: Codec,
        profile: int = 0,
        exactness: Exactness = Exactness.EXACT,
        max_gop_frames: int,
        max_references: int,
        configuration: bytes = b"",
    ) -> StreamHeader:
        """The header to code a video with; raises InputError if the format can't express it."""
        header = cls(
            codec, profile, exactness, video_format, max_gop_frames, max_references, configuration
        )
        try:
            header.write()
        except ValueError as error:
            raise InputError(f"this video can't be coded: {error}") from error
        return header

    def write(self) -> bytes:
        """The header's bytes. Raises ValueError where a field is out of range."""
        draft = HEADER_FRONT.write({"magic": MAGIC, "version": FORMAT_VERSION})
        draft += HEADER_REST.write({"body": self.write_body(), "checksum": 0})
        covered = draft[: -U32.size]
        return covered + bytes_crc(covered).to_bytes(U32.size, "little")

    def write_body(self) -> bytes:
        """The header's body, as key packets have it. Raises ValueError as `write` does."""
        video, color = self.video_format, self.video_format.color
        rate = Fraction(0) if video.frame_rate is None else video.frame_rate
        if video.frame_rate is not None and video.frame_rate <= 0:
            raise ValueError(f"frame_rate is {video.frame_rate}, which is not above 0")
        return HEADER_BODY.write(
            {
                "codec": self.codec,
                "profile": self.profile,
                "exactness": self.exactness,
                "width": video.width,
                "height": video.height,
                "bit_depth": _BIT_DEPTH_8,
                "chroma_format": _CHROMA_420,
                "has_color": color != ColorDescription(),
                "has_display": video.sample_aspect_ratio != 1 or video.rotation != 0,
                "color_range": color.range,
                "color_primaries": color.primaries,
                "color_transfer": color.transfer,
                "color_matrix": color.matrix,
                "chroma_location": color.chroma_location,
                "sample_aspect_num": video.sample_aspect_ratio.numerator,
                "sample_aspect_den": video.sample_aspect_ratio.denominator,
                "rotation": video.rotation,
                "time_base_num": video.time_base.numerator,
                "time_base_den": video.time_base.denominator,
                "frame_rate_num": rate.numerator,
                "frame_rate_den": rate.denominator,
                "max_gop_frames": self.max_gop_frames,
                "max_references": self.max_references,
                "configuration": self.configuration,
            }
        )

    @classmethod
    def read(cls, data: bytes, *, base: int = 0) -> StreamHeader:
        """The header at the front of `data`; bytes behind it are ignored.

        `base` is the offset of `data` in the packet, for error messages. Raises HeaderError
        (magic number, version, codec), ChecksumError, TruncatedError or SyntaxElementError.
        """
        reader = ByteReader(data, base=base)
        start = reader.offset
        front = HEADER_FRONT.read(reader)
        if front["magic"] != MAGIC:
            raise HeaderError(
                "no Vireo stream header here: the magic number is missing", offset=start
            )
        check_version(front["version"], start + len(MAGIC))
        rest = HEADER_REST.read(reader)
        if rest["checksum"] != bytes_crc(reader.since(start)[: -U32.size]):
            raise ChecksumError("the stream header is damaged (checksum)", offset=start)
        return cls.read_body(rest["body"], reader.offset - U32.size - len(rest["body"]))

    @classmethod
    def read_body(cls, data: bytes, base: int) -> StreamHeader:
        """The header whose body this is; `base` and errors are as in `read`."""
        values = HEADER_BODY.read(ByteReader(data, base=base))
        if values["codec"] not in set(Codec):
            raise HeaderError(f"the stream's codec {values['codec']} is unknown", offset=base)
        color, aspect, rotation = ColorDescription(), Fraction(1), 0
        if values["has_color"]:
            color = ColorDescription(
                range=ColorRange(values["color_range"]),
                primaries=values["color_primaries"],
                transfer=values["color_transfer"],
                matrix=values["color_matrix"],
                chroma_location=values["chroma_location"],
            )
        if values["has_display"]:
            aspect = Fraction(values["sample_aspect_num"], values["sample_aspect_den"])
            rotation = values["rotation"]
        rate = Fraction(values["frame_rate_num"], values["frame_rate_den"])
        return cls(
            codec=Codec(values["codec"]),
            profile=values["profile"],
            exactness=Exactness(values["exactness"]),
            video_format=VideoFormat(
                width=values["width"],
                height=values["height"],
                frame_rate=rate or None,
                time_base=Fraction(values["time_base_num"], values["time_base_den"]),
                sample_aspect_ratio=aspect,
                rotation=rotation,
                color=color,
            ),
            max_gop_frames=values["max_gop_frames"],
            max_references=values["max_references"],
            configuration=values["configuration"],
        )
