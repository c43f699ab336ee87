"""What the codebook codec takes and gives: frequencies, precisions, drift, GOPs, speed.

    python benchmarks/codebook.py entropy CLIP …      # the same indices fixed and adaptive
    python benchmarks/codebook.py precision CLIP …    # BD-rate of each (tables 2 and 5)
    python benchmarks/codebook.py drift CLIP …        # along GOPs of 12, 32 and 96 frames
    python benchmarks/codebook.py gops CLIP …         # BD-rate of GOPs (table 6)
    python benchmarks/codebook.py speed CLIP …        # frames a second, and memory

`drift` and `gops` take 97 frames unless told otherwise, the others 32. `speed` takes the paper's
models, too (`--model paper`, `paper-light`): with weights at random, as nobody has theirs, and
without the encoder's choice of windows; its peaks of memory are the process's, so give one clip at
a time.
Each line of standard output is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

import vireo
from vireo import weights
from vireo.codecs.base import Precision
from vireo.codecs.codebook.coding import Coder
from vireo.codecs.codebook.config import CONFIGS
from vireo.codecs.codebook.decoder import STRIDE
from vireo.codecs.codebook.indices import Layout
from vireo.codecs.codebook.model import Model
from vireo.codecs.codebook.stream import PROFILES, CodebookShape
from vireo.codecs.encoding import pad_to_even
from vireo.codecs.pretrained import coded_size, padded
from vireo.container import GopStart, MatroskaReader, read_packet
from vireo.metrics import Curve, bd_rate, ms_ssim_fits, ms_ssim_y, plane_mse, psnr, weighted_mse
from vireo.nn.picture import picture_of
from vireo.video import open_source
from vireo.video.frame import Frame

QUALITIES = 5, 20, 35, 50, 65
LAMBDAS = 8e-3, 2e-3, 5e-4  # of the model's rates
PLACES = 0, 6, 11, 31, 95  # in a GOP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["entropy", "precision", "drift", "gops", "speed"])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="small")
    parser.add_argument("--frames", type=int)
    args = parser.parse_args()
    if args.frames is None:
        args.frames = 97 if args.what in ("drift", "gops") else 32
    for clip in args.clips:
        for line in globals()[f"_{args.what}"](args, clip):
            print(json.dumps({"clip": clip.stem, "model": args.model} | line), flush=True)


def _encoded(
    args: argparse.Namespace, clip: Path, folder: str, **options: Any
) -> tuple[Path, vireo.EncodeReport]:
    target = Path(folder) / "stream.mkv"
    asked = {"codec": "codebook", "model": args.model, "frames": args.frames, "gop_size": 31}
    report = vireo.encode(clip, target, overwrite=True, **asked | options)
    return target, report


def _decoded(
    stream: Path, folder: str, precision: str = "float32"
) -> tuple[list[Frame], vireo.DecodeReport]:
    target = Path(folder) / "decoded.y4m"
    report = vireo.decode(stream, target, overwrite=True, precision=precision)
    with open_source(target) as video:
        return list(video), report


def _source(clip: Path, frames: int) -> list[Frame]:
    with open_source(clip) as video:
        return list(islice(video, frames))


def _quality(decoded: Sequence[Frame], source: Sequence[Frame]) -> float:
    """PSNR in dB, of all samples of all frames weighted 4:1:1."""
    errors = [
        weighted_mse([plane_mse(a, b) for a, b in zip(x.planes, y.planes, strict=True)])
        for x, y in zip(decoded, source, strict=True)
    ]
    return psnr(fmean(errors))


def _similarity(decoded: Sequence[Frame], source: Sequence[Frame]) -> float:
    """MS-SSIM of luma, in dB; 0 where pictures are too small."""
    if not ms_ssim_fits(source[0].height, source[0].width):
        return 0.0
    found = fmean(ms_ssim_y(y, x) for x, y in zip(decoded, source, strict=True))
    return float(-10 * np.log10(1 - found))


def _farthest(a: Frame, b: Frame) -> int:
    return max(int(abs(x.astype(int) - y).max()) for x, y in zip(a.planes, b.planes, strict=True))


def _entropy(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    """Bytes of indices: of fixed length, the same under frequencies, and as `entropy` chooses."""
    with TemporaryDirectory() as folder:
        for lambda_ in LAMBDAS:
            stream, fixed = _encoded(args, clip, folder, profile="paper", lambda_=lambda_)
            same = _adapted_bytes(stream)
            _, chosen = _encoded(args, clip, folder, lambda_=lambda_)
            yield {
                "lambda": lambda_,
                "fixed": fixed.video_size,
                "same": fixed.video_size + same,
                "chosen": chosen.video_size,
                "psnr": [round(fixed.psnr, 2), round(chosen.psnr, 2)],
            }


def _adapted_bytes(stream: Path) -> int:
    """By how much a stream would grow if its indices were under adaptive frequencies."""
    more = 0
    with MatroskaReader(stream) as file:
        header = file.header
        shape = CodebookShape.read(header.profile, header.configuration)
        video = header.video_format
        size = coded_size(video.height, video.width, STRIDE)
        coder = Coder(weights.find(shape.weights), shape.rate, size)
        fixed, adaptive = (coder.index_code(n) for n in range(len(PROFILES)))
        start: GopStart | None = None
        past = None
        for stored in file:
            frame = read_packet(stored.data, start)
            if frame.is_key:
                start, past = frame.gop_start, None
            section = frame.sections[0]
            indices, _ = fixed.decode(section, past)
            found = adaptive.encode(indices, past)
            more += len(found.data) - len(section.data)
            _, past = adaptive.decode(found, past)
    return more


def _precision(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    """Encoded in single precision and one thread, decoded in each, and in two threads."""
    source = _source(clip, args.frames)
    ways = [("float32", 1), ("float32", 2), ("float16", 1), ("bfloat16", 1)]
    sizes: list[int] = []
    found: dict[tuple[str, int], list[tuple[float, float, int, int]]] = {w: [] for w in ways}
    with TemporaryDirectory() as folder:
        for quality in QUALITIES:
            torch.set_num_threads(1)
            stream, report = _encoded(args, clip, folder, quality=quality, threads=1)
            sizes.append(report.video_size)
            whole, _ = _decoded(stream, folder)
            for precision, threads in ways:
                torch.set_num_threads(threads)
                frames, told = _decoded(stream, folder, precision)
                farthest = max(map(_farthest, frames, whole))
                similarity = _similarity(frames, source)
                row = _quality(frames, source), similarity, farthest, len(told.beyond)
                found[precision, threads].append(row)
    curves = [Curve(tuple(sizes), tuple(r[n] for r in found[ways[0]])) for n in (0, 1)]
    for (precision, threads), rows in found.items():
        own = [Curve(tuple(sizes), tuple(r[n] for r in rows)) for n in (0, 1)]
        rates = [bd_rate(a, b).value for a, b in zip(curves, own, strict=True)]
        yield {
            "precision": precision,
            "threads": threads,
            "bd_rate_psnr": rates[0] and round(rates[0], 3),
            "bd_rate_ms_ssim": rates[1] and round(rates[1], 3),
            "farthest": max(r[2] for r in rows),
            "beyond": sum(r[3] for r in rows),
        }


def _drift(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    """What a lower precision loses of PSNR, and its farthest sample, at places of a GOP."""
    source = _source(clip, args.frames)
    with TemporaryDirectory() as folder:
        for gop in (g for g in (12, 32, 96) if g <= args.frames):
            stream, report = _encoded(args, clip, folder, gop_size=gop - 1)
            whole, _ = _decoded(stream, folder)
            for precision in (Precision.FLOAT16, Precision.BFLOAT16):
                frames, told = _decoded(stream, folder, precision)
                places = [n for n in PLACES if n < min(gop, len(frames))]
                lost = [
                    _quality([whole[n]], [source[n]]) - _quality([frames[n]], [source[n]])
                    for n in places
                ]
                yield {
                    "gop": gop,
                    "precision": precision,
                    "psnr": round(report.psnr, 2),
                    "places": places,
                    "lost": [round(x, 3) for x in lost],
                    "farthest": [_farthest(frames[n], whole[n]) for n in places],
                    "beyond": len(told.beyond),
                }


def _gops(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    curves: dict[int, Curve] = {}
    with TemporaryDirectory() as folder:
        for gop in (g for g in (7, 12, 32, 96) if g <= args.frames):
            reports = [
                _encoded(args, clip, folder, gop_size=gop - 1, quality=q)[1] for q in QUALITIES
            ]
            sizes, quality = (tuple(getattr(r, n) for r in reports) for n in ("video_size", "psnr"))
            curves[gop] = Curve(sizes, quality)
    for gop, curve in curves.items():
        found = bd_rate(curves[32], curve)
        yield {
            "gop": gop,
            "bytes": curve.rates,
            "psnr": [round(q, 2) for q in curve.qualities],
            "bd_rate": found.value and round(found.value, 1),
            "refusal": found.refusal,
        }


@torch.inference_mode()
def _speed(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    """Frames a second of the networks, on indices at random."""
    video = _source(clip, 3)
    size = coded_size(video[0].height, video[0].width, STRIDE)
    target = padded(pad_to_even(video[0]), STRIDE)
    model = Model(CONFIGS[args.model]).eval()
    layout = Layout.of(model.config, size, 0)
    rng = np.random.default_rng(0)
    indices = [
        torch.from_numpy(rng.integers(entries, size=(1, books, rows, columns)))
        for rows, columns, books, entries in layout.stages
    ]
    reference = torch.randn(1, model.config.channels, size[0] // 8, size[1] // 8)

    def decode() -> None:
        quantiser, books = model.quantiser(0)
        found = [book(i) for book, i in zip(books, indices, strict=True)]
        latents: Tensor = model.latents(quantiser.merge(found), reference)
        model.image(latents)

    def encode() -> None:
        wanted = model.analyse(picture_of(target), reference)
        quantiser, books = model.quantiser(0)
        list(quantiser.stages(wanted, books))
        decode()

    for threads in (1, 2):
        torch.set_num_threads(threads)
        yield {
            "size": f"{video[0].width}x{video[0].height}",
            "threads": threads,
            "decode_fps": round(1 / _least(decode), 2),
            "decode_peak_mb": _peak(),
            "encode_fps": round(1 / _least(encode), 2),
            "encode_peak_mb": _peak(),
        }


def _peak() -> int:
    """Megabytes, of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _least(work: Any, times: int = 5) -> float:
    """Seconds of the quickest of some runs, after one that warms up."""
    found = []
    for _ in range(times + 1):
        began = perf_counter()
        work()
        found.append(perf_counter() - began)
    return min(found[1:])


if __name__ == "__main__":
    main()
