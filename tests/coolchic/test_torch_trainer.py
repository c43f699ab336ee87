"""The PyTorch trainer, which runs on CUDA, against the native one, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from vireo.codecs.coolchic import parts_model, torch_trainer
from vireo.codecs.coolchic.config import PAPER, STANDARD
from vireo.codecs.coolchic.initialise import Start, cubic_kernel, initial_parameters
from vireo.codecs.coolchic.parts_model import PartNetworks
from vireo.codecs.coolchic.torch_trainer import StepBatcher, TorchTrainer
from vireo.codecs.coolchic.trainer import METRICS, Adam, Trainer, schedule
from vireo.gop import FrameType

SIZES = ((32, 48), (16, 24), (16, 24))
ADAM = Adam(clip=0.01, parameter_rate=4.0)
POOLING = replace(ADAM, latent_beta1=0.7, latent_beta2=0.95, pooling=0.5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch's threads cost more than they give on pictures this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pictures(count: int) -> list[list[np.ndarray]]:
    """Smooth pictures that differ by a small motion."""
    result = []
    for t in range(count):
        planes = []
        for h, w in SIZES:
            y, x = np.mgrid[0:h, 0:w] * (SIZES[0][0] / h)
            planes.append((128 + 60 * np.sin((x + t) / 6) * np.cos(y / 5)).astype(np.uint8))
        result.append(planes)
    return result


def pair(frame_type: FrameType) -> tuple[Trainer, TorchTrainer]:
    target, *references = pictures(1 + frame_type)
    native = Trainer(PAPER, frame_type, target, references)
    twin = TorchTrainer(PAPER, frame_type, target, references)
    rng = np.random.default_rng(2)
    start = Start.TRANSLATION if references else Start.MEAN
    parameters = initial_parameters(
        PAPER, frame_type, target, start, [np.zeros(2)] * len(references), rng
    )
    latents = [rng.normal(0, 1.5, g.shape).astype(np.float32) for g in native.latents]
    for trainer in (native, twin):
        trainer.parameters = parameters
        trainer.latents = latents
        if references:
            trainer.set_flow_targets(np.ones((2 * frame_type, *SIZES[0]), np.float32))
    return native, twin


def assert_same_steps(
    native: Trainer, twin: TorchTrainer, steps: np.ndarray, adam: Adam = ADAM
) -> None:
    """And that they lower the loss."""
    ours = twin.run(steps, hard=True, adam=adam)
    theirs = native.run(steps, hard=True, adam=adam)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(twin.parameters, native.parameters, atol=2e-4)
    for a, b in zip(twin.latents, native.latents, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)
    assert ours[-1, 0] < ours[0, 0]


@pytest.mark.parametrize("frame_type", list(FrameType))
def test_hard_steps_are_the_native_trainers(frame_type: FrameType) -> None:
    """Without noise both do the same, the clip and the parameters' rate included."""
    native, twin = pair(frame_type)
    steps = schedule(
        8,
        lambda_=1e-3,
        latents_rate=0.01,
        networks_rate=1e-3,
        flow_weight=1e-4 if frame_type else 0.0,
    )
    assert_same_steps(native, twin, steps)


def test_noisy_steps_lower_the_loss_and_states_come_back() -> None:
    _, twin = pair(FrameType.B)
    steps = schedule(30, lambda_=1e-3, latents_rate=0.05, networks_rate=1e-2, noise_shape=2.0)
    first = twin.run(steps[:5], seed=1)
    state = twin.state()
    later = twin.run(steps, seed=2)
    assert later[-5:, 0].mean() < first[:, 0].mean()
    twin.restore(state)
    np.testing.assert_array_equal(twin.run(steps, seed=2), later)


def temporal_contexts(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 16, size, dtype=np.int16) for size in STANDARD.grid_sizes(*SIZES[0])]


def with_parts(frame_type: FrameType) -> tuple[Trainer, TorchTrainer]:
    """A picture, predicted by the one before it but in I frames, with any temporal contexts.

    The networks' residuals are zero at first; their hidden layers are small and random.
    """
    target, reference = pictures(2)
    prediction = temporal = None
    if frame_type:
        prediction = [64 * p.astype(np.int16) for p in reference]
        temporal = temporal_contexts(5)
    native = Trainer(STANDARD, frame_type, target, prediction=prediction, temporal=temporal)
    twin = TorchTrainer(STANDARD, frame_type, target, prediction=prediction, temporal=temporal)
    parameters = np.random.default_rng(3).normal(0, 0.2, twin.parameters.size)
    slices = STANDARD.parameter_slices(frame_type)
    parameters[slices["upsampling"]] = cubic_kernel(STANDARD.upsampling_kernel).ravel()
    for name, widths in STANDARD.networks(frame_type).items():
        if name.startswith("synthesis"):
            last = widths[-1] * (widths[-2] + 1)
            parameters[slices[name].stop - last : slices[name].stop] = 0
    weights = np.random.default_rng(4).uniform(0.3, 1.7, SIZES[1])
    for trainer in (native, twin):
        trainer.parameters = parameters.astype(np.float32)
        if frame_type:
            trainer.set_weights(weights)
    return native, twin


@pytest.mark.parametrize("adam", [ADAM, POOLING])
@pytest.mark.parametrize("frame_type", [FrameType.I, FrameType.P])
def test_hard_steps_with_parts_are_the_native_trainers(frame_type: FrameType, adam: Adam) -> None:
    native, twin = with_parts(frame_type)
    rng = np.random.default_rng(2)
    base = native.parameters + rng.normal(0, 0.01, native.parameters.size).astype(np.float32)
    native.latents = [rng.normal(0, 1.5, g.shape).astype(np.float32) for g in native.latents]
    twin.latents = native.latents
    for trainer in (native, twin):
        trainer.base = base
    steps = schedule(8, lambda_=1e-3, latents_rate=0.01, networks_rate=1e-3)
    assert_same_steps(native, twin, steps, adam)


def test_luma_is_coded_with_its_temporal_contexts() -> None:
    twin = with_parts(FrameType.P)[1]
    rng = np.random.default_rng(2)
    latents = [rng.normal(0, 1.5, g.shape).round().astype(np.float32) for g in twin.latents]
    networks = PartNetworks.of(torch.from_numpy(twin.parameters), STANDARD, FrameType.P)
    bits = []
    for temporal in (temporal_contexts(1), temporal_contexts(2), None):
        trainer = TorchTrainer(STANDARD, FrameType.P, pictures(1)[0], temporal=temporal)
        trainer.parameters, trainer.latents = twin.parameters, latents
        metrics = trainer.run(schedule(1, lambda_=1e-3), hard=True)
        bits.append(metrics[0, METRICS.index("bits")])
        given = temporal and [torch.from_numpy(p).float() for p in temporal]
        quantised = [torch.from_numpy(g) for g in latents]
        expected = parts_model.rate(quantised, networks, STANDARD, given)
        assert bits[-1] == pytest.approx(float(expected), rel=1e-5)
    assert np.abs(np.diff(bits)).min() > 1e-4 * bits[0]


def test_temporal_contexts_are_lumas_grids_with_parts() -> None:
    target = pictures(1)[0]
    with pytest.raises(ValueError, match="temporal"):
        TorchTrainer(STANDARD, FrameType.P, target, temporal=temporal_contexts(1)[1:])
    with pytest.raises(ValueError, match="temporal"):
        TorchTrainer(PAPER, FrameType.I, target, temporal=temporal_contexts(1))


@pytest.mark.parametrize("frame_type", [FrameType.I, FrameType.P])
def test_parts_learn_a_picture_or_what_a_prediction_leaves_of_it(frame_type: FrameType) -> None:
    _, trainer = with_parts(frame_type)
    steps = schedule(100, lambda_=1e-4, latents_rate=0.05, networks_rate=1e-2, noise_shape=2.0)
    metrics = trainer.run(steps, adam=Adam(clip=0.01))
    assert metrics[-10:, 0].mean() < 0.3 * metrics[:10, 0].mean()
    assert not metrics[:, 5].any()


def test_parameters_with_parts_pay_for_what_differs_from_the_base() -> None:
    _, trainer = with_parts(FrameType.P)
    start = trainer.parameters
    base = start.copy()
    changed = STANDARD.parameter_slices(FrameType.P)["synthesis_chroma"]
    base[changed] += 0.125
    trainer.base = base
    # A loss that is nearly all rate of parameters: one step of Adam is as long as its rate.
    adam = Adam(parameter_rate=1e6)
    trainer.run(schedule(1, lambda_=1.0, networks_rate=0.0625), hard=True, adam=adam)
    np.testing.assert_allclose(trainer.parameters[changed], start[changed] + 0.0625, atol=1e-3)


def test_flow_targets_need_a_flow_that_a_network_gives() -> None:
    with pytest.raises(ValueError, match="parts"):
        with_parts(FrameType.P)[1].set_flow_targets(np.zeros((2, *SIZES[0]), np.float32))


class Company(StepBatcher):
    """Frames trained together on the CPU.

    Attributes:
        taken: how many frames each time; more than `room` are too many.
    """

    room = 100

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"), most=4)
        self.taken: list[int] = []

    def _take(self, requests):
        if len(requests) > self.room:
            raise torch.OutOfMemoryError
        self.taken.append(len(requests))
        return super()._take(requests)


@pytest.mark.parametrize("room", [100, 2])
@pytest.mark.parametrize("frame_type", list(FrameType))
@pytest.mark.parametrize("make", [pair, with_parts])
@pytest.mark.filterwarnings("error")  # PyTorch warns where it goes frame by frame
def test_frames_trained_together_make_the_steps_that_each_makes_alone(
    make: Callable[[FrameType], tuple[Trainer, TorchTrainer]],
    frame_type: FrameType,
    room: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where memory is short, fewer of them at a time."""
    monkeypatch.setattr(torch_trainer, "PATIENCE", 10.0)
    company = Company()
    company.room = room
    alone = [make(frame_type)[1] for _ in range(3)]
    for i, trainer in enumerate(alone):
        _, temporal, weights, _ = torch.split(trainer.constant, trainer.kind.constant_sizes)
        temporal.mul_(0.5 * i)  # each its own, one none
        weights.mul_(1 + 0.5 * i)
    side_by_side = [copied(trainer, company) for trainer in alone]
    for trainers in (alone, side_by_side):
        for i, trainer in enumerate(trainers):
            trainer.latents = [g + 0.1 * i for g in trainer.latents]
    # Each its own schedule; one has fewer steps than the others.
    schedules = [
        schedule(
            steps,
            lambda_=1e-3 * (1 + i),
            latents_rate=0.01,
            networks_rate=1e-3 if i else 0.0,
            noise_shape=1 + i,
            flow_weight=1e-4 if frame_type else 0.0,
        )
        for i, steps in enumerate((6, 4, 6))
    ]

    def run(trainer: TorchTrainer, index: int) -> np.ndarray:
        return trainer.run(schedules[index], seed=index, first_iteration=7, adam=POOLING)

    expected = [run(trainer, i) for i, trainer in enumerate(alone)]
    company._last.update(side_by_side)  # so that they wait for each other
    with ThreadPoolExecutor(3) as pool:
        metrics = list(pool.map(run, side_by_side, range(3)))
    assert company.taken == ([3] if room > 3 else [1, 2])
    for ours, theirs in zip(metrics, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    for ours, theirs in zip(side_by_side, alone, strict=True):
        np.testing.assert_allclose(ours.parameters, theirs.parameters, atol=1e-4)
        for a, b in zip(ours.latents, theirs.latents, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)


def test_frames_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call after call, once they have met; and one that ends is not waited for again."""
    monkeypatch.setattr(torch_trainer, "PATIENCE", 3.0)
    company = Company()
    trainers = [copied(pair(FrameType.I)[1], company) for _ in range(3)]

    def run(trainer: TorchTrainer, calls: int) -> None:
        for _ in range(calls):
            trainer.run(schedule(1, lambda_=1e-3))

    company._last.update(trainers)  # as if they had met, which on a busy machine takes a while
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, trainers, (12, 12, 6)))
    assert sum(company.taken) == 30
    assert len(company.taken) <= 15


def copied(trainer: TorchTrainer, batcher: StepBatcher) -> TorchTrainer:
    """The same frame, trained with others."""
    kind = trainer.kind
    target, *references = pictures(1 + kind.references)
    prediction = [64 * p.astype(np.int16) for p in target] if kind.predicted else None
    result = TorchTrainer(
        kind.architecture,
        kind.frame_type,
        target,
        references,
        prediction=prediction,
        batcher=batcher,
    )
    result.restore(trainer.state())
    result.constant.copy_(trainer.constant)
    return result


def test_a_step_whose_loss_is_not_finite_changes_nothing() -> None:
    _, trainer = pair(FrameType.P)
    trainer.latents = [np.full_like(g, np.nan) for g in trainer.latents]
    before = trainer.parameters
    metrics = trainer.run(schedule(2, lambda_=1e-3, latents_rate=0.01, networks_rate=1e-3))
    assert np.isnan(metrics[:, 0]).all()
    np.testing.assert_array_equal(trainer.parameters, before)


def test_what_fails_in_company_fails_for_all() -> None:
    company = Company()
    trainers = [copied(pair(FrameType.I)[1], company) for _ in range(2)]
    for trainer in trainers:
        trainer.changing = trainer.changing[:-1]

    def fails(trainer: TorchTrainer) -> bool:
        with pytest.raises(RuntimeError, match="together"):
            trainer.run(schedule(1, lambda_=1e-3))
        return True

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(fails, trainers))


@pytest.mark.parametrize("kind", [Trainer, TorchTrainer])
def test_weights_are_a_plane_of_chromas_size_with_parts(
    kind: type[Trainer] | type[TorchTrainer],
) -> None:
    target = pictures(1)[0]
    with pytest.raises(ValueError, match="weights"):
        kind(STANDARD, FrameType.I, target).set_weights(np.ones(SIZES[0]))
    with pytest.raises(ValueError, match="weighted"):
        kind(PAPER, FrameType.I, target).set_weights(np.ones(SIZES[1]))
