"""Frames and what describes them: the nouns that every codec shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]

DEFAULT_RATE = Fraction(25)
"""Frames per second where a rate is needed and nothing tells one."""


class ColorRange(IntEnum):
    """How sample values map to light: ffmpeg's `AVColorRange` numbers."""

    UNSPECIFIED = 0
    LIMITED = 1
    FULL = 2


@dataclass(frozen=True)
class ColorDescription:
    """Colour of a video, in the code points of ITU-T H.273 (2 means unspecified).

    Attributes:
        range: limited (16…235) or full (0…255) sample range.
        primaries, transfer, matrix: H.273 code points, 0…255.
        chroma_location: ffmpeg's `AVChromaLocation` number, 0 (unspecified) … 6.
    """

    range: ColorRange = ColorRange.UNSPECIFIED
    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    chroma_location: int = 0


@dataclass(frozen=True)
class VideoFormat:
    """What holds for every frame of a video.

    Attributes:
        width, height: luma size in samples, before rotation, at least 1.
        frame_rate: frames per second; None where the rate varies.
        time_base: seconds per tick of `Frame.pts`.
        sample_aspect_ratio: width over height of one sample.
        rotation: degrees counter-clockwise to turn the picture for display, 0…359
            (PyAV's `VideoFrame.rotation`).
        color: colour description.
    """

    width: int
    height: int
    frame_rate: Fraction | None
    time_base: Fraction
    sample_aspect_ratio: Fraction = Fraction(1)
    rotation: int = 0
    color: ColorDescription = ColorDescription()

    @property
    def chroma_size(self) -> tuple[int, int]:
        """Width and height of the chroma planes in 4:2:0."""
        return (self.width + 1) // 2, (self.height + 1) // 2


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture in 8-bit planar YUV 4:2:0.

    Attributes:
        y: luma, uint8 `[H, W]`.
        u, v: chroma, uint8 `[ceil(H / 2), ceil(W / 2)]`.
        pts: presentation time in ticks of the video's time base.
    """

    y: Plane
    u: Plane
    v: Plane
    pts: int = 0

    @property
    def planes(self) -> tuple[Plane, Plane, Plane]:
        return self.y, self.u, self.v

    @property
    def width(self) -> int:
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        return int(self.y.shape[0])

    def __repr__(self) -> str:
        return f"Frame({self.width}x{self.height} yuv420p, pts={self.pts})"
