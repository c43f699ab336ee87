"""What a GPU makes of the pretrained codecs: the same samples, how fast, and in which precision.

    python benchmarks/gpu.py CLIP …
    python benchmarks/gpu.py --device cpu CLIP …    # all of it without a GPU, to try it

Of `ssf` and `dhvc` a few frames are encoded on the processor and on the device, and either stream
is decoded on both: samples have to be equal. Of `codebook` they are about the same. Speeds of the
device are of more frames. Then the codebook's streams are decoded in each precision, and exact
convolutions are compared with other ways to compute them: which round, and how long they take.

Speeds leave out what comes before the first frame, such as reading weights. What would start later
than `--seconds` after the beginning is left out. Each line of standard output is a JSON object,
but for the tables at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import vireo
from vireo.codecs.base import Precision
from vireo.codecs.decoding import GopDecoder
from vireo.codecs.encoding import FrameReport
from vireo.container import MatroskaReader
from vireo.errors import VireoError
from vireo.exact import full_precision
from vireo.metrics import plane_mse, psnr, weighted_mse
from vireo.video import open_source
from vireo.video.frame import Frame

MODELS = (("ssf", "ssf1"), ("dhvc", "small"), ("codebook", "small"))
QUALITIES = 20, 50  # of the codebook's precisions
ROWS, COLUMNS = 72, 88  # of the convolutions' pictures
SHAPES = {  # of convolutions: inputs, outputs, kernel, groups
    "1x1": (192, 96, 1, 1),
    "3x3": (64, 96, 3, 1),
    "5x5": (64, 96, 5, 1),
    "7x7 depthwise": (96, 96, 7, 96),
}

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--frames", type=int, default=30, help="that the device codes")
    parser.add_argument("--few", type=int, default=6, help="frames that the processor codes")
    parser.add_argument("--threads", type=int, default=2, help="of a decoder")
    parser.add_argument("--torch-threads", type=int, default=8, help="of a network on processors")
    parser.add_argument("--seconds", type=float, default=85.0)
    args = parser.parse_args()
    torch.set_num_threads(args.torch_threads)
    began = perf_counter()
    print(json.dumps(_environment(args)), flush=True)
    parts: list[tuple[str, Callable[[], Iterator[Row]]]] = [
        ("convolutions", partial(_convolutions, args)),
        *(
            (kind, partial(work, args, clip, codec, model))
            for clip in args.clips
            for codec, model in MODELS
            for kind, work in (("codecs", _codec), ("precisions", _precisions))
            if kind == "codecs" or codec == "codebook"
        ),
    ]
    tables: dict[str, list[Row]] = {}
    failed = False
    for kind, work in parts:
        if perf_counter() - began > args.seconds:
            print(json.dumps({"left out": kind}), flush=True)
            continue
        try:
            for row in work():
                print(json.dumps(row), flush=True)
                tables.setdefault(kind, []).append(row)
        except (VireoError, RuntimeError):  # what is left is worth knowing nonetheless
            failed = True
            traceback.print_exc()
    print(f"\n{perf_counter() - began:.0f} seconds")
    for rows in tables.values():
        print("\n" + "\n".join(_table(rows)))
    sys.exit(failed)


def _environment(args: argparse.Namespace) -> Row:
    found: Row = {"device": args.device, "torch": torch.__version__}
    if args.device == "cuda":
        found |= {
            "gpu": torch.cuda.get_device_name(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def _table(rows: Sequence[Row]) -> list[str]:
    """In Markdown."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[name]) for name in head] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _codec(args: argparse.Namespace, clip: Path, codec: str, model: str) -> Iterator[Row]:
    """Equality and speed."""
    with TemporaryDirectory() as folder:
        encode = partial(_encoded, args, clip, Path(folder), codec=codec, model=model)
        own, own_encode = encode("cpu", args.few)
        theirs, _ = encode(args.device, args.few)
        same = own.read_bytes() == theirs.read_bytes()
        farthest, sizes = 0, [own.stat().st_size, theirs.stat().st_size]
        beyond = 0
        for stream in (own, theirs):
            here, own_decode, _ = _decoded(args, stream, "cpu")
            there, _, outside = _decoded(args, stream, args.device)
            farthest = max(farthest, *map(_farthest, here, there))
            beyond += outside
        longer, encode_rate = encode(args.device, args.frames)
        _, decode_rate, _ = _decoded(args, longer, args.device)
    yield {
        "clip": clip.stem,
        "codec": f"{codec} {model}",
        "farthest sample": farthest,
        "beyond its bound": beyond,
        "same file": same,
        "bytes, cpu and device": f"{sizes[0]}, {sizes[1]}",
        "encode fps, cpu": round(own_encode, 1),
        "encode fps, device": round(encode_rate, 1),
        "decode fps, cpu": round(own_decode, 1),
        "decode fps, device": round(decode_rate, 1),
    }


def _precisions(args: argparse.Namespace, clip: Path, codec: str, model: str) -> Iterator[Row]:
    """PSNR and samples of each against single precision, all on the device."""
    with open_source(clip) as video:
        source = list(islice(video, args.frames))
    with TemporaryDirectory() as folder:
        for quality in QUALITIES:
            stream, _ = _encoded(
                args, clip, Path(folder), args.device, args.frames, codec, model, quality
            )
            whole: list[Frame] = []
            for precision in Precision:
                frames, rate, beyond = _decoded(args, stream, args.device, precision)
                whole = whole or frames
                yield {
                    "clip": clip.stem,
                    "quality": quality,
                    "precision": str(precision),
                    "PSNR": round(_quality(frames, source), 3),
                    "lost": round(_quality(whole, source) - _quality(frames, source), 4),
                    "farthest sample": max(map(_farthest, frames, whole)),
                    "beyond its bound": beyond,
                    "decode fps": round(rate, 1),
                }


def _encoded(
    args: argparse.Namespace,
    clip: Path,
    folder: Path,
    device: str,
    frames: int,
    codec: str,
    model: str,
    quality: float = 50,
) -> tuple[Path, float]:
    """A stream, and frames a second behind the first."""
    target = folder / f"{device}-{frames}.mkv"
    times: list[float] = []

    def listen(event: Any) -> None:
        if isinstance(event, FrameReport):
            times.append(perf_counter())

    vireo.encode(
        clip,
        target,
        overwrite=True,
        listener=listen,
        codec=codec,
        model=model,
        quality=quality,
        frames=frames,
        threads=args.threads,
        device=device,
    )
    return target, _rate(times)


def _decoded(
    args: argparse.Namespace, stream: Path, device: str, precision: Precision | None = None
) -> tuple[list[Frame], float, int]:
    """Frames, how many a second behind the first, and how many are beyond their bound.

    Exact codecs' frames are compared with their hashes besides.
    """
    decoder = GopDecoder(threads=args.threads, precision=precision, device=device)
    frames: list[Frame] = []
    times: list[float] = []
    with MatroskaReader(stream) as reader:
        for frame in decoder.decode(reader):
            frames.append(frame)
            times.append(perf_counter())
    return frames, _rate(times), len(decoder.beyond)


def _rate(times: Sequence[float]) -> float:
    return (len(times) - 1) / max(times[-1] - times[0], 1e-9)


def _farthest(a: Frame, b: Frame) -> int:
    return max(int(abs(x.astype(int) - y).max()) for x, y in zip(a.planes, b.planes, strict=True))


def _quality(decoded: Sequence[Frame], source: Sequence[Frame]) -> float:
    """PSNR in dB, of all samples of all frames weighted 4:1:1."""
    errors = [
        weighted_mse([plane_mse(a, b) for a, b in zip(x.planes, y.planes, strict=True)])
        for x, y in zip(decoded, source, strict=True)
    ]
    return psnr(fmean(errors))


@torch.inference_mode()
def _convolutions(args: argparse.Namespace) -> Iterator[Row]:
    """Sums of integers up to 2**24: how far off they are, and milliseconds."""
    device = torch.device(args.device)
    rng = torch.Generator().manual_seed(0)
    for name, (inputs, outputs, kernel, groups) in SHAPES.items():
        x = torch.randint(0, 1 << 10, (1, inputs, ROWS, COLUMNS), generator=rng).double()
        shares = torch.rand(outputs, inputs // groups, kernel, kernel, generator=rng).double() ** 8
        weight = torch.floor(((1 << 14) - 1) * shares / shares.sum((1, 2, 3), keepdim=True))
        expected = functional.conv2d(x, weight, None, 1, kernel // 2, 1, groups)
        x, weight = x.to(device), weight.to(device)
        for way, (dtype, context, convolve) in _ways(args.device, groups).items():
            with context():
                work = partial(convolve, x.to(dtype), weight.to(dtype), kernel // 2, groups)
                found, seconds = _timed(work, args.device)
            yield {
                "convolution": name,
                "way": way,
                "off by": float((found.cpu().double() - expected).abs().max()),
                "ms": round(1000 * seconds, 3),
            }


Convolve = Callable[[Tensor, Tensor, int, int], Tensor]
Way = tuple[torch.dtype, Callable[[], AbstractContextManager[None]], Convolve]


def _ways(device: str, groups: int) -> dict[str, Way]:
    """How to compute a convolution."""

    def whole(x: Tensor, weight: Tensor, padding: int, groups: int) -> Tensor:
        return functional.conv2d(x, weight, None, 1, padding, 1, groups)

    def gathered(x: Tensor, weight: Tensor, padding: int, groups: int) -> Tensor:
        columns = functional.unfold(x, weight.shape[-1], padding=padding)
        return (weight.flatten(1) @ columns).reshape(1, len(weight), *x.shape[-2:])

    exactly = partial(full_precision, device)
    ways: dict[str, Way] = {
        "exact layers'": (torch.float32, exactly, whole),
        "exact layers', doubles": (torch.float64, exactly, whole),
        "cuDNN": (torch.float32, partial(_cudnn, tf32=False), whole),
        "cuDNN, TF32": (torch.float32, partial(_cudnn, tf32=True), whole),
        "cuDNN, doubles": (torch.float64, nullcontext, whole),
    }
    if groups == 1:
        ways["unfold, matmul"] = torch.float32, exactly, gathered
    return ways


def _cudnn(*, tf32: bool) -> AbstractContextManager[None]:
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32)
    return flags


def _timed(work: Callable[[], Tensor], device: str, times: int = 20) -> tuple[Tensor, float]:
    """What it gives, and seconds it takes, after some runs that warm up."""
    wait: Callable[[], Any] = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    for _ in range(3):
        found = work()
    wait()
    began = perf_counter()
    for _ in range(times):
        found = work()
    wait()
    return found, (perf_counter() - began) / times


if __name__ == "__main__":
    main()
