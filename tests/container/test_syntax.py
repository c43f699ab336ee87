import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import attempt

from vireo.container import syntax
from vireo.container.syntax import (
    U8,
    U16,
    U32,
    BitFields,
    Bits,
    ByteReader,
    Field,
    FixedBytes,
    PrefixedBytes,
    Rule,
    SignedVarint,
    Structure,
    Varint,
)
from vireo.errors import SyntaxElementError, TruncatedError

EVERYTHING = Structure(
    "everything",
    "One field of every type",
    (
        BitFields(
            "flags", (Bits("size", 2, "a number"), Bits("long", 1, "whether `extra` is there"))
        ),
        Field("byte", U8, "a byte", low=3, high=200),
        Field("short", U16, "two bytes"),
        Field("word", U32, "four bytes"),
        Field("number", Varint((1 << 63) - 1), "a varint"),
        Field("delta", SignedVarint((1 << 62) - 1), "a signed varint"),
        Field("mark", FixedBytes(3), "three bytes"),
        Field("name", PrefixedBytes(40), "some bytes"),
        Field("extra", U8, "sometimes", when=Rule("`long` is 1", lambda values: values["long"])),
        Field(
            "list",
            Varint(300),
            "some numbers",
            repeat=Rule("`size`", lambda values: values["size"]),
        ),
    ),
)


@st.composite
def everything(draw):
    size, long = draw(st.integers(0, 3)), draw(st.integers(0, 1))
    values = {
        "size": size,
        "long": long,
        "byte": draw(st.integers(3, 200)),
        "short": draw(st.integers(0, 65535)),
        "word": draw(st.integers(0, (1 << 32) - 1)),
        "number": draw(st.integers(0, (1 << 63) - 1)),
        "delta": draw(st.integers(-(1 << 62) + 1, (1 << 62) - 1)),
        "mark": draw(st.binary(min_size=3, max_size=3)),
        "name": draw(st.binary(max_size=40)),
    }
    if long:
        values["extra"] = draw(st.integers(0, 255))
    values["list"] = tuple(draw(st.integers(0, 300)) for _ in range(size))
    return values


@given(everything(), st.binary(max_size=5))
def test_what_is_written_is_read(values, behind):
    data = EVERYTHING.write(values)
    reader = ByteReader(data + behind)
    assert EVERYTHING.read(reader) == values
    assert reader.remaining == len(behind)


@given(everything(), st.data())
def test_every_cut_is_noticed(values, data):
    written = EVERYTHING.write(values)
    cut = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises(TruncatedError) as caught:
        EVERYTHING.read(ByteReader(written[:cut], base=1000))
    assert 1000 <= caught.value.offset <= 1000 + cut


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_values_or_a_stream_error(data):
    reader = ByteReader(data)
    values, error = attempt(lambda: EVERYTHING.read(reader))
    if error is None:
        assert EVERYTHING.write(values) == reader.since(0)
    else:
        assert 0 <= error.offset <= len(data)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), ((1 << 32) - 1, "ffffffff0f")],
)
def test_varints_are_leb128(value, encoded):
    out = bytearray()
    Varint().write(value, out)
    assert out.hex() == encoded


def test_signed_values_interleave():
    field = Structure("s", "s", (Field("v", SignedVarint(), "signed"),))
    assert [field.write({"v": v})[0] for v in (0, -1, 1, -2, 2)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("8000", "shortest form"),
        ("ad02", "over 300"),
        ("808000", "longer than its range"),
        ("ffffffffffffffffffff", "over 300"),
    ],
)
def test_bad_varints_are_refused(encoded, reason):
    with pytest.raises(SyntaxElementError, match=reason) as caught:
        Varint(300).read(ByteReader(bytes.fromhex(encoded), base=7), "number")
    assert caught.value.offset == 7


def test_a_value_out_of_range_is_named_with_its_offset():
    structure = Structure("s", "s", (Field("a", U8, ""), Field("b", U8, "", low=5, high=9)))
    with pytest.raises(SyntaxElementError, match="b is 4, permitted are 5 to 9") as caught:
        structure.read(ByteReader(b"\0\4"))
    assert caught.value.offset == 1
    with pytest.raises(ValueError, match="b is 10"):
        structure.write({"a": 0, "b": 10})


def test_a_rule_may_ask_for_a_value_from_elsewhere():
    odd = Rule("`odd` is 1", lambda values: values["odd"])
    structure = Structure("s", "s", (Field("a", U8, "", when=odd), Field("b", U8, "")))
    for values, data in (({"odd": 1, "a": 5, "b": 6}, b"\5\6"), ({"odd": 0, "b": 6}, b"\6")):
        assert structure.write(values) == data
        assert structure.read(ByteReader(data), {"odd": values["odd"]}) == values


def test_the_mask_of_bits_is_where_they_are_written():
    flags = BitFields("flags", (Bits("a", 2, ""), Bits("b", 1, ""), Bits("c", 3, "")))
    assert [flags.mask(name) for name in "abc"] == [0b11, 0b100, 0b111000]
    with pytest.raises(KeyError):
        flags.mask("d")


def test_named_values_and_reserved_bits_are_checked():
    structure = Structure(
        "s",
        "s",
        (
            BitFields("flags", (Bits("mode", 2, "", names={0: "off", 2: "on"}),)),
            Field("kind", U8, "", names={1: "one"}),
        ),
    )
    assert structure.read(ByteReader(b"\2\1")) == {"mode": 2, "kind": 1}
    for data, reason in (
        (b"\1\1", "mode is 1"),
        (b"\6\1", "reserved bits of flags"),
        (b"\2\2", r"kind is 2, known are 1 \(one\)"),
    ):
        with pytest.raises(SyntaxElementError, match=reason):
            structure.read(ByteReader(data))
    with pytest.raises(ValueError, match="mode is 3"):
        structure.write({"mode": 3, "kind": 1})


def test_a_length_does_not_allocate_what_is_not_there():
    field = Structure("s", "s", (Field("blob", PrefixedBytes(), "bytes"),))
    with pytest.raises(TruncatedError, match="2147483647 bytes, 1 are left"):
        field.read(ByteReader(bytes.fromhex("ffffffff07") + b"x"))


def test_the_examples_in_the_documentation_run():
    assert doctest.testmod(syntax).failed == 0
