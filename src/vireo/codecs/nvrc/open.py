"""Makes an NVRC encoder for what was asked."""

from __future__ import annotations

from vireo.codecs.devices import torch_device
from vireo.codecs.encoding import Opening, PictureEncoder
from vireo.codecs.nvrc.config import CONFIGS
from vireo.codecs.nvrc.encoder import NvrcEncoder, Settings
from vireo.codecs.nvrc.layout import Method
from vireo.codecs.nvrc.presets import PRESETS, RECIPES, with_distortion
from vireo.codecs.nvrc.stream import PROFILES, NvrcShape
from vireo.errors import UsageError


def open_picture_encoder(opening: Opening) -> tuple[PictureEncoder, NvrcShape]:
    """The picture encoder, and what the stream header says of it.

    Raises UsageError for what can't be had here.
    """
    options, video = opening.options, opening.video
    config = CONFIGS[options.model]
    recipe = with_distortion(RECIPES[options.profile], options.distortion)
    seconds = None
    if options.time_budget is not None:
        if not opening.frames:
            raise UsageError("a time budget needs to know how many frames there are")
        seconds = options.time_budget / opening.frames
    settings = Settings(
        options.resolved_lambda,
        PRESETS[options.preset],
        recipe,
        seconds,
        options.seed,
        torch_device(options.device),
    )
    shape = NvrcShape(config, Method.of(config), PROFILES.index(options.profile))
    shown = video.height, video.width
    encoder = NvrcEncoder(shape, settings, shown, opening.folder, opening.identity, opening.times)
    return encoder, shape
