"""Streams of scale-space flow: what is encoded comes back, on any way to compute it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import vireo
from tests.clips import Sample, moving, write_y4m
from tests.ssf.models import loud
from vireo import weights
from vireo.codecs.base import Limits, parse_whole, picture_decoder
from vireo.codecs.rate_points import place_of, places_of
from vireo.codecs.ssf import reference
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.config import CONFIGS
from vireo.codecs.ssf.encoder import INTRA_FINER
from vireo.codecs.ssf.model import Model
from vireo.codecs.ssf.stream import SectionKind
from vireo.container import CodedFrame, FrameType, GopStart, MatroskaReader, Section, read_packet
from vireo.errors import HeaderError, StreamError, SyntaxElementError, UsageError
from vireo.exact import Grid
from vireo.options import EncodeOptions

LAMBDAS = (8e-3, 2e-3, 5e-4, 1.25e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of weights, made at random: they needn't compress."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("ssf1", "ssf3"):
        lambdas = LAMBDAS if CONFIGS[name].rates > 1 else (1e-3,)
        weights.save(loud(name), name, lambdas, folder / f"{name}.safetensors", {"steps": 0})
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights where a stream's decoder looks for them."""
    monkeypatch.setenv(weights.FOLDERS, str(folder))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Five frames of a size that is no multiple of anything."""
    return write_y4m(tmp_path / "source.y4m", moving(70, 50, 5))


@pytest.mark.parametrize("model", ["ssf1", "ssf3"])
def test_a_video_comes_back_as_it_was_encoded(
    model: str, here: Path, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    report = vireo.encode(source, target, codec="ssf", model=model, gop_size=2)
    assert report.frames == 5
    assert vireo.verify(target).frames == 5
    probe = vireo.probe(target)
    with MatroskaReader(target) as file:
        packets = list(file)
    assert [p.is_key for p in packets] == [True, False, False, True, False]
    assert probe is not None


@pytest.mark.parametrize("model", ["ssf1", "ssf3"])
def test_the_reference_decodes_the_same_samples(
    model: str, here: Path, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    vireo.encode(source, target, codec="ssf", model=model, lambda_=9e-4)
    with vireo.open(target) as video:
        decoded = [video[i] for i in range(3)]
    with MatroskaReader(target) as file:
        packets = [p.data for p in file]
        start = GopStart(file.header, 0, 5)
    networks = weights.named(model)
    coder = Coder(networks, places_of(9e-4, networks.lambdas, finer=INTRA_FINER, say=print))
    pictures: list[list[np.ndarray]] = []
    for data in packets[:3]:
        frame = read_packet(data, start)
        latents = [_latents(coder, section) for section in frame.sections]
        if frame.frame_type is FrameType.I:
            pictures.append(reference.intra(coder.model, latents[0]))
        else:
            pictures.append(reference.inter(coder.model, pictures[-1], *latents))
    for planes, frame in zip(pictures, decoded, strict=True):
        assert np.array_equal(planes[0][:50, :70], frame.y)
        assert np.array_equal(planes[1][:25, :35], frame.u)
        assert np.array_equal(planes[2][:25, :35], frame.v)
    assert len(np.unique(pictures[2][0])) > 20


def _latents(coder: Coder, section: Section) -> np.ndarray:
    """By the reference from the symbols that the coder's bytes hold."""
    part = coder.parts[SectionKind(section.kind)]
    content = coder.read(section, 64, 80)
    z, symbols = (
        t[0].numpy().astype(np.int64)
        for t in (content.symbols.hyperlatents, content.symbols.latents)
    )
    mean, indices = reference.distributions(part, z, 4, 5)
    place = coder.place(SectionKind(section.kind))
    latents = reference.dequantised(part, symbols, mean, place)
    assert np.array_equal(latents, (content.latents[0] * 4).numpy())
    assert len(np.unique(indices)) > 1
    return latents


def test_threads_change_no_sample(here: Path, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    vireo.encode(source, target, codec="ssf", threads=2)
    before = torch.get_num_threads()
    decoded = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with vireo.open(target, threads=threads) as video:
                decoded.append([frame.planes for frame in video])
    finally:
        torch.set_num_threads(before)
    for other in decoded[1:]:
        for a, b in zip(decoded[0], other, strict=True):
            assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


def test_a_higher_quality_has_finer_steps() -> None:
    places = [place_of(value, LAMBDAS) for value in (1.0, 8e-3, 4e-3, 2e-3, 1.25e-4, 1e-6)]
    assert places == [0, 0, 8, 16, 48, 48]
    assert place_of(1e-3, (1e-3,)) == 0
    for value in (8e-3, 1e-3, 1e-6):
        intra, inter = places_of(value, LAMBDAS, finer=INTRA_FINER, say=print)
        assert inter == place_of(value, LAMBDAS)
        assert intra == min(inter + INTRA_FINER, 48)
        assert places_of(value, LAMBDAS, say=print) == (inter, inter)


def test_weights_come_back_and_name_themselves(folder: Path, tmp_path: Path) -> None:
    model = loud("ssf1")
    loaded = weights.load(folder / "ssf1.safetensors")
    again = Model(CONFIGS["ssf1"])
    loaded.load_into(again)
    saved = weights.save(again, "ssf1", LAMBDAS, tmp_path / "again.safetensors", {})
    assert saved.identity == loaded.identity
    for (name, a), b in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-2, rtol=1e-3), name
    with torch.no_grad():
        again.intra.analysis.deep[0].weight.add_(1)
    other = weights.save(again, "ssf1", LAMBDAS, tmp_path / "other.safetensors", {})
    assert other.identity == loaded.identity, "analysis is the encoder's own business"
    with torch.no_grad():
        again.intra.prior.means.add_(1)
    other = weights.save(again, "ssf1", LAMBDAS, tmp_path / "other.safetensors", {})
    assert other.identity != loaded.identity


def test_wrong_weights_are_an_error(
    folder: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.mkv"
    monkeypatch.setenv(weights.FOLDERS, str(folder))
    vireo.encode(source, target, codec="ssf")
    monkeypatch.delenv(weights.FOLDERS)
    monkeypatch.setattr(weights, "_OPENED", {})  # as in another process
    with pytest.raises(UsageError, match="needs weights"):
        vireo.verify(target)
    with pytest.raises(UsageError, match="no weights of 'ssf7'"):
        vireo.encode(source, tmp_path / "x.mkv", codec="ssf", model="ssf7")
    damaged = tmp_path / "damaged.safetensors"
    data = bytearray((folder / "ssf1.safetensors").read_bytes())
    data[-1000:] = bytes(1000)
    damaged.write_bytes(data)
    with pytest.raises(UsageError, match="damaged"):
        vireo.encode(source, tmp_path / "x.mkv", codec="ssf", model=str(damaged))
    damaged.write_bytes(b"no weights")
    monkeypatch.setenv(weights.FOLDERS, os.pathsep.join([str(tmp_path), str(folder)]))
    assert vireo.verify(target).frames == 5, "what else lies in the folders doesn't matter"
    with pytest.raises(UsageError, match="no file of weights"):
        vireo.encode(source, tmp_path / "x.mkv", codec="ssf", model=str(damaged))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gop": "random-access"}, "I and P frames"),
        ({"time_budget": 10.0}, "trained already"),
        ({"profile": "paper"}, "profile"),
    ],
)
def test_what_this_codec_has_not_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EncodeOptions(codec="ssf", **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="models"):
        EncodeOptions(model="ssf1")


def test_a_device_that_is_not_here_is_refused(
    here: Path, source: Path, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.mkv"
    vireo.encode(source, target, codec="ssf")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device here"):
        vireo.encode(source, tmp_path / "b.mkv", codec="ssf", device="cuda")
    with pytest.raises(UsageError, match="no CUDA device here"):
        vireo.decode(target, tmp_path / "a.y4m", device="cuda")
    with pytest.raises(UsageError, match="no CUDA device here"):
        vireo.verify(target, device="cuda")
    with pytest.raises(UsageError, match="no device 'tpu'; there is cpu, cuda"):
        vireo.verify(target, device="tpu")
    with pytest.raises(UsageError, match="coolchic decodes on the cpu only"):
        vireo.verify(sample.path, device="cuda")


def stream(here: Path, source: Path, tmp_path: Path) -> tuple[list[bytes], GopStart]:
    target = tmp_path / "stream.mkv"
    vireo.encode(source, target, codec="ssf")
    with MatroskaReader(target) as file:
        return [p.data for p in file], GopStart(file.header, 0, 5)


def test_sections_that_are_none_are_refused(here: Path, source: Path, tmp_path: Path) -> None:
    packets, start = stream(here, source, tmp_path)
    decoder = picture_decoder(start.header, Limits())
    frame = read_packet(packets[1], start)

    def refused(changed: CodedFrame, message: str) -> None:
        with pytest.raises(StreamError, match=message):
            parse_whole(decoder, changed, [None])

    flow, rest = frame.sections
    refused(replace(frame, sections=(flow,)), "sections of kinds")
    refused(replace(frame, sections=(rest, flow)), "sections of kinds")
    refused(replace(frame, sections=(flow, replace(rest, droppable=True))), "droppable")
    refused(replace(frame, sections=(replace(flow, data=b"\x40ab"), rest)), "hyperlatents")
    refused(replace(frame, sections=(replace(flow, data=b""), rest)), "0 are left")


def test_any_bytes_are_some_picture(here: Path, source: Path, tmp_path: Path) -> None:
    packets, start = stream(here, source, tmp_path)
    decoder = picture_decoder(start.header, Limits())
    frame = read_packet(packets[1], start)
    rng = np.random.default_rng(0)
    black = tuple(np.zeros(s, np.uint8) for s in ((64, 80), (32, 40), (32, 40)))
    for _ in range(10):
        sections = tuple(replace(s, data=b"\x05" + rng.bytes(60)) for s in frame.sections)
        parsed = parse_whole(decoder, replace(frame, sections=sections), [None])
        planes = decoder.reconstruct(parsed, [black])
        assert planes[0].shape == (64, 80)


def test_a_configuration_that_is_none_is_refused(here: Path, source: Path, tmp_path: Path) -> None:
    _, start = stream(here, source, tmp_path)
    header = start.header
    for configuration, message in [
        (header.configuration[:-1], "damaged"),
        (header.configuration + b"\0", "longer"),
        (header.configuration[:16] + b"\xff" + header.configuration[17:], "rate point"),
    ]:
        with pytest.raises(HeaderError, match=message):
            picture_decoder(replace(header, configuration=configuration), Limits())
    with pytest.raises(HeaderError, match="profile"):
        picture_decoder(replace(header, profile=1), Limits())


def test_a_b_frame_is_refused(here: Path, source: Path, tmp_path: Path) -> None:
    packets, start = stream(here, source, tmp_path)
    decoder = picture_decoder(start.header, Limits())
    frame = replace(read_packet(packets[1], start), frame_type=FrameType.B)
    with pytest.raises(SyntaxElementError, match="no B frames"):
        decoder.parse(frame, [None, None])


def test_a_file_of_weights_can_lie_anywhere(
    folder: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_OPENED", {})
    target = tmp_path / "out.mkv"
    vireo.encode(source, target, codec="ssf", model=str(folder / "ssf1.safetensors"))
    assert vireo.verify(target).frames == 5


@pytest.mark.parametrize("lambdas", ["x", "[]", "5", '["a"]', "[0, 0.1]", "[1e-3, 1e-2]", None])
def test_metadata_that_is_none_is_refused(
    folder: Path, tmp_path: Path, lambdas: str | None
) -> None:
    tensors = dict(weights.load(folder / "ssf1.safetensors").tensors)
    identity = weights.load(folder / "ssf1.safetensors").identity.hex()
    metadata = {"model": "ssf1", "identity": identity}
    if lambdas is not None:
        metadata["lambdas"] = lambdas
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(UsageError, match="which model"):
        weights.load(path)


@pytest.mark.parametrize("value", [torch.tensor([1 << 40] * 3), torch.tensor([float("nan")] * 3)])
def test_values_that_are_none_are_refused(folder: Path, tmp_path: Path, value: Tensor) -> None:
    found = weights.load(folder / "ssf1.safetensors")
    tensors = dict(found.tensors)
    tensors["flow.synthesis.deep.5.bias"] = value
    metadata = {"model": "ssf1", "identity": found.identity.hex(), "lambdas": json.dumps([0.1])}
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(UsageError, match=r"flow\.synthesis\.deep\.5\.bias"):
        weights.load(path)


def test_values_off_their_grid_are_refused(folder: Path) -> None:
    found = weights.load(folder / "ssf1.safetensors")
    tensors = dict(found.tensors)
    tensors["intra.prior.scales"] = torch.full((32, 3), 1000, dtype=torch.int16)
    with pytest.raises(UsageError, match=r"intra\.prior\.scales has values"):
        replace(found, tensors=tensors).load_into(Model(CONFIGS["ssf1"]))


def test_an_analysis_without_numbers_writes_no_stream(
    folder: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = weights.load(folder / "ssf1.safetensors")
    tensors = dict(found.tensors)
    tensors["intra.analysis.deep.0.weight"] = tensors["intra.analysis.deep.0.weight"] * float("nan")
    monkeypatch.setattr(weights, "named", lambda *given: replace(found, tensors=tensors))
    monkeypatch.setattr(weights, "find", lambda identity: found)
    with pytest.raises(UsageError, match="no numbers"):
        vireo.encode(source, tmp_path / "out.mkv", codec="ssf")


def test_grids_hold_what_a_file_keeps() -> None:
    """Weights beyond 16 bits are kept in 32."""
    model = loud("ssf1")
    with torch.no_grad():
        model.intra.synthesis.deep[0].weight[0, 0, 0, 0] = 40.0
    grids = weights.grids_of(model)
    assert grids["intra.synthesis.deep.0.weight"] == Grid(10, -(1 << 23), 1 << 23)
    assert set(grids) == {n for n, _ in model.named_parameters() if "analysis" not in n}
