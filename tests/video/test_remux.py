from __future__ import annotations

from fractions import Fraction

import av
import pytest

from tests.video.media import noise, packets, picture, write_movie
from vireo.errors import InputError
from vireo.video import TrackCopier


def remux(source, target, **options):
    """Two seconds of new video beside the tracks of `source`."""
    with av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as container:
        video = container.add_stream("ffv1", rate=25, width=32, height=32)
        copier = TrackCopier(source, container, **options)
        for frame in noise(32, 32, range(50)):
            copier.copy_until(Fraction(frame.pts, 25))
            item = picture(frame)
            item.time_base = Fraction(1, 25)
            container.mux(video.encode(item))
        container.mux(video.encode(None))
        copier.finish()
    return copier


@pytest.mark.parametrize("audio", ["aac", "libopus", "flac"])
def test_trimming_drops_what_is_outside_and_shifts_the_rest(tmp_path, audio):
    movie, target = tmp_path / "movie.mkv", tmp_path / "a.mkv"
    write_movie(movie, audio, seconds=3)
    begin, end = Fraction(1), Fraction(2)
    remux(movie, target, start_time=begin, end_time=end)
    expected = [(t - begin, data) for t, data in packets(movie, "audio") if begin <= t < end]
    assert packets(target, "audio") == expected
    assert 0 <= expected[0][0] < Fraction(1, 10)
    # The second subtitle runs from 0.8 to 1.2 s: it is cut, not lost.
    assert packets(target, "subtitle") == [
        (0, b"through one second"),
        (Fraction(1, 2), b"Bye"),
    ]
    with av.open(str(target)) as container:
        (chapter,) = container.chapters()
        assert chapter["metadata"]["title"] == "Second"
        assert chapter["start"] == 0
        assert chapter["end"] * chapter["time_base"] == 1
        text = container.streams.subtitles[0]
        durations = [p.duration for p in container.demux(text) if p.size]
    assert durations == [200, 400]


def test_the_end_is_copied_where_the_sound_is_longer(tmp_path):
    write_movie(tmp_path / "movie.mkv", "flac", seconds=5)
    remux(tmp_path / "movie.mkv", tmp_path / "a.mkv")
    assert packets(tmp_path / "a.mkv", "audio") == packets(tmp_path / "movie.mkv", "audio")


def test_mp4_subtitles_become_text(tmp_path):
    write_movie(tmp_path / "movie.mp4", "aac", subtitles="mov_text")
    copier = remux(tmp_path / "movie.mp4", tmp_path / "a.mkv")
    assert copier.notices == ()
    assert copier.track_count == 2
    assert packets(tmp_path / "a.mkv", "subtitle") == [
        (Fraction(1, 5), b"Hello"),
        (Fraction(4, 5), b"through one second"),
        (Fraction(3, 2), b"Bye"),
    ]
    sound = [data for _, data in packets(tmp_path / "movie.mp4", "audio")]
    assert [data for _, data in packets(tmp_path / "a.mkv", "audio")] == sound
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert container.streams.subtitles[0].codec_context.name == "srt"
        assert container.streams.subtitles[0].metadata["language"] == "deu"


def test_a_source_that_can_t_be_read(tmp_path):
    with (
        av.open(str(tmp_path / "a.mkv"), "w") as container,
        pytest.raises(InputError, match="can't be read"),
    ):
        TrackCopier(tmp_path / "absent.mkv", container)
