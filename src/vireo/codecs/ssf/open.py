"""Makes a scale-space-flow encoder for what was asked."""

from __future__ import annotations

from vireo import weights
from vireo.codecs.encoding import PictureEncoder
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.encoder import SsfEncoder, place_of
from vireo.codecs.ssf.stream import StreamShape
from vireo.options import EncodeOptions
from vireo.profiling import TimeProfile
from vireo.video.frame import VideoFormat


def open_picture_encoder(
    options: EncodeOptions,
    video: VideoFormat,
    frames: int | None,
    times: TimeProfile | None = None,
) -> tuple[PictureEncoder, StreamShape]:
    """The picture encoder, and what the stream header says of it; raises UsageError."""
    found = weights.named(options.model)
    place = place_of(options.resolved_lambda, found.lambdas)
    coder = Coder(found, place)
    return SsfEncoder(coder, times), StreamShape(found.identity, place)
