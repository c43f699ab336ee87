"""Descent on whole latents, held against the loss as the trainer evaluates it by itself."""

import numpy as np
import pytest

from tests.coolchic.test_parts_trainer import SMALL, Case
from vireo.codecs.coolchic.config import PAPER, STANDARD, Architecture, FrameType, GridKind
from vireo.codecs.coolchic.networks import shipped_sets
from vireo.codecs.coolchic.trainer import Trainer, available_kernels
from vireo.codecs.coolchic.updates import to_floats

LAMBDA = 2e-4
# Sizes at which grids end in the middle of what is doubled, and footprints reach every border.
SIZES = [(50, 34), (6, 130)]


def textured(height: int, width: int) -> list[np.ndarray]:
    """A picture with edges, slopes and some noise."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    luma = 120 + 40 * np.sin(0.4 * x + 0.1 * y) + 50 * (x + 2 * y > 60)
    luma += np.random.default_rng(5).normal(size=luma.shape) * 6
    u, v = 128 + 30 * np.cos(0.2 * x[::2, ::2]), 110 + 0.5 * y[::2, ::2]
    return [np.ascontiguousarray(p.clip(0, 255).astype(np.uint8)) for p in (luma, u, v)]


def trainer_of(
    architecture: Architecture, frame_type: FrameType, size: tuple[int, int], isa: str = ""
) -> Trainer:
    case = Case(architecture, frame_type, *size)
    case.target = textured(*size)
    trainer = case.trainer(isa=isa)
    if architecture == STANDARD:  # networks that fit pictures, not only random ones
        sets = shipped_sets(STANDARD)
        number = sets.nearest(frame_type, LAMBDA)
        trainer.parameters = to_floats(sets.parameters[number], STANDARD)
    return trainer


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("frame_type", list(FrameType))
@pytest.mark.parametrize("architecture", [SMALL, STANDARD], ids=["small", "standard"])
def test_each_round_lowers_the_loss(
    architecture: Architecture, frame_type: FrameType, size: tuple[int, int]
) -> None:
    trainer = trainer_of(architecture, frame_type, size)
    losses = [trainer.evaluate(LAMBDA).loss]
    for _ in range(3):
        trainer.refine(LAMBDA, 1)
        losses.append(trainer.evaluate(LAMBDA).loss)
    assert losses[1] < losses[0] * 0.98
    assert losses[2] <= losses[1] * (1 + 1e-6)
    assert losses[3] <= losses[2] * (1 + 1e-6)


@pytest.mark.parametrize("isa", available_kernels())
@pytest.mark.parametrize("frame_type", [FrameType.I, FrameType.B])
def test_where_nothing_moves_any_more_hardly_a_move_would_pay(
    frame_type: FrameType, isa: str
) -> None:
    """Measured one move at a time: what is missed is what was not looked at closely."""
    trainer = trainer_of(STANDARD, frame_type, (50, 34), isa)
    trainer.latents = [np.zeros_like(g) for g in trainer.latents]
    for _ in range(100):
        if trainer.refine(LAMBDA, 1) == 0:
            break
    assert trainer.refine(LAMBDA, 1) == 0
    assert any(np.count_nonzero(g) for g in trainer.latents)
    least = trainer.evaluate(LAMBDA).loss
    rng = np.random.default_rng(1)
    grids = STANDARD.latent_grids(frame_type, 50, 34)
    missed = []
    for _ in range(400):
        k = int(rng.choice([i for i, g in enumerate(grids) if not g.is_motion]))
        latents = trainer.latents
        at = int(rng.integers(latents[k].size))
        latents[k].flat[at] += rng.choice([-1, 1])
        moved = trainer_at(trainer, latents)
        missed.append(moved < least * (1 - 1e-6))
    assert np.mean(missed) < 0.02


def trainer_at(trainer: Trainer, latents: list[np.ndarray]) -> float:
    """The loss with other latents; the trainer is left as it was."""
    kept = trainer.latents
    trainer.latents = latents
    loss = trainer.evaluate(LAMBDA).loss
    trainer.latents = kept
    return loss


def test_only_luma_and_chroma_move_and_by_whole_numbers() -> None:
    trainer = trainer_of(STANDARD, FrameType.P, (50, 34))
    before = trainer.latents
    assert trainer.refine(LAMBDA, 2) > 0
    for grid, old, new in zip(
        STANDARD.latent_grids(FrameType.P, 50, 34), before, trainer.latents, strict=True
    ):
        if grid.kind >= GridKind.VECTORS:
            np.testing.assert_array_equal(new, old)
        else:
            np.testing.assert_array_equal(new, np.rint(new))


def test_a_latent_that_does_not_pay_goes() -> None:
    trainer = trainer_of(STANDARD, FrameType.P, (50, 34))
    lonely = [np.zeros_like(g) for g in trainer.latents]
    for grid in lonely:
        grid.flat[grid.size // 2] = 1
    trainer.latents = lonely
    trainer.refine(100.0, 5)
    grids = STANDARD.latent_grids(FrameType.P, 50, 34)
    for grid, left in zip(grids, trainer.latents, strict=True):
        assert np.count_nonzero(left) == (grid.kind >= GridKind.VECTORS)


def test_the_paper_has_no_parts_to_refine() -> None:
    picture = textured(16, 16)
    trainer = Trainer(PAPER, FrameType.I, picture)
    with pytest.raises(ValueError, match="parts"):
        trainer.refine(LAMBDA, 1)
