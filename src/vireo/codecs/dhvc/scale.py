"""A latent block: what a scale sends, from what that is predicted, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vireo.codecs.dhvc.blocks import (
    FEATURES,
    GATES,
    SMOOTH,
    PredictionBlock,
    Upsample,
    analysis_blocks,
    exact_blocks,
)
from vireo.codecs.dhvc.config import Config
from vireo.codecs.rate_points import STEP_PARTS
from vireo.exact import Conv, Grid, Lookup, hard_sigmoid
from vireo.nn.latents import OCTAVES, lower_bound, rounded

STEPS = Grid(8, 0, 1 << 12)
MERGE_BITS = 9  # of a weight's fraction where several references come together


@dataclass(frozen=True)
class Context:
    """What a scale starts from.

    Attributes:
        spatial, decoded: e and d of the scale below, at this scale's size.
        predicted: c, from these and from the frames before.
        mean, octaves: of the latents' distributions; octaves are of the deviation in steps.
        kept: what e takes of the frame before in channels that have no latents; None without one.
    """

    spatial: Tensor
    decoded: Tensor
    predicted: Tensor
    mean: Tensor
    octaves: Tensor
    kept: Tensor | None = None


class Scale(nn.Module):
    """A latent block (section 5.2): posterior, prior, and the ways on.

    Args:
        level: 0 for the lowest scale.
    """

    def __init__(self, config: Config, level: int) -> None:
        super().__init__()
        self.level = level
        self.latents = config.latents[level]
        self._direct = config.direct
        width, kernel = config.widths[level], config.kernels[level]
        below = config.widths[max(level - 1, 0)]
        if level:
            self.raise_spatial = Upsample(below, width)
            self.raise_decoded = Upsample(below, width)
        smooth = config.smooth
        # The encoder's
        self.posterior_analysis = analysis_blocks(config, width, kernel, config.posterior_blocks)
        self.merge_analysis = nn.Sequential(
            nn.Conv2d(2 * width, width, 1),
            nn.GELU() if smooth else nn.ReLU(),
            nn.Conv2d(width, self.latents, 1),
        )
        # The prior
        references = config.references + bool(config.auxiliary_blocks)
        inputs = (1 + references) * width
        self.merge = Conv(FEATURES, FEATURES, inputs, width, 1, weight_bits=MERGE_BITS)
        self.mixing = exact_blocks(config, width, kernel, config.mixing_blocks)
        self.prediction = nn.Sequential(
            *(
                PredictionBlock(width, kernel, smooth=smooth)
                for _ in range(config.prediction_blocks)
            )
        )
        self.mean = Conv(FEATURES, FEATURES, width, self.latents, 1)
        self.octaves = Conv(FEATURES, OCTAVES, width, self.latents, 1)
        if config.direct:
            self.keep = nn.Sequential(
                Conv(FEATURES, SMOOTH, width, width, 1), Lookup(hard_sigmoid, SMOOTH, GATES)
            )
        self.absent = nn.Parameter(torch.zeros(references * width))
        # The ways on
        self.widen = Conv(FEATURES, FEATURES, self.latents, width, 1)
        self.spatial = exact_blocks(config, width, kernel, config.spatial_blocks)
        self.fuse = Conv(FEATURES, FEATURES, 3 * width, width, 1, weight_bits=MERGE_BITS)
        self.decode = exact_blocks(config, width, kernel, config.decoder_blocks)
        self.steps = nn.Parameter(torch.ones(config.rates, self.latents)) if self._direct else None

    def parameter_grids(self) -> dict[str, Grid]:
        """Of what is not in a layer, by name."""
        return {"absent": FEATURES} | ({} if self.steps is None else {"steps": STEPS})

    def context(
        self,
        spatial: Tensor,
        decoded: Tensor,
        features: Sequence[Tensor],
        auxiliary: Tensor | None,
        embedded: Tensor,
    ) -> Context:
        """What follows from the scale below, and from the frames before.

        Args:
            spatial, decoded: e and d of the scale below.
            features: decoded ones of this scale of the frames before, the latest first; those of
                the first frame stand for what is before it. Nothing for an I frame.
            auxiliary: the picture's before, where the model has such.
        """
        if self.level:
            spatial, decoded = self.raise_spatial(spatial), self.raise_decoded(decoded)
        batch, width, *size = spatial.shape
        count = self.absent.numel() // width
        latest: Tensor | None = None
        if features:
            frames = count - (auxiliary is not None)
            before = [*features, *[features[-1]] * frames][:frames]
            latest = before[0] if auxiliary is None else auxiliary
            before += [] if auxiliary is None else [auxiliary]
        else:
            constants = FEATURES.nearest(self.absent).reshape(1, -1, 1, 1)
            before = [constants.expand(batch, -1, *size)]
        c = self.merge(torch.cat([spatial, *before], 1))
        c = self.mixing(c, embedded)
        c = self.prediction(c)
        mean = self.mean(c)
        kept: Tensor | None = None
        if self._direct and latest is not None:
            change = self.keep(c) * (latest - spatial)
            mean = FEATURES.nearest(mean + change[:, : self.latents])
            kept = change[:, self.latents :]
        return Context(spatial, decoded, c, mean, self.octaves(c), kept)

    def analyse(self, observed: Tensor, spatial: Tensor, embedded: Tensor) -> Tensor:
        """Latents of a scale's features, not rounded; in floats, an encoder's."""
        x = self.posterior_analysis(observed, embedded)
        latents: Tensor = self.merge_analysis(torch.cat([x, spatial], 1))
        if self._direct:
            latents = latents + (observed - spatial)[:, : self.latents]
        return latents

    def steps_at(self, places: Tensor) -> Tensor | None:
        """`[B, C, 1, 1]`: of latents at places `[B]` between rate points; None for ones."""
        if self.steps is None:
            return None
        steps = STEPS.nearest(lower_bound(self.steps, STEPS.unit))
        whole, part = places // STEP_PARTS, (places % STEP_PARTS)[:, None]
        low, high = steps[whole], steps[(whole + 1).clamp(max=len(steps) - 1)]
        return STEPS.nearest((low * (STEP_PARTS - part) + high * part) / STEP_PARTS)[
            :, :, None, None
        ]

    @staticmethod
    def quantised(latents: Tensor, mean: Tensor, steps: Tensor | None) -> Tensor:
        """The symbols that are sent: residuals, rounded (equation 16)."""
        residual = latents - mean
        return rounded(residual if steps is None else residual / steps)

    @staticmethod
    def dequantised(symbols: Tensor, mean: Tensor, steps: Tensor | None) -> Tensor:
        """Latents from symbols."""
        return FEATURES.nearest(mean + (symbols if steps is None else symbols * steps))

    def finish(self, context: Context, latents: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """e and d of this scale."""
        widened = self.widen(latents)
        if self._direct:
            rest = context.kept
            if rest is None:
                rest = torch.zeros_like(widened[:, self.latents :])
            widened = widened + torch.cat([latents, rest], 1)
        spatial = FEATURES.nearest(context.spatial + widened)
        spatial = self.spatial(spatial, embedded)
        decoded = self.fuse(torch.cat([context.decoded, context.predicted, spatial], 1))
        if self._direct:
            decoded = FEATURES.clamp(decoded + spatial)
        decoded = self.decode(decoded, embedded)
        return spatial, decoded
