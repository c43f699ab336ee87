"""Scale-space flow: the paper's counts, and that what a decoder computes is exact."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.ssf.models import loud
from vireo.codecs.rate_points import STEP_PARTS
from vireo.codecs.ssf.autoencoder import Autoencoder
from vireo.codecs.ssf.config import CONFIGS
from vireo.codecs.ssf.model import Model, decoder_multiplications, decoder_parameters, warp
from vireo.entropy.normal import SCALES, scale_thresholds
from vireo.exact import prove
from vireo.nn.picture import Picture


@pytest.mark.parametrize(
    ("name", "everything", "decoder"),
    [("ssf18", 28.9, 18.0), ("ssf8", 13.8, 8.4), ("ssf5", 8.1, 5.0), ("ssf3", 4.9, 3.0)],
)
def test_parameters_are_the_paper_s(name: str, everything: float, decoder: float) -> None:
    """InstA, table 2; of ssf3's decoder it has 3.1, with a larger prior of the hyperlatents."""
    with torch.device("meta"):
        model = Model(CONFIGS[name])
    total = sum(p.numel() for p in model.parameters())
    assert round(total / 1e6, 1) == everything
    assert round(decoder_parameters(CONFIGS[name]) / 1e6, 1) == decoder


def test_the_light_model_is_light() -> None:
    light = CONFIGS["ssf1"]
    assert 5000 < decoder_multiplications(light) < 10_000
    assert decoder_multiplications(light, intra=True) < 10_000


def pictures(count: int, height: int = 64, width: int = 96, seed: int = 0) -> list[Picture]:
    rng = torch.Generator().manual_seed(seed)

    def plane(channels: int, h: int, w: int) -> Tensor:
        coarse = torch.randint(0, 256, (1, channels, h // 8, w // 8), generator=rng).float()
        fine = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bilinear")
        return torch.floor(fine) / 256

    return [
        Picture(plane(1, height, width), plane(2, height // 2, width // 2)) for _ in range(count)
    ]


def proved(name: str) -> Model:
    model = loud(name)
    prove(model)
    return model.eval()


def decode(model: Model, reference: Picture, symbols: list[Tensor], place: int) -> Picture:
    """A P frame from what is sent of it."""
    flow_latents, flow_hyper, latents, hyper = symbols
    size = flow_latents.shape[-2:]

    def dequantised(part: Autoencoder, values: Tensor, z: Tensor) -> Tensor:
        mean, _ = part.distributions(z, size)
        return part.dequantised(values, mean, part.steps_at(place))

    flow = dequantised(model.flow, flow_latents, flow_hyper)
    moved = warp(reference, model.vectors(model.flow.decode(flow)))
    residual = model.residual.decode(dequantised(model.residual, latents, hyper), flow)
    return model.inter_picture(moved, residual)


@pytest.mark.parametrize("name", ["ssf1", "ssf3"])
def test_a_decoder_gives_the_same_however_it_computes(name: str) -> None:
    model = proved(name)
    reference = pictures(2)[1]
    place = STEP_PARTS // 2 if CONFIGS[name].rates > 1 else 0
    rng = torch.Generator().manual_seed(5)
    hyper = (CONFIGS[name].hyperlatent, 1, 2)
    shapes = [(CONFIGS[name].flow_latent, 4, 6), hyper, (CONFIGS[name].latent, 4, 6), hyper]
    symbols = [torch.randint(-9, 10, (1, *s), generator=rng).float() for s in shapes]
    threads = torch.get_num_threads()
    with torch.inference_mode():
        expected = decode(model, reference, symbols, place)
        assert len(expected.luma.unique()) > 20
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            same(decode(model, reference, symbols, place), expected)
        torch.set_num_threads(threads)
        four = [s.expand(4, -1, -1, -1) for s in symbols]
        many = Picture(reference.luma.expand(4, -1, -1, -1), reference.chroma.expand(4, -1, -1, -1))
        decoded = decode(model, many, four, place)
        same(Picture(decoded.luma[2:3], decoded.chroma[2:3]), expected)
        last = [s.to(memory_format=torch.channels_last) for s in symbols]
        same(decode(model, reference, last, place), expected)
        model.double()
        twice = Picture(reference.luma.double(), reference.chroma.double())
        decoded = decode(model, twice, [s.double() for s in symbols], place)
        same(Picture(decoded.luma.float(), decoded.chroma.float()), expected)


def same(a: Picture, b: Picture) -> None:
    assert torch.equal(a.luma, b.luma)
    assert torch.equal(a.chroma, b.chroma)


def test_training_s_picture_is_the_decoder_s() -> None:
    model = proved("ssf1")
    target, reference = pictures(2)
    with torch.no_grad():
        place = 2 * STEP_PARTS
        trained, _ = model.forward_inter(target, reference, place)
        flow = model.flow.encode(model.flow_input(target, reference), place)
        mean, _ = model.flow.distributions(flow.hyperlatents, flow.latents.shape[-2:])
        latents = model.flow.dequantised(flow.latents, mean, model.flow.steps_at(place))
        moved = warp(reference, model.vectors(model.flow.decode(latents)))
        rest = model.residual.encode(model.residual_input(target, moved), place)
        symbols = [flow.latents, flow.hyperlatents, rest.latents, rest.hyperlatents]
        same(decode(model, reference, symbols, place), trained)


def test_rates_between_two_points_lie_between_them() -> None:
    part = Model(CONFIGS["ssf1"]).intra
    with torch.no_grad():
        steps = [part.steps_at(place) for place in (0, STEP_PARTS // 2, STEP_PARTS)]
    low, middle, high = (float(s.mean()) for s in steps if s is not None)
    assert low > middle > high
    assert middle == pytest.approx((low + high) / 2, abs=1 / 32)


def test_scales_are_those_of_the_tables() -> None:
    thresholds = torch.from_numpy(scale_thresholds(6)) / 64
    indices = Autoencoder.scale_indices(torch.tensor([-1.0, 0.0, 1.0, 8.0, 128.0]))
    assert indices.tolist() == [0, 0, 26, 50, SCALES - 1]
    at, below = thresholds[40:42], thresholds[40:42] - 1 / 64
    assert Autoencoder.scale_indices(at).tolist() == [41, 42]
    assert Autoencoder.scale_indices(below).tolist() == [40, 41]


def test_a_light_model_starts_as_a_transform_codec() -> None:
    """At any of its rate points, and the finer the steps, the nearer."""
    torch.manual_seed(0)
    model = Model(CONFIGS["ssf1"])
    target, reference = pictures(2)
    before = 0.0
    for rate in range(4):
        with torch.no_grad():
            intra, _ = model.forward_intra(target, rate * STEP_PARTS)
            inter, _ = model.forward_inter(target, reference, rate * STEP_PARTS)
        for decoded in (intra, inter):
            for found, wanted in ((decoded.luma, target.luma), (decoded.chroma, target.chroma)):
                assert float((found - wanted).square().mean()) < 10**-2.4
        nearness = -float((intra.luma - target.luma).square().mean())
        assert nearness > before or rate == 0
        before = nearness


def test_a_light_model_starts_with_motion_compensation() -> None:
    """Where a picture is its reference moved, the flow alone nearly gives it."""
    torch.manual_seed(0)
    model = Model(CONFIGS["ssf1"])
    (big,) = pictures(1, 96, 128)
    target = Picture(big.luma[..., 12:76, 14:110], big.chroma[..., 6:38, 7:55])
    reference = Picture(big.luma[..., 16:80, 8:104], big.chroma[..., 8:40, 4:52])
    place = 3 * STEP_PARTS
    with torch.no_grad():
        flow = model.flow(model.flow_input(target, reference), place)
        found = warp(reference, model.vectors(flow.output))
    for a, b, still in (
        (found.luma, target.luma, reference.luma),
        (found.chroma, target.chroma, reference.chroma),
    ):
        inside = (slice(None), slice(None), slice(8, -8), slice(8, -8))
        left = (a - b)[inside].square().mean()
        assert float(left) < 0.1 * float((still - b)[inside].square().mean())
