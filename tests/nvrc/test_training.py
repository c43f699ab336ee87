"""Steps of training: orthogonal updates, stand-ins for rounding, what stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.clips import moving
from vireo import _train
from vireo.codecs.nvrc.config import CONFIGS
from vireo.codecs.nvrc.layout import Kind, Method, Place
from vireo.codecs.nvrc.optimiser import VectorUpdates
from vireo.codecs.nvrc.presets import PAPER, STANDARD, Preset, Recipe
from vireo.codecs.nvrc.quantise import partly
from vireo.codecs.nvrc.training import Job, Trainer, _mse
from vireo.metrics import weighted_mse
from vireo.nn.orthogonal import orthogonal

CONFIG = CONFIGS["xxs"]


def trainer(recipe: Recipe, lambda_: float = 1e-3) -> Trainer:
    frames = [f.planes for f in moving(48, 48, 3)]
    return Trainer(Job(CONFIG, Method.of(CONFIG), frames, lambda_, Preset(12, 3), recipe))


@pytest.mark.parametrize("threads", [None, 2])
def test_matrices_are_moved_and_the_rest_is_left_to_adam(threads: int | None) -> None:
    vector = torch.nn.Parameter(torch.zeros(20))
    vector.grad = torch.arange(20.0)
    VectorUpdates(vector, [Place(4, (3, 4))], 1.0, threads).step(0.1)
    assert (vector[4:16] != 0).all()
    assert not vector[:4].any()
    assert not vector[16:].any()
    assert not vector.grad[4:16].any()
    assert torch.equal(vector.grad[16:], torch.arange(16.0, 20.0))


def test_updates_of_a_vector_are_the_same_in_c_and_in_pytorch() -> None:
    shapes = (6, 20), (30, 4), (5, 3, 3, 3), (90, 100)
    starts = np.cumsum([3, *(int(np.prod(shape)) for shape in shapes)]).tolist()
    places = [Place(start, shape) for start, shape in zip(starts, shapes, strict=False)]
    found = []
    for threads in (None, 2):
        random = torch.Generator().manual_seed(5)
        vector = torch.nn.Parameter(torch.zeros(starts[-1] + 2))
        updates = VectorUpdates(vector, places, 3.0, threads)
        for _ in range(3):
            vector.grad = torch.randn(len(vector), generator=random)
            updates.step(0.1)
        found.append(vector.detach())
    assert found[0].abs().max() > 0.01
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("isa", _train.available_kernels())
def test_native_updates_are_those_of_pytorch(isa: str) -> None:
    sides = (8, 30), (40, 16), (3, 70), (21, 21), (1, 5)
    random = torch.Generator().manual_seed(4)
    matrices = [torch.randn(shape, generator=random) for shape in sides]
    starts = np.cumsum([7, *(m.numel() for m in matrices)]).tolist()
    vector = torch.cat([torch.zeros(7), *(m.flatten() for m in matrices)])
    shapes = [(start, *own) for start, own in zip(starts, sides, strict=False)]
    found = torch.from_numpy(_train.Orthogonal(shapes, 2, isa).of(vector.numpy()))
    assert not found[:7].any()
    for start, matrix in zip(starts, matrices, strict=False):
        own = found[start : start + matrix.numel()].reshape(matrix.shape)
        wanted = orthogonal(matrix.double())
        assert float((own - wanted).norm() / wanted.norm()) < 1e-4


def test_training_does_not_depend_on_the_threads() -> None:
    frames = [f.planes for f in moving(120, 72, 3)]
    job = Job(CONFIG, Method.of(CONFIG), frames, 1e-3, Preset(2, 1))
    found = []
    for threads in (1, 3):
        own = Trainer(job, threads=threads)
        own.train()
        found.append(own.numbers.state_dict())
    for name, values in found[0].items():
        assert torch.equal(values, found[1][name]), name


def test_quant_noise_rounds_its_share_which_then_learns_nothing() -> None:
    x = torch.rand(4000, requires_grad=True)
    rounded = partly(0.3, torch.Generator().manual_seed(1))(x)
    rounded.sum().backward()
    assert x.grad is not None
    chosen = rounded == x.detach().round()
    assert 0.25 < float(chosen.float().mean()) < 0.35
    assert torch.equal(x.grad == 0, chosen)


def test_training_lowers_the_error_and_then_the_rate() -> None:
    def outcome(lambda_: float) -> tuple[float, float]:
        own = trainer(STANDARD, lambda_)
        first = float(own._error(lambda x: x, own._patches[0]).detach())
        own.train()
        with torch.no_grad():
            last = float(own._error(torch.round, own._patches[0]))
            return last / first, float(own.numbers.bits(torch.round).total)

    (fine, many), (_, few) = outcome(1e-5), outcome(0.3)
    assert fine < 0.8
    assert few < 0.95 * many


def test_fixed_steps_of_grids_stay() -> None:
    own = trainer(replace(PAPER, distortion="mse", grid_steps=False))
    before = own.numbers.side[Kind.GRID_STEP.name].detach().clone()
    own.train()
    assert np.isclose(float(before[0]), -4 / np.log(2))
    assert torch.equal(own.numbers.side[Kind.GRID_STEP.name].detach(), before)


def test_the_error_is_that_of_the_metrics_and_its_gradient_autograds() -> None:
    random = torch.Generator().manual_seed(3)
    made = torch.rand(2, 3, 48, 72, generator=random, requires_grad=True)
    luma = torch.rand(2, 1, 44, 70, generator=random)
    chroma = torch.rand(2, 2, 22, 35, generator=random)
    error = 3 * _mse(made, luma, chroma)
    (gradient,) = torch.autograd.grad(error, made)
    shown = made[:, :, :44, :70]
    halves = torch.nn.functional.avg_pool2d(shown[:, 1:], 2)
    planes = [(shown[:, :1], luma), *((halves[:, i], chroma[:, i]) for i in (0, 1))]
    wanted = 3 * weighted_mse([(a - b).square().mean() for a, b in planes])
    torch.testing.assert_close(error, wanted)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, made)[0])
