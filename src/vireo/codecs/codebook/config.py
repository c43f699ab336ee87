"""Shapes of the codebook models ("Effortless cross-platform video codec", section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

LATENT_STRIDE = 8  # luma samples of the picture per place of the latents
STRIDES = (16, 32, 64)  # per place of each stage's indices

Sizes = tuple[int, int, int]
"""Entries of the codebooks of each stage, powers of two."""


@dataclass(frozen=True)
class Config:
    """One model.

    Attributes:
        name: as the command line has it.
        channels: of the latents.
        patch: side in luma samples of what the first layer takes at once. With 1, planes are
            brought to one size first.
        encoder_blocks, decoder_blocks: residual blocks of the image encoder and decoder at each
            resolution from that of patches to that of latents.
        codebooks: how many share a place's channels.
        quantised: channels at each stage.
        stage_blocks: residual blocks behind each stage's halving, and before its doubling.
        key: codebook sizes of key frames.
        predicted: of predicted frames, one per rate point, the lowest rate first.
        context: "window" and "wide" attend to windows of 4 and of 64 places, "blocks" don't.
        padding: places by which a window of the reference is wider on each side.
        heads, head: of the attention, and channels of each.
        context_layers, context_blocks: attentions, and residual blocks behind each.
        direct: latents start as a cosine transform, and contexts as differences; else as in the
            paper.
    """

    name: str
    channels: int
    patch: int
    encoder_blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    codebooks: int
    quantised: tuple[int, int, int]
    stage_blocks: tuple[int, int]
    key: Sizes
    predicted: tuple[Sizes, ...]
    context: str = "window"
    padding: int = 2
    heads: int = 8
    head: int = 16
    context_layers: int = 2
    context_blocks: int = 1
    direct: bool = False

    @property
    def rates(self) -> int:
        """Rate points."""
        return len(self.predicted)

    @property
    def window(self) -> int:
        """Places, the side of a window of the query."""
        return 64 if self.context == "wide" else 4

    def sizes(self, rate: int | None) -> Sizes:
        """Of the codebooks of a key frame, or of a predicted one at a rate point."""
        return self.key if rate is None else self.predicted[rate]


def _paper(
    name: str, *, context: str = "window", decoder_blocks: tuple[int, ...] = (1, 4, 4, 18)
) -> Config:
    return Config(
        name,
        channels=128,
        patch=1,
        encoder_blocks=(0, 1, 5, 7),
        decoder_blocks=decoder_blocks,
        codebooks=2,
        quantised=(128, 128, 128),
        stage_blocks=(10, 9),
        key=(8192, 2048, 512),
        predicted=((8, 2048, 512), (64, 2048, 512), (8192, 2048, 512)),
        context=context,
        context_blocks=2,
    )


def _small(name: str, *, context: str = "window") -> Config:
    return Config(
        name,
        channels=96,
        patch=8,
        encoder_blocks=(2,),
        decoder_blocks=(3,),
        codebooks=4,
        quantised=(128, 96, 64),
        stage_blocks=(1, 1),
        key=(4096, 1024, 256),
        predicted=((16, 256, 64), (128, 256, 64), (1024, 256, 64)),
        context=context,
        heads=6,
        direct=True,
    )


CONFIGS = {
    c.name: c
    for c in (
        _paper("paper"),
        _paper("paper-wide", context="wide"),
        _paper("paper-blocks", context="blocks"),
        _paper("paper-light", decoder_blocks=(0, 0, 1, 2)),
        _small("small"),
        _small("small-blocks", context="blocks"),
    )
}
