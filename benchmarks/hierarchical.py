"""What the hierarchical codec takes and gives: speed, its pipeline, exactness, scales, losses.

    python benchmarks/hierarchical.py speed CLIP …          # frames a second, and memory
    python benchmarks/hierarchical.py pipeline CLIP         # threads against stages, and the bound
    python benchmarks/hierarchical.py qualities CLIP …      # rate and PSNR of each from 0 to 100
    python benchmarks/hierarchical.py exactness CLIP …      # cost of integers, same weights
    python benchmarks/hierarchical.py scales CLIP …         # rate and PSNR of each (figure 11)
    python benchmarks/hierarchical.py losses CLIP …         # random losses (figures 12 and 13)

Each line of standard output is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch

import vireo
from vireo import weights
from vireo.codecs.base import Planes
from vireo.codecs.decoding import GopDecoder
from vireo.codecs.dhvc.coding import Coder, Walk
from vireo.codecs.dhvc.config import SCALES, STRIDE
from vireo.codecs.dhvc.model import Decoded
from vireo.codecs.dhvc.training import code
from vireo.codecs.encoding import pad_to_even
from vireo.codecs.pretrained import padded
from vireo.codecs.rate_points import Places, place_of
from vireo.container import MatroskaReader
from vireo.exact import unrounded
from vireo.metrics import plane_mse, psnr, weighted_mse
from vireo.nn.losses import picture_error
from vireo.nn.picture import picture_of, planes_of
from vireo.options import lambda_of_quality
from vireo.video import open_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = ["speed", "pipeline", "qualities", "exactness", "scales", "losses"]
    parser.add_argument("what", choices=kinds)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="small-parallel")
    parser.add_argument("--quality", type=float, default=50)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--patterns", type=int, default=1000, help="of losses, per rate of loss")
    args = parser.parse_args()
    for clip in args.clips:
        for line in globals()[f"_{args.what}"](args, clip):
            head = {"clip": clip.stem, "model": args.model, "quality": args.quality}
            print(json.dumps(head | line), flush=True)


def _coder(args: argparse.Namespace) -> Coder:
    found = weights.named(args.model)
    place = place_of(lambda_of_quality(args.quality), found.lambdas)
    return Coder(found, Places(place, place))


def _video(args: argparse.Namespace, clip: Path) -> list[Planes]:
    with open_source(clip) as source:
        return [padded(pad_to_even(f), STRIDE) for f in islice(source, args.frames)]


def _encoded(
    args: argparse.Namespace, clip: Path, folder: str, **options: Any
) -> tuple[Path, vireo.EncodeReport]:
    target = Path(folder) / "stream.mkv"
    report = vireo.encode(
        clip,
        target,
        codec="dhvc",
        model=args.model,
        quality=args.quality,
        frames=args.frames,
        overwrite=True,
        **options,
    )
    return target, report


def _qualities(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    """Of all qualities that are coded differently: whether rates rise, and all is decoded."""
    lambdas = weights.named(args.model).lambdas
    places = [place_of(lambda_of_quality(q), lambdas) for q in range(101)]
    found = []
    with TemporaryDirectory() as folder:
        for place in sorted(set(places)):
            asked = argparse.Namespace(**vars(args) | {"quality": places.index(place)})
            stream, report = _encoded(asked, clip, folder)
            verified = vireo.verify(stream)
            if verified.frames < report.frames or verified.damage:
                raise SystemExit(
                    f"{clip}: quality {asked.quality} is not decoded as it was encoded"
                )
            found.append((report.video_size, report.psnr))
    sizes, quality = zip(*found, strict=True)
    yield {
        "qualities": len(found),
        "rises": sum(a < b for a, b in pairwise(sizes)),
        "bytes": [sizes[0], sizes[-1]],
        "psnr": [round(quality[0], 2), round(quality[-1], 2)],
        "largest_drop": round(max(a - b for a, b in pairwise(quality)), 3),
    }


def _speed(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    """Seconds of networks and entropy coding, without reading, hashing and writing."""
    for threads in (1, 2):
        torch.set_num_threads(threads)
        coder, video = _coder(args), _video(args, clip)
        first, walk = coder.encode(video[0], None)
        _sent(coder, video[1:3], walk)  # warm
        began = perf_counter()
        sent = _sent(coder, video[1:], walk)
        encoding = perf_counter() - began
        walk = next(_decoded(coder, [first], video[0][0].shape))
        began = perf_counter()
        count = sum(1 for _ in _decoded(coder, sent, video[0][0].shape, walk))
        decoding = perf_counter() - began
        yield {
            "threads": threads,
            "encode_fps": round(count / encoding, 2),
            "decode_fps": round(count / decoding, 2),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def _pipeline(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    """One thread per stage against one after another, PyTorch's own threads aside."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        stream, _ = _encoded(args, clip, folder, threads=1, gop_size=args.frames)
        times = _stage_times(args, clip)
        total = sum(times)
        # One frame after another in its longest stage, or where all of the picture is referred to
        # in all of its stages; the other stages of one frame stand before and after.
        pace = total if _coder(args).model.auxiliary is not None else max(times)
        critical = total + (args.frames - 1) * pace
        seconds: dict[int, list[float]] = {1: [], 2: [], 4: []}
        for _ in range(3):
            for threads, found in seconds.items():
                with MatroskaReader(stream) as reader:
                    began = perf_counter()
                    for _frame in GopDecoder(threads=threads).decode(reader):
                        pass
                    found.append(perf_counter() - began)
        for threads, found in seconds.items():
            yield {
                "threads": threads,
                "seconds": round(min(found), 3),
                "speed_up": round(min(seconds[1]) / min(found), 2),
                "bound": round(min(threads, args.frames * total / critical), 2),
                "stages_ms": [round(1e3 * t, 1) for t in times],
            }


def _stage_times(args: argparse.Namespace, clip: Path) -> list[float]:
    """Of the four scales and the picture, a P frame."""
    coder, video = _coder(args), _video(args, clip)[:6]
    _, before = coder.encode(video[0], None)
    spent: list[list[float]] = [[] for _ in range(SCALES + 1)]
    for target in video[1:]:
        sections, _ = coder.encode(target, before)
        walk = coder.decoding(sections, target[0].shape, before)
        for place in range(SCALES + 1):
            began = perf_counter()
            if place < SCALES:
                walk.scale(place)
            else:
                walk.finish()
            spent[place].append(perf_counter() - began)
        before = walk
    return [min(found) for found in spent]


@torch.inference_mode()
def _exactness(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    """The loss of the same weights, with every layer rounded and with none."""
    coder, video = _coder(args), _video(args, clip)
    lambda_ = lambda_of_quality(args.quality)
    place = torch.tensor([place_of(lambda_, coder.weights.lambdas)])
    costs = {}
    for name, mode in (("exact", nullcontext), ("float", unrounded)):
        torch.manual_seed(0)
        before: Decoded | None = None
        bits, errors = [], []
        with mode():
            for target in map(picture_of, video):
                before, found = code(coder.model, target, before, place)
                p = before.picture
                error = picture_error(p.luma, p.chroma, target.luma, target.chroma)
                bits.append(found.item() / target.luma.numel())
                errors.append(error.item())
        costs[name] = fmean(errors) + lambda_ * fmean(bits)
        quality = psnr(255**2 * fmean(errors))
        yield {"how": name, "bpp": round(fmean(bits), 5), "psnr": round(quality, 3)}
    yield {"how": "exact over float", "cost": round(costs["exact"] / costs["float"] - 1, 5)}


def _scales(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    coder, video = _coder(args), _video(args, clip)
    sent = _sent(coder, video)
    samples = sum(y.size for y, _, _ in video)
    for scales in range(1, SCALES + 1):
        part = _received(sent, [scales] * len(sent))
        size = sum(len(data) for s in part for data in s.values())
        quality = _quality(coder, part, video)
        yield {"scales": scales, "bpp": round(8 * size / samples, 5), "psnr": round(quality, 3)}


def _losses(args: argparse.Namespace, clip: Path) -> Iterator[dict[str, Any]]:
    """Sections lost at random; with feedback the encoder learns of it 3 frames later.

    With feedback the frames are encoded anew for each pattern, so that these are fewer.
    """
    coder, video = _coder(args), _video(args, clip)
    sent = _sent(coder, video)
    size = sum(len(data) for s in sent for data in s.values())
    yield {"loss": 0.0, "psnr": round(_quality(coder, sent, video), 3)}
    rng = np.random.default_rng(0)
    for share in (0.01, 0.05, 0.1, 0.2):
        for delay in (None, 3):
            count = args.patterns if delay is None else -(-args.patterns // 50)
            found, rates = [], []
            for _ in range(count):
                lost = rng.random((len(video), SCALES - 1)) < share
                kept = [1 + int(row.argmax()) if row.any() else SCALES for row in lost]
                frames, alone = sent, [frozenset[int]()] * len(video)
                if delay is not None:
                    frames, alone = _with_feedback(coder, video, kept, delay)
                rates.append(sum(len(data) for s in frames for data in s.values()))
                found.append(_quality(coder, _received(frames, kept), video, alone))
            yield {
                "loss": share,
                "feedback": delay,
                "patterns": count,
                "psnr": round(fmean(found), 3),
                "worst": round(min(found), 3),
                "rate": round(fmean(rates) / size, 4),
            }


def _with_feedback(
    coder: Coder, video: list[Planes], kept: list[int], delay: int
) -> tuple[list[dict[int, bytes]], list[frozenset[int]]]:
    """What an encoder sends that learns of each loss so many frames later, and resynchronises."""
    sent: list[dict[int, bytes]] = []
    choices: list[frozenset[int]] = []
    before: Walk | None = None
    for place, target in enumerate(video):
        lowest = kept[place - delay] if place >= delay else SCALES
        lossless = before is None or lowest == SCALES
        alone = frozenset[int]() if lossless else coder.scales_alone(lowest)
        sections, before = coder.encode(target, before, alone)
        sent.append(sections)
        choices.append(alone)
    return sent, choices


def _sent(coder: Coder, video: list[Planes], before: Walk | None = None) -> list[dict[int, bytes]]:
    """Each frame's sections."""
    sent = []
    for target in video:
        sections, before = coder.encode(target, before)
        sent.append(sections)
    return sent


def _received(sent: list[dict[int, bytes]], kept: list[int]) -> list[dict[int, bytes]]:
    """What arrives, of each frame so many scales."""
    return [
        {level: data for level, data in sections.items() if level < scales}
        for sections, scales in zip(sent, kept, strict=True)
    ]


def _decoded(
    coder: Coder,
    received: list[dict[int, bytes]],
    size: tuple[int, int],
    before: Walk | None = None,
    alone: list[frozenset[int]] | None = None,
) -> Iterator[Walk]:
    """Frames from what arrived; of these scales, where they did, without the frame before."""
    for place, sections in enumerate(received):
        # Only a section that arrived says that it refers to no frame before.
        apart = alone[place] & sections.keys() if alone else frozenset[int]()
        before = coder.decoding(sections, size, before, apart)
        before.run()
        yield before


def _quality(
    coder: Coder,
    received: list[dict[int, bytes]],
    video: list[Planes],
    alone: list[frozenset[int]] | None = None,
) -> float:
    """Mean PSNR of the frames, in dB."""
    found = []
    walks = _decoded(coder, received, video[0][0].shape, alone=alone)
    for walk, target in zip(walks, video, strict=True):
        errors = [plane_mse(a, b) for a, b in zip(planes_of(walk.picture), target, strict=True)]
        found.append(psnr(weighted_mse(errors)))
    return fmean(found)


if __name__ == "__main__":
    main()
