"""Makes an NVRC encoder for what was asked."""

from __future__ import annotations

from vireo.codecs.base import Limits
from vireo.codecs.devices import torch_device
from vireo.codecs.encoding import Opening, PictureEncoder
from vireo.codecs.nvrc.config import CONFIGS, Extent
from vireo.codecs.nvrc.encoder import NvrcEncoder, Settings
from vireo.codecs.nvrc.layout import Method
from vireo.codecs.nvrc.limits import check
from vireo.codecs.nvrc.presets import PRESETS, RECIPES, with_distortion
from vireo.codecs.nvrc.stream import PROFILES, NvrcShape
from vireo.codecs.nvrc.training import LEAST_SIDE
from vireo.codecs.pretrained import coded_size
from vireo.errors import LimitError, UsageError
from vireo.gop import GopStructure, gop_frames


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
    method = Method.of(config)
    size = coded_size(video.height, video.width, 2)
    frames = gop_frames(GopStructure(options.gop), options.gop_size)
    try:
        check(config, Extent.of(frames, *size), method, Limits())
    except LimitError as error:
        raise UsageError(f"decoders refuse such a stream: {error.reason}") from error
    if recipe.distortion != "mse" and min(video.height, video.width) <= LEAST_SIDE:
        raise UsageError(f"MS-SSIM needs more than {LEAST_SIDE} samples in both directions")
    segments = -(-opening.frames // frames) if opening.frames else 1
    if options.time_budget is not None:  # one after another
        segments = 1
    settings = Settings(
        options.resolved_lambda,
        PRESETS[options.preset],
        recipe,
        seconds,
        options.seed,
        torch_device(options.device),
        max(1, options.resolved_threads // segments),
    )
    shape = NvrcShape(config, method, PROFILES.index(options.profile))
    shown = video.height, video.width
    encoder = NvrcEncoder(shape, settings, shown, opening.folder, opening.identity, opening.times)
    return encoder, shape
