"""Clips to train on: where they come from, and that the same step sees the same ones."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import moving, write_y4m
from vireo.errors import InputError
from vireo.train.data import FRAMES, SIDE, Batch, Clips, open_clips


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips in a larger video, one in an odd one, a small one, sound alone, and junk."""
    videos = tmp_path / "videos"
    videos.mkdir()
    write_y4m(videos / "large.y4m", moving(SIDE + 12, SIDE + 8, 2 * FRAMES + 3))
    write_y4m(videos / "small.y4m", moving(64, 64, FRAMES))
    write_y4m(videos / "odd.y4m", moving(SIDE + 1, SIDE + 1, FRAMES))
    (videos / "junk.mkv").write_bytes(b"no video at all")
    with av.open(str(videos / "sound.mkv"), "w") as sound:
        stream = sound.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        sound.mux(stream.encode(frame))
    return videos


def test_each_whole_run_of_frames_is_a_clip(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    clips = open_clips(folder, tmp_path / "cache", held_out=1, say=said.append)
    assert len(clips) == 2
    assert any("sound.mkv has no video" in s for s in said)
    assert any("small.y4m is left out" in s for s in said)
    assert any("junk.mkv" in s and "decoded" in s for s in said)
    source = moving(SIDE + 12, SIDE + 8, 2 * FRAMES)
    luma, chroma = clips._samples[1, 2, : SIDE**2], clips._samples[1, 2, SIDE**2 :]
    assert np.array_equal(
        luma.reshape(SIDE, SIDE), source[FRAMES + 2].y[4 : 4 + SIDE, 6 : 6 + SIDE]
    )
    half = SIDE // 2
    assert np.array_equal(
        chroma.reshape(2, half, half)[1], source[FRAMES + 2].v[2 : 2 + half, 3 : 3 + half]
    )


def test_clips_are_decoded_once(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    open_clips(folder, tmp_path, held_out=1)
    open_clips(folder, tmp_path, held_out=1, say=said.append)
    assert not said


def test_a_step_sees_the_same_clips_again(folder: Path, tmp_path: Path) -> None:
    clips = open_clips(folder, tmp_path, held_out=1)

    def draw(step: int) -> Batch:
        return clips.draw(np.random.default_rng([0, step]), 3, 2, 64)

    once, again, other = draw(1), draw(1), draw(2)
    assert once.luma.shape == (3, 2, 1, 64, 64)
    assert once.chroma.shape == (3, 2, 2, 32, 32)
    assert np.array_equal(once.luma, again.luma)
    assert np.array_equal(once.chroma, again.chroma)
    assert not np.array_equal(once.luma, other.luma)


def test_luma_and_chroma_are_cropped_and_turned_alike() -> None:
    """Planes that say where they are from: chroma is half of luma's row, column and time."""
    y = np.broadcast_to(np.arange(SIDE)[:, None] // 2, (SIDE, SIDE))
    half = np.broadcast_to(np.arange(SIDE // 2)[:, None], (SIDE // 2, SIDE // 2))
    frames = [
        np.concatenate([y.ravel() + t, half.ravel() + t, half.T.ravel() + t]) for t in range(FRAMES)
    ]
    clips = Clips(np.array([frames], np.uint8))
    rng = np.random.default_rng(0)
    for _ in range(20):
        batch = clips.draw(rng, 1, 3, 64)
        assert np.array_equal(batch.luma[0, :, 0, ::2, ::2], batch.chroma[0, :, 0])


def test_what_is_no_set_of_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no videos"):
        open_clips(tmp_path, tmp_path)
    write_y4m(tmp_path / "small.y4m", moving(64, 64, FRAMES))
    with pytest.raises(InputError, match="256x256"):
        open_clips(tmp_path, tmp_path)
    write_y4m(tmp_path / "large.y4m", moving(SIDE, SIDE, FRAMES))
    with pytest.raises(InputError, match="too few"):
        open_clips(tmp_path, tmp_path, held_out=1)
    assert not list(tmp_path.glob("*.u8.*"))
