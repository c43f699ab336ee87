from dataclasses import replace
from fractions import Fraction
from functools import reduce
from operator import xor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import FORMAT, attempt, make_frames, make_header, make_packets

from vireo.container import (
    CodedFrame,
    FrameType,
    GopStart,
    Section,
    picture_hash,
    read_packet,
    write_packet,
)
from vireo.container.checksum import bytes_crc
from vireo.container.packet import (
    MAX_PTS,
    is_key_packet,
    is_packet,
    packet_display_index,
    with_checksum,
    without_checksum,
)
from vireo.errors import (
    ChecksumError,
    HeaderError,
    MissingReferenceError,
    SyntaxElementError,
    TruncatedError,
)

HEADER = make_header(gop_frames=64)
GOP = GopStart(HEADER, pts=90, gop_frames=64)
KEY = CodedFrame(FrameType.I, 0, 90, (), 0xDEADBEEF, (Section(5, b"ab"),), HEADER, 64)
MIDDLE = CodedFrame(
    FrameType.B,
    16,
    GOP.implied_pts(16),
    (0, 32),
    0x12345678 ^ 0x59,
    (Section(0, b"network"), Section(3, b"latents", droppable=True)),
    released=(16, 32),
)


def sealed(covered: bytes) -> bytes:
    """A packet of these bytes and their checksum, by the text of the specification."""
    flags, rest = covered[:1], covered[1:]
    crc = bytes_crc(covered).to_bytes(4, "little")
    if not (flags and flags[0] & 4):
        crc = bytes([crc[0] ^ crc[2], crc[1] ^ crc[3]])
        if len(covered) < 1023:
            crc = bytes([crc[0] ^ crc[1]])
    return flags + crc + rest


def covered_by_checksum(data: bytes) -> bytes:
    size = 4 if data[0] & 4 else 1 if len(data) < 1024 else 2
    return data[:1] + data[1 + size :]


def stored(frame: CodedFrame, data: bytes) -> CodedFrame:
    """The frame with as much of its picture's hash as the packet has."""
    size = 4 if frame.is_key else 1 if len(data) < 1024 else 2
    parts = frame.picture_hash.to_bytes(4, "little")
    folded = [reduce(xor, parts[start::size]) for start in range(size)]
    return replace(frame, picture_hash=int.from_bytes(folded, "little"), hash_size=size)


@st.composite
def frames_and_gops(draw):
    """A frame with the start of its GOP, of a constant or a varying rate."""
    rate = draw(st.sampled_from([None, Fraction(25), Fraction(30000, 1001), Fraction(1, 3)]))
    time_base = draw(
        st.sampled_from([Fraction(1, 1000), Fraction(1, 90000), Fraction(1001, 30000)])
    )
    header = make_header(replace(FORMAT, frame_rate=rate, time_base=time_base), gop_frames=700)
    gop_frames = draw(st.integers(1, 700))
    gop = GopStart(header, draw(st.integers(-(1 << 60), 1 << 60)), gop_frames)
    index = draw(st.integers(0, gop_frames - 1))
    others = st.integers(0, gop_frames - 1).filter(lambda other: other != index)
    frame_type = draw(st.sampled_from(FrameType)) if index else FrameType.I
    frame_type = FrameType(min(frame_type, gop_frames - 1))
    references = tuple(
        draw(st.lists(others, min_size=frame_type, max_size=frame_type, unique=True))
    )
    correction = draw(st.just(0) | st.integers(-(1 << 60), 1 << 60)) if index else 0
    own = list(dict.fromkeys((index, *references)))
    frame = CodedFrame(
        frame_type=frame_type,
        display_index=index,
        pts=gop.implied_pts(index) + correction,
        references=references,
        picture_hash=draw(st.integers(0, (1 << 32) - 1)),
        sections=tuple(
            draw(
                st.lists(
                    st.builds(Section, st.integers(0, 63), st.binary(max_size=300), st.booleans()),
                    max_size=5,
                )
            )
        ),
        header=header if index == 0 else None,
        gop_frames=gop_frames if index == 0 else None,
        released=tuple(index for index in own if draw(st.booleans())),
    )
    return frame, gop


@given(frames_and_gops())
def test_a_packet_is_read_as_it_was_written(case):
    frame, gop = case
    data = write_packet(frame, gop)
    read = read_packet(data, gop)
    assert read == stored(frame, data)
    assert read.has_hash(frame.picture_hash)
    assert not read.has_hash(frame.picture_hash ^ 1)
    assert write_packet(read, gop) == data
    assert packet_display_index(data) == frame.display_index
    if frame.is_key:
        assert read_packet(data) == frame
        assert frame.gop_start == gop


def test_the_bytes_are_these():
    assert write_packet(MIDDLE, GOP) == sealed(
        bytes.fromhex("53 10 51") + b"\x00\x07network" + b"\xc3latents"
    )
    named = sealed(bytes.fromhex("52 10 00 20 1f 51") + b"\x00\x07network" + b"\xc3latents")
    assert read_packet(named, GOP) == stored(MIDDLE, named)
    near = replace(MIDDLE, references=(1, 7), released=(7,), sections=(Section(0, b"all"),))
    assert write_packet(near, GOP) == sealed(bytes.fromhex("c2 10 ff 51") + b"all")
    nearer = replace(near, references=(15, 14), released=())
    assert write_packet(nearer, GOP) == sealed(bytes.fromhex("82 10 81 51") + b"all")
    far = replace(near, references=(15, 6), released=())
    assert write_packet(far, GOP) == sealed(bytes.fromhex("82 10 00 02 14 51") + b"all")
    after = replace(near, references=(15, 24), released=())
    assert write_packet(after, GOP) == sealed(bytes.fromhex("82 10 71 51") + b"all")
    single = replace(near, frame_type=FrameType.P, references=(18,), released=())
    assert write_packet(single, GOP) == sealed(bytes.fromhex("81 10 03 51") + b"all")
    long = replace(near, released=(), sections=(Section(0, bytes(1020)),))
    assert write_packet(long, GOP) == sealed(bytes.fromhex("82 10 ff 1544") + bytes(1020))
    body = HEADER.write_body()
    assert write_packet(KEY) == sealed(
        bytes([0x04, 1, len(body)]) + body + bytes.fromhex("40 b401 efbeadde") + b"\x45ab"
    )


def test_short_and_long_packets():
    """An encoder writes a packet of less than 1024 bytes where it can; others are read as well."""
    gop, crc = GOP, 0x12345678
    for size, expected in ((1018, 1023), (1019, 1026), (1020, 1027)):
        frame = replace(
            MIDDLE, references=(8, 24), released=(), sections=(Section(0, bytes(size)),)
        )
        data = write_packet(replace(frame, picture_hash=crc), gop)
        assert len(data) == expected
        assert read_packet(data, gop).sections[0].data == bytes(size)
    for size in (1017, 1018):
        covered = bytes.fromhex("82 10 78 4444") + bytes(size)
        check = bytes_crc(covered).to_bytes(4, "little")
        check = bytes([check[0] ^ check[2], check[1] ^ check[3]])
        read = read_packet(covered[:1] + check + covered[1:], gop)
        assert read.hash_size == 2
        assert read.has_hash(0x00004444)


def test_the_overhead_is_small():
    # Flags, checksum, display index, distances and hash.
    near = replace(MIDDLE, references=(8, 24), released=(), sections=(Section(0, b"all"),))
    assert len(write_packet(near, GOP)) - 3 == 5
    # Without distances.
    between = replace(near, references=(0, 32))
    assert len(write_packet(between, GOP)) - 3 == 4
    assert len(write_packet(KEY)) - 2 == len(HEADER.write_body()) + 15


@pytest.mark.parametrize(("index", "size"), [(1, 1), (6, 2), (12, 4), (32, 32), (31, 1)])
def test_references_that_follow_from_the_place(index, size):
    expected = index - size, index + size
    gop = replace(GOP, header=replace(HEADER, max_gop_frames=65), gop_frames=65)
    for references in (expected, expected[::-1]):
        frame = replace(MIDDLE, display_index=index, references=references, released=())
        frame = replace(frame, pts=gop.implied_pts(index))
        data = write_packet(frame, gop)
        assert data[0] & 3 == (3 if references == expected else 2)
        assert read_packet(data, gop).references == references


@pytest.mark.parametrize("frame", [KEY, MIDDLE])
def test_every_flipped_bit_is_noticed(frame):
    data = write_packet(frame, GOP)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ChecksumError):
            read_packet(bytes(damaged), GOP)


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_are_a_stream_error_or_a_frame(rest, with_gop):
    frame, error = attempt(lambda: read_packet(sealed(rest), GOP if with_gop else None))
    if error is None:
        assert read_packet(write_packet(frame, GOP), GOP) == frame
    else:
        assert error.offset is not None
    if not is_packet(rest):
        with pytest.raises(ChecksumError):
            read_packet(rest, GOP)


@given(st.data(), st.booleans())
def test_damage_under_a_right_checksum_is_a_stream_error_or_a_frame(data, key):
    rest = bytearray(covered_by_checksum(write_packet(KEY if key else MIDDLE, GOP)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(rest) - 1))
        action = data.draw(st.sampled_from(["change", "cut", "insert"]))
        if action == "change":
            rest[place] = data.draw(st.integers(0, 255))
        elif action == "cut" and place:
            del rest[place:]
        else:
            rest.insert(place, data.draw(st.integers(0, 255)))
    frame, error = attempt(lambda: read_packet(sealed(bytes(rest)), GOP))
    if error is None:
        gop = frame.gop_start if frame.is_key else GOP
        assert read_packet(write_packet(frame, gop), gop) == frame
    else:
        assert error.offset is not None


@pytest.mark.parametrize(
    ("rest", "kind", "reason"),
    [
        ("", ChecksumError, "damaged"),
        ("00 10", TruncatedError, "picture_hash"),
        ("03 20 00", SyntaxElementError, "outside a GOP"),
        ("23 18 00 05", TruncatedError, "size"),
        ("00 40 00", SyntaxElementError, "64 in a GOP of 64"),
        ("00 00 00", SyntaxElementError, "display_index is 0"),
        ("01 10 00 00", SyntaxElementError, "refers to itself"),
        ("01 10 5f 00", SyntaxElementError, "outside a GOP"),
        ("01 10 22 00", SyntaxElementError, "outside a GOP"),
        ("02 10 82 00", SyntaxElementError, "the same twice"),
        ("02 10 00 02 02 00", SyntaxElementError, "the same twice"),
        ("02 10 10 02 04 00", SyntaxElementError, "distance_1 is there without distance_0"),
        ("20 10 00", SyntaxElementError, "release_0 is set"),
        ("41 10 20 00", SyntaxElementError, "release_1 is set"),
        ("00 10 00 05", TruncatedError, "size"),
        ("00 10 00 05 03 aa", TruncatedError, "section needs 3 bytes"),
        ("00 10 00 05 01 aa", TruncatedError, "section_flags"),
        ("08 10 feffffffffffffff7f 00", SyntaxElementError, "out of range"),
    ],
)
def test_errors_say_what_is_wrong(rest, kind, reason):
    data = sealed(bytes.fromhex(rest))
    with pytest.raises(kind, match=reason):
        read_packet(data, GOP)


def test_broken_key_packets_are_refused():
    body = HEADER.write_body()

    def key(flags: int, field: bytes, tail: str, version: int = 1) -> bytes:
        return sealed(bytes([flags, version, len(field)]) + field + bytes.fromhex(tail))

    tail = "40 00 00000000"
    assert read_packet(key(4, body, tail)).gop_frames == 64
    assert read_packet(key(4, body + b"more", tail)).header == HEADER
    for data, kind, reason in (
        (key(4, body, tail, version=2), HeaderError, "format version 2"),
        (key(4, body[:-1], tail), TruncatedError, "configuration"),
        (key(4, b"V" + body[1:], tail), HeaderError, "codec 86"),
        (key(4, body, "41 00 00000000"), SyntaxElementError, "the header allows 64"),
        (key(4, body, "00 00 00000000"), SyntaxElementError, "gop_frames is 0"),
        (key(5, body, "40 00 00 00000000"), SyntaxElementError, "holds a P frame"),
        (key(12, body, "40 00 02 00000000"), SyntaxElementError, "time correction"),
    ):
        with pytest.raises(kind, match=reason):
            read_packet(data)


def test_a_section_count_has_a_bound():
    rest = bytes.fromhex("00 10 00")
    assert len(read_packet(sealed(rest + b"\0\0" * 255 + b"\x40"), GOP).sections) == 256
    with pytest.raises(SyntaxElementError, match="over 256 sections"):
        read_packet(sealed(rest + b"\0\0" * 256 + b"\x40"), GOP)


def test_a_packet_without_its_key_packet_is_refused():
    with pytest.raises(MissingReferenceError):
        read_packet(write_packet(MIDDLE, GOP))


@pytest.mark.parametrize(
    "change",
    [
        {"references": (0,)},
        {"references": (0, 64)},
        {"references": (0, 16)},
        {"references": (0, 0)},
        {"display_index": 0},
        {"display_index": 64},
        {"released": (7,)},
        {"picture_hash": 1 << 32},
        {"picture_hash": 256, "hash_size": 1},
        {"hash_size": 1, "sections": (Section(0, bytes(1020)),)},
        {"pts": MAX_PTS + 1},
        {"sections": (Section(64, b""),)},
        {"sections": (Section(0, b""),) * 257},
    ],
)
def test_a_frame_that_breaks_the_rules_is_not_written(change):
    with pytest.raises(ValueError, match=r"."):
        write_packet(replace(MIDDLE, **change), GOP)


def test_key_frames_are_checked_when_written():
    with pytest.raises(ValueError, match="disagree"):
        write_packet(KEY, replace(GOP, pts=91))
    with pytest.raises(ValueError, match="allows"):
        write_packet(replace(KEY, gop_frames=65))
    with pytest.raises(ValueError, match="needs the start"):
        write_packet(MIDDLE)
    with pytest.raises(ValueError, match="picture_hash"):
        write_packet(replace(KEY, picture_hash=1 << 32))
    with pytest.raises(ValueError, match="only a key packet"):
        MIDDLE.gop_start  # noqa: B018


def test_constant_rates_need_no_time_correction():
    for frame, packet in zip(
        frames := make_frames(HEADER, gops=1, gop_frames=64), make_packets(frames), strict=True
    ):
        assert not packet.data[0] & 8
        assert frame.pts == 1001 * frame.display_index


def test_implied_times_round_halves_up():
    header = make_header(
        replace(FORMAT, frame_rate=Fraction(2), time_base=Fraction(1)), gop_frames=8
    )
    gop = GopStart(header, -1, 8)
    assert [gop.implied_pts(index) for index in range(6)] == [-1, 0, 0, 1, 1, 2]


def test_checksums_are_crc32c():
    assert bytes_crc(b"123456789") == 0xE3069283


def test_packets_are_known_by_their_checksums():
    key, other = write_packet(KEY), write_packet(MIDDLE, GOP)
    assert is_packet(key)
    assert is_packet(other)
    assert is_key_packet(key)
    assert not is_key_packet(other)
    for data in (b"", b"\0", b"\4", key[:1], key[:4], other[:2], key[:-1], other[:-1]):
        assert not is_packet(data)
        assert not is_key_packet(data)


def test_a_checksum_covers_all_but_itself():
    long = replace(MIDDLE, sections=(Section(0, bytes(1024)),))
    for frame, size in ((KEY, 4), (MIDDLE, 1), (long, 2)):
        data = write_packet(frame, GOP)
        covered = without_checksum(data)
        assert covered == data[:1] + data[1 + size :]
        assert with_checksum(covered) == data
        assert sealed(covered) == data


def test_the_picture_hash_covers_all_planes_without_padding():
    chance = np.random.default_rng(1)
    y, u, v = (chance.integers(0, 256, size, np.uint8) for size in ((5, 7), (3, 4), (3, 4)))
    padded = np.zeros((5, 32), np.uint8)
    padded[:, :7] = y
    expected = bytes_crc(y.tobytes() + u.tobytes() + v.tobytes())
    assert picture_hash((y, u, v)) == expected
    assert picture_hash((padded[:, :7], u, v)) == expected
    assert picture_hash((y, v, u)) != expected
    with pytest.raises(ValueError, match="uint8"):
        picture_hash((y.astype(np.int16), u, v))
