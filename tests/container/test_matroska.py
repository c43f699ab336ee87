import random
import struct
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from streams import FORMAT, attempt, make_frames, make_header, make_packets

from vireo.container import MatroskaReader, MatroskaWriter, Packet, Timeline, read_packet
from vireo.container.ebml import find_track, missing_bytes, write_element
from vireo.errors import (
    HeaderError,
    InputError,
    LimitError,
    StreamError,
    TruncatedError,
    UsageError,
)

GOPS, GOP_FRAMES = 5, 9
HEADER = make_header(gop_frames=GOP_FRAMES)


class SilenceCopier:
    """Adds a sound track, as a copier of another file's tracks does."""

    def __init__(self, output, seconds=1.5):
        self.output = output
        self.stream = output.add_stream("aac", rate=48000, layout="mono")
        self.frames = 0
        self.seconds = seconds
        self.finished = False

    def copy_until(self, seconds):
        while self.frames * 1024 / 48000 < min(seconds, self.seconds):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = 48000, 1024 * self.frames
            self.output.mux(self.stream.encode(frame))
            self.frames += 1

    def finish(self):
        self.copy_until(self.seconds)
        self.output.mux(self.stream.encode(None))
        self.finished = True


def packets_of(header=HEADER, **options):
    return make_packets(make_frames(header, **{"gops": GOPS, "gop_frames": GOP_FRAMES, **options}))


def write(path, packets, header=HEADER, **options):
    with MatroskaWriter(path, header, **options) as writer:
        for packet in packets:
            writer.write(packet)
    return path


@pytest.fixture
def clip(tmp_path):
    return write(tmp_path / "clip.mkv", packets_of())


@pytest.mark.parametrize("copier", [None, SilenceCopier])
def test_packets_come_back_as_they_were_written(tmp_path, copier):
    packets = packets_of()
    path = write(tmp_path / "clip.mkv", packets, copier=copier)
    assert MatroskaReader.is_vireo(path)
    content = path.read_bytes()
    with MatroskaReader(path) as reader:
        assert reader.header == HEADER
        stored = list(reader)
    assert [packet.data for packet in stored] == [packet.data for packet in packets]
    assert [packet.is_key for packet in stored] == [packet.is_key for packet in packets]
    assert [packet.index for packet in stored] == list(range(GOPS * GOP_FRAMES))
    for packet, found in zip(packets, stored, strict=True):
        assert found.data in content[found.position : found.position + len(found.data) + 16]
        if copier is None:
            assert abs(found.time - packet.pts * FORMAT.time_base) <= Fraction(1, 2000)


def test_the_same_input_gives_the_same_bytes(tmp_path):
    one = write(tmp_path / "one.mkv", packets_of(), copier=SilenceCopier)
    two = write(tmp_path / "two.mkv", packets_of(), copier=SilenceCopier)
    assert one.read_bytes() == two.read_bytes()


def test_the_container_costs_little(tmp_path):
    packets = packets_of(gops=20)
    size = write(tmp_path / "clip.mkv", packets).stat().st_size
    assert size - sum(len(packet.data) for packet in packets) < 900 + 8 * len(packets)


def test_the_private_data_is_a_bitmap_header_and_the_stream_header(clip):
    content = clip.read_bytes()
    entry = find_track(content, b"V_MS/VFW/FOURCC")
    track = content[entry.start : entry.end]
    assert find_track(content, b"V_MPEG4/ISO/ASP") is None
    header = HEADER.write() + bytes(len(HEADER.write()) % 2)
    bitmap = struct.pack(
        "<IiiHH4sI16x", 40 + len(header), 176, 144, 1, 12, b"VIRE", 176 * 144 * 3 // 2
    )
    assert write_element(0x63A2, bitmap + header) in track


@pytest.mark.parametrize("first_pts", [-45000, 0, 1234567])
def test_times_are_exact_whatever_the_container_s_clock(tmp_path, first_pts):
    packets = packets_of(first_pts=first_pts)
    path = write(tmp_path / "clip.mkv", packets)
    timeline, gop, times = Timeline(FORMAT.time_base), None, []
    with MatroskaReader(path) as reader:
        for stored in reader:
            frame = read_packet(stored.data, gop)
            if frame.is_key:
                gop = frame.gop_start
                timeline.start_gop(frame.pts, stored.time)
            times.append(timeline.seconds(frame.pts))
    shift = -first_pts * FORMAT.time_base if first_pts < 0 else 0
    assert times == [packet.pts * FORMAT.time_base + shift for packet in packets]


def test_a_varying_frame_rate_is_kept(tmp_path):
    header = make_header(
        replace(FORMAT, frame_rate=None, time_base=Fraction(1, 1000)), gop_frames=GOP_FRAMES
    )
    packets = packets_of(header)
    with MatroskaReader(write(tmp_path / "clip.mkv", packets, header)) as reader:
        assert reader.header.video_format.frame_rate is None
        assert [1000 * stored.time for stored in reader] == [packet.pts for packet in packets]


def test_an_appended_piece_has_its_own_offset():
    timeline = Timeline(Fraction(1, 25))
    timeline.start_gop(0, Fraction(0))
    assert timeline.seconds(3) == Fraction(3, 25)
    timeline.start_gop(32, Fraction(1281, 1000))
    assert timeline.offset == 0
    timeline.start_gop(0, Fraction(1500, 1000))
    assert timeline.seconds(1) == Fraction(154, 100)
    timeline.start_gop(25, None)
    assert timeline.offset == Fraction(3, 2)


def test_seeking_finds_the_key_packet_at_or_before(clip):
    with MatroskaReader(clip) as reader:
        times = reader.key_times()
        assert [float(time) for time in times] == [0, 0.3, 0.601, 0.901, 1.201]
        for seconds, gop in ((0.6, 1), (0.601, 2), (1.1, 3), (99, 4), (-5, 0), (0.2, 0), (0.9, 2)):
            reader.seek(seconds)
            stored = next(iter(reader))
            assert (stored.index, stored.is_key) == (gop * GOP_FRAMES, True)
            assert stored.time == times[gop]
        reader.seek(0.7)
        assert [stored.index for stored in reader] == list(range(2 * GOP_FRAMES, 5 * GOP_FRAMES))


def test_the_index_tells_the_gops(clip):
    with MatroskaReader(clip) as reader:
        points = reader.key_points()
    assert [point.gop.gop_frames for point in points] == [GOP_FRAMES] * GOPS
    assert [point.gop.pts for point in points] == [9009 * gop for gop in range(GOPS)]


def test_another_track_keeps_its_own_label(tmp_path):
    class PictureCopier(SilenceCopier):
        def __init__(self, output):
            super().__init__(output)
            self.picture = output.add_stream("mpeg4", rate=25, width=32, height=32)

        def finish(self):
            self.output.mux(self.picture.encode(av.VideoFrame(32, 32, "yuv420p")))
            self.output.mux(self.picture.encode(None))
            super().finish()

    packets = packets_of()
    path = write(tmp_path / "clip.mkv", packets, copier=PictureCopier)
    assert find_track(path.read_bytes(), b"V_MPEG4/ISO/ASP") is not None
    with MatroskaReader(path) as reader:
        assert [stored.data for stored in reader] == [packet.data for packet in packets]


def test_nothing_appears_before_it_is_whole(tmp_path):
    path = tmp_path / "clip.mkv"
    with MatroskaWriter(path, HEADER) as writer:
        for packet in packets_of():
            writer.write(packet)
        assert not path.exists()
    assert list(tmp_path.iterdir()) == [path]


def test_what_an_exception_interrupts_leaves_nothing(tmp_path):
    def interrupted():
        yield from packets_of()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "clip.mkv", interrupted(), copier=SilenceCopier)
    assert list(tmp_path.iterdir()) == []


def test_a_copier_that_fails_leaves_nothing(tmp_path):
    def fails(output):
        raise InputError("no sound")

    with pytest.raises(InputError):
        MatroskaWriter(tmp_path / "clip.mkv", HEADER, copier=fails)
    assert list(tmp_path.iterdir()) == []


def test_places_that_can_not_be_written_are_refused(tmp_path):
    with pytest.raises(UsageError, match="directory"):
        MatroskaWriter(tmp_path, HEADER)
    with pytest.raises(UsageError, match="can't write"):
        MatroskaWriter(tmp_path / "missing" / "clip.mkv", HEADER)


def test_times_that_go_back_are_refused(tmp_path):
    packets = packets_of(gops=1)
    late = Packet(packets[-1].data, pts=-100, is_key=False)
    with pytest.raises(ValueError, match="comes after"):
        write(tmp_path / "clip.mkv", [*packets[:-1], late])


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="can't read"):
        MatroskaReader(tmp_path / "missing.mkv")
    text = tmp_path / "text.mkv"
    text.write_text("ffconcat version 1.0\nfile clip.mkv\n")
    empty = tmp_path / "empty.mkv"
    empty.touch()
    sound = tmp_path / "sound.mkv"
    with av.open(sound, "w") as output:
        SilenceCopier(output).finish()
    for path, kind in ((text, StreamError), (empty, StreamError), (sound, HeaderError)):
        assert not MatroskaReader.is_vireo(path)
        with pytest.raises(kind):
            MatroskaReader(path)
    assert not MatroskaReader.is_vireo(tmp_path / "missing.mkv")


def test_a_packet_over_the_limit_is_refused(clip):
    with MatroskaReader(clip, max_packet_size=100) as reader, pytest.raises(LimitError):
        list(reader)


def test_a_damaged_first_gop_does_not_hide_the_header(tmp_path):
    first, *others = packets_of()
    broken = first.data[:-1] + bytes([first.data[-1] ^ 1])
    packets = [Packet(broken, first.pts, True), *others]
    with MatroskaReader(write(tmp_path / "clip.mkv", packets)) as reader:
        assert reader.header == HEADER
        assert len(list(reader)) == len(packets)
        assert [point.gop is None for point in reader.key_points()] == [True] + [False] * 4


def test_the_header_is_looked_for_in_key_packets(tmp_path):
    first, second, *others = packets_of()
    packets = [Packet(second.data, first.pts, True), second, *others]
    with MatroskaReader(write(tmp_path / "clip.mkv", packets)) as reader:
        assert reader.header == HEADER


def test_a_file_cut_short_gives_what_it_has_and_then_an_error(clip):
    whole = clip.read_bytes()
    packets = [packet.data for packet in packets_of()]
    counts = []
    for size in range(len(whole) - 1, len(whole) // 4, -997):
        clip.write_bytes(whole[:size])
        assert missing_bytes(clip) == len(whole) - size
        stored = []
        with MatroskaReader(clip) as reader:
            _, error = attempt(lambda reader=reader, stored=stored: stored.extend(reader))
            assert isinstance(error, TruncatedError)
            assert error.reason.endswith(f"last {len(whole) - size} bytes")
            assert error.packet == len(stored)
            reader.seek(0)
        # A last packet may be there in part; its checksum tells.
        assert [packet.data for packet in stored][:-1] == packets[: len(stored) - 1]
        counts.append(len(stored))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == len(packets) > counts[-1] > 0


def test_an_unfinished_file_gives_what_it_has(tmp_path, clip):
    """What a killed writer leaves behind has no size and no index."""
    content = bytearray(clip.read_bytes())
    at = content.index(bytes.fromhex("18538067")) + 4
    content[at : at + 8] = bytes.fromhex("01ffffffffffffff")
    clip.write_bytes(content[: 3 * len(content) // 4])
    with MatroskaReader(clip) as reader:
        assert len(list(reader)) > GOP_FRAMES
        reader.seek(0.5)
        assert next(iter(reader)).index == GOP_FRAMES


def test_flipped_bytes_end_in_packets_or_a_stream_error(clip):
    whole = clip.read_bytes()
    chance = random.Random(5)
    outcomes = set()
    for trial in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 4, 40])):
            damaged[chance.randrange(len(damaged) if trial % 2 else 900)] = chance.randrange(256)
        clip.write_bytes(damaged)
        count = 0
        try:
            with MatroskaReader(clip) as reader:
                for stored in reader:
                    assert len(stored.data) <= len(whole)
                    count += 1
                reader.seek(0.6)
        except StreamError:
            outcomes.add("error")
        else:
            outcomes.add("all" if count == GOPS * GOP_FRAMES else "fewer")
    assert outcomes == {"error", "all", "fewer"}
