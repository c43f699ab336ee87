"""Instance adaptation of a scale-space-flow model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from vireo.codecs.base import Planes
from vireo.codecs.encoding import Opening, pad_to_even
from vireo.codecs.insta.adapt import Adaptation
from vireo.codecs.ssf.autoencoder import STEP_PARTS
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.encoder import SsfEncoder, padded
from vireo.codecs.ssf.training import ClipLoss
from vireo.metrics import plane_mse, weighted_mse
from vireo.options import Adapt
from vireo.video.frame import Frame

SAMPLES = 1 << 27
"""Luma samples of a video that are adapted to, at most: 1,300 frames of 352x288."""
TRIED = 48
"""Frames that a trial encodes, at most."""


def adapted(coder: Coder, opening: Opening) -> Coder:
    """The same model, fine-tuned on the source for as long as was asked for."""
    options = opening.options
    with opening.source() as source:
        video = _head(source)
    gop = options.gop_size + 1
    tried = video[:TRIED]

    def evaluate(own: dict[str, Tensor], updates: bytes) -> float:
        trial = Coder(coder.weights, coder.place, updates, own)
        share = len(tried) / len(video)
        return cost(trial, tried, gop, options.resolved_lambda, updates_share=share)

    loss = ClipLoss(coder.model.config.name)
    coder.weights.load_into(loss.model)
    found = Adaptation(
        loss,
        coder.place / STEP_PARTS,
        options.resolved_lambda,
        video,
        evaluate,
        decoder=options.adapt == Adapt.FULL,
        seed=options.seed,
    ).run(
        options.resolved_adaptation_time,
        lambda share, cost: opening.say(f"adapting, {share:.0%} of the time: cost {cost:.3f} of 1"),
    )
    return Coder(coder.weights, coder.place, found.updates, found.state)


def cost(
    coder: Coder, video: Sequence[Planes], gop: int, lambda_: float, updates_share: float = 1.0
) -> float:
    """Distortion plus lambda times bits per luma sample of real sections.

    `updates_share`: how much of the updates these frames have to pay for.
    """
    encoder = SsfEncoder(coder)
    size, distortion, samples = updates_share * len(coder.updates), 0.0, 0
    before: Planes | None = None
    for place, target in enumerate(video):
        references = [] if place % gop == 0 or before is None else [before]
        picture = encoder.picture(target, references)
        before = picture.planes
        size += sum(len(section.data) for section in picture.sections)
        errors = [plane_mse(a, b) for a, b in zip(before, target, strict=True)]
        distortion += weighted_mse(errors) / 255**2
        samples += target[0].size
    return distortion / len(video) + lambda_ * 8 * size / samples


def _head(source: Iterable[Frame]) -> list[Planes]:
    """The frames at the coded size, as many as SAMPLES allows."""
    video: list[Planes] = []
    total = 0
    for frame in source:
        planes = padded(pad_to_even(frame))
        total += planes[0].size
        if video and total > SAMPLES:
            break
        video.append(planes)
    return video
