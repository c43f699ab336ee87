"""Makes a codebook encoder for what was asked."""

from __future__ import annotations

from vireo import weights
from vireo.codecs.base import Precision
from vireo.codecs.codebook.coding import Coder
from vireo.codecs.codebook.decoder import STRIDE
from vireo.codecs.codebook.encoder import CodebookEncoder
from vireo.codecs.codebook.stream import PROFILES, CodebookShape
from vireo.codecs.encoding import Opening, PictureEncoder
from vireo.codecs.pretrained import coded_size
from vireo.codecs.rate_points import STEP_PARTS, places_of


def open_picture_encoder(opening: Opening) -> tuple[PictureEncoder, CodebookShape]:
    """The picture encoder, and what the stream header says of it; raises UsageError."""
    options, video = opening.options, opening.video
    found = weights.named(options.model, options.codec)
    lambda_ = options.resolved_lambda
    place = places_of(lambda_, found.lambdas, say=opening.say).inter
    shape = CodebookShape(
        PROFILES.index(options.profile), found.identity, round(place / STEP_PARTS)
    )
    size = coded_size(video.height, video.width, STRIDE)
    coder = Coder(found, shape.rate, size)
    twin = Coder(found, shape.rate, size, Precision.BFLOAT16)
    if options.profile == "paper":
        key, predicted = coder.key.fixed_bytes, coder.predicted.fixed_bytes
        rate = ""
        if video.frame_rate:
            rate = f", {8 * predicted * float(video.frame_rate) / 1000:.1f} kbit/s"
        opening.say(f"indices take {key} bytes in an I frame and {predicted} in a P frame{rate}")
    return CodebookEncoder(coder, twin, shape.profile, lambda_, opening.times), shape
