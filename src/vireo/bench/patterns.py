"""Moving pictures made of a still one: the motion patterns of DHVC 2.0, section 7.2.

What the paper leaves open is chosen so that 32 frames show a change that one can see: its figures
16 to 19 say no numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from math import floor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vireo.errors import InputError
from vireo.video import Frame, VideoFormat, open_sink, open_source

FRAMES = 32
_RATE = Fraction(25)
_ROOM = 128  # samples of the still's border, repeated around it

Samples = NDArray[np.float64]
Pattern = Callable[[Samples, int, int], Samples]
"""Of a plane with `_ROOM` around, its subsampling (1 or 2) and the frame's number: the plane."""


def _view(plane: Samples, share: int, scale: float = 1.0, x: float = 0, y: float = 0) -> Samples:
    """So many luma samples to the right and down, and `scale` times as far from the middle."""
    room = _ROOM // share
    height, width = (n - 2 * room for n in plane.shape)
    left = room + width / 2 * (1 - scale) + x / share
    top = room + height / 2 * (1 - scale) + y / share
    image = Image.fromarray(plane.astype(np.float32), "F")
    matrix = (scale, 0, left, 0, scale, top)
    moved = image.transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    return np.asarray(moved, np.float64)


def _filtered(plane: Samples, share: int, kernel: int) -> Samples:
    """Blurred by a Gaussian kernel of so many luma samples."""
    deviation = 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    if kernel == 1:
        return plane
    image = Image.fromarray(plane.clip(0, 255).round().astype(np.uint8), "L")
    return np.asarray(image.filter(ImageFilter.GaussianBlur(deviation / share)), np.float64)


def _sharpen(plane: Samples, share: int, i: int) -> Samples:
    still = _view(plane, share)
    return 2 * still - _view(_filtered(plane, share, 2 * (i // 8) + 1), share)


def _blur(plane: Samples, share: int, i: int) -> Samples:
    return _view(_filtered(plane, share, 2 * (i // 4) + 1), share)


def _lit(plane: Samples, share: int, factor: float) -> Samples:
    """As bright as that; chroma from grey."""
    grey = 0.0 if share == 1 else 128.0
    return grey + (_view(plane, share) - grey) * factor


def _lighten(plane: Samples, share: int, i: int) -> Samples:
    return _lit(plane, share, 1 + i / FRAMES)


def _darken(plane: Samples, share: int, i: int) -> Samples:
    return _lit(plane, share, 1 - i / FRAMES)


def _pulse(plane: Samples, share: int, i: int) -> Samples:
    return _lit(plane, share, 1.1 if i % 2 else 0.9)


def _fade(plane: Samples, share: int, i: int) -> Samples:
    still = _view(plane, share)
    return still + (still[::-1, ::-1] - still) * i / FRAMES


def _zoom(plane: Samples, share: int, i: int) -> Samples:
    return _view(plane, share, 0.98**i, x=100 * i / FRAMES)


def _shake(plane: Samples, share: int, i: int) -> Samples:
    x, y = np.random.default_rng(i).integers(-20, 21, 2) if i else (0, 0)
    return _view(plane, share, x=float(x), y=float(y))


PATTERNS: dict[str, Pattern] = {
    "sharpen": _sharpen,
    "lighten": _lighten,
    "zoom": _zoom,
    "fade": _fade,
    "blur": _blur,
    "darken": _darken,
    "pulse": _pulse,
    "shake": _shake,
}


def animated(still: Frame, pattern: str) -> Iterator[Frame]:
    """FRAMES frames of the still's size; `pts` counts them."""
    padded = [
        np.pad(plane.astype(np.float64), _ROOM // share, mode="edge")
        for plane, share in zip(still.planes, (1, 2, 2), strict=True)
    ]
    for i in range(FRAMES):
        y, u, v = (
            np.floor(PATTERNS[pattern](plane, share, i).clip(0, 255) + 0.5).astype(np.uint8)
            for plane, share in zip(padded, (1, 2, 2), strict=True)
        )
        yield Frame(y, u, v, i)


def write_patterns(source: Path, folder: Path, size: tuple[int, int] | None) -> list[Path]:
    """Writes a video of each pattern, of the first picture of `source`, to FFV1 files.

    `size` (width, height) is that of the part in the middle; all of it if None. Raises InputError
    where there is no picture or it is smaller.
    """
    with open_source(source) as video:
        still = next(islice(video, 1), None)
        old = video.format
    if still is None:
        raise InputError(f"{source} has no picture")
    width, height = size or (still.width // 2 * 2, still.height // 2 * 2)
    if width > still.width or height > still.height or width % 2 or height % 2:
        raise InputError(f"{source} has no part of {width}x{height} samples in its middle")
    top, left = (floor((n - m) / 4) * 2 for n, m in ((still.height, height), (still.width, width)))
    half = slice(top // 2, (top + height) // 2), slice(left // 2, (left + width) // 2)
    part = Frame(still.y[top : top + height, left : left + width], still.u[half], still.v[half])
    format = VideoFormat(width, height, _RATE, 1 / _RATE, color=old.color)
    written = []
    for name in PATTERNS:
        path = folder / f"{source.stem}_{name}_{width}x{height}_{FRAMES}f.mkv"
        with open_sink(path, format, kind="ffv1", overwrite=True) as sink:
            for frame in animated(part, name):
                sink.write(frame)
        written.append(path)
    return written
