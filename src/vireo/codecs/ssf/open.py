"""Makes a scale-space-flow encoder for what was asked."""

from __future__ import annotations

from vireo import weights
from vireo.codecs.encoding import Opening, PictureEncoder
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.encoder import Coders, SameCoder, SsfEncoder, places_of
from vireo.codecs.ssf.stream import StreamShape
from vireo.gop import GopStructure
from vireo.options import Adapt


def open_picture_encoder(opening: Opening) -> tuple[PictureEncoder, StreamShape]:
    """The picture encoder, and what the stream header says of it; raises UsageError."""
    options = opening.options
    found = weights.named(options.model)
    lambda_ = options.resolved_lambda
    inter = GopStructure(options.gop) is not GopStructure.INTRA
    places = places_of(lambda_, found.lambdas, inter=inter)
    if not 0.9 * found.lambdas[-1] <= lambda_ <= 1.1 * found.lambdas[0]:
        opening.say(
            f"{found.name} was trained for lambdas from {found.lambdas[0]:g} to "
            f"{found.lambdas[-1]:g}; the nearest has to do for {lambda_:.3g}"
        )
    coder = Coder(found, places)
    coders: Coders = SameCoder(coder)
    if options.adapt != Adapt.NONE:
        from vireo.codecs.ssf.adaptation import AdaptedCoders

        coders = AdaptedCoders(coder, opening)
    return SsfEncoder(coders, opening.times), StreamShape(found.identity, places)
