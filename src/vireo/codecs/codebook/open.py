"""Makes a codebook encoder for what was asked."""

from __future__ import annotations

from vireo import weights
from vireo.codecs.base import Precision
from vireo.codecs.codebook.coding import Coder
from vireo.codecs.codebook.decoder import STRIDE
from vireo.codecs.codebook.encoder import CodebookEncoder
from vireo.codecs.codebook.stream import PROFILES, CodebookShape
from vireo.codecs.devices import torch_device
from vireo.codecs.encoding import Opening, PictureEncoder
from vireo.codecs.pretrained import coded_size
from vireo.codecs.rate_points import STEP_PARTS, place_of
from vireo.gop import GopStructure, gop_frames


def open_picture_encoder(opening: Opening) -> tuple[PictureEncoder, CodebookShape]:
    """The picture encoder, and what the stream header says of it; raises UsageError."""
    options, video = opening.options, opening.video
    found = weights.named(options.model, options.codec)
    lambda_ = options.resolved_lambda
    rate = (place_of(lambda_, found.lambdas) + STEP_PARTS // 2) // STEP_PARTS
    shape = CodebookShape(PROFILES.index(options.profile), found.identity, rate)
    size = coded_size(video.height, video.width, STRIDE)
    device = torch_device(options.device)
    coder = Coder(found, shape.rate, size, device=device)
    twin = Coder(found, shape.rate, size, Precision.BFLOAT16, device)
    if options.profile == "paper":
        opening.say(_announcement(coder, len(found.lambdas), opening))
    shown = video.height, video.width
    return CodebookEncoder(coder, twin, shape.profile, shown, lambda_, opening.times), shape


def _announcement(coder: Coder, rates: int, opening: Opening) -> str:
    """What frames of fixed length will take."""
    key, predicted = coder.key.fixed_bytes, coder.predicted.fixed_bytes
    sizes = [f"{key} bytes in an I frame"]
    frames = gop_frames(GopStructure(opening.options.gop), opening.options.gop_size)
    if frames > 1:
        sizes.append(f"{predicted} in a P frame")
    text = f"rate {coder.rate + 1} of {rates}: indices take {' and '.join(sizes)}"
    if opening.video.frame_rate:
        mean = (key + (frames - 1) * predicted) / frames
        bits = 8 * mean * float(opening.video.frame_rate)
        text += f", {bits / 1000:.1f} kbit/s over a GOP; headers take six bytes a frame more"
    return text
