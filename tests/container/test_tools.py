"""What tools that no one here wrote make of a Vireo file."""

import json
import shutil
import subprocess

import pytest
from test_matroska import GOP_FRAMES, GOPS, HEADER, SilenceCopier, packets_of, write

from vireo.container import MatroskaReader, Timeline, read_packet


def tool(name):
    """Path of a tool; `bundled-ffmpeg` is the one that imageio-ffmpeg brings."""
    if name == "bundled-ffmpeg":
        return pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(*command):
    done = subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout


@pytest.fixture
def packets():
    return packets_of()


@pytest.fixture
def clip(tmp_path, packets):
    return write(tmp_path / "clip.mkv", packets, copier=SilenceCopier)


def check_same(path, packets):
    """The file holds exactly `packets`, in order, with their key flags; gives their exact times."""
    with MatroskaReader(path) as reader:
        assert reader.header == HEADER
        stored = list(reader)
        assert len(reader.key_times()) == sum(packet.is_key for packet in packets)
    assert [packet.data for packet in stored] == [packet.data for packet in packets]
    assert [packet.is_key for packet in stored] == [packet.is_key for packet in packets]
    timeline, gop, times = Timeline(HEADER.video_format.time_base), None, []
    for packet in stored:
        frame = read_packet(packet.data, gop)
        if frame.is_key:
            gop = frame.gop_start
            timeline.start_gop(frame.pts, packet.time)
        times.append(timeline.seconds(frame.pts))
    return times


def test_ffprobe_lists_the_tracks(clip):
    streams = json.loads(run(tool("ffprobe"), "-v", "error", "-show_streams", "-of", "json", clip))
    video, sound = streams["streams"]
    assert (video["codec_type"], video["codec_tag_string"]) == ("video", "VIRE")
    assert (video["width"], video["height"]) == (176, 144)
    assert video["sample_aspect_ratio"] == "12:11"
    assert video["avg_frame_rate"] == "30000/1001"
    assert (video["color_range"], video["color_space"]) == ("tv", "smpte170m")
    assert video["disposition"]["default"] == 1
    assert video["extradata_size"] == len(HEADER.write()) + len(HEADER.write()) % 2
    assert sound["codec_name"] == "aac"


def test_ffprobe_reads_the_duration(tmp_path, packets):
    path = write(tmp_path / "clip.mkv", packets)
    entries = run(tool("ffprobe"), "-v", "error", "-show_entries", "format=duration", path)
    expected = GOPS * GOP_FRAMES * 1001 / 30000
    assert abs(float(entries.split("duration=")[1].split()[0]) - expected) < 0.002


def test_mkvinfo_finds_no_fault(clip):
    text = run(tool("mkvinfo"), clip)
    assert 'FourCC: 0x56495245 "VIRE"' in text
    assert "Display width: 192" in text
    assert "warning" not in text.lower()
    assert "error" not in text.lower()


@pytest.mark.parametrize("ffmpeg", ["ffmpeg", "bundled-ffmpeg"])
@pytest.mark.parametrize("kind", ["mkv", "mov"])
def test_ffmpeg_remuxes(tmp_path, clip, packets, ffmpeg, kind):
    copy = tmp_path / f"copy.{kind}"
    run(tool(ffmpeg), "-v", "error", "-i", clip, "-map", "0", "-c", "copy", copy)
    times = check_same(copy, packets)
    shift = times[0] - packets[0].pts * HEADER.video_format.time_base
    assert [time - shift for time in times] == [
        packet.pts * HEADER.video_format.time_base for packet in packets
    ]


@pytest.mark.parametrize("ffmpeg", ["ffmpeg", "bundled-ffmpeg"])
def test_ffmpeg_cuts_at_a_key_frame(tmp_path, clip, packets, ffmpeg):
    cut = tmp_path / "cut.mkv"
    run(tool(ffmpeg), "-v", "error", "-ss", "0.7", "-i", clip, "-c", "copy", cut)
    times = check_same(cut, packets[2 * GOP_FRAMES :])
    assert max(times) - min(times) == (3 * GOP_FRAMES - 1) / HEADER.video_format.frame_rate


def test_mkvmerge_remuxes_and_cuts(tmp_path, clip, packets):
    copy = tmp_path / "copy.mkv"
    run(tool("mkvmerge"), "-q", "-o", copy, clip)
    check_same(copy, packets)
    run(tool("mkvmerge"), "-q", "-o", tmp_path / "part.mkv", "--split", "timestamps:0.55s", clip)
    check_same(tmp_path / "part-001.mkv", packets[: 2 * GOP_FRAMES])
    check_same(tmp_path / "part-002.mkv", packets[2 * GOP_FRAMES :])


def test_mkvmerge_appends(tmp_path, clip, packets):
    both = tmp_path / "both.mkv"
    run(tool("mkvmerge"), "-q", "-o", both, clip, f"+{clip}")
    times = check_same(both, packets * 2)
    assert min(times[len(packets) :]) > max(times[: len(packets)])


def test_a_file_written_to_a_pipe_is_whole(tmp_path, clip, packets):
    """It knows neither its own size nor its clusters'."""
    path = tmp_path / "piped.mkv"
    command = [tool("ffmpeg"), "-v", "error", "-i", clip, "-c", "copy", "-f", "matroska", "-"]
    path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    check_same(path, packets)
