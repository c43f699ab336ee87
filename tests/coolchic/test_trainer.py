"""The native training step against its twin in PyTorch, in double precision."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vireo.codecs.coolchic import model
from vireo.codecs.coolchic.config import NEAREST_12, PAPER, Architecture, FrameType
from vireo.codecs.coolchic.trainer import Adam, Trainer, available_kernels, schedule
from vireo.nn.rounding import hard_quantise, noisy_quantise

LAMBDA = 0.02
TEMPERATURE = 0.35
FLOW_WEIGHT = 1e-3

# Of the norm of each tensor's gradient; single precision against double. Measured: below
# 1e-5. A sample whose motion or activation lies within rounding of a kink (a sample's
# border, a ReLU's zero) has another gradient on either side; the seed avoids those.
GRADIENT_BOUND = 5e-5
METRIC_BOUND = 5e-6

SMALL = Architecture(
    grids=5,
    context=NEAREST_12[4:],
    arm_hidden=(16,),
    upsampling_kernel=4,
    synthesis_hidden=(12, 6),
)
ODD = Architecture(
    grids=4,
    context=((-2, 3), (-1, 0), (0, -1)),
    arm_hidden=(5, 7, 3),
    upsampling_kernel=6,
    synthesis_hidden=(),
)


@pytest.fixture(autouse=True)
def one_thread_for_the_twin() -> Iterator[None]:
    """PyTorch's threads cost more than they give on pictures this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Case:
    """A frame with everything that a step needs, in double precision."""

    architecture: Architecture
    frame_type: FrameType
    target: list[NDArray[np.uint8]]
    references: list[list[NDArray[np.uint8]]]
    latents: list[Tensor]
    tensors: list[Tensor]
    noise: list[Tensor]
    flows: Tensor

    def trainer(self, *, threads: int = 1, isa: str = "") -> Trainer:
        trainer = Trainer(
            self.architecture,
            self.frame_type,
            self.target,
            self.references,
            threads=threads,
            isa=isa,
        )
        trainer.latents = [x.numpy() for x in self.latents]
        trainer.parameters = flat(self.tensors)
        if self.frame_type:
            trainer.set_flow_targets(self.flows.numpy())
        return trainer


def flat(tensors: Sequence[Tensor]) -> NDArray[np.float64]:
    return torch.cat([t.detach().reshape(-1) for t in tensors]).numpy()


def make_case(
    architecture: Architecture, frame_type: FrameType, height: int, width: int, seed: int = 1
) -> Case:
    rng = np.random.default_rng(seed)
    torch_rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        # Rounded to single precision, so that both sides start from the same numbers.
        return torch.randn(*shape, generator=torch_rng).double()

    def picture() -> list[NDArray[np.uint8]]:
        sizes = [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
        return [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]

    latents = [normal(*size) * 2 for size in architecture.grid_sizes(height, width)]
    tensors = []
    for widths in (architecture.arm_widths(), architecture.synthesis_widths(frame_type)):
        for inputs, outputs in pairwise(widths):
            tensors += [normal(outputs, inputs) / math.sqrt(inputs), normal(outputs) * 0.2]
        if len(tensors) == 2 * (len(architecture.arm_hidden) + 1):
            side = architecture.upsampling_kernel
            tensors.append(normal(side, side) / side + 1 / side**2)
    tensors = [t.float().double() for t in tensors]
    noise = [(torch.rand(x.shape, generator=torch_rng) - 0.5).double() for x in latents]
    return Case(
        architecture,
        frame_type,
        picture(),
        [picture() for _ in range(frame_type)],
        [x.float().double() for x in latents],
        tensors,
        noise,
        normal(2 * frame_type, height, width) * 3,
    )


def networks(case: Case, tensors: Sequence[Tensor]) -> model.Networks:
    arm = 2 * (len(case.architecture.arm_hidden) + 1)
    pairs = [(tensors[i], tensors[i + 1]) for i in range(0, arm, 2)]
    rest = tensors[arm + 1 :]
    return model.Networks(
        pairs, tensors[arm], [(rest[i], rest[i + 1]) for i in range(0, len(rest), 2)]
    )


def twin(
    case: Case, *, hard: bool, flow_weight: float = 0.0
) -> tuple[dict[str, float], list[Tensor], list[Tensor], model.Signals, list[Tensor]]:
    """Metrics, gradients, signals and planes from PyTorch's automatic differentiation."""
    latents = [x.clone().requires_grad_() for x in case.latents]
    tensors = [t.clone().requires_grad_() for t in case.tensors]
    net = networks(case, tensors)
    quantised = [
        hard_quantise(x) if hard else noisy_quantise(x, TEMPERATURE, n)
        for x, n in zip(latents, case.noise, strict=True)
    ]
    references = [[torch.from_numpy(p).double() / 255 for p in r] for r in case.references]
    target = [torch.from_numpy(p).double() / 255 for p in case.target]
    planes, signals = model.decode(quantised, net, case.frame_type, references)
    bits = model.rate(quantised, net, case.architecture)
    height, width = target[0].shape
    loss = model.distortion(model.plane_errors(planes, target)) + LAMBDA * bits / (height * width)
    flow_error = torch.zeros(())
    if flow_weight:
        flow_error = (torch.cat(signals.flows) - case.flows).square().sum(dim=0).mean()
        loss = loss + flow_weight * flow_error
    loss.backward()
    mse = [float((a - b).detach().square().mean()) for a, b in zip(planes, target, strict=True)]
    metrics = {
        "loss": float(loss.detach()),
        "mse_y": mse[0],
        "mse_u": mse[1],
        "mse_v": mse[2],
        "bits": float(bits.detach()),
        "flow_error": float(flow_error.detach()),
    }

    def gradient(x: Tensor) -> Tensor:
        return torch.zeros_like(x) if x.grad is None else x.grad

    return (
        metrics,
        [gradient(x) for x in latents],
        [gradient(x) for x in tensors],
        signals,
        [p.detach() for p in planes],
    )


def assert_close(name: str, got: NDArray[np.floating], want: Tensor, bound: float) -> None:
    error = np.linalg.norm(got.astype(np.float64).ravel() - want.numpy().ravel())
    norm = float(want.norm())
    assert error <= bound * norm + 1e-12, f"{name}: {error:.3e} of {norm:.3e}"


def check(case: Case, *, hard: bool, flow_weight: float = 0.0, isa: str = "") -> None:
    metrics, by_latents, by_tensors, _, _ = twin(case, hard=hard, flow_weight=flow_weight)
    got, got_latents, got_parameters = case.trainer(isa=isa, threads=2).gradients(
        lambda_=LAMBDA,
        hard=hard,
        temperature=TEMPERATURE,
        flow_weight=flow_weight,
        noise=None if hard else [n.numpy() for n in case.noise],
    )
    for name, value in metrics.items():
        assert getattr(got, name) == pytest.approx(value, rel=METRIC_BOUND), name
    for k, (a, b) in enumerate(zip(got_latents, by_latents, strict=True)):
        assert_close(f"latents {k}", a, b, GRADIENT_BOUND)
    at = 0
    for i, b in enumerate(by_tensors):
        assert_close(f"tensor {i}", got_parameters[at : at + b.numel()], b, GRADIENT_BOUND)
        at += b.numel()
    assert at == got_parameters.size


@pytest.mark.parametrize("size", [(66, 50), (34, 18)])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("frame_type", list(FrameType))
def test_gradients_are_the_twins(frame_type: FrameType, hard: bool, size: tuple[int, int]) -> None:
    check(make_case(PAPER, frame_type, *size), hard=hard)


@pytest.mark.parametrize("frame_type", [FrameType.P, FrameType.B])
def test_flow_targets(frame_type: FrameType) -> None:
    check(make_case(PAPER, frame_type, 34, 50), hard=False, flow_weight=FLOW_WEIGHT)


@pytest.mark.parametrize("isa", available_kernels())
@pytest.mark.parametrize("architecture", [PAPER, SMALL, ODD])
def test_every_build_and_shape(architecture: Architecture, isa: str) -> None:
    case = make_case(architecture, FrameType.B, 22, 38)
    check(case, hard=False, isa=isa)


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(grids=1, synthesis_hidden=(4,)),
        Architecture(grids=2, upsampling_kernel=2),
        Architecture(grids=3, upsampling_kernel=10, arm_hidden=()),
    ],
)
def test_unusual_shapes(architecture: Architecture) -> None:
    check(make_case(architecture, FrameType.P, 20, 36), hard=True)


@pytest.mark.parametrize("size", [(2, 2), (2, 40), (64, 4)])
def test_tiny_frames(size: tuple[int, int]) -> None:
    check(make_case(PAPER, FrameType.B, *size), hard=False)


def test_a_frame_of_several_tasks() -> None:
    check(make_case(PAPER, FrameType.B, 130, 200), hard=False)


def test_decode() -> None:
    case = make_case(PAPER, FrameType.B, 34, 50)
    _, _, _, want, want_planes = twin(case, hard=True)
    planes, signals = case.trainer().decode()
    for a, b in zip(planes, want_planes, strict=True):
        assert_close("plane", a, b, 1e-5)
    for a, b in zip(signals.flows, want.flows, strict=True):
        assert_close("flow", a, b.detach(), 1e-5)
    assert signals.alpha is not None
    assert signals.beta is not None
    assert want.alpha is not None
    assert want.beta is not None
    assert_close("residual", signals.residual, want.residual.detach(), 1e-5)
    assert_close("alpha", signals.alpha, want.alpha.detach(), 1e-5)
    assert_close("beta", signals.beta, want.beta.detach(), 1e-5)


def test_evaluate_rounds() -> None:
    case = make_case(PAPER, FrameType.P, 34, 50)
    trainer = case.trainer()
    metrics, _, _ = trainer.gradients(lambda_=LAMBDA, hard=True)
    assert trainer.evaluate(LAMBDA) == metrics


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_steps_are_adams(clip: float) -> None:
    case = make_case(PAPER, FrameType.P, 34, 50)
    trainer = case.trainer()
    latents = [torch.nn.Parameter(x.clone()) for x in case.latents]
    tensors = [torch.nn.Parameter(t.clone()) for t in case.tensors]
    optimiser = torch.optim.Adam(
        [{"params": latents, "lr": 1e-2}, {"params": tensors, "lr": 3e-3}], betas=(0.8, 0.98)
    )
    current = trainer.gradients(lambda_=LAMBDA, hard=True)
    for step in range(4):
        # The twin's optimiser is fed the native gradients: they are tested elsewhere.
        _, by_latents, by_parameters = current
        for x, g in zip(latents, by_latents, strict=True):
            x.grad = torch.from_numpy(g).double()
        at = 0
        for x in tensors:
            x.grad = torch.from_numpy(by_parameters[at : at + x.numel()]).double().view(x.shape)
            at += x.numel()
        if clip:
            torch.nn.utils.clip_grad_norm_(tensors, clip)
        optimiser.step()
        trainer.run(
            schedule(1, lambda_=LAMBDA, latents_rate=1e-2, networks_rate=3e-3),
            hard=True,
            first_iteration=step,
            adam=Adam(clip=clip, beta1=0.8, beta2=0.98, latent_beta1=0.8, latent_beta2=0.98),
        )
        for x, b in zip(trainer.latents, latents, strict=True):
            np.testing.assert_allclose(x, b.detach().numpy(), atol=2e-6)
        np.testing.assert_allclose(trainer.parameters, flat(tensors), atol=2e-6)
        current = trainer.gradients(lambda_=LAMBDA, hard=True)


def test_latents_share_second_moments() -> None:
    """Each has a share of its grid's mean in its own, which starts anew with the optimiser."""
    case = make_case(PAPER, FrameType.P, 34, 50)
    trainer = case.trainer()
    adam = Adam(latent_beta1=0.7, latent_beta2=0.95, pooling=0.25)
    one = schedule(1, lambda_=LAMBDA, latents_rate=0.03)
    expected = [x.astype(np.float64) for x in trainer.latents]
    first, second = ([np.zeros(x.shape) for x in expected] for _ in range(2))
    for step in (1, 2, 3, 4, 1, 2):
        if step == 1:
            trainer.reset_optimiser()
            first, second = ([np.zeros(x.shape) for x in expected] for _ in range(2))
        _, by_latents, _ = trainer.gradients(lambda_=LAMBDA, hard=True)
        trainer.run(one, hard=True, adam=adam)
        state = trainer.state()
        trainer.run(one, hard=True, adam=adam)
        trainer.restore(state)  # the grids' means come back too
        for x, m, v, g, own in zip(
            expected, first, second, by_latents, trainer.latents, strict=True
        ):
            before = v.mean()
            m += (g - m) * 0.3
            v += (np.square(g, dtype=np.float64) - v) * 0.05
            divisor = v / (1 - 0.95**step)
            if step > 1:
                divisor = 0.75 * divisor + 0.25 * before / (1 - 0.95 ** (step - 1))
            x -= 0.03 * m / (1 - 0.7**step) / (np.sqrt(divisor) + adam.epsilon)
            np.testing.assert_allclose(own, x, atol=2e-5)


@pytest.mark.parametrize("architecture", [PAPER, ODD])
def test_parameters_pay_for_their_rate(architecture: Architecture) -> None:
    case = make_case(architecture, FrameType.P, 18, 26)
    steps = []
    for weight in (0.0, 3.0):
        trainer = case.trainer()
        before = trainer.parameters
        # With an epsilon far above all gradients Adam's step is proportional to them.
        adam = Adam(beta1=0.0, beta2=0.0, epsilon=1e6, parameter_rate=weight)
        trainer.run(schedule(1, lambda_=LAMBDA, networks_rate=1e8), adam=adam)
        steps.append((before - trainer.parameters) / 1e2)
    tensors = [t.clone().requires_grad_() for t in case.tensors]
    model.parameter_rate(networks(case, tensors)).backward()
    gradients = [torch.zeros_like(t) if t.grad is None else t.grad for t in tensors]
    expected = flat(gradients) * 3.0 * LAMBDA / case.target[0].size
    assert np.abs(expected).min() > 1e-5
    np.testing.assert_allclose(steps[1] - steps[0], expected, rtol=0.01)


def test_a_learning_rate_of_zero_leaves_things_alone() -> None:
    case = make_case(PAPER, FrameType.I, 34, 50)
    trainer = case.trainer()
    latents, parameters = trainer.latents, trainer.parameters
    trainer.run(schedule(2, lambda_=LAMBDA, networks_rate=1e-2))
    for a, b in zip(trainer.latents, latents, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(trainer.parameters, parameters)
    parameters = trainer.parameters
    trainer.run(schedule(2, lambda_=LAMBDA, latents_rate=1e-2))
    np.testing.assert_array_equal(trainer.parameters, parameters)
    assert not np.array_equal(trainer.latents[0], latents[0])


def test_the_number_of_threads_changes_nothing() -> None:
    case = make_case(PAPER, FrameType.B, 130, 98)
    steps = schedule(
        5, lambda_=LAMBDA, latents_rate=1e-2, networks_rate=1e-2, noise_shape=np.linspace(2, 1, 5)
    )
    results = []
    for threads in (1, 2, 3):
        trainer = case.trainer(threads=threads)
        metrics = trainer.run(steps, seed=3)
        results.append([metrics, trainer.state()])
    for other in results[1:]:
        np.testing.assert_array_equal(results[0][0], other[0])
        np.testing.assert_array_equal(results[0][1], other[1])


def test_calls_may_be_cut_anywhere() -> None:
    case = make_case(PAPER, FrameType.P, 34, 50)
    steps = schedule(4, lambda_=LAMBDA, latents_rate=1e-2, networks_rate=1e-2)
    whole, parts = case.trainer(), case.trainer()
    whole.run(steps, seed=7, first_iteration=10)
    parts.run(steps[:1], seed=7, first_iteration=10)
    saved = parts.state()
    parts.run(schedule(3, lambda_=1.0, latents_rate=1.0, networks_rate=1.0))
    parts.restore(saved)
    parts.run(steps[1:], seed=7, first_iteration=11)
    np.testing.assert_array_equal(whole.state(), parts.state())


@pytest.mark.parametrize("shape", [1.0, 1.5, 2.0])
def test_noise(shape: float) -> None:
    case = make_case(PAPER, FrameType.I, 130, 200)
    trainer = case.trainer()
    noise = trainer.noise(noise_shape=shape, seed=1, iteration=5)
    drawn, _, _ = trainer.gradients(
        lambda_=LAMBDA, temperature=TEMPERATURE, noise_shape=shape, seed=1, iteration=5
    )
    given, _, _ = trainer.gradients(lambda_=LAMBDA, temperature=TEMPERATURE, noise=noise)
    assert drawn.loss == pytest.approx(given.loss, rel=1e-5)

    b = (2**shape * (shape - 1) + 1) / shape
    samples = np.sort(noise[0].ravel().astype(np.float64) + 0.5)
    assert samples[0] >= -1e-6
    assert samples[-1] <= 1 + 1e-6
    expected = 1 - (1 - np.clip(samples, 0, 1) ** shape) ** b
    rank = (np.arange(samples.size) + 0.5) / samples.size
    # Kolmogorov and Smirnov's distance; the bound is passed by chance once in 1e5.
    assert np.abs(expected - rank).max() < 2.5 / math.sqrt(samples.size)

    other = trainer.noise(noise_shape=shape, seed=1, iteration=6)
    assert abs(np.corrcoef(noise[0].ravel(), other[0].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(noise[0][:, 1:].ravel(), noise[0][:, :-1].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("isa", available_kernels())
@pytest.mark.parametrize("where", ["arm", "synthesis", "latents"])
def test_a_broken_step_updates_nothing(where: str, isa: str) -> None:
    case = make_case(PAPER, FrameType.B, 34, 50)
    trainer = case.trainer(isa=isa)
    steps = schedule(1, lambda_=LAMBDA, latents_rate=1e-2, networks_rate=1e-2)
    trainer.run(steps)
    if where == "latents":
        latents = trainer.latents
        latents[2][3, 4] = np.nan
        trainer.latents = latents
    else:
        parameters = trainer.parameters
        parameters[5 if where == "arm" else -3] = np.nan
        trainer.parameters = parameters
    before = trainer.state()
    assert np.isnan(trainer.run(steps)[0, 0])
    np.testing.assert_array_equal(trainer.state(), before)


def test_training_lowers_the_loss() -> None:
    case = make_case(PAPER, FrameType.B, 34, 50)
    trainer = case.trainer(threads=2)
    before = trainer.evaluate(LAMBDA).loss
    trainer.run(schedule(60, lambda_=LAMBDA, latents_rate=1e-2, networks_rate=1e-2))
    assert trainer.evaluate(LAMBDA).loss < 0.9 * before


def test_wrong_shapes_are_refused() -> None:
    case = make_case(PAPER, FrameType.P, 34, 50)
    with pytest.raises(ValueError, match="references"):
        Trainer(PAPER, FrameType.B, case.target, case.references)
    with pytest.raises(ValueError, match="even"):
        Trainer(PAPER, FrameType.I, [p[:-1] for p in case.target])
    with pytest.raises(ValueError, match="kernels"):
        case.trainer(isa="avx4096")
    trainer = case.trainer()
    with pytest.raises(ValueError, match="grid"):
        trainer.latents = trainer.latents[:-1]
    with pytest.raises(ValueError, match="parameters"):
        trainer.parameters = trainer.parameters[1:]
