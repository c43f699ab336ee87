"""Makes a hierarchical encoder for what was asked."""

from __future__ import annotations

from vireo import weights
from vireo.codecs.devices import torch_device
from vireo.codecs.dhvc.coding import Coder
from vireo.codecs.dhvc.encoder import DhvcEncoder
from vireo.codecs.dhvc.stream import CONFIGURATION
from vireo.codecs.encoding import Opening, PictureEncoder
from vireo.codecs.pretrained import PretrainedShape
from vireo.codecs.rate_points import places_of


def open_picture_encoder(opening: Opening) -> tuple[PictureEncoder, PretrainedShape]:
    """The picture encoder, and what the stream header says of it; raises UsageError."""
    options = opening.options
    found = weights.named(options.model, options.codec)
    places = places_of(options.resolved_lambda, found.lambdas, say=opening.say)
    shape = PretrainedShape(CONFIGURATION, found.identity, places)
    coder = Coder(found, places, torch_device(options.device))
    return DhvcEncoder(coder, options.resynchronised, opening.times), shape
