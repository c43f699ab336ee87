"""The frame viewer's pictures: one frame per clip, as it was and as each codec gives it back."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path

from PIL import Image

from vireo.bench.record import ClipRecord
from vireo.bench.streams import pictures
from vireo.errors import VireoError
from vireo.video import ColorDescription, ColorRange, Frame, open_source
from vireo.video.convert import rgb_picture

WINDOW = (640, 416)
"""Width and height of what the page keeps of a picture; the middle of larger ones."""

Point = tuple[str, str, str, float]
"""`Record.point`."""

WEBP_EFFORT = 4
"""0…6: 6 takes four times as long for 1 % fewer bytes."""


@dataclass(frozen=True)
class Window:
    """The part of a frame that is shown, in luma samples."""

    left: int
    top: int
    width: int
    height: int

    @staticmethod
    def of(clip: ClipRecord) -> Window:
        """The middle of a clip's frames, at most `WINDOW`."""
        width, height = min(clip.width, WINDOW[0]), min(clip.height, WINDOW[1])
        return Window((clip.width - width) // 2, (clip.height - height) // 2, width, height)


@dataclass(frozen=True)
class ClipPictures:
    """One frame of a clip, as data URIs.

    Attributes:
        frame: which, from 0.
        window: what part of it.
        original: lossless.
        decoded: by the record's point, lossless.
    """

    frame: int
    window: Window
    original: str = field(repr=False)
    decoded: dict[Point, str] = field(repr=False)


@dataclass(frozen=True)
class Wanted:
    """A clip, where it is, and the streams whose pictures the page shows, by record's point."""

    clip: ClipRecord
    path: Path
    streams: dict[Point, Path]


def collect(
    wanted: Iterable[Wanted],
    *,
    frame: int | None = None,
    notify: Callable[[str], None] | None = None,
) -> tuple[dict[str, ClipPictures], list[str]]:
    """The pictures by clip, and a sentence on each that could not be had.

    Args:
        wanted: clips, each with the streams to decode.
        frame: which frame, from 0, or a clip's last where it is shorter; None for its middle.
        notify: told what is being read.
    """
    found: dict[str, ClipPictures] = {}
    missing: list[str] = []
    for want in wanted:
        clip = want.clip
        index = min(frame, clip.frames - 1) if frame is not None else clip.frames // 2
        if notify:
            notify(f"{clip.name}: frame {index} of {len(want.streams)} streams")
        window = Window.of(clip)
        try:
            with open_source(want.path, frames=index + 1) as source:
                original = _data_uri(_frame(source, index), clip, window)
        except (VireoError, OSError) as error:
            missing.append(f"no pictures of {clip.name}: {_reason(error, want.path)}")
            continue
        decoded: dict[Point, str] = {}
        failures: list[str] = []
        for point, path in want.streams.items():
            try:
                decoded[point] = _data_uri(_frame(pictures(path), index), clip, window)
            except (VireoError, OSError) as error:
                failures.append(f"{path.name}: {_reason(error, path)}")
        if failures:
            some = f"{len(failures)} of {len(want.streams)} streams of {clip.name}"
            missing.append(f"no pictures of {some}; the first is {failures[0]}")
        found[clip.name] = ClipPictures(index, window, original, decoded)
    return found, missing


def _frame(frames: Iterable[Frame], index: int) -> Frame:
    frame = next(islice(frames, index, None), None)
    if frame is None:
        raise VireoError(f"it ends before frame {index}")
    return frame


def _reason(error: Exception, path: Path) -> str:
    """What the error says, without where the file was on the machine of the run."""
    return str(error).removeprefix(f"{path}: ").replace(str(path), path.name)


def _data_uri(frame: Frame, clip: ClipRecord, window: Window) -> str:
    if (frame.width, frame.height) != (clip.width, clip.height):
        raise VireoError(f"it is {frame.width}x{frame.height}, the clip {clip.width}x{clip.height}")
    range_ = ColorRange.FULL if clip.full_range else ColorRange.LIMITED
    color = ColorDescription(range=range_, matrix=clip.matrix)
    rgb = rgb_picture(frame, color, Fraction(1)).to_ndarray()
    right, bottom = window.left + window.width, window.top + window.height
    file = io.BytesIO()
    Image.fromarray(rgb[window.top : bottom, window.left : right]).save(
        file, "WEBP", lossless=True, method=WEBP_EFFORT
    )
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
