"""Between PyAV's pictures and Vireo's frames: sample layouts, ranges and matrices."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation

from vireo.video.frame import ColorDescription, ColorRange, Frame, Plane

NATIVE_FORMATS = ("yuv420p", "yuvj420p")
_UNSPECIFIED = 2
_BT709 = 1
_CHROMA_LEFT = 1
_CHROMA_CENTER = 2
# Exact and the same on every CPU: swscale's SIMD shortcuts differ from its C code otherwise.
_SCALER = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
# H.273 matrix to swscale's number for it, where swscale has one.
_SWS_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


def color_of(picture: av.VideoFrame, chroma_location: int = 0) -> ColorDescription:
    """The colour description of a decoded picture, before any conversion."""

    def code_point(value: int) -> int:
        return int(value) if 0 <= value <= 255 else _UNSPECIFIED

    range_ = ColorRange(picture.color_range) if picture.color_range <= 2 else ColorRange.UNSPECIFIED
    if picture.format.name.startswith("yuvj"):
        range_ = ColorRange.FULL
    return ColorDescription(
        range=range_,
        primaries=code_point(picture.color_primaries),
        transfer=code_point(picture.color_trc),
        matrix=code_point(picture.colorspace),
        chroma_location=chroma_location,
    )


class FrameConverter:
    """Turns decoded pictures of one pixel format into 8-bit 4:2:0 frames.

    8-bit `yuv420p` passes unchanged. Grey gets neutral chroma. Everything else goes through
    libswscale: YUV keeps its range and matrix, RGB becomes BT.709 in limited range.

    Attributes:
        color: colour description of the frames made.
        notice: one sentence that says what is converted; None where nothing is.
    """

    def __init__(self, pixel_format: str, color: ColorDescription):
        layout = av.VideoFormat(pixel_format, 16, 16)
        bits = max(component.bits for component in layout.components)
        self._is_rgb = layout.is_rgb or layout.has_palette
        self._is_gray = not self._is_rgb and sum(not c.is_alpha for c in layout.components) == 1
        self._range = int(color.range)
        self.color = color
        self.notice: str | None = None
        if pixel_format in NATIVE_FORMATS:
            return
        what = "8-bit 4:2:0"
        if self._is_rgb:
            self._range = int(ColorRange.LIMITED)
            what = "8-bit 4:2:0 YUV (BT.709, limited range)"
            self.color = ColorDescription(
                range=ColorRange.LIMITED,
                primaries=_BT709 if color.primaries == _UNSPECIFIED else color.primaries,
                transfer=_BT709 if color.transfer == _UNSPECIFIED else color.transfer,
                matrix=_BT709,
                chroma_location=color.chroma_location or _CHROMA_CENTER,
            )
        elif not self._is_gray and (layout.chroma_width(), layout.chroma_height()) != (8, 8):
            # swscale puts chroma where the picture says. Where it says nothing, chroma stays in
            # its column if the columns are halved already, and goes to the centre otherwise.
            default = _CHROMA_LEFT if layout.chroma_width() == 8 else _CHROMA_CENTER
            self.color = replace(color, chroma_location=color.chroma_location or default)
        alpha = any(component.is_alpha for component in layout.components)
        self.notice = f"{bits}-bit {pixel_format} is converted to {what}" + (
            "; its transparency is dropped" if alpha else ""
        )

    def __call__(self, picture: av.VideoFrame, pts: int) -> Frame:
        """One frame with time stamp `pts` from a decoded picture."""
        if self._is_gray:
            return self._from_gray(picture, pts)
        if self._is_rgb:
            picture = picture.reformat(
                format="yuv420p",
                interpolation=_SCALER,
                dst_colorspace=_BT709,
                dst_color_range=self._range,
                threads=1,
            )
        elif picture.format.name not in NATIVE_FORMATS:
            picture = picture.reformat(
                format="yuv420p",
                interpolation=_SCALER,
                src_color_range=self._range,
                dst_color_range=self._range,
                threads=1,
            )
        y, u, v = (_samples(picture.planes[i]).copy() for i in range(3))
        return Frame(y, u, v, pts)

    def _from_gray(self, picture: av.VideoFrame, pts: int) -> Frame:
        # Not through swscale where it can be helped: it takes every grey source for full range.
        layout = picture.format
        bits = layout.components[0].bits
        if 8 < bits <= 16 and len(layout.components) == 1:
            plane = picture.planes[0]
            rows = np.frombuffer(memoryview(plane), ">u2" if layout.is_big_endian else "<u2")
            wide = rows.reshape(plane.height, -1)[:, : plane.width].astype(np.uint32)
            rounded = (wide + (1 << (bits - 9))) >> (bits - 8)
            y: Plane = np.minimum(rounded, 255).astype(np.uint8)
        else:
            if layout.name != "gray":
                picture = picture.reformat(format="gray", interpolation=_SCALER, threads=1)
            y = _samples(picture.planes[0]).copy()
        neutral = np.full(((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2), 128, np.uint8)
        return Frame(y, neutral, neutral.copy(), pts)


def picture_of(frame: Frame, color: ColorDescription, time_base: Fraction) -> av.VideoFrame:
    """The `yuv420p` picture that holds a frame's samples, time and colour."""
    picture = av.VideoFrame(frame.width, frame.height, "yuv420p")
    for target, plane in zip(picture.planes, frame.planes, strict=True):
        _samples(target)[:] = plane
    picture.pts = frame.pts
    picture.time_base = time_base
    picture.color_range = int(color.range)
    picture.color_primaries = color.primaries
    picture.color_trc = color.transfer
    picture.colorspace = color.matrix
    return picture


def rgb_picture(frame: Frame, color: ColorDescription, time_base: Fraction) -> av.VideoFrame:
    """A frame as 8-bit full-range RGB, by its own range and matrix.

    An unspecified matrix is taken for BT.709 and an unspecified range for limited.
    """
    matrix = _SWS_MATRIX.get(color.matrix, _BT709)
    full = color.range is ColorRange.FULL
    return picture_of(frame, color, time_base).reformat(
        format="rgb24",
        interpolation=_SCALER,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=int(ColorRange.FULL if full else ColorRange.LIMITED),
        dst_color_range=int(ColorRange.FULL),
        threads=1,
    )


def _samples(plane: av.video.plane.VideoPlane) -> Plane:
    """A view `[H, W]` of a plane's samples, without the padding of its rows."""
    rows: Plane = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]
