"""Shapes of the hierarchical models (DHVC 2.0, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

SCALES = 4
STRIDES = (64, 32, 16, 8)  # samples of the picture per place of a scale, the lowest one first
STRIDE = STRIDES[0]


@dataclass(frozen=True)
class Config:
    """One model. What is given per scale is of the lowest (1/64) to the highest (1/8).

    Attributes:
        name: as the command line has it.
        widths: channels of features at each scale.
        latents: channels of what is coded at each scale.
        kernels: sides of depthwise convolutions at each scale.
        quarter: channels of the encoder at a quarter of the resolution.
        quarter_blocks, encoder_blocks: of the encoder there, and at each scale.
        mixing_blocks, prediction_blocks: of a contextual prediction network: units behind the
            merged references, then prediction blocks (N of section 5.3).
        posterior_blocks, spatial_blocks, decoder_blocks: of a latent block's posterior, behind
            its spatial reference, and of its decoded features.
        auxiliary_blocks: at each scale of the auxiliary refinement; 0 leaves it out.
        tail_blocks: between the highest scale's features and the picture.
        references: previous frames whose decoded features are referred to.
        embedding: channels that lambda is embedded in.
        smooth: GELU and sigmoid, else functions of straight lines.
        direct: features start as a transform of blocks, and latents have steps that depend on
            lambda; else as in the paper.
        rates: rate points whose lambdas the model was trained between.
    """

    name: str
    widths: tuple[int, int, int, int]
    latents: tuple[int, int, int, int]
    kernels: tuple[int, int, int, int]
    quarter: int
    quarter_blocks: int
    encoder_blocks: tuple[int, int, int, int]
    mixing_blocks: int
    prediction_blocks: int
    posterior_blocks: int
    spatial_blocks: int
    decoder_blocks: int
    auxiliary_blocks: int
    tail_blocks: int
    references: int = 2
    embedding: int = 256
    smooth: bool = True
    direct: bool = False
    rates: int = 4


def _paper(name: str, *, auxiliary_blocks: int) -> Config:
    """Section 5, with what it leaves open chosen so that table 2's counts are met within 1 %.

    Widths, kernels and the encoder's blocks are about version 1.0's.
    """
    return Config(
        name,
        widths=(512, 512, 512, 384),
        latents=(32, 96, 8, 8),
        kernels=(3, 5, 7, 7),
        quarter=192,
        quarter_blocks=6,
        encoder_blocks=(4, 4, 4, 2),
        mixing_blocks=1,
        prediction_blocks=4,
        posterior_blocks=2,
        spatial_blocks=2,
        decoder_blocks=2,
        auxiliary_blocks=auxiliary_blocks,
        tail_blocks=2,
    )


def _small(name: str, *, auxiliary_blocks: int) -> Config:
    return Config(
        name,
        widths=(128, 128, 96, 96),
        latents=(32, 48, 48, 48),
        kernels=(3, 3, 5, 5),
        quarter=48,
        quarter_blocks=1,
        encoder_blocks=(1, 1, 2, 2),
        mixing_blocks=1,
        prediction_blocks=2,
        posterior_blocks=1,
        spatial_blocks=0,
        decoder_blocks=1,
        auxiliary_blocks=auxiliary_blocks,
        tail_blocks=2,
        embedding=32,
        smooth=False,
        direct=True,
    )


CONFIGS = {
    c.name: c
    for c in (
        _paper("paper", auxiliary_blocks=3),
        _paper("paper-parallel", auxiliary_blocks=0),
        _small("small", auxiliary_blocks=1),
        _small("small-parallel", auxiliary_blocks=0),
    )
}
