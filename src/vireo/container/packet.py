"""Packets: one coded frame each, with its place in its GOP, its checks and its sections.

`docs/bitstream.md` describes the bytes; its tables are generated from `PACKET` and
`SECTION_START` here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vireo.container.checksum import bytes_crc, folded
from vireo.container.header import (
    FORMAT_VERSION,
    MAX_BODY,
    MAX_GOP_FRAMES,
    StreamHeader,
    check_version,
)
from vireo.container.syntax import (
    U8,
    U16,
    U32,
    BitFields,
    Bits,
    ByteReader,
    Field,
    PrefixedBytes,
    Rule,
    SignedVarint,
    Structure,
    Varint,
)
from vireo.errors import (
    ChecksumError,
    MissingReferenceError,
    SyntaxElementError,
)
from vireo.gop import FrameType

MAX_PTS = (1 << 62) - 1
MAX_SECTIONS = 256

BETWEEN = 3
"""A packet's `frame_type` of a B frame whose references follow from its place."""

SHORT_PACKET = 1024
"""A packet that is no key packet and has fewer bytes has checks of 8 bits."""

_IF_KEY = Rule("`key` is 1", lambda values: values["key"])
_IF_NOT_KEY = Rule("`key` is 0", lambda values: not values["key"])
_IF_SHORT = Rule(
    f"`key` is 0 and the packet has less than {SHORT_PACKET} bytes",
    lambda values: not values["key"] and values["short"],
)
_IF_LONG = Rule(
    f"`key` is 0 and the packet has {SHORT_PACKET} bytes or more",
    lambda values: not values["key"] and not values["short"],
)
_IF_FAR = Rule(
    "`frame_type` is 2 and `distance_0` is 0",
    lambda values: values["frame_type"] == 2 and not values["distance_0"],
)
_IF_REFERENCE = Rule(
    "`frame_type` is 1, or 2 and `distance_0` is 0",
    lambda values: values["frame_type"] == 1 or _IF_FAR.of(values),
)

_FLAGS = BitFields(
    "flags",
    (
        Bits(
            "frame_type",
            2,
            "number of references; a B frame of type 3 has them *n* frames before it and behind, "
            "*n* being the greatest power of two that divides `display_index`",
            names={FrameType.I: "I", FrameType.P: "P", FrameType.B: "B", BETWEEN: "B"},
        ),
        Bits("key", 1, "the packet starts a GOP"),
        Bits("corrected", 1, "`time_correction` is there"),
        Bits("release_self", 1, "no later packet refers to this picture"),
        Bits("release_0", 1, "no later packet refers to `reference_0`"),
        Bits("release_1", 1, "no later packet refers to `reference_1`"),
        Bits("plain", 1, "the packet has one section, of kind 0, without a start"),
    ),
)
_FLAGS_SIZE = 1
_KEY = _FLAGS.mask("key")


def _crc(name: str, description: str) -> tuple[Field, Field, Field]:
    """What a packet holds of a CRC (`checksum.folded`)."""
    return (
        Field(name, U32, description, when=_IF_KEY),
        Field(name, U16, f"XOR of the two halves of the {description}", when=_IF_LONG),
        Field(name, U8, f"XOR of the four bytes of the {description}", when=_IF_SHORT),
    )


def _crc_size(*, is_key: bool, short: bool) -> int:
    """How many bytes either check of a packet has."""
    if is_key:
        return U32.size
    return U8.size if short else U16.size


PACKET = Structure(
    "packet",
    "Packet, up to its sections",
    (
        _FLAGS,
        *_crc("checksum", "CRC-32C of all other bytes of the packet, `flags` included"),
        Field("version", U8, "as in the stream header", when=_IF_KEY),
        Field("header", PrefixedBytes(MAX_BODY), "the body of the stream header", when=_IF_KEY),
        Field(
            "gop_frames",
            Varint(MAX_GOP_FRAMES),
            "frames in this GOP, at most the header's `max_gop_frames`",
            low=1,
            when=_IF_KEY,
        ),
        Field("pts", SignedVarint(MAX_PTS), "presentation time of this frame, ticks", when=_IF_KEY),
        Field(
            "display_index",
            Varint(MAX_GOP_FRAMES - 1),
            "place of this frame in its GOP in display order, below `gop_frames`; "
            "the key packet's frame is 0",
            low=1,
            when=_IF_NOT_KEY,
        ),
        Field(
            "time_correction",
            SignedVarint(MAX_PTS),
            "ticks to add to the implied presentation time",
            when=Rule("`corrected` is 1", lambda values: values["corrected"]),
        ),
        BitFields(
            "distances",
            (
                Bits(
                    "distance_0",
                    4,
                    "frames from the first reference to this one; 0: `reference_0` and "
                    "`reference_1` are there",
                ),
                Bits(
                    "distance_1",
                    4,
                    "0 to 7: one to eight frames from this one to the second reference; 8 to 15: "
                    "two to nine from the second reference to this one; 0 if `distance_0` is 0",
                ),
            ),
            when=Rule("`frame_type` is 2", lambda values: values["frame_type"] == 2),
        ),
        Field(
            "reference_0",
            SignedVarint(MAX_GOP_FRAMES - 1),
            "frames from the first reference to this one",
            when=_IF_REFERENCE,
        ),
        Field(
            "reference_1",
            SignedVarint(MAX_GOP_FRAMES - 1),
            "frames from the second reference to this one",
            when=_IF_FAR,
        ),
        *_crc("picture_hash", "hash of the decoded picture"),
    ),
)

SECTION_START = Structure(
    "section-start",
    "Start of a section",
    (
        BitFields(
            "section_flags",
            (
                Bits("kind", 6, "what the section holds; the codec's chapter lists the kinds"),
                Bits("last", 1, "the section ends with the packet"),
                Bits("droppable", 1, "a progressive decoder may do without the section"),
            ),
        ),
        Field(
            "size",
            Varint((1 << 31) - 1),
            "bytes of the section",
            when=Rule("`last` is 0", lambda values: not values["last"]),
        ),
    ),
)


@dataclass(frozen=True)
class Packet:
    """A coded frame's bytes, as an encoder yields them and a muxer takes them.

    Attributes:
        data: the packet (`write_packet`).
        pts: presentation time in ticks of the stream's time base.
        is_key: whether the packet starts a GOP.
    """

    data: bytes
    pts: int
    is_key: bool


@dataclass(frozen=True)
class Section:
    """One part of a coded frame.

    Attributes:
        kind: what it holds, 0…63; each codec numbers its own.
        data: its bytes.
        droppable: whether a progressive decoder may do without it.
        offset: where `data` starts in the packet that it was read from.
    """

    kind: int
    data: bytes
    droppable: bool = False
    offset: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class GopStart:
    """What a key packet says about its GOP: needed to read and write the packets after it.

    Attributes:
        header: the stream header.
        pts: presentation time of display index 0, ticks.
        gop_frames: frames in the GOP.
    """

    header: StreamHeader
    pts: int
    gop_frames: int

    def implied_pts(self, display_index: int) -> int:
        """Presentation time that needs no correction, ticks; halves are rounded up.

        `pts` itself where the frame rate varies.
        """
        video = self.header.video_format
        if video.frame_rate is None:
            return self.pts
        ticks = Fraction(display_index) / (video.frame_rate * video.time_base)
        return self.pts + (2 * ticks.numerator + ticks.denominator) // (2 * ticks.denominator)


@dataclass(frozen=True)
class CodedFrame:
    """A packet's content.

    Attributes:
        frame_type: I, P or B.
        display_index: place in the GOP in display order, from 0 (the key packet's frame).
        pts: presentation time, ticks of the stream's time base.
        references: display indices of the 0, 1 or 2 references, all of the same GOP.
        picture_hash: what the decoded picture is checked by (`PictureDecoder.hash`).
        sections: the codec's data.
        header: the stream header in a key packet, else None.
        gop_frames: frames in the GOP in a key packet, else None.
        released: display indices, among `references` and this frame's own, of pictures that
            no later packet refers to, so that a decoder need not keep them for reference.
        hash_size: how many bytes `picture_hash` has: 4, or what a packet had of it.
    """

    frame_type: FrameType
    display_index: int
    pts: int
    references: tuple[int, ...]
    picture_hash: int
    sections: tuple[Section, ...]
    header: StreamHeader | None = None
    gop_frames: int | None = None
    released: tuple[int, ...] = ()
    hash_size: int = U32.size

    def has_hash(self, picture_hash: int) -> bool:
        """Whether a picture of this hash, of 32 bits, is the one that was encoded."""
        return folded(picture_hash, self.hash_size) == self.picture_hash

    @property
    def is_key(self) -> bool:
        return self.header is not None

    @property
    def gop_start(self) -> GopStart:
        """What the GOP's other packets need; ValueError if this is no key packet's frame."""
        if self.header is None or self.gop_frames is None:
            raise ValueError("only a key packet starts a GOP")
        return GopStart(self.header, self.pts, self.gop_frames)


def write_packet(frame: CodedFrame, gop: GopStart | None = None) -> bytes:
    """The packet's bytes.

    `gop` is the `gop_start` of the GOP's key frame; a key packet brings its own and needs none.
    Raises ValueError where `frame` can't be expressed, breaks the rules of a closed GOP, or was
    read from a packet that had less of its picture's hash than this one needs.
    """
    if frame.is_key:
        if gop not in (None, frame.gop_start):
            raise ValueError("the key frame and the GOP given with it disagree")
        gop = frame.gop_start
    elif gop is None:
        raise ValueError("a frame without a header needs the start of its GOP")
    if len(frame.references) != frame.frame_type:
        raise ValueError(f"{frame.frame_type.name} frame with {len(frame.references)} references")
    strangers = set(frame.released) - {frame.display_index, *frame.references}
    if strangers:
        raise ValueError(f"released pictures {sorted(strangers)} are not of this packet")
    if len(frame.sections) > MAX_SECTIONS:
        raise ValueError(f"{len(frame.sections)} sections, the format allows {MAX_SECTIONS}")
    problem = _broken_rule(frame, gop)
    if problem is not None:
        raise ValueError(problem)
    if frame.picture_hash >> 8 * frame.hash_size:
        raise ValueError(f"picture_hash has more than {frame.hash_size} bytes")
    sections = _write_sections(frame.sections)
    head = _write_head(frame, gop, short=True)
    if not frame.is_key and len(head) + len(sections) >= SHORT_PACKET:
        head = _write_head(frame, gop, short=False)
    return with_checksum(without_checksum(head + sections))


def _write_head(frame: CodedFrame, gop: GopStart, *, short: bool) -> bytes:
    """The packet up to its sections, but for its checksum; a key packet is the same either way."""
    size = _crc_size(is_key=frame.is_key, short=short)
    if size > frame.hash_size:
        raise ValueError(f"the packet needs {size} bytes of its picture's hash")
    correction = frame.pts - gop.implied_pts(frame.display_index)
    releases = [reference in frame.released for reference in frame.references] + [False, False]
    return PACKET.write(
        {
            "short": short,
            "checksum": 0,
            "frame_type": BETWEEN if _is_between(frame) else frame.frame_type,
            "key": frame.is_key,
            "corrected": correction != 0,
            "release_self": frame.display_index in frame.released,
            "release_0": releases[0],
            "release_1": releases[1],
            "plain": _is_plain(frame.sections),
            "version": FORMAT_VERSION,
            "header": frame.header.write_body() if frame.header else b"",
            "gop_frames": gop.gop_frames,
            "pts": frame.pts,
            "display_index": frame.display_index,
            "time_correction": correction,
            **_distances(frame),
            "picture_hash": folded(frame.picture_hash, size),
        }
    )


def _write_sections(sections: tuple[Section, ...]) -> bytes:
    if _is_plain(sections):
        return sections[0].data
    out = bytearray()
    for place, section in enumerate(sections, start=1):
        out += SECTION_START.write(
            {
                "kind": section.kind,
                "last": place == len(sections),
                "droppable": section.droppable,
                "size": len(section.data),
            }
        )
        out += section.data
    return bytes(out)


def read_packet(data: bytes, gop: GopStart | None = None) -> CodedFrame:
    """The coded frame in a packet. Time and memory are proportional to the size of `data`.

    `gop` is the `gop_start` of the key frame before it; a key packet needs none. Raises a
    StreamError with the offset: ChecksumError, TruncatedError, SyntaxElementError, HeaderError,
    or MissingReferenceError where `gop` is needed and None.
    """
    if not is_packet(data):
        raise ChecksumError("the packet is damaged (checksum)", offset=0)
    reader = ByteReader(data)
    values = _read_head(reader)
    header = _read_header(values) if values["key"] else None
    if header is not None:
        gop = GopStart(header, values["pts"], values["gop_frames"])
    elif gop is None:
        raise MissingReferenceError("no key packet before this packet", offset=0)
    display_index: int = values.get("display_index", 0)
    references = tuple(display_index - distance for distance in _read_distances(values))
    frame_type = FrameType.B if values["frame_type"] == BETWEEN else values["frame_type"]
    pts = gop.implied_pts(display_index) + values.get("time_correction", 0)
    frame = CodedFrame(
        frame_type=FrameType(frame_type),
        display_index=display_index,
        pts=pts,
        references=references,
        picture_hash=values["picture_hash"],
        sections=_read_plain(reader) if values["plain"] else _read_sections(reader),
        header=header,
        gop_frames=gop.gop_frames if header is not None else None,
        released=_released(values, display_index, references),
        hash_size=_checksum_size(data),
    )
    problem = _broken_rule(frame, gop)
    if problem is not None:
        raise SyntaxElementError(problem, offset=0)
    return frame


def with_checksum(covered: bytes) -> bytes:
    """A packet from all its bytes but the checksum: a short one, if it can be."""
    short = len(covered) + U8.size < SHORT_PACKET
    return _sealed(covered, _crc_size(is_key=_has_key_flag(covered), short=short))


def _sealed(covered: bytes, size: int) -> bytes:
    checksum = folded(bytes_crc(covered), size).to_bytes(size, "little")
    return covered[:_FLAGS_SIZE] + checksum + covered[_FLAGS_SIZE:]


def without_checksum(data: bytes) -> bytes:
    """A packet's bytes that its checksum covers: all others."""
    behind = _FLAGS_SIZE + _checksum_size(data)
    return data[:_FLAGS_SIZE] + data[behind:]


def is_packet(data: bytes) -> bool:
    """Whether `data` is a Vireo packet with a good checksum.

    Other bytes are taken for a key packet with a chance of 2**-32, for a short packet
    with 2**-8, for another with 2**-16.
    """
    return _sealed(without_checksum(data), _checksum_size(data)) == data


def is_key_packet(data: bytes) -> bool:
    """Whether `data` is a key packet with a good checksum (a chance of 2**-32 otherwise)."""
    return _has_key_flag(data) and is_packet(data)


def _checksum_size(data: bytes) -> int:
    return _crc_size(is_key=_has_key_flag(data), short=len(data) < SHORT_PACKET)


def _has_key_flag(data: bytes) -> bool:
    return bool(data) and data[0] & _KEY != 0


def packet_display_index(data: bytes) -> int:
    """The display index in a packet's bytes, the rest unchecked; raises as `read_packet` does."""
    index: int = _read_head(ByteReader(data)).get("display_index", 0)
    return index


def _read_head(reader: ByteReader) -> dict[str, Any]:
    """The values of `PACKET` of the packet that the reader is at the front of."""
    return PACKET.read(reader, {"short": reader.remaining < SHORT_PACKET})


def _read_header(values: dict[str, Any]) -> StreamHeader:
    """The header of a key packet with these values."""
    start = _FLAGS_SIZE + U32.size
    check_version(values["version"], start)
    size = bytearray()
    Varint().write(len(values["header"]), size)
    return StreamHeader.read_body(values["header"], start + U8.size + len(size))


def _is_between(frame: CodedFrame) -> bool:
    """Whether a B frame's references follow from its place."""
    index = frame.display_index
    return frame.references == (index - _power_of_two(index), index + _power_of_two(index))


def _power_of_two(index: int) -> int:
    """The greatest one that divides it; 0 of 0."""
    return index & -index


def _distances(frame: CodedFrame) -> dict[str, int]:
    """Values of the fields that say where a frame's references are."""
    away = [frame.display_index - reference for reference in frame.references]
    if len(away) == 2 and 1 <= away[0] <= 15 and (-8 <= away[1] <= -1 or 2 <= away[1] <= 9):
        second = -away[1] - 1 if away[1] < 0 else away[1] + 6
        return {"distance_0": away[0], "distance_1": second}
    named = dict(zip(("reference_0", "reference_1"), away, strict=False))
    return {"distance_0": 0, "distance_1": 0, **named}


def _read_distances(values: dict[str, Any]) -> tuple[int, ...]:
    """How many frames each reference is before this frame."""
    if values["frame_type"] == BETWEEN:
        away = _power_of_two(values.get("display_index", 0))
        return away, -away
    if values.get("distance_0"):
        second = values["distance_1"]
        return values["distance_0"], second - 6 if second > 7 else -second - 1
    if values.get("distance_1"):
        raise SyntaxElementError("distance_1 is there without distance_0", offset=0)
    return tuple(values[name] for name in ("reference_0", "reference_1") if name in values)


def _is_plain(sections: tuple[Section, ...]) -> bool:
    return len(sections) == 1 and sections[0].kind == 0 and not sections[0].droppable


def _read_plain(reader: ByteReader) -> tuple[Section, ...]:
    offset = reader.offset
    return (Section(0, reader.take(reader.remaining, "section"), offset=offset),)


def _read_sections(reader: ByteReader) -> tuple[Section, ...]:
    sections: list[Section] = []
    last = not reader.remaining
    while not last:
        if len(sections) == MAX_SECTIONS:
            raise SyntaxElementError(f"over {MAX_SECTIONS} sections", offset=reader.offset)
        start = SECTION_START.read(reader)
        last = bool(start["last"])
        offset = reader.offset
        data = reader.take(reader.remaining if last else start["size"], "section")
        sections.append(Section(start["kind"], data, bool(start["droppable"]), offset))
    return tuple(sections)


def _released(
    values: dict[str, Any], display_index: int, references: tuple[int, ...]
) -> tuple[int, ...]:
    released = [display_index] if values["release_self"] else []
    for place in range(2):
        if values[f"release_{place}"]:
            if place >= len(references):
                raise SyntaxElementError(
                    f"release_{place} is set, but there is no such reference", offset=0
                )
            released.append(references[place])
    return tuple(released)


def _broken_rule(frame: CodedFrame, gop: GopStart) -> str | None:
    """Which rule of a packet in a closed GOP `frame` breaks, or None."""
    if gop.gop_frames > gop.header.max_gop_frames:
        return f"gop_frames is {gop.gop_frames}, the header allows {gop.header.max_gop_frames}"
    if frame.is_key and frame.frame_type != FrameType.I:
        return f"a key packet holds a {frame.frame_type.name} frame"
    if frame.is_key and frame.pts != gop.pts:
        return "a key packet has a time correction"
    if frame.is_key != (frame.display_index == 0):
        return "display index 0 belongs to the key packet, and to it alone"
    if frame.display_index >= gop.gop_frames:
        return f"display_index is {frame.display_index} in a GOP of {gop.gop_frames} frames"
    for reference in frame.references:
        if not 0 <= reference < gop.gop_frames:
            return f"reference {reference} is outside a GOP of {gop.gop_frames} frames"
        if reference == frame.display_index:
            return f"frame {reference} refers to itself"
    if len(set(frame.references)) < len(frame.references):
        return f"frame {frame.display_index} refers to the same twice"
    if abs(frame.pts) > MAX_PTS:
        return "the presentation time is out of range"
    return None
