"""Shapes of the scale-space-flow models (InstA, tables 2, 7 and 8)."""

from __future__ import annotations

from dataclasses import dataclass

STRIDE = 16  # samples of the picture per latent


@dataclass(frozen=True)
class Config:
    """One model with its three autoencoders: of I frames, of the flow and of the residual.

    Attributes:
        name: as the command line has it.
        latent, hyperlatent: channels of what is coded.
        flow_latent: the flow's latents.
        codec, hyper: channels of the networks between pictures and latents, and between
            latents and hyperlatents.
        light: for two processor cores: convolutions at a quarter of the resolution and less,
            on the samples of a 4x4 block as channels, and an encoder that searches motion; else
            as in the paper, 5x5 kernels from the full resolution down.
        rates: rate points of one set of weights, each with steps of its own for the latents.
    """

    name: str
    latent: int
    flow_latent: int
    hyperlatent: int
    codec: int
    hyper: int
    light: bool = False
    rates: int = 1


CONFIGS = {
    c.name: c
    for c in (
        Config("ssf18", latent=192, flow_latent=192, hyperlatent=192, codec=128, hyper=192),
        Config("ssf8", latent=192, flow_latent=192, hyperlatent=192, codec=96, hyper=96),
        Config("ssf5", latent=192, flow_latent=192, hyperlatent=192, codec=64, hyper=64),
        Config("ssf3", latent=128, flow_latent=128, hyperlatent=192, codec=48, hyper=48),
        Config(
            "ssf1",
            latent=192,
            flow_latent=48,
            hyperlatent=32,
            codec=48,
            hyper=48,
            light=True,
            rates=4,
        ),
    )
}
