"""The codebook model: the paper's counts, its parts against plain code, and what training gives."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.clips import moving
from tests.codebook.conftest import clips, few_entries
from vireo.codecs.codebook.config import CONFIGS, STRIDES
from vireo.codecs.codebook.count import decoder_multiplications, multiplications, parameters
from vireo.codecs.codebook.initial import initialise
from vireo.codecs.codebook.layers import WindowAttention
from vireo.codecs.codebook.model import FREQUENCIES, Codebooks, Model
from vireo.codecs.codebook.training import ClipLoss, bits_per_sample, code, describe, loss_of
from vireo.nn.picture import Picture, picture_of


@pytest.mark.parametrize(
    ("name", "millions", "trillions"),
    [
        ("paper", 53.408, 2.233),
        ("paper-wide", 53.408, 2.219),
        ("paper-blocks", 53.438, 2.221),
        ("paper-light", 46.162, 0.740),
    ],
)
def test_counts_are_the_paper_s(name: str, millions: float, trillions: float) -> None:
    """Table 3, at 1920x1080."""
    config = CONFIGS[name]
    assert parameters(config) / 1e6 == pytest.approx(millions, rel=0.01)
    assert multiplications(config) * 1920 * 1080 / 1e12 == pytest.approx(trillions, rel=0.01)


def test_the_small_model_is_small() -> None:
    assert parameters(CONFIGS["small"]) < 8e6
    assert decoder_multiplications(CONFIGS["small"]) < 25e3
    assert multiplications(CONFIGS["small"]) < 40e3


def test_the_paper_s_rates_are_those_of_its_codebooks() -> None:
    """Two indices per place of 16, 32 and 64 samples (section 3.4)."""
    config = CONFIGS["paper"]
    key = 2 * (log2(8192) / 16**2 + log2(2048) / 32**2 + log2(512) / 64**2)
    assert bits_per_sample(config, None) == pytest.approx(key)
    assert bits_per_sample(config, config.rates - 1) == pytest.approx(key)
    assert bits_per_sample(config, 0) == pytest.approx(key - 2 * (13 - 3) / 16**2)


def pictures(count: int, side: int = 128) -> list[Picture]:
    return [picture_of(f.planes) for f in moving(side, side, count)]


@pytest.mark.parametrize("name", [n for n in CONFIGS if n != "paper-wide"])
def test_every_model_codes_a_frame(name: str) -> None:
    model = Model(CONFIGS[name])
    first, second = pictures(2, 64)
    with torch.inference_mode():
        latents, stages = code(model, first, None, None)
        again, later = code(model, second, latents, 0)
        picture = model.image(again)
    assert [s.indices.shape[-1] for s in stages] == [64 // stride for stride in STRIDES]
    assert picture.luma.shape == second.luma.shape
    assert picture.chroma.shape == second.chroma.shape
    sizes = model.config.sizes(0)
    assert all(int(s.indices.max()) < size for s, size in zip(later, sizes, strict=True))


@pytest.mark.parametrize(
    ("window", "padding", "size"), [(4, 2, (8, 12)), (4, 2, (6, 9)), (8, 1, (8, 5))]
)
def test_windows_attend_to_what_is_around_them(
    window: int, padding: int, size: tuple[int, int]
) -> None:
    """Each query against each key of its window, one by one."""
    torch.manual_seed(0)
    layer = WindowAttention(8, heads=2, head=3, window=window, padding=padding).eval()
    torch.nn.init.normal_(layer.offsets)
    x, reference = torch.randn(2, 1, 8, *size)
    with torch.no_grad():
        found = layer(x, reference)
        query = layer.query(layer.norm(x))[0]
        key, value = layer.key_value(layer.reference_norm(reference))[0].chunk(2)
        merged = torch.empty(6, *size)
        for y in range(size[0]):
            for c in range(size[1]):
                merged[:, y, c] = _attended(layer, query, key, value, (y, c), window, padding)
        plain = x + layer.merge(merged[None])
        plain = plain + layer.perceptron(plain)
    assert torch.allclose(found, plain, atol=1e-5)


def _attended(
    layer: WindowAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    place: tuple[int, int],
    window: int,
    padding: int,
) -> Tensor:
    (y, x), (rows, columns) = place, query.shape[-2:]
    top, left = (n // window * window - padding for n in place)
    parts = []
    for head in range(2):
        own = slice(3 * head, 3 * head + 3)
        scores, values = [], []
        for v in range(top, top + window + 2 * padding):
            for u in range(left, left + window + 2 * padding):
                at = min(max(v, 0), rows - 1), min(max(u, 0), columns - 1)
                dy = v - top - (y - top - padding) + window - 1
                dx = u - left - (x - left - padding) + window - 1
                bias = layer.offsets[0, head, dy] + layer.offsets[1, head, dx]
                scores.append(query[own, y, x] @ key[own, at[0], at[1]] / 3**0.5 + bias)
                values.append(value[own, at[0], at[1]])
        parts.append(torch.stack(scores).softmax(0) @ torch.stack(values))
    return torch.cat(parts)


def test_the_nearest_entries_are_chosen() -> None:
    torch.manual_seed(0)
    book = Codebooks(2, 16, 4)
    wanted = torch.randn(3, 8, 5, 6)
    indices = book.nearest(wanted)
    for half in range(2):
        own = wanted[:, 4 * half : 4 * half + 4].movedim(1, -1)
        distance = (own[..., None, :] - book.entries[half]).square().sum(-1)
        assert torch.equal(indices[:, half], distance.argmin(-1))
    named = book(indices)
    assert torch.equal(named[1, 4:, 2, 3], book.entries[1, indices[1, 1, 2, 3]])


def test_it_starts_as_a_transform_codec() -> None:
    """Before any training: with the latents as they are, a picture comes back."""
    model = Model(CONFIGS["small"])
    initialise(model)
    first, second = pictures(2)
    with torch.no_grad():
        found = model.image(model.analysis(first))
        context = model.analyse(second, model.analysis(first))
        again = model.image(model.latents(context, model.analysis(first)))
    for got, target in ((found, first), (again, second)):
        assert (got.luma - target.luma).abs().max() < 0.1
        assert (got.luma - target.luma).square().mean() < 1e-4


@pytest.fixture
def loss(monkeypatch: pytest.MonkeyPatch) -> ClipLoss:
    torch.manual_seed(0)
    monkeypatch.setitem(CONFIGS, "small", few_entries())
    return ClipLoss("small")


def test_codebooks_start_from_clips(loss: ClipLoss) -> None:
    """k-means makes of them what random entries don't."""
    batch = clips().draw(np.random.default_rng(1), 4, 3, 64)
    luma, chroma = (torch.from_numpy(p) for p in (batch.luma, batch.chroma))
    rates = torch.ones(len(luma))
    loss.eval()
    with torch.no_grad():
        before = loss(luma, chroma, rates)[..., 0].mean(1)
        loss.prepare(clips(), 0, count=16, side=64)
        after = loss(luma, chroma, rates)[..., 0].mean(1)
    assert (after < before / 3).all()
    still = luma[:, :1].expand_as(luma), chroma[:, :1].expand_as(chroma)
    with torch.no_grad():
        refined = loss(*still, rates)[..., 0].mean(1)
    assert refined[2] < refined[0]


def test_training_lowers_the_distortion_and_keeps_codebooks_used(loss: ClipLoss) -> None:
    loss.prepare(clips(), 0, count=16, side=64)
    book = loss.model.key.books(0)[0]
    with torch.no_grad():  # entries that nothing is near to, and hasn't been for long
        book.entries[:, 32:] = 50.0
        book.frequencies[:, 32:] = 0
    optimiser = torch.optim.Adam(loss.parameters(), 1e-3)
    rng = np.random.default_rng(0)
    rows = []
    given = clips()
    for _ in range(30):
        batch = given.draw(rng, 2, 2, 64)
        luma, chroma = (torch.from_numpy(p) for p in (batch.luma, batch.chroma))
        results = loss(luma, chroma, torch.from_numpy(loss.draw(rng, 2)))
        cost = loss_of(results, torch.ones(2))
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        rows.append(results.detach())
    first, last = (torch.stack(r)[..., 0].mean() for r in (rows[:10], rows[-10:]))
    assert last < first
    assert book.entries.detach().abs().max() < 25  # all were seeded anew
    assert book.frequencies.sum(1).tolist() == pytest.approx([FREQUENCIES.high] * 4, rel=0.3)


def test_similarity_can_be_trained_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps on it raise it, and the log's PSNR is still that of the squared error."""
    torch.manual_seed(0)
    monkeypatch.setitem(CONFIGS, "small", few_entries())
    loss = ClipLoss("small", "ms-ssim")
    loss.prepare(clips(), 0, count=16, side=64)
    batch = clips().draw(np.random.default_rng(1), 1, 2, 192)
    luma, chroma = (torch.from_numpy(p) for p in (batch.luma, batch.chroma))
    optimiser = torch.optim.Adam(loss.parameters(), 1e-3)
    rows = []
    for _ in range(8):
        results = loss(luma, chroma, torch.ones(1))
        cost = loss_of(results, torch.ones(1))
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        rows.append(results.detach())
    assert rows[-1][..., 3].mean() < 0.9 * rows[0][..., 3].mean()
    assert 10 < describe(rows[-1].tolist())["psnr"][0] < 50


def test_the_log_says_how_much_codebooks_are_used(loss: ClipLoss) -> None:
    batch = clips().draw(np.random.default_rng(1), 4, 3, 64)
    luma, chroma = (torch.from_numpy(p) for p in (batch.luma, batch.chroma))
    with torch.no_grad():
        found = describe(loss(luma, chroma, torch.zeros(len(luma))).tolist())
    assert len(found["psnr"]) == len(found["bpp"]) == 3
    key, predicted = found["perplexity"]
    assert len(key) == len(predicted) == 3 * loss.model.config.codebooks
    assert all(1 <= p <= 64 for p in key)
    assert all(1 <= p <= 8 for p in predicted)


def test_gradients_reach_what_was_quantised_and_the_entries(loss: ClipLoss) -> None:
    model = loss.model
    first, second = pictures(2, 64)
    reference, _ = code(model, first, None, None)
    latents, _ = code(model, second, reference, 1)
    picture = model.image(latents)
    ((picture.luma - second.luma).square().mean()).backward()
    for part in (model.analysis, model.key, model.context_analysis, model.context):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    chosen = model.predicted.books(1)[0].entries.grad
    assert chosen is not None
    assert 0 < int((chosen.abs().amax(2) > 0).sum()) < chosen[..., 0].numel()
