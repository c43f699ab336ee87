"""Hierarchical streams: what is encoded comes back, whole or in part, however it is computed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vireo
from tests.clips import moving, write_y4m
from tests.dhvc.models import loud, tiny
from vireo import weights
from vireo.cli import main
from vireo.codecs.base import Limits, picture_decoder
from vireo.codecs.decoding import GopDecoder
from vireo.codecs.dhvc import config, reference
from vireo.codecs.dhvc.blocks import FEATURES
from vireo.codecs.dhvc.coding import Coder, Walk
from vireo.codecs.dhvc.config import CONFIGS
from vireo.codecs.rate_points import Places
from vireo.container import CodedFrame, FrameType, GopStart, MatroskaReader, read_packet
from vireo.errors import HeaderError, SyntaxElementError, UsageError
from vireo.nn.picture import planes_of
from vireo.options import EncodeOptions
from vireo.stream.losses import read_losses

LAMBDAS = (8e-3, 2e-3, 5e-4, 1.25e-4)
FRAMES = 8
MODELS = ("small", "small-parallel", "paper", "paper-parallel")


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory):
    """Files of weights of tiny models, made at random: they needn't compress."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        for name in MODELS:
            patch.setitem(config.CONFIGS, name, tiny(name))
        for name in MODELS:
            weights.save(
                loud(CONFIGS[name]), name, LAMBDAS, folder / f"{name}.safetensors", {"steps": 0}
            )
        patch.setenv(weights.FOLDERS, str(folder))
        yield folder


@pytest.fixture(scope="module")
def streams(folder: Path) -> Mapping[str, Path]:
    """Frames of a size that is no multiple of anything, by model."""
    source = write_y4m(folder / "source.y4m", moving(150, 90, FRAMES))
    found = {}
    for model in MODELS:
        found[model] = folder / f"{model}.mkv"
        report = vireo.encode(source, found[model], codec="dhvc", model=model, gop_size=5)
        assert report.frames == FRAMES
    return found


def frames_of(path: Path, target: Path, **options: object) -> tuple[list, vireo.api.DecodeReport]:
    report = vireo.decode(path, target, overwrite=True, **options)
    with vireo.api.open_source(target) as source:
        return [f.planes for f in source], report


def packets(path: Path) -> tuple[list[CodedFrame], GopStart]:
    found, start = [], None
    with MatroskaReader(path) as file:
        for stored in file:
            frame = read_packet(stored.data, start)
            start = frame.gop_start if frame.is_key else start
            found.append(frame)
    assert start is not None
    return found, start


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


@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_stages_give_what_one_after_another_gives(
    model: str, streams: Mapping[str, Path], tmp_path: Path
) -> None:
    """With losses too, which no hash covers."""
    for drop in ("", "2:4,4:3"):
        expected, _ = frames_of(streams[model], tmp_path / "a.y4m", threads=1, drop=drop)
        for threads in (2, 4):
            found, _ = frames_of(streams[model], tmp_path / "a.y4m", threads=threads, drop=drop)
            for ours, theirs in zip(found, expected, strict=True):
                assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_pictures_that_are_done_with_are_let_go(
    streams: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not when cycles are collected: they are large."""
    alive: weakref.WeakSet[Walk] = weakref.WeakSet()
    make = Walk.__init__

    def watched(self: Walk, *args: object, **named: object) -> None:
        make(self, *args, **named)  # type: ignore[arg-type]
        alive.add(self)

    monkeypatch.setattr(Walk, "__init__", watched)
    gc.collect()
    gc.disable()
    try:
        with MatroskaReader(streams["small-parallel"]) as file:
            count = sum(1 for _ in GopDecoder(threads=2).decode(file))
        assert count == FRAMES
        assert len(alive) <= 1
    finally:
        gc.enable()


def test_fewer_scales_are_a_preview(streams: Mapping[str, Path], tmp_path: Path) -> None:
    """Of a model without auxiliary refinement, all frames have as many scales."""
    whole, report = frames_of(streams["small-parallel"], tmp_path / "a.y4m")
    assert report.partial == {}
    again, report = frames_of(streams["small-parallel"], tmp_path / "b.y4m", scales=4)
    assert report.partial == {}
    for scales in (1, 2, 3):
        part, report = frames_of(streams["small-parallel"], tmp_path / "c.y4m", scales=scales)
        assert report.partial == dict.fromkeys(range(FRAMES), scales)
        assert len(part) == FRAMES
        assert not np.array_equal(part[-1][0], whole[-1][0])
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(whole, again, strict=True))
    with pytest.raises(UsageError, match="at least one"):
        vireo.decode(streams["small"], tmp_path / "d.y4m", scales=0)


def test_a_loss_lasts_until_the_next_key_frame(streams: Mapping[str, Path], tmp_path: Path) -> None:
    whole, _ = frames_of(streams["small-parallel"], tmp_path / "a.y4m")
    part, report = frames_of(streams["small-parallel"], tmp_path / "b.y4m", drop="2:4,4:3")
    assert report.partial == {2: 3, 3: 3, 4: 2, 5: 2}
    same = [np.array_equal(a[0], b[0]) for a, b in zip(whole, part, strict=True)]
    assert same == [True, True, False, False, False, False, True, True]
    # Where features of the picture before are referred to, no scale is of use behind a loss.
    _, report = frames_of(streams["small"], tmp_path / "b.y4m", drop="2:4,4:3")
    assert report.partial == {2: 3, 3: 0, 4: 0, 5: 0}


@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_a_loss_ends_where_its_scales_are_resynchronised(
    model: str, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    asked: list[int] = []

    def feedback(frame: int) -> int | None:
        asked.append(frame)
        return 3 if frame == 4 else None

    source = folder / "source.y4m"
    vireo.encode(source, target, codec="dhvc", model=model, gop_size=7, resync=feedback)
    assert asked == list(range(1, FRAMES))
    assert vireo.verify(target).frames == FRAMES
    kinds = [0, 1, 6, 7] if model == "small-parallel" else [4, 5, 6, 7]
    frames, _ = packets(target)
    assert [s.kind for s in frames[4].sections] == kinds
    _, report = frames_of(target, tmp_path / "a.y4m", drop="2:3")
    last = 2 if model == "small-parallel" else 0
    assert report.partial == {2: 2, 3: last}
    # A loss of a lower scale, or behind it, is not mended.
    _, report = frames_of(target, tmp_path / "a.y4m", drop="5:4")
    assert set(report.partial) == {5, 6, 7}
    again = tmp_path / "again.mkv"
    vireo.encode(source, again, codec="dhvc", model=model, gop_size=7, resync="4:3")
    assert again.read_bytes()[-2000:] == target.read_bytes()[-2000:]


@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_all_scales_can_be_resynchronised(
    model: str, streams: Mapping[str, Path], folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.mkv"
    source = folder / "source.y4m"
    vireo.encode(source, target, codec="dhvc", model=model, gop_size=7, resync="4-5:2,4:1")
    frames, _ = packets(target)
    assert [s.kind for s in frames[4].sections] == [4, 5, 6, 7]
    assert [s.kind for s in frames[5].sections][1:] == [5, 6, 7]
    _, report = frames_of(target, tmp_path / "a.y4m", drop="2:2")
    assert report.partial == {2: 1, 3: 1 if model == "small-parallel" else 0}
    assert vireo.verify(target).frames == FRAMES


@pytest.mark.parametrize("answer", [0, 5, -1, "3"])
def test_an_answer_that_is_no_scale_is_refused(
    answer: object, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"frame 1 can't .* from scale {answer!r} on"):
        vireo.encode(
            folder / "source.y4m",
            tmp_path / "out.mkv",
            codec="dhvc",
            frames=3,
            resync=lambda frame: answer,
        )


def test_an_encode_with_feedback_starts_afresh(folder: Path, tmp_path: Path) -> None:
    asked: list[int] = []
    fails = True

    def feedback(frame: int) -> int | None:
        asked.append(frame)
        if fails and frame == 4:
            raise RuntimeError("the receiver is gone")
        return None

    def encode() -> vireo.api.EncodeReport:
        target = tmp_path / "out.mkv"
        return vireo.encode(
            folder / "source.y4m", target, codec="dhvc", gop_size=7, threads=1, resync=feedback
        )

    with pytest.raises(RuntimeError, match="gone"):
        encode()
    assert asked == [1, 2, 3, 4]
    fails = False
    assert encode().resumed == 0
    assert asked[4:] == list(range(1, FRAMES))
    assert not list(tmp_path.glob("*.vireo-journal"))


@pytest.mark.parametrize("model", ["small", "small-parallel"])
def test_any_loss_leaves_a_picture_for_every_frame(
    model: str, streams: Mapping[str, Path], tmp_path: Path
) -> None:
    """And what is used of each is what the losses leave of use."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        kept = [int(rng.integers(1, 4)) if rng.random() < 0.3 else 4 for _ in range(FRAMES)]
        drop = ",".join(f"{frame}:{n + 1}" for frame, n in enumerate(kept) if n < 4)
        used: list[int] = []
        for frame, n in enumerate(kept):
            before = used[-1] if frame % 6 else 4  # GOPs are of six frames
            if model == "small" and before < 4:
                before = 0
            used.append(min(n, before))
        part, report = frames_of(streams[model], tmp_path / "a.y4m", drop=drop)
        assert len(part) == FRAMES
        assert report.partial == {frame: n for frame, n in enumerate(used) if n < 4}
        assert report.damage == ()


def test_the_command_says_what_is_missing(streams: Mapping[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "a.y4m"
    command = ["decode", str(streams["small-parallel"]), str(target), "--drop", "2:4,4-5:3"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "frames 2-3 (3 used), 4-5 (2 used)" in done.output
    command[-1] = "4"
    done = CliRunner().invoke(main, [*command, "--overwrite"])
    assert done.exit_code == 2
    assert "'4' is no loss" in done.output


@pytest.mark.parametrize("text", ["5", "a:2", "5:1", "5:0", "7-3:2", "0-99999999:2", "1:2;3:2"])
def test_losses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"lost|no loss"):
        read_losses(text)


def test_a_higher_quality_is_nearer_and_larger(folder: Path, tmp_path: Path) -> None:
    """Of the shipped start of a model, as weights at random have no order."""
    from vireo.codecs.dhvc.initial import initialise
    from vireo.codecs.dhvc.model import Model

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
    sizes, qualities = [r.size for r in reports], [r.psnr for r in reports]
    assert sizes == sorted(sizes)
    assert qualities == sorted(qualities)
    assert sizes[0] < 0.7 * sizes[-1]


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
