"""How fast scale-space-flow models encode and decode, and what of it entropy decoding takes.

    python benchmarks/pretrained.py clip.mkv --models ssf1 ssf3 ssf5 --threads 2

Milliseconds of a P frame, the median of those of the clip, one frame after another. Weights are
those that are installed, or where there are none, as training starts: that changes the speed of
nothing but entropy coding. Beside the time stands what the decoder's multiplications would take at
the rate at which this machine multiplies matrices.
"""

from __future__ import annotations

import argparse
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from vireo import weights
from vireo.codecs.encoding import pad_to_even
from vireo.codecs.pretrained import padded
from vireo.codecs.rate_points import Places
from vireo.codecs.ssf import coding
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.config import CONFIGS, STRIDE
from vireo.codecs.ssf.encoder import SameCoder, SsfEncoder
from vireo.codecs.ssf.model import Model, decoder_multiplications
from vireo.codecs.ssf.stream import SectionKind
from vireo.errors import UsageError
from vireo.video import open_source


class Timed:
    """Tables, and how long their decoding took."""

    seconds = 0.0

    def __init__(self, tables: Any) -> None:
        self._tables = tables

    def decode(self, *args: Any) -> Any:
        began = perf_counter()
        result = self._tables.decode(*args)
        Timed.seconds += perf_counter() - began
        return result

    def encode(self, *args: Any) -> Any:
        return self._tables.encode(*args)


def weights_of(name: str, folder: Path) -> weights.Weights:
    try:
        return weights.named(name)
    except UsageError:
        torch.manual_seed(0)
        config = CONFIGS[name]
        lambdas = tuple(1e-3 / 4**i for i in range(config.rates))
        return weights.save(Model(config), name, lambdas, folder / f"{name}.safetensors", {})


def matrix_rate() -> float:
    """Multiply-accumulates a second, of single precision."""
    a = torch.rand(1024, 1024)
    best = 1e9
    for _ in range(5):
        began = perf_counter()
        a @ a
        best = min(best, perf_counter() - began)
    return 1024**3 / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--models", nargs="+", default=["ssf1", "ssf3"])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with open_source(args.clip) as source:
        video = [padded(pad_to_even(f), STRIDE) for f in islice(source, args.frames)]
    height, width = video[0][0].shape
    rate = matrix_rate()
    print(f"{width}x{height}, {args.threads} threads, {rate / 1e9:.0f} GMAC/s")
    print("model   encode  decode  entropy  share   floor")
    tables = coding.latent_tables()
    coding.latent_tables = lambda: Timed(tables)  # type: ignore[assignment, return-value]
    with TemporaryDirectory() as folder:
        for name in args.models:
            place = 0 if CONFIGS[name].rates == 1 else 24
            coder = Coder(weights_of(name, Path(folder)), Places(place, place))
            coder._priors = {k: Timed(p) for k, p in coder._priors.items()}  # type: ignore[misc]
            encoder = SsfEncoder(SameCoder(coder))
            encode, decode, entropy = [], [], []
            for before, target in pairwise(video):
                began = perf_counter()
                picture = encoder.picture(coder, target, [before])
                encode.append(perf_counter() - began)
                Timed.seconds = 0.0
                began = perf_counter()
                flow, rest = (coder.read(s, height, width).latents for s in picture.sections)
                planes = coder.inter(coder.moved(before, flow), flow, rest)
                decode.append(perf_counter() - began)
                entropy.append(Timed.seconds)
                assert all((a == b).all() for a, b in zip(planes, picture.decoded, strict=True))
                assert picture.sections[0].kind == SectionKind.FLOW
            floor = decoder_multiplications(CONFIGS[name]) * width * height / rate
            a, b, c = (1000 * median(x) for x in (encode, decode, entropy))
            print(f"{name:7} {a:6.1f} {b:7.1f} {c:8.2f} {c / b:6.1%} {1000 * floor:7.1f}")


if __name__ == "__main__":
    main()
