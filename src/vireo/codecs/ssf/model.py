"""Scale-space flow: the networks, the same in training, in the encoder and in the decoder.

A P frame is its reference, moved and blurred place by place, and a residual (InstA, equation 3).
I frames, flow and residual have an autoencoder each (Agustsson et al., 2020; InstA, appendix B).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vireo.codecs.ssf.autoencoder import ACTIVATIONS, LATENTS, Autoencoder
from vireo.codecs.ssf.config import STRIDE, Config
from vireo.codecs.ssf.light import (
    BLOCK,
    CHANNELS,
    Analysis,
    Synthesis,
    flow_transform,
    picture_transform,
    start_as_cosines,
)
from vireo.exact import Conv, ExactLayer, Grid, TransposedConv
from vireo.nn import count, search
from vireo.nn.picture import GREY, SAMPLES, Picture, blocks_of, picture_of_blocks
from vireo.nn.warp import DEPTHS, VECTORS, blur_stack, scale_space_warp

RESIDUALS = Grid.signed(10, 12)
FLOW = Grid.signed(7, 14)
FLOW_GAIN = 4  # samples, or levels, that 1 in a flow stands for


@dataclass(frozen=True)
class Flow:
    """Where a picture's samples come from: VECTORS `[B, 2, …]` and DEPTHS `[B, 1, …]`.

    Chroma has its own at its size, in its samples.
    """

    luma: tuple[Tensor, Tensor]
    chroma: tuple[Tensor, Tensor]


class Model(nn.Module):
    """A scale-space-flow codec."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        latent, flow = config.latent, config.flow_latent
        self.intra = Autoencoder(config, latent, _analysis(config), _synthesis(config, latent))
        self.flow = Autoencoder(config, flow, _flow_analysis(config), _flow_synthesis(config))
        self.residual = Autoencoder(
            config, latent, _analysis(config), _synthesis(config, latent + flow)
        )
        initialise(self)

    def forward_intra(self, target: Picture, place: int) -> tuple[Picture, Tensor]:
        """In training: the decoded I frame, and bits of the batch."""
        coded = self.intra(self.intra_input(target), place)
        return self.intra_picture(coded.output), coded.bits

    def forward_inter(
        self, target: Picture, reference: Picture, place: int
    ) -> tuple[Picture, Tensor]:
        """In training: the decoded P frame, and bits of the batch."""
        flow = self.flow(self.flow_input(target, reference), place)
        moved = warp(reference, self.vectors(flow.output))
        residual = self.residual(self.residual_input(target, moved), place, flow.latents)
        return self.inter_picture(moved, residual.output), flow.bits + residual.bits

    def intra_input(self, target: Picture) -> Tensor:
        """What an I frame's analysis gets."""
        return self.channels(target) - GREY

    def flow_input(self, target: Picture, reference: Picture) -> Tensor:
        """What the flow's analysis gets: both pictures.

        In a light model the reference moved as a search found best, and that field besides.
        """
        if not self.config.light:
            return torch.cat([self.channels(target), self.channels(reference)], 1) - GREY
        with torch.no_grad():
            field = search.motion_field(target.luma, reference.luma)
            full = functional.interpolate(field, scale_factor=search.CELL, mode="bilinear")
            moved = Picture(
                search.moved(reference.luma, full),
                search.moved(reference.chroma, _halved(full) / 2),
            )
            pictures = torch.cat([self.channels(target), self.channels(moved)], 1) - GREY
            return torch.cat([pictures, field], 1)

    def residual_input(self, target: Picture, moved: Picture) -> Tensor:
        """What the residual's analysis gets."""
        return self.channels(target - moved)

    def channels(self, picture: Picture) -> Tensor:
        """A picture as the networks have it: samples of blocks, or as many of chroma as of luma."""
        return blocks_of(picture, BLOCK if self.config.light else 1)

    def planes(self, channels: Tensor) -> Picture:
        """A picture from the networks' result; `channels` turned round."""
        return picture_of_blocks(channels, BLOCK if self.config.light else 1)

    def intra_picture(self, output: Tensor) -> Picture:
        """The decoded I frame."""
        planes = self.planes(output)
        return Picture(SAMPLES.nearest(planes.luma), SAMPLES.nearest(planes.chroma))

    def inter_picture(self, moved: Picture, output: Tensor) -> Picture:
        """The decoded P frame from what is moved and the residual."""
        residual = self.planes(output)
        return Picture(
            SAMPLES.nearest(moved.luma + residual.luma),
            SAMPLES.nearest(moved.chroma + residual.chroma),
        )

    def vectors(self, output: Tensor) -> Flow:
        """Vectors and depths of every sample from the flow's synthesis."""
        field = output * FLOW_GAIN
        if self.config.light:
            field = functional.interpolate(field, scale_factor=BLOCK, mode="bilinear")
        half = _halved(field)
        return Flow(
            (VECTORS.nearest(field[:, :2]), DEPTHS.nearest(field[:, 2:])),
            (VECTORS.nearest(half[:, :2] / 2), DEPTHS.nearest(half[:, 2:])),
        )


def warp(reference: Picture, flow: Flow) -> Picture:
    """The reference, moved and blurred; of the grid STACK."""
    return moved(blur_stacks(reference), flow)


def blur_stacks(reference: Picture) -> tuple[Tensor, Tensor]:
    """Luma and chroma, more and more blurred (`nn.warp.blur_stack`)."""
    return blur_stack(reference.luma), blur_stack(reference.chroma)


def moved(stacks: tuple[Tensor, Tensor], flow: Flow) -> Picture:
    """As `warp`, where what is blurred is there already."""
    luma, chroma = stacks
    return Picture(scale_space_warp(luma, *flow.luma), scale_space_warp(chroma, *flow.chroma))


def _last(network: nn.Module) -> Any:
    """The last layer of a network, or of the deep part of one that has a linear one beside."""
    if isinstance(network, Analysis | Synthesis):
        network = network.deep
    assert isinstance(network, nn.Sequential)
    return network[-1]


@torch.no_grad()
def initialise(model: Model) -> None:
    """Weights to train from: activations keep their size from layer to layer (He et al., 2015).

    Else they soon were smaller than the steps of their grids. What comes out starts near to
    nothing, and I frames from grey; a light model starts as a transform of blocks.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | ExactLayer):
            terms = layer.weight[0].numel()
            if isinstance(layer, TransposedConv):
                terms = layer.weight[:, 0].numel() // layer.stride**2
            nn.init.normal_(layer.weight, 0, (2 / terms) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for part in (model.intra, model.flow, model.residual):
        for network in (part.synthesis, part.hyper_mean, part.hyper_deviation):
            _last(network).weight.mul_(0.1)
        _last(part.hyper_deviation).bias.fill_(0.25)
        if isinstance(part.analysis, Analysis) and isinstance(part.synthesis, Synthesis):
            _last(part.analysis).weight.zero_()
            _last(part.synthesis).weight.zero_()
            transform, unit = picture_transform(part.latent), 1
            if part is model.flow:
                transform, unit = flow_transform(part.latent), FLOW_GAIN
            start_as_cosines(part.analysis, part.synthesis, transform, unit)
            waves = torch.from_numpy(transform.frequencies())
            strength = 8 if part is model.intra else 2
            _last(part.hyper_deviation).bias.copy_(0.25 + strength / (1 + waves) ** 1.5)
    _last(model.intra.synthesis).bias.fill_(GREY)


def _halved(x: Tensor) -> Tensor:
    """Means of 2x2 samples."""
    return functional.avg_pool2d(x, 2)


def _analysis(config: Config) -> nn.Module:
    if config.light:
        return Analysis(_deep_analysis(config, CHANNELS, config.latent), CHANNELS, config.latent)
    return _strided(config, 3, config.latent)


def _flow_analysis(config: Config) -> nn.Module:
    if config.light:
        deep = _deep_analysis(config, 2 * CHANNELS + 2, config.flow_latent)
        return Analysis(deep, 2, config.flow_latent)
    return _strided(config, 6, config.flow_latent)


def _deep_analysis(config: Config, channels: int, latent: int) -> nn.Sequential:
    wide = config.codec * 4 // 3
    return nn.Sequential(
        nn.Conv2d(channels, config.codec, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(config.codec, wide, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(wide, wide, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(wide, latent, 3, stride=2, padding=1),
    )


def _strided(config: Config, channels: int, latent: int) -> nn.Sequential:
    widths = channels, config.codec, config.codec, config.codec, latent
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 5, stride=2, padding=2), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _synthesis(config: Config, inputs: int) -> nn.Module:
    if config.light:
        wide = config.codec * 4 // 3
        deep = nn.Sequential(
            Conv(LATENTS, ACTIVATIONS, inputs, wide, 3),
            Conv(ACTIVATIONS, ACTIVATIONS, wide, 4 * wide, 3),
            nn.PixelShuffle(2),
            Conv(ACTIVATIONS, ACTIVATIONS, wide, wide, 3),
            Conv(ACTIVATIONS, ACTIVATIONS, wide, 4 * config.codec, 3),
            nn.PixelShuffle(2),
            Conv(ACTIVATIONS, ACTIVATIONS, config.codec, config.codec, 3),
            Conv(ACTIVATIONS, RESIDUALS, config.codec, CHANNELS, 3),
        )
        return Synthesis(deep, LATENTS, RESIDUALS, config.latent, CHANNELS)
    return _transposed(config, inputs, 3, RESIDUALS)


def _flow_synthesis(config: Config) -> nn.Module:
    latent = config.flow_latent
    if config.light:
        narrow = config.codec * 2 // 3
        deep = nn.Sequential(
            Conv(LATENTS, ACTIVATIONS, latent, config.codec, 3),
            Conv(ACTIVATIONS, ACTIVATIONS, config.codec, 4 * config.codec, 3),
            nn.PixelShuffle(2),
            Conv(ACTIVATIONS, ACTIVATIONS, config.codec, 4 * narrow, 3),
            nn.PixelShuffle(2),
            Conv(ACTIVATIONS, FLOW, narrow, 3, 3),
        )
        return Synthesis(deep, LATENTS, FLOW, latent, 3)
    return _transposed(config, latent, 3, FLOW)


def _transposed(config: Config, inputs: int, outputs: int, result: Grid) -> nn.Sequential:
    widths = inputs, config.codec, config.codec, config.codec
    layers: list[nn.Module] = [
        TransposedConv(LATENTS if i == 0 else ACTIVATIONS, ACTIVATIONS, a, b, 5)
        for i, (a, b) in enumerate(pairwise(widths))
    ]
    return nn.Sequential(*layers, TransposedConv(ACTIVATIONS, result, config.codec, outputs, 5))


@cache
def decoder_parameters(config: Config) -> int:
    """Parameters that a decoder needs: all but those of the analysis networks."""
    with torch.device("meta"):
        return count.decoder_parameters(Model(config))


@cache
def decoder_multiplications(config: Config, *, intra: bool = False) -> float:
    """Multiply-accumulates per luma sample of decoding a P or an I frame, large pictures."""
    side = 64 * STRIDE
    with torch.device("meta"):
        model = Model(config)
    with count.counted(model) as counted:
        for part in [model.intra] if intra else [model.flow, model.residual]:
            z = torch.empty(1, config.hyperlatent, side // 64, side // 64)
            part.distributions(z, (side // STRIDE, side // STRIDE))
            inputs = part.latent + (config.flow_latent if part is model.residual else 0)
            part.decode(torch.empty(1, inputs, side // STRIDE, side // STRIDE))
    return counted.total / side**2
