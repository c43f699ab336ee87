"""Decoding: exactness, damage, limits."""

from __future__ import annotations

import gc
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vireo
from tests.clips import Sample, packets_of, repeated, same, shifted, write_packets
from vireo import _core
from vireo.codecs.base import Limits
from vireo.codecs.coolchic.config import STANDARD
from vireo.codecs.coolchic.networks import shipped_sets
from vireo.codecs.coolchic.stream import PROFILES, StreamShape
from vireo.codecs.decoding import GopDecoder
from vireo.container import (
    CodedFrame,
    GopStart,
    MatroskaReader,
    Packet,
    Section,
    StoredPacket,
    StreamHeader,
    write_packet,
)
from vireo.errors import (
    ChecksumError,
    HeaderError,
    LimitError,
    MissingReferenceError,
    PictureHashError,
    StreamError,
    SyntaxElementError,
    TruncatedError,
)
from vireo.gop import FrameType
from vireo.video.frame import Frame


def stored(packets: list[bytes] | list[Packet]) -> list[StoredPacket]:
    return [
        StoredPacket(p.data if isinstance(p, Packet) else p, None, False, index, None)
        for index, p in enumerate(packets)
    ]


def attempt(
    packets: list[bytes] | list[Packet], **options
) -> tuple[list[Frame], StreamError | None, GopDecoder]:
    """The frames given out, and the error after them."""
    decoder = GopDecoder(**options)
    frames = []
    try:
        for frame in decoder.decode(stored(packets)):
            frames.append(frame)
    except StreamError as error:
        return frames, error, decoder
    return frames, None, decoder


@pytest.fixture(scope="module")
def whole(samples: dict[str, Sample]) -> dict[str, list[Frame]]:
    """What each sample decodes to."""
    return {name: attempt(list(s.packets))[0] for name, s in samples.items()}


def data_of(sample: Sample) -> list[bytes]:
    return [p.data for p in sample.packets]


@pytest.fixture
def isa() -> Iterator[Callable[[_core.Isa], None]]:
    yield _core.force_isa
    _core.force_isa(next(i for i in reversed(_core.Isa) if _core.has_isa(i)))


@pytest.mark.parametrize("name", ["random-access", "low-delay", "intra"])
def test_every_build_and_thread_count_decodes_what_the_encoder_made(
    samples: dict[str, Sample], whole: dict[str, list[Frame]], name: str, isa
) -> None:
    """The hash in each packet is of the encoder's reconstruction; the decoder compares."""
    sample = samples[name]
    for build in _core.Isa:
        if not _core.has_isa(build):
            continue
        isa(build)
        for threads in (1, 2, 3):
            frames, error, decoder = attempt(list(sample.packets), threads=threads)
            assert error is None
            assert decoder.verified == len(frames) == sample.report.frames
            assert all(same(a, b) for a, b in zip(frames, whole[name], strict=True))


def test_samples_cover_every_frame_type(samples: dict[str, Sample]) -> None:
    types = {f.frame_type for s in samples.values() for f in s.coded}
    assert types == {FrameType.I, FrameType.P, FrameType.B}


@pytest.mark.parametrize(("packet", "good", "bits"), [(0, 0, (0, 31)), (7, 6, (0, 7))])
def test_another_kernel_gives_another_picture(
    sample: Sample, packet: int, good: int, bits: tuple[int, ...]
) -> None:
    """The hash would notice a decoder that is off by little, in key packets and in others."""
    coded, data = sample.coded, data_of(sample)
    frame = coded[packet]
    gop = next(f.gop_start for f in reversed(coded[: packet + 1]) if f.is_key)
    for bit in bits:
        wrong = replace(frame, picture_hash=frame.picture_hash ^ 1 << bit)
        data[packet] = write_packet(wrong, gop)
        frames, error, _ = attempt(data)
        assert len(frames) == good
        assert isinstance(error, PictureHashError)
        assert error.packet == packet


def test_more_threads_than_pictures_may_wait(sample: Sample) -> None:
    frames, error, _ = attempt(repeated(sample, 3), threads=40, limits=Limits(pictures=4))
    assert error is None
    assert len(frames) == 24


# Damage. The sample: packets 0 to 4 show 0, 4, 2, 1, 3; packets 5 to 7 show 5, 7, 6.


@pytest.mark.parametrize(
    ("packet", "good"), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 3), (5, 5), (6, 6), (7, 6)]
)
def test_frames_before_the_damage_come_out(sample: Sample, whole, packet: int, good: int) -> None:
    data = data_of(sample)
    broken = bytearray(data[packet])
    broken[-1] ^= 0x40
    data[packet] = bytes(broken)
    for threads in (1, 3):
        frames, error, _ = attempt(data, threads=threads)
        assert isinstance(error, ChecksumError)
        assert (error.packet, error.offset) == (packet, 0)
        assert len(frames) == good
        assert all(same(a, b) for a, b in zip(frames, whole["random-access"], strict=False))


@pytest.mark.parametrize("packet", range(8))
def test_a_dropped_packet_is_named(sample: Sample, packet: int) -> None:
    data = data_of(sample)
    del data[packet]
    frames, error, _ = attempt(data)
    if packet == 7:  # Nothing comes after it: the place where it should be is known.
        assert isinstance(error, MissingReferenceError)
        assert error.packet == 7
    else:
        assert isinstance(error, MissingReferenceError | SyntaxElementError)
        assert error.packet is not None
        assert packet <= error.packet <= packet + 3
    assert len(frames) <= 6


def test_conceal_goes_on_at_the_next_key_frame(sample: Sample, whole) -> None:
    data = data_of(sample)
    data[1] = data[1][:-3]
    frames, error, decoder = attempt(data, conceal=True)
    assert error is None
    expected = whole["random-access"]
    assert [f.pts for f in frames] == [f.pts for f in expected]
    assert same(frames[0], expected[0])
    for repeat in frames[1:5]:
        np.testing.assert_array_equal(repeat.y, expected[0].y)
    assert all(same(a, b) for a, b in zip(frames[5:], expected[5:], strict=True))
    assert (decoder.concealed, decoder.verified) == (4, 4)
    assert [e.packet for e in decoder.damage][:1] == [1]


def test_conceal_leaves_out_what_has_nothing_before_it(sample: Sample, whole) -> None:
    data = data_of(sample)
    data[0] = data[0][:-1]
    frames, error, decoder = attempt(data, conceal=True)
    assert error is None
    assert all(same(a, b) for a, b in zip(frames, whole["random-access"][5:], strict=True))
    assert decoder.verified == 3


def test_conceal_with_nothing_left_is_an_error(sample: Sample) -> None:
    frames, error, _ = attempt([d[:-1] for d in data_of(sample)], conceal=True)
    assert frames == []
    assert isinstance(error, ChecksumError)


def test_damage_keeps_no_pictures_alive(sample: Sample) -> None:
    data = [d[:-1] if i else d for i, d in enumerate(data_of(sample))]
    _, _, decoder = attempt(data, conceal=True)
    assert decoder.damage
    for error in decoder.damage:
        assert error.__traceback__ is None
        assert error.__cause__ is None
    gc.collect()


@pytest.mark.parametrize("seed", range(6))
def test_any_order_and_repetition_of_packets(sample: Sample, whole, seed: int) -> None:
    """Frames come in order, each one right, whatever happens to the packets."""
    chance = random.Random(seed)
    data = data_of(sample)
    for _ in range(chance.randint(1, 4)):
        a, b = chance.randrange(len(data)), chance.randrange(len(data))
        change = chance.randrange(3)
        if change == 0:
            data[a], data[b] = data[b], data[a]
        elif change == 1:
            data.insert(a, data[b])
        else:
            del data[a]
    by_pts = {f.pts: f for f in whole["random-access"]}
    for conceal in (False, True):
        frames, error, decoder = attempt(data, conceal=conceal, threads=2)
        pts = [f.pts for f in frames]
        assert pts == sorted(set(pts))
        right = sum(same(f, by_pts[f.pts]) for f in frames)
        assert right >= decoder.verified
        if not conceal:
            assert right == len(frames)
            assert error is not None or len(frames) == len(by_pts)


def test_a_gop_that_comes_twice_is_not_shown_twice(sample: Sample) -> None:
    frames, error, _ = attempt([*data_of(sample), *data_of(sample)])
    assert isinstance(error, SyntaxElementError)
    assert error.packet == 8
    assert len(frames) == 8


# Streams that were made to harm: the checksum is right.


def bare_networks() -> bytes:
    """A shipped set as it is, of an I frame whose latents are all 0."""
    base = shipped_sets(STANDARD).parameters[0].astype(np.int32)
    return _core.Networks(StreamShape(STANDARD).core(), 0, 0, base).encode_update(0, base)


BARE = bare_networks()


def forged(frame: CodedFrame, gop: GopStart | None, **changes) -> bytes:
    return write_packet(replace(frame, **changes), gop)


def test_forged_sections_end_in_a_typed_error(sample: Sample, whole) -> None:
    chance = random.Random(4)
    coded = sample.coded
    kinds = set()
    for _ in range(60):
        packet = chance.randrange(5)
        frame = coded[packet]
        place = chance.randrange(len(frame.sections))
        section = bytearray(frame.sections[place].data)
        for _ in range(chance.randint(1, 4)):
            section[chance.randrange(len(section))] = chance.randrange(256)
        sections = list(frame.sections)
        sections[place] = replace(sections[place], data=bytes(section))
        data = data_of(sample)
        data[packet] = forged(frame, coded[0].gop_start, sections=tuple(sections))
        frames, error, _ = attempt(data, threads=2)
        right = all(same(a, b) for a, b in zip(frames, whole["random-access"], strict=False))
        assert right
        if error is None:
            assert len(frames) == 8
            continue
        assert error.packet is not None
        kinds.add(type(error))
    assert PictureHashError in kinds


@pytest.mark.parametrize(
    ("sections", "kind"),
    [
        ((), SyntaxElementError),
        ((Section(0, b"abc"),), SyntaxElementError),
        ((Section(1, b""),), SyntaxElementError),
        ((Section(1, b"\xff" * 40), Section(0, b"")), SyntaxElementError),
        ((Section(0, b""), Section(0, b"")), TruncatedError),
        ((Section(0, b"\x01" + BARE), Section(1, b"abc")), SyntaxElementError),
        ((Section(0, b"\xff\xff\x3fabc"), Section(0, b"")), SyntaxElementError),
        ((Section(0, b"\x11"), Section(0, b"")), SyntaxElementError),
        ((Section(0, b"\xff" * 9),), SyntaxElementError),
        (
            (Section(0, b"\x01" + BARE), Section(0, b"\xff" * 9), Section(0, b"")),
            SyntaxElementError,
        ),
        ((Section(0, b"\x01" + BARE), Section(0, b"\xff" * 9)), PictureHashError),
        ((Section(9, b""),), SyntaxElementError),
        ((Section(0, b"\x01" + BARE), Section(0, b"\0" * 9)), PictureHashError),
        ((Section(0, BARE),), PictureHashError),
        ((Section(0, b""),), SyntaxElementError),
    ],
)
def test_sections_that_the_format_forbids(sample: Sample, sections, kind) -> None:
    frame = sample.coded[0]
    _, error, _ = attempt([forged(frame, None, sections=sections)])
    assert type(error) is kind
    assert error.packet == 0


def test_an_error_in_a_section_names_the_offset_in_the_packet(sample: Sample) -> None:
    frame = sample.coded[0]
    sections = (Section(0, b"\x01" + BARE), Section(0, b"\xff\xff\x3fabc"), Section(0, b""))
    data = forged(frame, None, sections=sections)
    _, error, _ = attempt([data])
    assert error is not None
    assert error.offset == len(data) - 7  # one byte begins the last section


def headed(sample: Sample, header: StreamHeader, **changes) -> list[bytes]:
    first, *rest = sample.coded[:5]
    key = replace(first, header=header, **changes)
    return [write_packet(key), *(write_packet(f, key.gop_start) for f in rest)]


def test_huge_pictures_are_refused_before_anything_is_allocated(sample: Sample) -> None:
    video = replace(sample.header.video_format, width=65535, height=65535)
    _, error, _ = attempt(headed(sample, replace(sample.header, video_format=video)))
    assert isinstance(error, LimitError)
    assert error.packet == 0
    assert "limit" in str(error)


def test_too_much_work_per_sample_is_refused(sample: Sample) -> None:
    header = replace(
        sample.header,
        profile=PROFILES.index("paper"),
        video_format=replace(sample.header.video_format, width=640, height=480),
        # 16 grids, 7 hidden layers of 64, kernel 16, 6 hidden layers of 64
        configuration=bytes([16, 0, 7, *[64] * 7, 16, 6, *[64] * 6, 0, 3]),
    )
    _, error, _ = attempt(headed(sample, header))
    assert isinstance(error, LimitError)
    assert "multiplications" in str(error)


@pytest.mark.parametrize("configuration", [b"", bytes(40), b"\xff" * 9, bytes([7, 0, 0, 8, 0, 0])])
def test_a_damaged_configuration(sample: Sample, configuration: bytes) -> None:
    header = replace(sample.header, configuration=configuration)
    _, error, _ = attempt(headed(sample, header))
    assert isinstance(error, HeaderError)
    assert error.packet == 0


def test_an_unknown_profile_is_refused(sample: Sample) -> None:
    _, error, _ = attempt(headed(sample, replace(sample.header, profile=200)))
    assert isinstance(error, HeaderError)
    assert "profile 200" in str(error)


def test_more_references_than_announced(sample: Sample) -> None:
    _, error, _ = attempt(headed(sample, replace(sample.header, max_references=1)))
    assert isinstance(error, SyntaxElementError)
    _, error, _ = attempt(headed(sample, replace(sample.header, max_references=1000)))
    assert isinstance(error, LimitError)


def test_a_stream_that_never_shows_a_frame_is_bounded(sample: Sample) -> None:
    """The frame to be shown next never comes; the others must not pile up."""
    header = replace(sample.header, max_gop_frames=1000, max_references=10)
    coded = sample.coded
    key = replace(coded[0], header=header, gop_frames=1000)
    p = [
        replace(coded[1], display_index=i, pts=key.gop_start.implied_pts(i), released=(i,))
        for i in range(2, 100)
    ]
    _, error, _ = attempt(
        [write_packet(key), *(write_packet(f, key.gop_start) for f in p)],
        limits=Limits(pictures=16),
    )
    assert isinstance(error, LimitError)
    assert error.packet == 17


@pytest.mark.parametrize("ticks", [-1, 0, 1 << 61])
def test_times_must_rise(sample: Sample, ticks: int) -> None:
    coded = sample.coded
    moved = shifted(coded[5], ticks - coded[5].pts)
    data = [*data_of(sample)[:5], write_packet(moved)]
    frames, error, _ = attempt(data)
    if ticks > 0:
        assert len(frames) == 6
    else:
        assert len(frames) == 5
        assert isinstance(error, SyntaxElementError)
        assert error.packet == 5


# Files


def decode_into(frames: list[Frame], path: Path) -> None:
    with MatroskaReader(path) as reader:
        frames.extend(GopDecoder().decode(reader))


def test_any_cut_of_a_file(sample: Sample, whole, tmp_path: Path) -> None:
    content = sample.path.read_bytes()
    cut = tmp_path / "cut.mkv"
    for size in [0, 1, 40, 400, *range(700, len(content), 997), len(content) - 1]:
        cut.write_bytes(content[:size])
        frames: list[Frame] = []
        with pytest.raises(StreamError):
            decode_into(frames, cut)
        assert all(same(a, b) for a, b in zip(frames, whole["random-access"], strict=False))


def test_bytes_put_into_a_file(sample: Sample, whole, tmp_path: Path) -> None:
    """FFmpeg passes over damage between packets without a word, and over a whole GOP."""
    content = sample.path.read_bytes()
    path = tmp_path / "damaged.mkv"
    first = content.index(sample.packets[0].data)
    last = content.index(sample.packets[-1].data)
    lost = 0
    for at in (*range(first, last, 41), *(content.index(p.data) - 4 for p in sample.packets)):
        path.write_bytes(content[:at] + bytes(7) + content[at:])
        frames: list[Frame] = []
        with pytest.raises(StreamError):
            decode_into(frames, path)
        lost += len(frames) < 8
        assert all(same(a, b) for a, b in zip(frames, whole["random-access"], strict=False))
    assert lost > 8


def test_memory_does_not_grow_with_length(sample: Sample, tmp_path: Path) -> None:
    peaks = []
    for times in (2, 40):
        path = write_packets(tmp_path / f"{times}.mkv", sample.header, repeated(sample, times))
        assert len(packets_of(path)[1]) == 8 * times
        program = (
            "import resource, vireo\n"
            f"report = vireo.decode({str(path)!r}, {str(tmp_path / f'{times}.yuv')!r}, threads=2)\n"
            f"assert report.frames == {8 * times}\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        peaks.append(int(run.stdout))
    assert peaks[1] - peaks[0] < 2_000, f"{peaks} kB"


def test_verify_counts_good_frames(sample: Sample, tmp_path: Path) -> None:
    data = data_of(sample)
    data[0] = data[0][:-1] + bytes([data[0][-1] ^ 1])
    packets = [replace(p, data=d) for p, d in zip(sample.packets, data, strict=True)]
    path = write_packets(tmp_path / "broken.mkv", sample.header, packets)
    report = vireo.verify(path)
    assert report.frames == 3
    assert report.damage[0].packet == 0
    assert vireo.verify(sample.path).damage == ()
