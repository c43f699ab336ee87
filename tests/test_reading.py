from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

import vireo
from tests.clips import Sample, same, write_packets
from vireo.codecs.base import Limits
from vireo.codecs.decoding import GopDecoder
from vireo.container import MatroskaReader, Packet, write_packet
from vireo.errors import ChecksumError, InputError, LimitError, StreamError, UsageError
from vireo.video.frame import Frame


def ffmpeg() -> list[str]:
    path = shutil.which("ffmpeg")
    if path is None:
        pytest.skip("ffmpeg is not installed")
    return [path, "-v", "error"]


def in_order(path: Path) -> list[Frame]:
    with MatroskaReader(path) as reader:
        return list(GopDecoder().decode(reader))


@pytest.fixture
def frames(sample: Sample) -> list[Frame]:
    return in_order(sample.path)


def test_every_index_gives_the_frame_of_sequential_decoding(sample: Sample, frames) -> None:
    with vireo.open(sample.path) as video:
        assert len(video) == len(frames) == 8
        for order in (range(8), range(7, -1, -1), [3, 3, 4, 5, 4, 0, 7, 1, 6, 2]):
            assert all(same(video[i], frames[i]) for i in order)
        assert all(same(video[-i], frames[-i]) for i in range(1, 9))
        assert all(same(a, b) for a, b in zip(video, frames, strict=True))
        for part in (slice(2, 6), slice(None), slice(7, None, -3), slice(5, 5), slice(-3, 99)):
            found = video[part]
            assert len(found) == len(frames[part])
            assert all(same(a, b) for a, b in zip(found, frames[part], strict=True))
        for wrong in (8, -9, 1000):
            with pytest.raises(IndexError, match="8 frames"):
                video[wrong]
        assert repr(video) == "Video(48x40, 8 frames)"
        assert video.format == sample.header.video_format


@pytest.mark.parametrize("name", ["low-delay", "intra"])
def test_other_structures(samples: dict[str, Sample], name: str) -> None:
    expected = in_order(samples[name].path)
    with vireo.open(samples[name].path, threads=2) as video:
        assert len(video) == len(expected)
        assert all(same(video[i], expected[i]) for i in reversed(range(len(expected))))


def test_rising_indices_decode_each_gop_once(sample: Sample, monkeypatch) -> None:
    seeks = []
    seek = MatroskaReader.seek
    monkeypatch.setattr(MatroskaReader, "seek", lambda self, at: (seeks.append(at), seek(self, at)))
    with vireo.open(sample.path) as video:
        for i in (0, 1, 4, 5, 7):
            video[i]
        assert len(seeks) == 1
        video[6]
        assert len(seeks) == 3  # one of them looks whether the GOP stands alone


def test_times_are_the_same_however_a_frame_is_reached(sample: Sample, tmp_path: Path) -> None:
    """The file's clock is ahead, and the container rounds its times by up to a tick."""
    video_format = replace(sample.header.video_format, time_base=Fraction(1, 1000))
    header = replace(sample.header, video_format=video_format)
    packets = []
    gop = None
    for turn in range(6):
        for frame in sample.coded:
            timed = replace(
                frame,
                pts=40 * (frame.pts + 8 * turn),
                header=header if frame.is_key else None,
            )
            gop = timed.gop_start if timed.is_key else gop
            rounding = len(packets) % 3 - 1
            moved = timed.pts + 1234 + rounding
            packets.append(Packet(write_packet(timed, gop), moved, timed.is_key))
    path = write_packets(tmp_path / "moved.mkv", header, packets)
    expected = [f.pts for f in in_order(path)]
    assert expected[:2] == [1233, 1273]
    with vireo.open(path) as video:
        assert [video[i].pts for i in range(47, -1, -1)][::-1] == expected


def test_damage_is_met_where_it_is(sample: Sample, frames, tmp_path: Path) -> None:
    broken = [
        replace(p, data=p.data[:-1] + bytes([p.data[-1] ^ 1])) if i == 2 else p
        for i, p in enumerate(sample.packets)
    ]
    path = write_packets(tmp_path / "broken.mkv", sample.header, broken)
    with vireo.open(path) as video:
        assert len(video) == 8
        assert same(video[0], frames[0])
        for _ in range(2):
            with pytest.raises(ChecksumError, match="packet 2"):
                video[2]
            assert same(video[6], frames[6])
        assert same(video[0], frames[0])


def test_a_cut_file_says_what_it_lacks(sample: Sample, frames, tmp_path: Path) -> None:
    content = sample.path.read_bytes()
    at = content.index(sample.packets[6].data)
    path = tmp_path / "cut.mkv"
    path.write_bytes(content[: at + 10])
    with vireo.open(path) as video:
        assert same(video[5], frames[5])
        with pytest.raises(StreamError):
            video[7]
        assert same(video[4], frames[4])


def test_what_can_t_be_opened(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        vireo.open(tmp_path / "none.mkv")
    with pytest.raises(StreamError):
        vireo.open(sample.source)
    with pytest.raises(LimitError):
        vireo.open(sample.path, limits=Limits(pixels=1000))
    with pytest.raises(UsageError):
        vireo.open(sample.path, threads=0)


def test_quicktime_reads_alike(sample: Sample, frames, tmp_path: Path) -> None:
    """`ffmpeg -c copy` may have put the track into QuickTime."""
    path = tmp_path / "copy.mov"
    command = [*ffmpeg(), "-i", sample.path, "-c", "copy", "-tag:v", "VIRE", path]
    subprocess.run(command, check=True, capture_output=True)
    with vireo.open(path) as video:
        assert len(video) == 8
        for i in (7, 0, 5, 3):
            assert all(
                (a == b).all() for a, b in zip(video[i].planes, frames[i].planes, strict=True)
            )
    assert vireo.verify(path).damage == ()
    content = path.read_bytes()
    for size in (len(content) // 3, len(content) - 200, len(content) - 2000):
        path.write_bytes(content[:size])
        with pytest.raises(StreamError):
            vireo.decode(path, tmp_path / "out.y4m", overwrite=True)
