"""Updates of weights: they come back, cost what the prior says, and next to nothing if empty."""

from __future__ import annotations

from math import e, log2, pi, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vireo.codecs.insta import prior
from vireo.codecs.insta.prior import FARTHEST, RATIO, SLAB, SPIKE
from vireo.codecs.insta.updates import apply, read, update_grids, write
from vireo.codecs.ssf.config import CONFIGS
from vireo.codecs.ssf.model import Model
from vireo.exact import prove
from vireo.nn.latents import normal_mass
from vireo.weights import grids_of


def masses(values: torch.Tensor) -> torch.Tensor:
    """What the prior gives to the bin around each value, in steps, whole or not."""
    slab = normal_mass(values, torch.tensor(SLAB))
    spike = normal_mass(values, torch.tensor(SPIKE))
    return (slab + RATIO * spike) / (1 + RATIO)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return Model(CONFIGS["ssf1"])


def drawn(model: Model, share: float, seed: int = 0) -> dict[str, torch.Tensor]:
    """Updates of so large a share of the weights, as the slab says."""
    rng = torch.Generator().manual_seed(seed)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    found = {}
    for name in update_grids(model):
        values = torch.randn(shapes[name], generator=rng) * SLAB
        chosen = torch.rand(shapes[name], generator=rng) < share
        found[name] = (values.round() * chosen).clamp(-FARTHEST, FARTHEST)
    return found


def test_updates_come_back(model: Model) -> None:
    updates = drawn(model, 0.008)
    data = write(updates, update_grids(model))
    found = read(data, model)
    assert list(found) == sorted(grids_of(model))
    for name, update in updates.items():
        assert torch.equal(found[name].float(), update)


def test_no_updates_cost_nothing(model: Model) -> None:
    assert len(write(drawn(model, 0), update_grids(model))) <= 4


def test_sparse_updates_cost_less_than_the_prior_says(model: Model) -> None:
    """InstA, appendix D.5: 0.8 % of the values change; all of a Gaussian's take 7.5 bits more."""
    updates = drawn(model, 0.008)
    count = sum(u.numel() for u in updates.values())
    flat = torch.cat([u.flatten() for u in updates.values()])
    static = float(-masses(flat).log2().sum())
    data = write(updates, update_grids(model))
    assert 8 * len(data) < static
    gaussian = log2(SLAB * sqrt(2 * pi * e))
    assert 7.5 < gaussian - 8 * len(data) / count < 7.7


def test_the_prior_is_a_distribution() -> None:
    values = torch.arange(-4000, 4001, dtype=torch.float64)
    found = masses(values)
    assert float(found.sum()) == pytest.approx(1, abs=1e-6)
    assert float(found[4000]) == pytest.approx(RATIO / (1 + RATIO), abs=0.004)
    one = float(-found[4001].log2())
    assert 8 < one < 10  # half the spike's way out, still


def test_gradients_lead_small_updates_back_to_nothing() -> None:
    values = torch.tensor([-0.6, -0.2, 0.2, 0.6], requires_grad=True)
    prior.bits(values).backward()
    assert values.grad is not None
    assert (values.grad * values.detach() > 0).all()


def test_what_is_applied_stays_on_its_grid(model: Model) -> None:
    torch.manual_seed(1)
    changed = Model(CONFIGS["ssf1"])
    updates = drawn(model, 0.01, seed=2)
    apply(changed, updates)
    prove(changed)
    grids = grids_of(changed)
    for name, parameter in changed.named_parameters():
        if name in grids:
            assert torch.equal(grids[name].nearest(parameter.double()).float(), parameter), name
    before, after = (m.intra.synthesis.deep[3].weight for m in (Model(CONFIGS["ssf1"]), changed))
    assert not torch.equal(before, after)


@settings(max_examples=20)
@given(st.binary(max_size=300))
def test_any_bytes_are_some_updates(data: bytes) -> None:
    model = Model(CONFIGS["ssf1"])
    found = read(data, model)
    assert all(int(u.abs().max()) <= FARTHEST for u in found.values())


def test_what_changes_costs_in_training_what_it_costs_in_the_stream() -> None:
    """Against what doesn't; the spike's density is another matter."""
    values = torch.tensor([3.0, 10.0, -60.0, 144.0], dtype=torch.float64)
    by_mass = -masses(values).log2()
    by_density = torch.stack([prior.bits(v[None]) for v in values])
    assert torch.allclose(by_mass, by_density, atol=1e-3)
    nothing = float(prior.bits(torch.zeros(1)))
    assert -1.5 < nothing < 0
