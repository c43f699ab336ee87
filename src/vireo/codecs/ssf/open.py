"""Makes a scale-space-flow encoder for what was asked."""

from __future__ import annotations

from vireo import weights
from vireo.codecs.devices import torch_device
from vireo.codecs.encoding import Opening, PictureEncoder
from vireo.codecs.pretrained import PretrainedShape
from vireo.codecs.rate_points import places_of
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.encoder import INTRA_FINER, Coders, SameCoder, SsfEncoder
from vireo.codecs.ssf.presets import PRESETS
from vireo.codecs.ssf.refinement import Refinement
from vireo.codecs.ssf.stream import CONFIGURATION
from vireo.gop import GopStructure
from vireo.options import Adapt


def open_picture_encoder(opening: Opening) -> tuple[PictureEncoder, PretrainedShape]:
    """The picture encoder, and what the stream header says of it; raises UsageError."""
    options = opening.options
    found = weights.named(options.model, options.codec)
    inter = GopStructure(options.gop) is not GopStructure.INTRA
    finer = INTRA_FINER if inter else 0
    places = places_of(options.resolved_lambda, found.lambdas, finer=finer, say=opening.say)
    coder = Coder(found, places, device=torch_device(options.device))
    coders: Coders = SameCoder(coder)
    if options.adapt != Adapt.NONE:
        from vireo.codecs.ssf.adaptation import AdaptedCoders

        coders = AdaptedCoders(coder, opening)
    shape = PretrainedShape(CONFIGURATION, found.identity, places)
    steps = PRESETS[options.preset]
    refinement = Refinement(steps, options.resolved_lambda) if steps else None
    return SsfEncoder(coders, refinement, opening.times), shape
