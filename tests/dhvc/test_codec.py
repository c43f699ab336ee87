"""Hierarchical streams: what is encoded comes back, however it is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import vireo
from tests.clips import moving
from tests.dhvc.streams import FRAMES, LAMBDAS, MODELS, packets
from vireo import weights
from vireo.codecs.base import Limits, picture_decoder
from vireo.codecs.dhvc import reference
from vireo.codecs.dhvc.blocks import FEATURES
from vireo.codecs.dhvc.coding import Coder, Walk
from vireo.codecs.dhvc.config import CONFIGS
from vireo.codecs.dhvc.initial import initialise
from vireo.codecs.dhvc.model import Model
from vireo.codecs.rate_points import Places
from vireo.container import CodedFrame, FrameType
from vireo.errors import HeaderError, SyntaxElementError, UsageError
from vireo.nn.picture import planes_of
from vireo.options import EncodeOptions

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize("model", MODELS)
def test_a_video_comes_back_as_it_was_encoded(model: str, streams: Mapping[str, Path]) -> None:
    assert vireo.verify(streams[model]).frames == FRAMES
    frames, _ = packets(streams[model])
    assert [f.is_key for f in frames] == [True] + 5 * [False] + [True, False]
    for frame in frames:
        assert [s.kind for s in frame.sections] == [0, 1, 2, 3]
        assert [s.droppable for s in frame.sections] == [False, True, True, True]
    shares = vireo.probe(streams[model]).parts
    assert all(shares[f"scale {n}"] > 100 for n in range(1, 5))


@dataclass(frozen=True)
class Arrival:
    """A frame as it was encoded, what arrived of it, and what that decodes to."""

    encoded: Walk
    sections: Mapping[int, bytes]
    alone: frozenset[int]
    decoded: Walk


SIZE = 64, 128
KEPT = 4, 4, 2, 4, 4, 4  # scales that arrive of each frame
RESYNCHRONISED = 4  # a frame, from scale 3 on


def arrivals(coder: Coder) -> Iterator[Arrival]:
    encoded: Walk | None = None
    decoded: Walk | None = None
    for place, (frame, kept) in enumerate(zip(moving(*SIZE[::-1], len(KEPT)), KEPT, strict=True)):
        alone = coder.scales_alone(2) if place == RESYNCHRONISED else frozenset[int]()
        sections, encoded = coder.encode(frame.planes, encoded, alone)
        sections = {level: data for level, data in sections.items() if level < kept}
        decoded = coder.decoding(sections, SIZE, decoded, alone & sections.keys())
        decoded.run()
        yield Arrival(encoded, sections, alone & sections.keys(), decoded)


@pytest.mark.parametrize("model", MODELS)
def test_the_reference_decodes_the_same(model: str) -> None:
    coder = Coder(weights.named(model), Places(9, 20))
    decoded: reference.Decoded | None = None
    for place, frame in enumerate(arrivals(coder)):
        decoded = reference.decode(
            coder.model, 20 if place else 9, frame.sections, SIZE, decoded, frame.alone
        )
        planes = planes_of(frame.decoded.picture)
        for own, other in zip(decoded.picture, planes, strict=True):
            assert np.array_equal(own, other)
        assert len(np.unique(planes[0])) > 20
        assert list(decoded.intact) == frame.decoded.intact
        for own, other in zip(decoded.features, frame.decoded.features, strict=True):
            assert len(own) == len(other) <= 2
            for a, b in zip(own, other, strict=True):
                assert np.array_equal(a, b[0].numpy() * 2.0**FEATURES.bits)


@pytest.mark.parametrize("model", MODELS)
def test_features_of_what_is_intact_are_the_encoder_s(model: str) -> None:
    coder = Coder(weights.named(model), Places(9, 20))
    intact = []
    for frame in arrivals(coder):
        intact.append(sum(frame.decoded.intact))
        assert frame.decoded.intact == [level < intact[-1] for level in range(4)]
        for ours, theirs, whole in zip(
            frame.decoded.features, frame.encoded.features, frame.decoded.intact, strict=True
        ):
            assert len(ours) == len(theirs)
            same = [torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)]
            assert all(same) if whole else not same[0]
        pictures = planes_of(frame.decoded.picture), planes_of(frame.encoded.picture)
        assert np.array_equal(pictures[0][0], pictures[1][0]) == (intact[-1] == 4)
    parallel = coder.model.auxiliary is None
    assert intact == [4, 4, 2, 2 if parallel else 0, 4, 4]


@pytest.mark.parametrize("model", MODELS)
def test_how_it_is_computed_changes_no_sample(model: str, streams: Mapping[str, Path]) -> None:
    frames, _ = packets(streams[model])
    coder = Coder(weights.named(model), Places(20, 20))
    before = torch.get_num_threads()

    def decoded() -> list[torch.Tensor]:
        found, last = [], None
        for frame in frames[:3]:
            sections = {s.kind: s.data for s in frame.sections}
            last = coder.decoding(sections, (128, 192), last)
            last.run()
            found += [last.picture.luma.float(), last.features[0][0].float()]
        return found

    expected = decoded()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert all(torch.equal(a, b) for a, b in zip(decoded(), expected, strict=True))
    finally:
        torch.set_num_threads(before)
    coder.model.to(memory_format=torch.channels_last)
    assert all(torch.equal(a, b) for a, b in zip(decoded(), expected, strict=True))
    coder.model.double()
    assert all(torch.equal(a, b) for a, b in zip(decoded(), expected, strict=True))


def test_a_higher_quality_is_nearer_and_larger(folder: Path, tmp_path: Path) -> None:
    """Of what training starts from, as weights at random have no order."""
    torch.manual_seed(0)
    model = Model(CONFIGS["small"])
    initialise(model)
    path = tmp_path / "start.safetensors"
    weights.save(model, "small", LAMBDAS, path, {})
    reports = [
        vireo.encode(
            folder / "source.y4m",
            tmp_path / f"{quality}.mkv",
            codec="dhvc",
            model=str(path),
            quality=quality,
        )
        for quality in (0, 35, 70, 100)
    ]
    for lower, higher in pairwise(reports):
        assert lower.size < higher.size
        assert lower.psnr < higher.psnr
    assert reports[0].size < 0.7 * reports[-1].size


def test_sections_that_are_none_are_refused(streams: Mapping[str, Path]) -> None:
    frames, start = packets(streams["small"])
    decoder = picture_decoder(start.header, Limits())
    intra, inter = frames[0], frames[1]

    def refused(changed: CodedFrame, message: str) -> None:
        with pytest.raises(SyntaxElementError, match=message):
            decoder.parse(changed, [None])

    one, two, three, four = inter.sections
    refused(replace(inter, sections=()), "lowest scale")
    refused(replace(inter, sections=(two, three, four)), "lowest scale")
    refused(replace(inter, sections=(one, three, two)), "order")
    refused(replace(inter, sections=(one, two, two)), "order")
    refused(replace(inter, sections=(one, replace(two, droppable=False))), "droppable")
    refused(replace(inter, sections=(replace(one, kind=8),)), "kind 8")
    refused(replace(intra, sections=(replace(one, kind=4),)), "kind 4 in I")
    refused(replace(inter, frame_type=FrameType.B), "no B frames")
    refused(replace(frames[3], references=(1,)), "frame 3 of a GOP refers to 1")
    refused(replace(frames[3], references=(4,)), "frame 3 of a GOP refers to 4")


def test_any_bytes_are_some_picture(streams: Mapping[str, Path]) -> None:
    frames, start = packets(streams["small"])
    decoder = picture_decoder(start.header, Limits())
    rng = np.random.default_rng(0)
    reference_frame = decoder.reconstruct(decoder.parse(frames[0], []), [])
    for _ in range(5):
        sections = tuple(replace(s, data=rng.bytes(80)) for s in frames[1].sections)
        parsed = decoder.parse(replace(frames[1], sections=sections), [None])
        planes = decoder.crop(decoder.reconstruct(parsed, [reference_frame]))
        assert planes[0].shape == (90, 150)


def test_a_configuration_that_is_none_is_refused(streams: Mapping[str, Path]) -> None:
    _, start = packets(streams["small"])
    header = start.header
    for configuration, message in [
        (header.configuration[:-1], "damaged"),
        (header.configuration + b"\0", "longer"),
        (header.configuration[:16] + b"\xff" + header.configuration[17:], "place 255"),
    ]:
        with pytest.raises(HeaderError, match=message):
            picture_decoder(replace(header, configuration=configuration), Limits())
    with pytest.raises(HeaderError, match="profile"):
        picture_decoder(replace(header, profile=1), Limits())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "dhvc", "gop": "random-access"}, "I and P frames"),
        ({"codec": "dhvc", "adapt": "full"}, "adaptation"),
        ({"codec": "dhvc", "preset": "fast"}, "presets"),
        ({"codec": "dhvc", "resync": "x"}, "no scale"),
        ({"codec": "dhvc", "resync": "4:0"}, "no scale 0"),
        ({"codec": "dhvc", "resync": "2:3,4-6:5"}, "frame 4 has no scale 5"),
        ({"codec": "ssf", "resync": "4:2"}, "no scales"),
    ],
)
def test_what_codecs_have_not_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EncodeOptions(**options)  # type: ignore[arg-type]
