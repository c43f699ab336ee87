"""Descent on whole latents, held against the loss as the trainer evaluates it by itself."""

import numpy as np
import pytest

from tests.coolchic.test_parts_trainer import SMALL, Case
from vireo.codecs.coolchic.config import PAPER, STANDARD, Architecture, FrameType
from vireo.codecs.coolchic.networks import shipped_sets
from vireo.codecs.coolchic.torch_trainer import TorchTrainer
from vireo.codecs.coolchic.trainer import Trainer, available_kernels
from vireo.codecs.coolchic.updates import to_floats

LAMBDA = 2e-4
# Sizes at which grids end in the middle of what is doubled, and footprints reach every border.
SIZES = [(50, 34), (6, 130), (2, 2), (2, 40)]


def textured(height: int, width: int) -> list[np.ndarray]:
    """A picture with edges, slopes and some noise."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    luma = 120 + 40 * np.sin(0.4 * x + 0.1 * y) + 50 * (x + 2 * y > 60)
    luma += np.random.default_rng(5).normal(size=luma.shape) * 6
    u, v = 128 + 30 * np.cos(0.2 * x[::2, ::2]), 110 + 0.5 * y[::2, ::2]
    return [np.ascontiguousarray(p.clip(0, 255).astype(np.uint8)) for p in (luma, u, v)]


def predicted(height: int, width: int) -> list[np.ndarray]:
    """What a reference moved wrongly by two samples and noise make of the picture."""
    rng = np.random.default_rng(6)
    moved = [np.roll(p, 2, axis=1).astype(np.int16) for p in textured(height, width)]
    return [64 * p + rng.integers(-200, 200, p.shape, dtype=np.int16) for p in moved]


def trainer_of(
    architecture: Architecture, frame_type: FrameType, size: tuple[int, int], isa: str = ""
) -> Trainer:
    case = Case(architecture, frame_type, *size)
    case.target = textured(*size)
    case.prediction = predicted(*size) if frame_type else None
    trainer = case.trainer(isa=isa)
    if architecture == STANDARD:  # networks that fit pictures, not only random ones
        sets = shipped_sets(STANDARD)
        number = sets.nearest(frame_type, LAMBDA)
        trainer.parameters = to_floats(sets.parameters[number], STANDARD)
    return trainer


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("frame_type", [FrameType.I, FrameType.P])
@pytest.mark.parametrize("architecture", [SMALL, STANDARD], ids=["small", "standard"])
def test_each_round_lowers_the_loss(
    architecture: Architecture, frame_type: FrameType, size: tuple[int, int]
) -> None:
    trainer = trainer_of(architecture, frame_type, size)
    losses = [trainer.evaluate(LAMBDA).loss]
    for _ in range(3):
        trainer.refine(LAMBDA, 1)
        losses.append(trainer.evaluate(LAMBDA).loss)
    assert losses[1] < losses[0] * (0.98 if min(size) > 2 else 1 + 1e-6)
    assert losses[2] <= losses[1] * (1 + 1e-6)
    assert losses[3] <= losses[2] * (1 + 1e-6)


def test_latents_away_from_the_borders_lower_it_too() -> None:
    """Large enough for footprints of level 5 that touch no border."""
    trainer = trainer_of(STANDARD, FrameType.B, (232, 240))
    trainer.latents = [np.zeros_like(g) for g in trainer.latents]
    losses = [trainer.evaluate(LAMBDA).loss]
    for _ in range(2):
        trainer.refine(LAMBDA, 1)
        losses.append(trainer.evaluate(LAMBDA).loss)
    assert losses[1] < losses[0] * 0.9
    assert losses[2] < losses[1]


def test_in_pytorch_it_is_the_same() -> None:
    """With random networks, which look at the temporal contexts."""
    native = trainer_of(SMALL, FrameType.P, (34, 50))
    twin = TorchTrainer(
        SMALL,
        FrameType.P,
        textured(34, 50),
        prediction=predicted(34, 50),
        temporal=Case(SMALL, FrameType.P, 34, 50).temporal,
    )
    twin.latents, twin.parameters = native.latents, native.parameters
    twin.set_weights(Case(SMALL, FrameType.P, 34, 50).weights)
    assert twin.refine(LAMBDA, 2) == native.refine(LAMBDA, 2)
    for ours, theirs in zip(native.latents, twin.latents, strict=True):
        np.testing.assert_array_equal(ours, theirs)


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
    missed = []
    for k in (0, 1, 2, 3, 7, 8, 12):  # luma's finest, and those of U and V
        paid = [pays(trainer, k, least, rng) for _ in range(300)]
        missed.append(np.mean(paid))
    # On average of the grids 0.02; at zeros 0.4.
    assert max(missed) < 0.1
    assert np.mean(missed) < 0.03


def pays(trainer: Trainer, grid: int, least: float, rng: np.random.Generator) -> bool:
    """Whether some latent of a grid, moved by one, lowers the loss."""
    latents = trainer.latents
    latents[grid].flat[rng.integers(latents[grid].size)] += rng.choice([-1, 1])
    return trainer_at(trainer, latents) < least * (1 - 1e-6)


def trainer_at(trainer: Trainer, latents: list[np.ndarray]) -> float:
    """The loss with other latents; the trainer is left as it was."""
    kept = trainer.latents
    trainer.latents = latents
    loss = trainer.evaluate(LAMBDA).loss
    trainer.latents = kept
    return loss


def test_refined_latents_are_whole() -> None:
    trainer = trainer_of(STANDARD, FrameType.P, (50, 34))
    assert trainer.refine(LAMBDA, 2) > 0
    for grid in trainer.latents:
        np.testing.assert_array_equal(grid, np.rint(grid))


def test_a_latent_that_does_not_pay_goes() -> None:
    trainer = trainer_of(STANDARD, FrameType.P, (50, 34))
    lonely = [np.zeros_like(g) for g in trainer.latents]
    for grid in lonely:
        grid.flat[grid.size // 2] = 1
    trainer.latents = lonely
    trainer.refine(100.0, 5)
    assert not any(np.count_nonzero(left) for left in trainer.latents)


def test_the_paper_has_no_parts_to_refine() -> None:
    picture = textured(16, 16)
    trainer = Trainer(PAPER, FrameType.I, picture)
    with pytest.raises(ValueError, match="parts"):
        trainer.refine(LAMBDA, 1)


def test_what_is_worth_nothing_gets_no_latents() -> None:
    """Squared errors of the left half count nothing."""
    trainer = trainer_of(STANDARD, FrameType.I, (64, 128))
    trainer.latents = [np.zeros_like(g) for g in trainer.latents]
    weights = np.ones((32, 64), np.float32)
    weights[:, :32] = 0
    trainer.set_weights(weights)
    trainer.refine(LAMBDA, 3)
    for grid in trainer.latents[:3]:  # others reach over to the right half
        left = grid[:, : grid.shape[1] // 2 - 4]
        assert not left.any()
    assert any(grid.any() for grid in trainer.latents[:3])
