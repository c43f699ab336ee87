"""The hierarchical model: the paper's counts, and what training and the start of it give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.clips import moving
from tests.dhvc.models import loud, tiny
from tests.dhvc.streams import LAMBDAS
from vireo import weights
from vireo.codecs.dhvc.blocks import waves
from vireo.codecs.dhvc.coding import Coder, Walk
from vireo.codecs.dhvc.config import CONFIGS
from vireo.codecs.dhvc.count import encoder_multiplications, parameters
from vireo.codecs.dhvc.initial import Basis, initialise
from vireo.codecs.dhvc.model import Decoded, Model, place_count
from vireo.codecs.dhvc.training import ClipLoss, code, loss_of
from vireo.codecs.rate_points import STEP_PARTS, Places
from vireo.exact import exact_layers, prove, unrounded
from vireo.nn.picture import Picture, picture_of, planes_of


@pytest.mark.parametrize(
    ("name", "millions", "thousands"),
    [("paper", 107.97, 400.71), ("paper-parallel", 91.07, 349.44)],
)
def test_counts_are_the_paper_s(name: str, millions: float, thousands: float) -> None:
    """Table 2, whose multiplications are those of encoding a P frame."""
    assert parameters(CONFIGS[name]) / 1e6 == pytest.approx(millions, rel=0.01)
    assert encoder_multiplications(CONFIGS[name]) / 1e3 == pytest.approx(thousands, rel=0.01)


def test_the_small_model_is_small() -> None:
    assert 2e6 < parameters(CONFIGS["small"]) < 4e6
    assert 10e3 < encoder_multiplications(CONFIGS["small"]) < 25e3


def pictures(count: int, side: int = 128) -> list[Picture]:
    return [picture_of(f.planes) for f in moving(side, side, count)]


@pytest.mark.parametrize("name", ["small", "small-parallel"])
def test_it_starts_as_a_transform_codec(name: str) -> None:
    """Before any training: a picture comes back, and one that stands still costs less."""
    torch.manual_seed(0)
    model = Model(CONFIGS[name])
    initialise(model)
    prove(model)
    target = pictures(1)[0]
    place = torch.tensor([place_count(model.config) - 1])
    with torch.no_grad():
        intra, bits = code(model, target, None, place)
        still, fewer = code(model, target, intra, place)
    for decoded in (intra, still):
        assert (decoded.picture.luma - target.luma).square().mean() < 1e-3
    assert fewer.item() < bits.item()


def test_blocks_of_cosines_are_orthonormal_and_nest() -> None:
    lower, upper = Basis(16, 96, 48), Basis(8, 96, 48)
    luma, chroma = upper.planes()
    rows = np.concatenate([luma.reshape(96, -1), chroma.reshape(96, -1)], 1)
    assert np.allclose(rows @ rows.T, np.eye(96))
    # A constant picture has the same feature at each scale.
    assert lower.waves[0] == upper.waves[0] == (0, (0, 0))
    down = lower.from_cells(upper)
    assert np.allclose(down[0, 0], 0.25)


@pytest.mark.parametrize("name", CONFIGS)
def test_training_gives_what_a_decoder_gives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sections that the coder made of the same weights. And every part of it learns."""
    model = loud(tiny(name)).train()
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            if "analysis" in part:
                parameter.copy_(parameter.half())  # as files have them
    prove(model)
    place = 20
    trained: list[Decoded] = []
    cost = torch.zeros(())
    for target in pictures(3):
        before = trained[-1] if trained else None
        decoded, bits = code(model, target, before, torch.tensor([place]))
        cost = cost + bits.sum() / 1e4 + (decoded.picture.luma - target.luma).square().sum()
        trained.append(decoded)
    cost.backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []

    monkeypatch.setitem(CONFIGS, name, tiny(name))
    weights.save(model, name, LAMBDAS, tmp_path / "w.safetensors", {})
    coder = Coder(weights.named(str(tmp_path / "w.safetensors")), Places(place, place))
    encoded: Walk | None = None
    walk: Walk | None = None
    for target, expected in zip(pictures(3), trained, strict=True):
        sections, encoded = coder.encode(planes_of(target), encoded)
        walk = coder.decoding(sections, (128, 128), walk)
        walk.run()
        assert all(walk.intact)
        assert torch.equal(walk.picture.luma, expected.picture.luma)
        assert torch.equal(walk.picture.chroma, expected.picture.chroma)
        for ours, theirs in zip(walk.features, expected.features, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_two_frames_before_are_referred_to() -> None:
    model = loud(tiny("small"))
    place = torch.tensor([10])
    frames: list[Decoded] = []
    with torch.no_grad():
        for target in pictures(3):
            decoded, _ = code(model, target, frames[-1] if frames else None, place)
            frames.append(decoded)
        assert [len(f.features[0]) for f in frames] == [1, 2, 2]
        last = frames[1]
        features = tuple((f[0], torch.zeros_like(f[1])) for f in last.features)
        other = replace(last, features=features)
        changed, _ = code(model, pictures(3)[2], other, place)
    assert not torch.equal(changed.features[0][0], frames[2].features[0][0])


def test_each_clip_has_a_lambda_of_its_own() -> None:
    loss = ClipLoss("small")
    rng = np.random.default_rng(0)
    drawn = loss.draw(rng, 400)
    assert len(set(drawn.tolist())) > 40
    assert drawn.min() == 0
    assert drawn.max() == 3
    luma = torch.randint(0, 255, (1, 1, 1, 64, 64), dtype=torch.uint8).repeat(2, 1, 1, 1, 1)
    chroma = torch.full((2, 1, 2, 32, 32), 100, dtype=torch.uint8)
    torch.manual_seed(0)
    with torch.no_grad():
        results = loss(luma, chroma, torch.tensor([0.0, 3.0]))
    assert results.shape == (1, 2, 2)
    assert results[0, 0, 0] > results[0, 1, 0]
    assert results[0, 0, 1] < results[0, 1, 1]
    lambdas = torch.tensor([1e-2, 1e-4])
    expected = ((results[0, :, 0] + lambdas * results[0, :, 1]) / lambdas.sqrt()).mean()
    assert loss_of(results, lambdas) == pytest.approx(expected.item())


def test_without_rounding_it_is_another_arithmetic() -> None:
    model = loud(tiny("small"))
    target, place = pictures(1)[0], torch.tensor([10])
    with torch.no_grad():
        exact, _ = code(model, target, None, place)
        with unrounded():
            smooth, _ = code(model, target, None, place)
    difference = (exact.features[3][0] - smooth.features[3][0]).abs()
    assert 0 < difference.mean() < 1


@pytest.mark.parametrize("name", CONFIGS)
def test_waves_are_far_from_where_they_would_be_rounded_otherwise(name: str) -> None:
    """Libraries' sines differ in their last bits."""
    channels = CONFIGS[name].embedding
    grid = waves(place_count(CONFIGS[name]), channels).double() * 256
    periods = np.geomspace(2, 96, channels // 2)
    angles = np.arange(len(grid))[:, None] / STEP_PARTS * (2 * np.pi / periods)
    exact = 256 * np.hstack([np.sin(angles), np.cos(angles)])
    assert np.abs(exact - grid.numpy()).max() < 0.5 - 1e-6


def test_what_is_not_exact_is_the_encoder_s_alone() -> None:
    model = Model(tiny("small"))
    exact = {f"{name}.weight" for name, _ in exact_layers(model)}
    floats = [
        n for n, p in model.named_parameters() if p.dim() > 2 and n not in exact and n != "first"
    ]
    assert floats
    assert all("analysis" in name for name in floats)


@pytest.mark.parametrize("name", ["paper", "paper-parallel"])
def test_the_paper_s_models_code_a_frame(name: str) -> None:
    """At their full size; nobody has their weights."""
    torch.manual_seed(0)
    model = Model(CONFIGS[name]).requires_grad_(False)
    initialise(model)
    place = torch.tensor([20])
    first, second = pictures(2, 64)
    intra, bits = code(model, first, None, place)
    inter, more = code(model, second, intra, place)
    assert intra.picture.luma.shape == inter.picture.luma.shape == (1, 1, 64, 64)
    assert [len(f) for f in inter.features] == [2, 2, 2, 2]
    assert bits.isfinite().all()
    assert more.isfinite().all()
