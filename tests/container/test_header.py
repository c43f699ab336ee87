from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import FORMAT, attempt, make_header

from vireo.container import Codec, Exactness, StreamHeader
from vireo.container.checksum import bytes_crc
from vireo.container.header import HEADER_FRONT, HEADER_REST
from vireo.container.syntax import ByteReader
from vireo.errors import (
    ChecksumError,
    HeaderError,
    InputError,
    StreamError,
    SyntaxElementError,
    TruncatedError,
)
from vireo.video.frame import ColorDescription, ColorRange, VideoFormat

GOLDEN = bytes.fromhex(
    "56495245 01 1b 01 00 68 b001 9001 01 06 06 06 00 0c 0b 5a 01 b0ea01 b0ea01 e907 08 04 00"
)

ratios = st.builds(Fraction, st.integers(1, (1 << 31) - 1), st.integers(1, (1 << 31) - 1))
headers = st.builds(
    StreamHeader,
    codec=st.sampled_from(Codec),
    profile=st.integers(0, 255),
    exactness=st.sampled_from(Exactness),
    video_format=st.builds(
        VideoFormat,
        width=st.integers(1, 65535),
        height=st.integers(1, 65535),
        frame_rate=st.none() | ratios,
        time_base=ratios,
        sample_aspect_ratio=ratios,
        rotation=st.integers(0, 359),
        color=st.builds(
            ColorDescription,
            range=st.sampled_from(ColorRange),
            primaries=st.integers(0, 255),
            transfer=st.integers(0, 255),
            matrix=st.integers(0, 255),
            chroma_location=st.integers(0, 6),
        ),
    ),
    max_gop_frames=st.integers(1, 65535),
    max_references=st.integers(0, 65535),
    configuration=st.binary(max_size=300),
)


def sealed(covered: bytes) -> bytes:
    return covered + bytes_crc(covered).to_bytes(4, "little")


def with_body(body: bytes) -> bytes:
    front = HEADER_FRONT.write({"magic": b"VIRE", "version": 1})
    return sealed(front + HEADER_REST.write({"body": body, "checksum": 0})[:-4])


def body_of(data: bytes) -> bytes:
    body: bytes = HEADER_REST.read(ByteReader(data[5:]))["body"]
    return body


def test_the_bytes_are_these():
    data = make_header().write()
    assert data == sealed(GOLDEN)
    assert StreamHeader.read(data) == make_header()


@given(headers, st.binary(max_size=4))
def test_a_header_is_read_as_it_was_written(header, behind):
    assert StreamHeader.read(header.write() + behind) == header


@given(headers, st.binary(max_size=40))
def test_an_extension_is_skipped(header, extension):
    body = body_of(header.write())
    assert StreamHeader.read(with_body(body + extension)) == header


def test_every_flipped_bit_is_noticed():
    data = make_header().write()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StreamError):
            StreamHeader.read(bytes(damaged))


def test_every_cut_is_noticed():
    data = make_header().write()
    for size in range(len(data)):
        with pytest.raises(TruncatedError):
            StreamHeader.read(data[:size])


@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_a_stream_error(data):
    with pytest.raises(StreamError):
        StreamHeader.read(data)


@given(st.data())
def test_damage_under_a_right_checksum_is_a_stream_error_or_a_header(data):
    body = bytearray(body_of(make_header().write()))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    header, error = attempt(lambda: StreamHeader.read(with_body(bytes(body))))
    if error is None:
        assert StreamHeader.read(header.write()) == header
    else:
        assert error.offset is not None


def test_errors_say_what_is_wrong():
    data = make_header().write()
    with pytest.raises(HeaderError, match="magic number is missing"):
        StreamHeader.read(b"VIRA" + data[4:])
    with pytest.raises(HeaderError, match="format version 2; this program reads version 1"):
        StreamHeader.read(data[:4] + b"\2" + data[5:])
    with pytest.raises(ChecksumError, match="damaged"):
        StreamHeader.read(data[:-1] + bytes([data[-1] ^ 1]))
    body = body_of(data)
    with pytest.raises(HeaderError, match="codec 9 is unknown"):
        StreamHeader.read(with_body(b"\x09" + body[1:]))
    with pytest.raises(SyntaxElementError, match="width is 0") as caught:
        StreamHeader.read(with_body(body[:3] + b"\0" + body[5:]), base=100)
    assert caught.value.offset == 100 + 6 + 3
    with pytest.raises(SyntaxElementError, match="bit_depth is 1"):
        StreamHeader.read(with_body(body[:2] + b"\x6a" + body[3:]))


def test_what_is_as_usual_costs_a_bit():
    plain = VideoFormat(width=16, height=16, frame_rate=Fraction(25), time_base=Fraction(1, 25))
    body = make_header(plain).write_body()
    assert body == bytes.fromhex("01 00 08 10 10 01 19 19 01 08 04 00")
    assert StreamHeader.read_body(body, 0).video_format == plain


@pytest.mark.parametrize(
    "change",
    [
        {"width": 65536},
        {"height": 0},
        {"time_base": Fraction(1, 1 << 31)},
        {"time_base": Fraction(0)},
        {"frame_rate": Fraction(0)},
        {"frame_rate": Fraction(-25)},
        {"sample_aspect_ratio": Fraction(0)},
        {"rotation": 360},
        {"color": ColorDescription(primaries=256)},
    ],
)
def test_a_video_that_does_not_fit_is_an_input_error(change):
    with pytest.raises(InputError, match=next(iter(change)).split("_ratio")[0]):
        make_header(replace(FORMAT, **change))
