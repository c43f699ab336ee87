"""Streams of profile `standard`: networks that follow from their references', and damage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.coolchic.test_standard import Case, make_case
from vireo import _core, probe
from vireo.codecs.base import Limits
from vireo.codecs.coolchic import coding
from vireo.codecs.coolchic import reference_standard as twin
from vireo.codecs.coolchic.config import STANDARD, Architecture
from vireo.codecs.coolchic.networks import shipped_sets
from vireo.codecs.coolchic.stream import LATENT_SECTION, SectionKind, StreamShape
from vireo.codecs.decoding import GopDecoder
from vireo.container import (
    Codec,
    CodedFrame,
    GopStart,
    MatroskaWriter,
    Packet,
    Section,
    StoredPacket,
    StreamHeader,
    picture_hash,
    write_packet,
)
from vireo.errors import (
    HeaderError,
    MissingReferenceError,
    PictureHashError,
    StreamError,
    SyntaxElementError,
)
from vireo.gop import FrameType
from vireo.video.frame import Frame, VideoFormat

HEIGHT, WIDTH = 38, 50
SHAPE = StreamShape(STANDARD, band_rows_log2=3)
SHAKEN = 3  # a B frame
# Display index, references, number of the base.
GOP = [(0, (), 0), (4, (0,), 254), (2, (0, 4), 255), (1, (0, 2), 255), (3, (2, 4), 254)]


def make_header(shape: StreamShape = SHAPE) -> StreamHeader:
    video = VideoFormat(
        width=WIDTH, height=HEIGHT, frame_rate=Fraction(25), time_base=Fraction(1, 25)
    )
    return StreamHeader.for_video(
        video,
        codec=Codec.COOLCHIC,
        profile=shape.profile,
        max_gop_frames=8,
        max_references=5,
        configuration=shape.write(),
    )


def latent_sections(
    case: Case, tiles_at_a_time: int, number: int, base: NDArray[np.int32]
) -> Iterator[Section]:
    tiles = case.tiles
    for first in range(0, tiles, tiles_at_a_time):
        count = min(tiles_at_a_time, tiles - first)
        start = LATENT_SECTION.write({"tiles": count, "last": first + count == tiles})
        update = () if first else (number, base)
        yield Section(SectionKind.LATENTS, start + case.encode(first, count, *update))


class Stream:
    """A GOP of random pictures, each one's networks an update of its base's.

    P frames and one B frame have motion of the whole picture, the other B frames inherit it.
    """

    def __init__(self) -> None:
        self.frames: list[CodedFrame] = []
        self.pictures: dict[int, tuple[NDArray[np.uint8], ...]] = {}
        parameters: dict[int, NDArray[np.int32]] = {}
        motion: dict[int, twin.FrameMotion] = {}
        rng = np.random.default_rng(1)
        header = make_header()
        for index, references, base_number in GOP:
            kind = FrameType(len(references))
            base = (
                parameters[references[base_number - 254]]
                if references
                else shipped_sets(STANDARD).parameters[base_number].astype(np.int32)
            )
            own = base.copy()
            part = STANDARD.parameter_slices(kind)["arm_chroma" if index % 2 else "synthesis_luma"]
            own[part] += 16 * rng.integers(-3, 4, own[part].shape)
            case = make_case(kind, STANDARD, HEIGHT, WIDTH, seed=index)
            case.shape = SHAPE
            case.networks = _core.Networks(SHAPE.core(), int(kind), 5, own)
            case.references = [list(self.pictures[r]) for r in references]
            known = [motion[r] for r in references]
            case.inherited = [v.astype(np.int32) for v in twin.inherited_motion(index, known)]
            if kind == FrameType.P or index == SHAKEN:
                case.networks.corners = rng.integers(-200, 201, 6 * kind).tolist()
                moved = twin.global_motion(case.networks.corners, HEIGHT, WIDTH)
                case.inherited = [v.astype(np.int32) for v in moved]
            elif kind:
                case.networks.inherits = bool(case.inherited)
            vectors = case.twin_fields(case.grids)[: 2 * kind] if kind else []
            motion[index] = twin.FrameMotion(index, references, vectors)
            planes = _core.reconstruct(
                case.core,
                case.networks,
                case.grids,
                case.references,
                inherited=case.inherited,
            )
            parameters[index], self.pictures[index] = own, planes
            self.frames.append(
                CodedFrame(
                    frame_type=kind,
                    display_index=index,
                    pts=index,
                    references=references,
                    picture_hash=picture_hash(planes),
                    sections=tuple(latent_sections(case, 7, base_number, base)),
                    header=None if references else header,
                    gop_frames=None if references else len(GOP),
                )
            )

    @property
    def start(self) -> GopStart:
        return self.frames[0].gop_start

    def packets(self) -> list[bytes]:
        return [write_packet(frame, self.start) for frame in self.frames]


@pytest.fixture(scope="module")
def stream() -> Stream:
    return Stream()


def stored(packets: list[bytes]) -> list[StoredPacket]:
    return [StoredPacket(p, None, False, index, None) for index, p in enumerate(packets)]


def decode(packets: list[bytes], **options: object) -> tuple[list[Frame], GopDecoder]:
    decoder = GopDecoder(**options)
    return list(decoder.decode(stored(packets))), decoder


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_networks_follow_from_the_references(stream: Stream, threads: int) -> None:
    frames, decoder = decode(stream.packets(), threads=threads)
    assert decoder.verified == len(GOP)
    for index, frame in enumerate(frames):
        for ours, theirs in zip(frame.planes, stream.pictures[index], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_reference_is_a_typed_error(stream: Stream, lost: int) -> None:
    packets = stream.packets()
    del packets[lost]
    with pytest.raises(MissingReferenceError):
        decode(packets)
    frames, decoder = decode(packets, conceal=True)
    assert decoder.concealed > 0
    assert len(frames) == len(GOP)
    assert {type(e) for e in decoder.damage} == {MissingReferenceError}


@pytest.mark.parametrize("threads", [1, 3])
def test_what_refers_to_damaged_networks_is_concealed(stream: Stream, threads: int) -> None:
    frames = list(stream.frames)
    first, *others = frames[1].sections
    broken = replace(first, data=first.data[:1] + b"\xff" * 20)
    frames[1] = replace(frames[1], sections=(broken, *others))
    packets = [write_packet(f, stream.start) for f in frames]
    with pytest.raises(MissingReferenceError):  # of what is shown first
        decode(packets, threads=threads)
    shown, decoder = decode(packets, threads=threads, conceal=True)
    assert "base" in str(decoder.damage[0])
    assert [type(e) for e in decoder.damage] == [SyntaxElementError] + 3 * [MissingReferenceError]
    assert (decoder.verified, decoder.concealed, len(shown)) == (1, 4, 5)


def test_motion_of_i_frames_cannot_be_inherited(stream: Stream) -> None:
    frame = stream.frames[1]
    case = make_case(FrameType.P, STANDARD, HEIGHT, WIDTH, seed=4)
    case.shape = SHAPE
    case.networks.inherits = True
    base = shipped_sets(STANDARD).parameters[0].astype(np.int32)
    sections = tuple(latent_sections(case, 7, 0, base))
    broken = write_packet(replace(frame, sections=sections), stream.start)
    _, decoder = decode([stream.packets()[0], broken], conceal=True)
    refused = [e for e in decoder.damage if isinstance(e, SyntaxElementError)]
    assert [(e.packet, "inherited" in str(e)) for e in refused] == [(1, True)]


def test_damaged_latents_of_a_reference_don_t_spoil_the_error(stream: Stream) -> None:
    """Networks are there as soon as their section is read; samples aren't."""
    frames = list(stream.frames)
    first = frames[1].sections[1]
    broken = replace(first, data=first.data[:1] + b"\xff" * 20)
    frames[1] = replace(
        frames[1], sections=(frames[1].sections[0], broken, *frames[1].sections[2:])
    )
    _, decoder = decode([write_packet(f, stream.start) for f in frames], conceal=True)
    assert isinstance(decoder.damage[0], PictureHashError)  # any bytes are latents
    assert decoder.damage[0].packet == 1
    assert [type(e) for e in decoder.damage[1:]] == 3 * [MissingReferenceError]


def test_the_last_section_of_latents_counts_no_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(FrameType.P, STANDARD, HEIGHT, WIDTH, seed=1)
    tiles = case.tiles

    def written() -> list[bytes]:
        sections = coding.latent_sections(case.core, case.networks, case.grids, case.temporal, base)
        return [section.data for section in sections]

    base = None
    assert written() == [case.encode(0, tiles)]
    monkeypatch.setattr(coding, "SECTION_BYTES", 0)
    *others, last = written()
    assert len(others) == tiles - 1
    for tile, data in enumerate(others):
        assert data == b"\1" + case.encode(tile, 1)
    assert last == case.encode(tiles - 1, 1)
    base = coding.Base(3, np.zeros(STANDARD.stored, np.int32))
    assert written() == [
        b"\1" + case.encode(0, 1, base.number, base.parameters),
        *others[1:],
        last,
    ]


def test_sections_must_hold_the_frame_s_tiles(stream: Stream) -> None:
    frame = stream.frames[0]
    latents = frame.sections
    tiles = _core.tile_count(SHAPE.core(), HEIGHT, WIDTH, 0)
    assert 14 < tiles < 128

    def counted(count: int) -> Section:
        return Section(SectionKind.LATENTS, bytes([count]) + latents[0].data[1:])

    last = latents[-1]
    for sections, reason in (
        ((), "networks"),
        ((Section(SectionKind.NETWORKS, b""), last), "networks"),
        ((latents[0], Section(SectionKind.NETWORKS, b""), last), "kind 1 among"),
        ((counted(0), last), "tiles is 0"),
        ((counted(tiles), last), "no tiles are left"),
        ((counted(tiles + 1), last), f"{tiles + 1} tiles where {tiles} are left"),
        ((counted(7), counted(tiles - 6), last), f"{tiles - 6} tiles where {tiles - 7} are left"),
    ):
        packet = write_packet(replace(frame, sections=sections))
        with pytest.raises(SyntaxElementError, match=reason):
            decode([packet])


def test_forged_sections_end_in_a_typed_error(stream: Stream) -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        frames = list(stream.frames)
        place = rng.integers(len(frames))
        sections = list(frames[place].sections)
        which = rng.integers(len(sections))
        data = bytearray(sections[which].data)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        sections[which] = replace(sections[which], data=bytes(data))
        frames[place] = replace(frames[place], sections=tuple(sections))
        packets = [write_packet(f, stream.start) for f in frames]
        try:
            shown, _ = decode(packets, limits=Limits())
        except StreamError:
            continue
        for index, frame in enumerate(shown):
            np.testing.assert_array_equal(frame.y, stream.pictures[index][0])


def test_probe_accounts_for_every_kind_of_latents(stream: Stream, tmp_path: Path) -> None:
    path = tmp_path / "stream.mkv"
    with MatroskaWriter(path, make_header()) as writer:
        for data, frame in zip(stream.packets(), stream.frames, strict=True):
            writer.write(Packet(data, frame.pts, frame.is_key))
    info = probe(path)
    assert {"networks", "luma 1/1", "chroma 1/4", "vectors 1/8", "blending 1/64"} <= set(info.parts)
    assert sum(info.parts.values()) == pytest.approx(info.size)
    assert info.complexity.parameters == STANDARD.stored


def test_shapes_without_shipped_networks_are_refused() -> None:
    shape = StreamShape(replace(STANDARD, arm_hidden=(12,)))
    packet = write_packet(
        CodedFrame(
            frame_type=FrameType.I,
            display_index=0,
            pts=0,
            references=(),
            picture_hash=0,
            sections=(),
            header=make_header(shape),
            gop_frames=1,
        )
    )
    with pytest.raises(HeaderError, match="networks"):
        decode([packet])


def test_shipped_sets_fit_the_architecture(tmp_path: Path) -> None:
    shipped = shipped_sets(STANDARD)
    sets = shipped.parameters
    assert sets.dtype == np.int16
    assert 1 <= len(sets) <= 32
    assert sets.shape[1] == STANDARD.stored
    assert sets.min() >= -32767
    with pytest.raises(ValueError, match="networks"):
        shipped_sets(Architecture())
    assert len(sets) == len(shipped.frame_types) == len(shipped.lambdas)
    assert shipped.motion.dtype == np.uint16
    assert shipped.motion.shape == (4, _core.MOTION_CONTEXTS)
    assert shipped.frame.dtype == np.uint16
    assert shipped.frame.shape == (3, _core.FRAME_CONTEXTS)
    assert shipped.temporal.dtype == np.int16
    assert shipped.temporal.shape == (_core.TEMPORAL_PARAMETERS,)
    shipped.write(tmp_path / "sets.npz")
    with np.load(tmp_path / "sets.npz") as arrays:
        np.testing.assert_array_equal(arrays["sets"], sets)
        np.testing.assert_array_equal(arrays["motion"], shipped.motion)
        np.testing.assert_array_equal(arrays["frame"], shipped.frame)
        np.testing.assert_array_equal(arrays["temporal"], shipped.temporal)
