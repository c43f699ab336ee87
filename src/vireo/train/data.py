"""Clips to train on: videos decoded once, into one file that is mapped into memory.

A clip is a run of frames of one size, planar YUV 4:2:0. Which clips a step sees, and how they are
cropped and turned, follows from the seed and the step's number alone, so that training goes on
where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vireo.errors import InputError, UsageError

Samples = NDArray[np.uint8]

SUFFIXES = {".mkv", ".mp4", ".mov", ".webm", ".avi", ".y4m"}
FRAMES = 7  # of a clip
SIDE = 256  # of a clip's frames, in luma samples
_ALIGNED = 2  # places of crops, in luma samples


@dataclass(frozen=True)
class Batch:
    """Luma `[B, T, 1, H, W]` and chroma `[B, T, 2, H / 2, W / 2]`, uint8."""

    luma: Samples
    chroma: Samples


class Clips:
    """Clips in one file.

    Args:
        samples: `[N, FRAMES, SIDE * SIDE * 3 / 2]`: Y, U, V of each frame.
        held_out: so many at the end are for validation, never for training.
        identity: of the files that they are from.
    """

    def __init__(self, samples: Samples, held_out: int = 0, identity: str = "") -> None:
        if not 0 <= held_out < len(samples):
            raise InputError(f"there are {len(samples)} clips, too few to hold out {held_out}")
        self._samples = samples
        self._held_out = held_out
        self.identity = identity

    def __len__(self) -> int:
        return len(self._samples) - self._held_out

    def draw(self, rng: np.random.Generator, count: int, frames: int, crop: int) -> Batch:
        """Random clips, cropped, mirrored and played backwards by chance."""
        chosen = []
        for clip in rng.integers(len(self), size=count):
            first = int(rng.integers(FRAMES - frames + 1))
            run = self._samples[clip, first : first + frames]
            top, left = (_ALIGNED * int(rng.integers((SIDE - crop) // _ALIGNED + 1)) for _ in "yx")
            flips = rng.random(3) < 0.5
            chosen.append([_turned(p, flips) for p in _cropped(run, top, left, crop)])
        return _batch(chosen)

    def validation(self, frames: int, crop: int = SIDE) -> Batch:
        """The clips that are held out, from their middle."""
        place = (SIDE - crop) // 2 // _ALIGNED * _ALIGNED
        runs = self._samples[len(self) :, :frames]
        return _batch([_cropped(run, place, place, crop) for run in runs])


def _planes(run: Samples) -> tuple[Samples, Samples]:
    luma, chroma = SIDE * SIDE, SIDE // 2
    y = run[:, :luma].reshape(-1, 1, SIDE, SIDE)
    return y, run[:, luma:].reshape(-1, 2, chroma, chroma)


def _cropped(run: Samples, top: int, left: int, crop: int) -> tuple[Samples, Samples]:
    y, c = _planes(run)
    half, t, x = crop // 2, top // 2, left // 2
    return y[..., top : top + crop, left : left + crop], c[..., t : t + half, x : x + half]


def _turned(planes: Samples, flips: NDArray[np.bool_]) -> Samples:
    for flip, axis in zip(flips, (0, -1, -2), strict=True):
        if flip:
            planes = np.flip(planes, axis)
    return planes


def _batch(chosen: list[tuple[Samples, Samples]] | list[list[Samples]]) -> Batch:
    luma, chroma = (np.ascontiguousarray(np.stack(p)) for p in zip(*chosen, strict=True))
    return Batch(luma, chroma)


def open_clips(
    folder: Path, cache: Path, *, held_out: int = 0, say: Callable[[str], None] = lambda text: None
) -> Clips:
    """The clips of a folder's videos, decoded into `cache` unless they are there already.

    A pack of clips, with its `index.csv`, has runs of FRAMES frames one after another; of any
    other video each run of FRAMES frames is a clip. Of frames that are larger the middle is taken;
    smaller ones are left out, as is what can't be decoded.

    Raises InputError for a folder without clips, and for a cache that can't be written.
    """
    videos = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not videos:
        raise InputError(f"there are no videos in {folder}")
    identity = json.dumps(
        [[str(p.relative_to(folder)), p.stat().st_size, FRAMES, SIDE] for p in videos]
    )
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    path = cache / f"clips-{name}.u8"
    if not path.exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            _decode(videos, path, say)
        except OSError as error:
            raise InputError(f"the clips can't be kept in {cache}: {error.strerror}") from error
    length = FRAMES * SIDE * SIDE * 3 // 2
    samples = np.memmap(path, np.uint8, "r").reshape(-1, FRAMES, length // FRAMES)
    return Clips(samples, held_out, name)


def _decode(videos: list[Path], path: Path, say: Callable[[str], None]) -> None:
    partial = path.with_suffix(f".{os.getpid()}")
    count = 0
    try:
        with partial.open("wb") as out:
            for place, video in enumerate(videos, 1):
                say(f"decoding {video.name} ({place} of {len(videos)})")
                for run in _runs(video, say):
                    out.write(run)
                    count += 1
        if count == 0:
            raise InputError(f"no video has frames of {SIDE}x{SIDE} samples or more")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _runs(video: Path, say: Callable[[str], None]) -> Iterator[bytes]:
    """Of each whole run of a video its frames' middles; up to where it can't be decoded."""
    run: list[bytes] = []
    for y, u, v in _frames(video, say):
        height, width = y.shape
        if height < SIDE or width < SIDE:
            say(f"{video.name} is left out: its frames are smaller than {SIDE}x{SIDE}")
            return
        t, x = ((n - SIDE) // 4 for n in (height, width))
        half = SIDE // 2
        luma = y[2 * t : 2 * t + SIDE, 2 * x : 2 * x + SIDE]
        chroma = (p[t : t + half, x : x + half] for p in (u, v))
        run.append(b"".join(p.tobytes() for p in (luma, *chroma)))
        if len(run) == FRAMES:
            yield b"".join(run)
            run = []


def _frames(video: Path, say: Callable[[str], None]) -> Iterator[tuple[Samples, Samples, Samples]]:
    """By PyAV, or where that is missing by OpenCV, whose way through RGB costs a level or so."""
    try:
        import av
    except ImportError:
        yield from _frames_by_opencv(video)
        return
    try:
        with av.open(str(video)) as container:
            if not container.streams.video:
                say(f"{video.name} has no video")
                return
            for frame in container.decode(video=0):
                width, height = frame.width // 2 * 2, frame.height // 2 * 2
                planar = frame.reformat(width, height, "yuv420p").to_ndarray()
                yield _split(planar.astype(np.uint8, copy=False), width)
    except (av.FFmpegError, ValueError) as error:
        say(f"the rest of {video.name} can't be decoded: {error}")


def _frames_by_opencv(video: Path) -> Iterator[tuple[Samples, Samples, Samples]]:
    try:
        import cv2  # type: ignore[import-not-found]
    except ImportError as error:
        raise UsageError("decoding clips needs PyAV or OpenCV: install av") from error
    capture = cv2.VideoCapture(str(video))
    try:
        while True:
            there, image = capture.read()
            if not there:
                return
            height, width = (n // 2 * 2 for n in image.shape[:2])
            planar = cv2.cvtColor(image[:height, :width], cv2.COLOR_BGR2YUV_I420)
            yield _split(planar, width)
    finally:
        capture.release()


def _split(planar: Samples, width: int) -> tuple[Samples, Samples, Samples]:
    """Y, U, V of `[H * 3 / 2, W]`."""
    height = planar.shape[0] * 2 // 3
    chroma = planar[height:].reshape(2, height // 2, width // 2)
    return planar[:height], chroma[0], chroma[1]
