"""x264 and x265 as the Cool-chic video paper runs them (section 3.1), through PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from vireo.metrics import plane_mse
from vireo.video import Frame

GOP_PARAMETERS = {
    "random-access": "keyint=64:min-keyint=64",
    "low-delay": "bframes=0:keyint=64:min-keyint=64",
}


@dataclass(frozen=True)
class AnchorResult:
    """Bytes of the elementary stream, and the mean squared errors of Y, U, V over all frames."""

    size: int
    mse: tuple[float, float, float]


def run_anchor(codec: str, gop: str, crf: int, frames: Sequence[Frame]) -> AnchorResult:
    """Encode with `codec` ("x264" or "x265"), preset medium, tune psnr, and decode again."""
    parameters = GOP_PARAMETERS[gop] + (":log-level=none" if codec == "x265" else "")
    context = av.CodecContext.create(f"lib{codec}", "w")
    context.width, context.height = frames[0].width, frames[0].height
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, 25)
    context.framerate = Fraction(25)
    context.options = {
        "preset": "medium",
        "tune": "psnr",
        "crf": str(crf),
        f"{codec}-params": parameters,
    }
    packets = [p for i, f in enumerate(frames) for p in context.encode(_picture(f, i))]
    packets += context.encode(None)
    decoder = av.CodecContext.create("h264" if codec == "x264" else "hevc", "r")
    pictures = [p for packet in packets for p in decoder.decode(packet)]
    pictures += decoder.decode(None)
    if len(pictures) != len(frames):
        raise RuntimeError(f"{codec} gave {len(pictures)} frames for {len(frames)}")
    pictures.sort(key=lambda p: p.pts)
    errors = [
        [plane_mse(a, b) for a, b in zip(_planes(p), f.planes, strict=True)]
        for p, f in zip(pictures, frames, strict=True)
    ]
    y, u, v = np.mean(errors, axis=0)
    return AnchorResult(sum(p.size for p in packets), (float(y), float(u), float(v)))


def _picture(frame: Frame, index: int) -> av.VideoFrame:
    picture = av.VideoFrame(frame.width, frame.height, "yuv420p")
    for plane, samples in zip(picture.planes, frame.planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : plane.width] = samples
        plane.update(rows.tobytes())
    picture.pts = index
    picture.time_base = Fraction(1, 25)
    return picture


def _planes(picture: av.VideoFrame) -> Iterator[NDArray[np.uint8]]:
    for plane in picture.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        yield rows[:, : plane.width]
