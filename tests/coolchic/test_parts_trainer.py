"""The native training step of architectures with parts, against its twin in PyTorch."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.coolchic.test_trainer import (
    GRADIENT_BOUND,
    LAMBDA,
    METRIC_BOUND,
    TEMPERATURE,
    assert_close,
)
from vireo.codecs.coolchic import model, parts_model
from vireo.codecs.coolchic.config import STANDARD, Architecture, FrameType, GridKind, Parts
from vireo.codecs.coolchic.trainer import Adam, Trainer, available_kernels, schedule

SMALL = Architecture(
    grids=4,
    arm_hidden=(6,),
    upsampling_kernel=4,
    synthesis_hidden=(5,),
    parts=Parts(
        chroma_first=1, chroma_hidden=(), motion_first=2, motion_grids=2, motion_hidden=(4, 3)
    ),
)


@pytest.fixture(autouse=True)
def one_thread_for_the_twin() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Case:
    """A random frame: pictures, latents, parameters, noise."""

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

        def picture() -> list[np.ndarray]:
            return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]

        self.target = picture()
        self.references = [picture() for _ in range(frame_type)]
        self.grids = architecture.latent_grids(frame_type, height, width)
        scale = {GridKind.LUMA: 2.0, GridKind.CHROMA: 2.0, GridKind.VECTORS: 3.0}
        self.latents = [
            (rng.normal(size=(g.height, g.width)) * scale.get(g.kind, 0.5)).astype(np.float32)
            for g in self.grids
        ]
        self.noise = [rng.uniform(-0.5, 0.5, size=x.shape).astype(np.float32) for x in self.latents]
        count = sum(architecture.parameters(frame_type).values())
        self.parameters = rng.normal(size=count).astype(np.float32) * np.float32(0.3)

    def trainer(self, *, threads: int = 1, isa: str = "") -> Trainer:
        trainer = Trainer(
            self.architecture,
            self.frame_type,
            self.target,
            self.references,
            threads=threads,
            isa=isa,
        )
        trainer.latents = self.latents
        trainer.parameters = self.parameters
        return trainer


def check(case: Case, *, hard: bool, isa: str = "") -> None:
    latents = [torch.from_numpy(x).double().requires_grad_() for x in case.latents]
    flat = torch.from_numpy(case.parameters).double().requires_grad_()
    networks = parts_model.PartNetworks.of(flat, case.architecture, case.frame_type)
    quantised = [
        model.hard_quantise(x)
        if hard
        else model.noisy_quantise(x, TEMPERATURE, torch.from_numpy(n).double())
        for x, n in zip(latents, case.noise, strict=True)
    ]
    references = [[torch.from_numpy(p).double() / 255 for p in r] for r in case.references]
    target = [torch.from_numpy(p).double() / 255 for p in case.target]
    planes, _ = parts_model.decode(quantised, networks, case.architecture, references)
    bits = parts_model.rate(quantised, networks, case.architecture, case.frame_type)
    loss = model.distortion(planes, target) + LAMBDA * bits / target[0].numel()
    loss.backward()
    got, got_latents, got_parameters = case.trainer(isa=isa, threads=2).gradients(
        lambda_=LAMBDA,
        hard=hard,
        temperature=TEMPERATURE,
        noise=None if hard else case.noise,
    )
    assert got.loss == pytest.approx(float(loss.detach()), rel=METRIC_BOUND)
    assert got.bits == pytest.approx(float(bits.detach()), rel=METRIC_BOUND)
    for name, plane, wanted in zip(("mse_y", "mse_u", "mse_v"), planes, target, strict=True):
        error = float((plane.detach() - wanted).square().mean())
        assert getattr(got, name) == pytest.approx(error, rel=METRIC_BOUND), name
    for grid, a, x in zip(case.grids, got_latents, latents, strict=True):
        assert x.grad is not None
        assert_close(f"{grid}", a, x.grad, GRADIENT_BOUND)
    assert flat.grad is not None
    for name, part in case.architecture.parameter_slices(case.frame_type).items():
        assert_close(name, got_parameters[part], flat.grad[part], GRADIENT_BOUND)


@pytest.mark.parametrize("size", [(66, 50), (36, 18)])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("frame_type", list(FrameType))
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


def test_fields_are_pyramids_of_consecutive_levels() -> None:
    # The layout is the architecture's; what is beyond 16 levels is refused, not read.
    parts = replace(Parts(), motion_grids=14)
    with pytest.raises(ValueError, match="grids"):
        Case(replace(STANDARD, parts=parts), FrameType.P, 16, 16).trainer()
