"""Draws the README's picture: a B frame beside its source, and what its networks say.

    vireo encode CLIP clip.mkv --profile paper --frames 9 --gop-size 8 --quality 70 --preset fast
    python examples/picture_of_a_b_frame.py CLIP clip.mkv docs/images/b_frame.png

Needs matplotlib. The frame is the one in the middle of the first GOP.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import av
import matplotlib
import numpy as np
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray
from PIL import Image

from vireo import Frame, _core
from vireo.codecs.base import Limits, Planes
from vireo.codecs.coolchic.decoder import CoolchicDecoder
from vireo.codecs.coolchic.stream import StreamShape
from vireo.container import MatroskaReader, read_packet
from vireo.metrics import plane_mse, psnr
from vireo.video import open_source

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = 256  # of the palette, which keeps the file small
WIDTH, TITLE = 6.4, 0.21  # inches of the figure's width and of a title's height

Signals = tuple[Planes, list[NDArray[np.int32]], *tuple[NDArray[np.int32], ...]]


def decode_middle(path: Path) -> tuple[int, int, Signals]:
    """Display index and packet size of the first GOP's middle frame, and its signals."""
    decoded: dict[int, Planes] = {}
    gop = None
    with MatroskaReader(path) as reader:
        decoder = CoolchicDecoder(reader.header, Limits())
        shape = StreamShape.read(reader.header.configuration, reader.header.profile).core()
        for packet in reader:
            frame = read_packet(packet.data, gop)
            gop = gop or frame.gop_start
            parsed = decoder.parse(frame)
            signals: Signals = _core.reconstruct(
                shape,
                parsed.networks,
                parsed.latents.grids(),
                [decoded[r] for r in frame.references],
                signals=True,
            )
            decoded[frame.display_index] = signals[0]
            if frame.display_index == (gop.gop_frames - 1) // 2:
                return frame.display_index, len(packet.data), signals
    raise SystemExit(f"{path} has no whole GOP")


def rgb(planes: Planes) -> NDArray[np.uint8]:
    """BT.709 limited range as `[H, W, 3]`."""
    y, u, v = planes
    picture = av.VideoFrame(y.shape[1], y.shape[0], "yuv420p")
    for plane, samples in zip(picture.planes, (y, u, v), strict=True):
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : samples.shape[1]] = samples
        plane.update(padded.tobytes())
    return picture.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()


def flow_picture(x: NDArray[np.int32], y: NDArray[np.int32]) -> tuple[NDArray[np.float64], float]:
    """Direction as hue, length as saturation `[H, W, 3]`; and the length of full saturation."""
    dx, dy = x / 64, y / 64
    length = np.hypot(dx, dy)
    longest = float(np.percentile(length, 99)) or 1.0
    hue = np.arctan2(dy, dx) / (2 * np.pi) % 1
    colour = np.stack([hue, np.clip(length / longest, 0, 1), np.ones_like(hue)], axis=-1)
    return hsv_to_rgb(colour), longest


def draw(source: Frame, index: int, size: int, signals: Signals) -> Image.Image:
    planes, flows, residual, alpha, beta = signals
    quality = psnr(plane_mse(planes[0], source.y))
    to_past, longest = flow_picture(flows[0], flows[1])
    height = WIDTH * 0.75 * source.height / source.width + 2 * TITLE
    figure = plt.figure(figsize=(WIDTH, height), dpi=100)
    grid = figure.add_gridspec(
        2, 4, height_ratios=[2, 1], left=0.004, right=0.996, top=1 - TITLE / height, bottom=0.004,
        wspace=0.02, hspace=0.12,
    )  # fmt: skip

    def panel(place: object, image: NDArray, title: str, **kind: object) -> None:
        axes = figure.add_subplot(place)
        axes.imshow(image, interpolation="antialiased", aspect="equal", **kind)
        axes.set_title(title, fontsize=8, pad=3)
        axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)

    panel(grid[0, :2], rgb(source.planes), f"source, frame {index}")
    panel(grid[0, 2:], rgb(planes), f"decoded B frame: {size} bytes, luma {quality:.1f} dB")
    blend = {"cmap": "gray", "vmin": 0, "vmax": 4096}
    panel(grid[1, 0], to_past, f"flow, up to {longest:.0f} samples")
    panel(grid[1, 1], beta, "beta", **blend)
    panel(grid[1, 2], alpha, "alpha", **blend)
    panel(grid[1, 3], residual / 64, "luma residual", cmap="RdBu", vmin=-64, vmax=64)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return Image.open(data).convert("RGB").quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, help="the source")
    parser.add_argument("encoded", type=Path, help="the Vireo file made of it")
    parser.add_argument("output", type=Path, help="the PNG to make")
    options = parser.parse_args()
    index, size, signals = decode_middle(options.encoded)
    with open_source(options.clip, start=index, frames=1) as video:
        source = next(iter(video))
    draw(source, index, size, signals).save(options.output, optimize=True)


if __name__ == "__main__":
    main()
