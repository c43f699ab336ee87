"""The native training step of architectures with parts, against its twin in PyTorch."""

from collections.abc import Iterator
from dataclasses import astuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.coolchic.test_trainer import (
    GRADIENT_BOUND,
    LAMBDA,
    METRIC_BOUND,
    TEMPERATURE,
    assert_close,
)
from vireo.codecs.coolchic import model, parts_model
from vireo.codecs.coolchic.config import PAPER, STANDARD, Architecture, FrameType, Parts
from vireo.codecs.coolchic.trainer import (
    Adam,
    Trainer,
    available_kernels,
    schedule,
    trained_grids,
)
from vireo.nn.rounding import hard_quantise, noisy_quantise

SMALL = Architecture(
    grids=4,
    arm_hidden=(6,),
    upsampling_kernel=4,
    synthesis_hidden=(5,),
    parts=Parts(chroma_first=1, chroma_hidden=()),
)


@pytest.fixture(autouse=True)
def one_thread_for_the_twin() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Case:
    """A random frame: target, latents, parameters, noise; but of an I frame also prediction,
    temporal contexts and weights of the squared errors.
    """

    prediction: list[NDArray[np.int16]] | None = None
    temporal: list[NDArray[np.int16]] | None = None
    weights: NDArray[np.float32] | None = None

    def __init__(
        self,
        architecture: Architecture,
        frame_type: FrameType,
        height: int,
        width: int,
        seed: int = 3,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.architecture, self.frame_type = architecture, frame_type
        shapes = [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
        self.target = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
        if frame_type:  # the filters leave 0…255
            self.prediction = [rng.integers(-4000, 20000, s, dtype=np.int16) for s in shapes]
        self.grids = trained_grids(architecture, frame_type, height, width)
        self.latents = [
            (rng.normal(size=(g.height, g.width)) * 2).astype(np.float32) for g in self.grids
        ]
        self.noise = [rng.uniform(-0.5, 0.5, size=x.shape).astype(np.float32) for x in self.latents]
        count = sum(architecture.parameters(frame_type).values())
        self.parameters = rng.normal(size=count).astype(np.float32) * np.float32(0.3)
        if frame_type:
            sizes = architecture.grid_sizes(height, width)
            self.temporal = [rng.integers(0, 16, s, dtype=np.int16) for s in sizes]
            self.weights = rng.uniform(0.3, 1.7, shapes[1]).astype(np.float32)

    def trainer(self, *, threads: int = 1, isa: str = "") -> Trainer:
        trainer = Trainer(
            self.architecture,
            self.frame_type,
            self.target,
            prediction=self.prediction,
            temporal=self.temporal,
            threads=threads,
            isa=isa,
        )
        trainer.latents = self.latents
        trainer.parameters = self.parameters
        if self.weights is not None:
            trainer.set_weights(self.weights)
        return trainer


def check(case: Case, *, hard: bool, isa: str = "") -> None:
    latents = [torch.from_numpy(x).double().requires_grad_() for x in case.latents]
    flat = torch.from_numpy(case.parameters).double().requires_grad_()
    networks = parts_model.PartNetworks.of(flat, case.architecture, case.frame_type)
    quantised = [
        hard_quantise(x) if hard else noisy_quantise(x, TEMPERATURE, torch.from_numpy(n).double())
        for x, n in zip(latents, case.noise, strict=True)
    ]
    prediction = case.prediction and [
        torch.from_numpy(p).double() / (64 * 255) for p in case.prediction
    ]
    target = [torch.from_numpy(p).double() / 255 for p in case.target]
    planes = parts_model.decode(quantised, networks, case.architecture, prediction)
    temporal = case.temporal and [torch.from_numpy(p).double() for p in case.temporal]
    bits = parts_model.rate(quantised, networks, case.architecture, temporal)
    errors = [(p - t).square() for p, t in zip(planes, target, strict=True)]
    if case.weights is not None:
        half = torch.from_numpy(case.weights).double()
        errors = [
            errors[0] * torch.kron(half, torch.ones(2, 2)),
            errors[1] * half,
            errors[2] * half,
        ]
    y, u, v = (e.mean() for e in errors)
    loss = (4 * y + u + v) / 6 + LAMBDA * bits / target[0].numel()
    loss.backward()
    trainer = case.trainer(isa=isa, threads=2)
    got, got_latents, got_parameters = trainer.gradients(
        lambda_=LAMBDA,
        hard=hard,
        temperature=TEMPERATURE,
        noise=None if hard else case.noise,
    )
    assert got.loss == pytest.approx(float(loss.detach()), rel=METRIC_BOUND)
    assert got.bits == pytest.approx(float(bits.detach()), rel=METRIC_BOUND)
    for name, error in (("mse_y", y), ("mse_u", u), ("mse_v", v)):
        assert getattr(got, name) == pytest.approx(float(error.detach()), rel=METRIC_BOUND), name
    if hard:
        for plane, decoded in zip(planes, trainer.decode()[0], strict=True):
            np.testing.assert_allclose(decoded, plane.detach(), rtol=1e-5, atol=1e-5)
    for grid, a, x in zip(case.grids, got_latents, latents, strict=True):
        assert x.grad is not None
        assert_close(f"{grid}", a, x.grad, GRADIENT_BOUND)
    assert flat.grad is not None
    for name, part in case.architecture.parameter_slices(case.frame_type).items():
        assert_close(name, got_parameters[part], flat.grad[part], GRADIENT_BOUND)


@pytest.mark.parametrize("size", [(66, 50), (36, 18)])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("frame_type", [FrameType.I, FrameType.P])
def test_gradients_are_the_twins(frame_type: FrameType, hard: bool, size: tuple[int, int]) -> None:
    check(Case(STANDARD, frame_type, *size), hard=hard)


@pytest.mark.parametrize("isa", available_kernels())
@pytest.mark.parametrize("architecture", [STANDARD, SMALL])
def test_every_build_and_shape(architecture: Architecture, isa: str) -> None:
    check(Case(architecture, FrameType.B, 22, 38), hard=False, isa=isa)


@pytest.mark.parametrize("size", [(2, 2), (2, 40), (64, 4), (130, 220)])
def test_other_sizes(size: tuple[int, int]) -> None:
    check(Case(STANDARD, FrameType.B, *size), hard=False)


@pytest.mark.parametrize("isa", available_kernels())
def test_threads_change_nothing(isa: str) -> None:
    case = Case(STANDARD, FrameType.B, 130, 220)
    states = []
    for threads in (1, 3):
        trainer = case.trainer(threads=threads, isa=isa)
        steps = schedule(5, lambda_=LAMBDA, latents_rate=1e-2, networks_rate=1e-3)
        trainer.run(steps, seed=5, adam=Adam(clip=0.1))
        states.append(trainer.state())
    np.testing.assert_array_equal(*states)


def test_networks_pay_for_their_distance_from_the_base() -> None:
    case = Case(STANDARD, FrameType.P, 20, 36)
    rng = np.random.default_rng(0)
    base = case.parameters + rng.normal(size=case.parameters.shape).astype(np.float32)
    steps = []
    for weight in (0.0, 3.0):
        trainer = case.trainer()
        trainer.base = base
        # With an epsilon far above all gradients Adam's step is proportional to them.
        adam = Adam(beta1=0.0, beta2=0.0, epsilon=1e6, parameter_rate=weight)
        trainer.run(schedule(1, lambda_=LAMBDA, networks_rate=1e8), adam=adam)
        steps.append((case.parameters - trainer.parameters) / 1e2)
    flat = torch.from_numpy(case.parameters).double().requires_grad_()
    difference = flat - torch.from_numpy(base).double()
    networks = parts_model.PartNetworks.of(difference, case.architecture, case.frame_type)
    model.parameter_rate(networks).backward()
    assert flat.grad is not None
    expected = flat.grad.numpy() * 3.0 * LAMBDA / case.target[0].size
    np.testing.assert_allclose(steps[1] - steps[0], expected, rtol=0.02, atol=1e-7)


def test_fixed_networks_train_latents_alone() -> None:
    case = Case(STANDARD, FrameType.B, 34, 50)
    trainer = case.trainer()
    trainer.run(schedule(3, lambda_=LAMBDA, latents_rate=1e-2))
    np.testing.assert_array_equal(trainer.parameters, case.parameters)
    for before, after in zip(case.latents, trainer.latents, strict=True):
        assert not np.array_equal(before, after)


def test_motion_is_not_trained() -> None:
    for frame_type in FrameType:
        layout = STANDARD.latent_grids(frame_type, 50, 34)
        picture = tuple(g for g in layout if not g.is_motion)
        assert trained_grids(STANDARD, frame_type, 50, 34) == picture
        shapes = [x.shape for x in Case(STANDARD, frame_type, 50, 34).trainer().latents]
        assert shapes == [(g.height, g.width) for g in picture]
    assert trained_grids(PAPER, FrameType.B, 50, 34) == PAPER.latent_grids(FrameType.B, 50, 34)


def test_training_with_a_prediction_is_of_what_it_leaves() -> None:
    case = Case(STANDARD, FrameType.P, 34, 50)
    rng = np.random.default_rng(1)
    samples = [rng.integers(0, 256, p.shape, dtype=np.uint8).clip(0, p) for p in case.target]
    left = [t - s for t, s in zip(case.target, samples, strict=True)]
    case.prediction = [64 * s.astype(np.int16) for s in samples]
    predicted = case.trainer()
    case.target, case.prediction = left, None
    alone = case.trainer()

    ours, our_latents, our_networks = predicted.gradients(lambda_=LAMBDA, noise=case.noise)
    theirs, *gradients = alone.gradients(lambda_=LAMBDA, noise=case.noise)
    np.testing.assert_allclose(astuple(ours), astuple(theirs), rtol=METRIC_BOUND)
    for grid, a, b in zip(case.grids, our_latents, gradients[0], strict=True):
        assert_close(f"{grid}", a, torch.from_numpy(b), GRADIENT_BOUND)
    assert_close("networks", our_networks, torch.from_numpy(gradients[1]), GRADIENT_BOUND)
    for whole, rest, sample in zip(predicted.decode()[0], alone.decode()[0], samples, strict=True):
        np.testing.assert_allclose(whole, rest + sample / 255, rtol=0, atol=1e-6)


def test_frames_of_all_types_train_alike() -> None:
    case = Case(STANDARD, FrameType.B, 34, 50)
    steps = schedule(3, lambda_=LAMBDA, latents_rate=1e-2, networks_rate=1e-3)
    states = []
    for frame_type in FrameType:
        case.frame_type = frame_type
        trainer = case.trainer()
        trainer.run(steps, seed=2, adam=Adam(clip=0.1, parameter_rate=4.0))
        states.append(trainer.state())
    assert np.abs(trainer.parameters - case.parameters).min() > 0
    np.testing.assert_array_equal(states[0], states[1])
    np.testing.assert_array_equal(states[0], states[2])


def test_predictions_come_with_parts_and_references_without() -> None:
    case = Case(STANDARD, FrameType.P, 16, 24)
    with pytest.raises(ValueError, match="references"):
        Trainer(STANDARD, FrameType.P, case.target, [case.target])
    with pytest.raises(ValueError, match="parts"):
        Trainer(PAPER, FrameType.P, case.target, [case.target], prediction=case.prediction)
    assert case.prediction
    y, u, v = case.prediction
    for planes in ([y, u], [y[:-2], u, v]):
        with pytest.raises(ValueError, match="planes"):
            Trainer(STANDARD, FrameType.P, case.target, prediction=planes)
