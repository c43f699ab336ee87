"""Instance adaptation of a scale-space-flow model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from threading import Lock
from typing import Any

from torch import Tensor

from vireo.codecs.base import Planes
from vireo.codecs.encoding import Opening, pad_to_even
from vireo.codecs.insta.adapt import Adaptation, Adapted, Evaluate, Kept
from vireo.codecs.pretrained import padded
from vireo.codecs.rate_points import STEP_PARTS
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.config import STRIDE
from vireo.codecs.ssf.encoder import SameCoder, SsfEncoder
from vireo.codecs.ssf.refinement import Refinement, worth
from vireo.codecs.ssf.training import ClipLoss
from vireo.gop import GopStructure, gop_frames
from vireo.metrics import plane_mse, weighted_mse
from vireo.options import Adapt
from vireo.video.frame import Frame

SAMPLES = 1 << 27
"""Luma samples of a video that are adapted to, at most: 1,300 frames of 352x288."""
TRIED = 48
"""Frames that a trial encodes, at most, or one GOP."""
_HELD = 4  # groups whose coders are held


class AdaptedCoders:
    """The same model, fine-tuned on each group of GOPs (see `encoder.Coders`).

    All groups are adapted when this is made, which takes as long as was asked for; what was
    found is in the opening's folder, from where an interrupted run takes it.
    """

    def __init__(self, coder: Coder, opening: Opening) -> None:
        self._coder = coder
        self._lock = Lock()
        options = opening.options
        gop = gop_frames(GopStructure(options.gop), options.gop_size)
        self._frames = gop * options.update_every if options.update_every else None
        total = opening.frames
        if total is None:
            with opening.source() as source:
                total = sum(1 for _ in source)
        opening.folder.mkdir(exist_ok=True)
        self._kept = []
        digest = sha256()
        with opening.source() as source:
            for group, (video, frames) in enumerate(_groups(source, self._frames)):
                path = opening.folder / f"group-{group:05}.pt"
                kept = Kept(path, f"{opening.identity} {coder.weights.identity.hex()}")
                found = _adapted(coder, opening, video, gop, kept, frames, total, group)
                digest.update(found.updates)
                for name in sorted(found.state):
                    digest.update(found.state[name].numpy().tobytes())
                self._kept.append(kept)
        self.identity = digest.hexdigest()
        self._load = lru_cache(_HELD)(self._loaded)

    def of(self, index: int) -> Coder:
        """Of the group that a picture is in."""
        with self._lock:
            return self._load(index // self._frames if self._frames else 0)

    def is_first(self, index: int) -> bool:
        """Whether a group starts there."""
        return index % self._frames == 0 if self._frames else index == 0

    def _loaded(self, group: int) -> Coder:
        state = self._kept[group].load()
        assert state is not None  # written by this process
        found = Adapted.of(state["best"])
        own = self._coder
        return Coder(own.weights, own.places, found.updates, found.state, own.device)


def _adapted(
    coder: Coder,
    opening: Opening,
    video: Sequence[Planes],
    gop: int,
    kept: Kept,
    frames: int,
    total: int,
    group: int,
) -> Adapted:
    """What a group's share of the time finds: `frames` of `total`, of which `video` are held."""
    options = opening.options
    places = tried_places(len(video), gop)
    tried = [video[n] for n in places]

    def evaluate(own: dict[str, Tensor], updates: bytes) -> tuple[float, dict[int, Planes]]:
        adapted = Coder(coder.weights, coder.places, updates, own, coder.device)
        trial = try_out(adapted, tried, gop, updates_share=len(tried) / frames)
        return trial.cost(options.resolved_lambda), dict(zip(places, trial.decoded, strict=True))

    def progress(done: float, cost: float) -> None:
        which = f" group {group} of GOPs" if options.update_every else ""
        opening.say(f"adapting{which}, {done:.0%} of the time: cost {cost:.3f} of 1")

    return adaptation_of(
        coder,
        options.resolved_lambda,
        video,
        evaluate,
        decoder=options.adapt == Adapt.FULL,
        gop=gop,
        served=frames,
        seed=options.seed,
    ).run(frames / total * options.resolved_adaptation_time, progress, kept)


def adaptation_of(
    coder: Coder, lambda_: float, video: Sequence[Planes], evaluate: Evaluate, **settings: Any
) -> Adaptation:
    """Fine-tuning of a coder's model at its places; `settings` are those of `Adaptation`."""
    intra, inter = coder.places
    loss = ClipLoss(coder.model.config.name, finer=intra - inter, together=True)
    coder.weights.load_into(loss.model)
    return Adaptation(loss, inter / STEP_PARTS, lambda_, video, evaluate, **settings)


def tried_places(frames: int, gop: int) -> list[int]:
    """Which frames a trial encodes: whole GOPs, as far apart as they can be."""
    gops = -(-frames // gop)
    count = min(gops, max(1, TRIED // gop))
    starts = sorted({round(n * (gops - 1) / max(1, count - 1)) * gop for n in range(count)})
    return [n for start in starts for n in range(start, min(start + gop, frames))]


@dataclass(frozen=True)
class Trial:
    """What came of coding some frames.

    Attributes:
        distortion: mean squared error of samples between 0 and 1.
        bits: per luma sample, of sections and of updates.
        decoded: the frames.
    """

    distortion: float
    bits: float
    decoded: Sequence[Planes]

    def cost(self, lambda_: float) -> float:
        """What an adaptation lowers."""
        return self.distortion + lambda_ * self.bits


def try_out(
    coder: Coder,
    video: Sequence[Planes],
    gop: int,
    updates_share: float = 1.0,
    refinement: Refinement | None = None,
) -> Trial:
    """Codes frames in GOPs of so many.

    Args:
        updates_share: how much of the updates these frames have to pay for.
        refinement: of symbols; one pass if there is none.
    """
    encoder = SsfEncoder(SameCoder(coder), refinement)
    size, distortion, samples = updates_share * len(coder.updates), 0.0, 0
    decoded: list[Planes] = []
    for place, target in enumerate(video):
        references = decoded[-1:] if place % gop else []
        followers = min(gop - place % gop, len(video) - place) - 1
        importance = worth(followers, intra=not references)
        picture = encoder.picture(coder, target, references, importance)
        decoded.append(picture.decoded)
        size += sum(len(section.data) for section in picture.sections)
        errors = [plane_mse(a, b) for a, b in zip(picture.decoded, target, strict=True)]
        distortion += weighted_mse(errors) / 255**2
        samples += target[0].size
    return Trial(distortion / len(video), 8 * size / samples, decoded)


def _groups(source: Iterable[Frame], frames: int | None) -> Iterator[tuple[list[Planes], int]]:
    """Of each group its frames at the coded size, up to SAMPLES, and how many it has."""
    rest = iter(source)
    while True:
        video: list[Planes] = []
        found = total = 0
        for frame in islice(rest, frames):
            found += 1
            total += frame.width * frame.height
            if not video or total <= SAMPLES:
                video.append(padded(pad_to_even(frame), STRIDE))
        if not found:
            return
        yield video, found
