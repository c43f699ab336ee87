"""Codebook streams: the same indices everywhere, and pictures that are about the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import vireo
from benchmarks.fuzz import fuzz
from tests.clips import Sample, moving, packets_of, repacked, write_packets, write_y4m
from tests.codebook.conftest import FRAMES, GOP, LAMBDAS, PROFILES, Folder
from tests.dhvc.streams import frames_of, packets
from vireo import weights
from vireo.cli import main
from vireo.codecs.base import Limits, Precision, picture_decoder
from vireo.codecs.codebook.choice import Prices, choose
from vireo.codecs.codebook.coding import Coder
from vireo.codecs.codebook.config import CONFIGS
from vireo.codecs.codebook.decoder import STRIDE
from vireo.codecs.codebook.indices import Indices
from vireo.codecs.codebook.stream import SectionKind, packed, unpacked
from vireo.codecs.encoding import pad_to_even
from vireo.codecs.pretrained import padded
from vireo.codecs.probes import PROBES, Probes
from vireo.container import CodedFrame, FrameType
from vireo.errors import (
    ChecksumError,
    HeaderError,
    MissingReferenceError,
    PictureHashError,
    StreamError,
    SyntaxElementError,
    TruncatedError,
    UsageError,
)
from vireo.metrics import plane_mse, psnr
from vireo.nn.picture import picture_of
from vireo.video.frame import Frame

pytestmark = pytest.mark.usefixtures("folder")

SIZE = 128, 192  # at which the streams' pictures are coded


def small(precision: Precision = Precision.FLOAT32, rate: int = 2) -> Coder:
    return Coder(weights.named("small", "codebook"), rate, SIZE, precision)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_video_comes_back(
    profile: str, streams: Mapping[str, Path], folder: Folder, tmp_path: Path
) -> None:
    assert vireo.verify(streams[profile]).frames == FRAMES
    frames, _ = packets(streams[profile])
    assert [f.is_key for f in frames] == [True] + GOP * [False] + [True] + 2 * [False]
    found, report = frames_of(streams[profile], tmp_path / "a.y4m")
    assert report.partial == {}
    assert report.beyond == ()
    errors = [plane_mse(a[0], f.y) for a, f in zip(found, folder.frames, strict=True)]
    assert psnr(float(np.mean(errors))) > 22
    shares = vireo.probe(streams[profile]).parts
    assert shares["probes"] == 2 * (PROBES + 1)
    assert shares["indices"] > 100


def test_frames_of_fixed_length_have_the_size_that_is_announced(
    folder: Folder, tmp_path: Path
) -> None:
    said: list[str] = []
    target = tmp_path / "out.mkv"
    vireo.encode(
        folder.source,
        target,
        codec="codebook",
        profile="paper",
        gop_size=GOP,
        notify=said.append,
    )
    frames, _ = packets(target)
    sizes = [len(f.sections[0].data) for f in frames]
    coder = small()
    expected = [(coder.key if f.is_key else coder.predicted).fixed_bytes for f in frames]
    assert sizes == expected
    key, predicted = expected[:2]
    # Four indices per place of 16, 32 and 64 samples, of 6, 5 and 4 bits.
    assert key == (96 * 4 * 6 + 24 * 4 * 5 + 6 * 4 * 4) // 8
    rate = f"{8 * (key + GOP * predicted) / (GOP + 1) * 25 / 1000:.1f} kbit/s over a GOP"
    expected_words = f"take {key} bytes in an I frame and {predicted} in a P frame, {rate}"
    assert sum(expected_words in sentence for sentence in said) == 1


def test_the_same_indices_take_less_under_frequencies(streams: Mapping[str, Path]) -> None:
    """Or as much: this model's books are chosen evenly, but for those of key frames."""
    coder = small()
    fixed, adaptive = (coder.index_code(n) for n in range(2))
    past = None
    kinds = []
    for frame in packets(streams["paper"])[0][: GOP + 1]:
        indices, _ = fixed.decode(frame.sections[0], past)
        section = adaptive.encode(indices, past)
        found, past = adaptive.decode(section, past)
        assert np.array_equal(found.values, indices.values)
        assert not found.skips.any()
        assert len(section.data) <= len(frame.sections[0].data)
        kinds.append(section.kind)
    assert kinds[0] == SectionKind.ADAPTIVE
    assert len(set(kinds)) == 2


def test_what_stands_still_costs_next_to_nothing(folder: Folder, tmp_path: Path) -> None:
    still = [replace(folder.frames[0], pts=n) for n in range(12)]
    target = tmp_path / "out.mkv"
    vireo.encode(
        write_y4m(tmp_path / "a.y4m", still), target, codec="codebook", gop_size=31, quality=30
    )
    frames, _ = packets(target)
    assert len(frames[0].sections[0].data) > 200
    assert max(len(f.sections[0].data) for f in frames[6:]) <= 8
    found, _ = frames_of(target, tmp_path / "b.y4m")
    assert np.array_equal(found[-1][0], found[-2][0])


def test_windows_that_change_are_sent_and_others_stay(tmp_path: Path) -> None:
    """A window of six moves; the others keep their latents to the last bit."""
    background = moving(192, 128, 1)[0]
    frames = []
    for n, frame in enumerate(moving(192, 128, 10)):
        y = background.y.copy()
        y[:64, :64] = frame.y[:64, :64]
        frames.append(Frame(y, background.u, background.v, n))
    target = tmp_path / "out.mkv"
    source = write_y4m(tmp_path / "a.y4m", frames)
    vireo.encode(source, target, codec="codebook", gop_size=31, quality=60)
    coded, start = packets(target)
    decoder = picture_decoder(start.header, Limits())
    state, decoded, skips = None, None, []
    for frame in coded:
        parsed = decoder.parse(frame, [state] if state else [])
        state = parsed.state
        before, decoded = decoded, decoder.reconstruct(parsed, [decoded] if decoded else [])
        skips.append(parsed.indices.skips)
        if before is not None:
            same = (decoded.latents == before.latents).all(1)[0].reshape(2, 8, 3, 8).all(3).all(1)
            assert (same.numpy().ravel() >= skips[-1]).all()
    assert (np.array(skips[5:])[:, 1:].mean() > 0.9).all()
    assert np.array(skips[5:])[:, 0].mean() < 0.2
    assert vireo.verify(target).frames == 10


def test_a_higher_lambda_chooses_cheaper_indices(folder: Folder) -> None:
    """And farther ones; with none they are the nearest."""
    coder = small()
    adaptive = coder.index_code(PROFILES.index("entropy"))
    first, second = (padded(pad_to_even(f), STRIDE) for f in folder.frames[:2])
    none = np.zeros(coder.key.window_count, np.uint8)
    key = Indices(choose(coder, first, None, None), none)
    reference = coder.latents(key, None)
    _, past = adaptive.decode(adaptive.encode(key, None), None)
    nearest = choose(coder, second, reference, None)
    bits, errors = [], []
    for lambda_ in (0.0, 1e-3, 1e-2, 1e-1):
        prices = Prices(coder.predicted, adaptive.adapted(past), past, lambda_)
        values = choose(coder, second, reference, prices)
        if lambda_ == 0:
            assert np.array_equal(values, nearest)
        bits.append(prices.bits(values).sum())
        planes = coder.planes(coder.latents(Indices(values, none), reference))
        errors.append(plane_mse(planes[0], second[0]))
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < 0.5 * bits[0]
    assert errors[-1] > errors[0]


def test_prices_are_what_indices_take(streams: Mapping[str, Path]) -> None:
    """Of a frame under what the frames before have taught, but for neighbours' flags."""
    frames, _ = packets(streams["paper"])
    coder = small()
    fixed, adaptive = (coder.index_code(n) for n in range(2))
    past = None
    for place, frame in enumerate(frames[: GOP + 1]):
        indices, _ = fixed.decode(frame.sections[0], past)
        if place > 0:
            adapted = adaptive.adapted(past)
            assert adapted is not None
            prices = Prices(coder.predicted, adapted, past, 1e-3)
            taken = len(adapted.copy().encode(indices.values, past.values, indices.skips))
            assert prices.bits(indices.values).sum() / 8 == pytest.approx(taken, rel=0.15)
        _, past = adaptive.decode(adaptive.encode(indices, past), past)


def test_a_higher_quality_is_nearer_and_larger(folder: Folder, tmp_path: Path) -> None:
    reports = [
        vireo.encode(folder.source, tmp_path / f"{q}.mkv", codec="codebook", quality=q)
        for q in (0, 30, 60)
    ]
    for lower, higher in pairwise(reports):
        assert lower.video_size < higher.video_size
        assert lower.psnr < higher.psnr
    assert reports[0].video_size < 0.7 * reports[-1].video_size


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("profile", PROFILES)
def test_every_precision_decodes_within_the_bound(
    profile: str, precision: Precision, streams: Mapping[str, Path], tmp_path: Path
) -> None:
    assert vireo.verify(streams[profile], precision=precision).frames == FRAMES
    whole, _ = frames_of(streams[profile], tmp_path / "a.y4m")
    other, report = frames_of(streams[profile], tmp_path / "b.y4m", precision=precision)
    assert report.beyond == ()
    farthest = [
        max(int(abs(a.astype(int) - b).max()) for a, b in zip(x, y, strict=True))
        for x, y in zip(whole, other, strict=True)
    ]
    if precision is Precision.FLOAT32:
        assert max(farthest) == 0
        return
    assert max(farthest) > 0
    for place, frame in enumerate(packets(streams[profile])[0]):
        if len(frame.sections) == 2:
            bound = frame.sections[1].data[0]
            assert farthest[place] < bound if precision is Precision.BFLOAT16 else bound
            assert bound < 20


def test_rounding_is_about_what_processors_of_the_precision_do() -> None:
    """PyTorch's own arithmetic in bfloat16 is as far from single precision."""
    target = picture_of(moving(64, 64, 1)[0].planes)
    exact, rounded = (
        Coder(weights.named("small", "codebook"), 2, (64, 64), p)
        for p in (
            Precision.FLOAT32,
            Precision.BFLOAT16,
        )
    )
    with torch.inference_mode():
        latents = exact.model.analysis(target)
        whole = exact.model.image(latents).luma
        ours = rounded.model.image(latents).luma
        native = exact.model.bfloat16().image(latents.bfloat16()).luma.float()
    far, near = (float((x - whole).square().mean()) for x in (native, ours))
    assert near > 0
    assert far / 4 < near < 4 * far


def test_samples_beyond_the_bound_are_told(streams: Mapping[str, Path], tmp_path: Path) -> None:
    """As on a machine whose arithmetic is out of order; the video is decoded nonetheless."""

    def change(frame: CodedFrame) -> CodedFrame:
        if len(frame.sections) < 2 or frame.display_index != GOP:
            return frame
        data = bytearray(frame.sections[1].data)
        data[5] ^= 0x80
        probes = replace(frame.sections[1], data=bytes(data))
        return replace(frame, sections=(frame.sections[0], probes))

    path = repacked(streams["entropy"], tmp_path / "a.mkv", change)
    report = vireo.verify(path)
    assert report.beyond == (GOP,)
    assert report.damage == ()
    assert report.frames == FRAMES - 1
    found, decoded = frames_of(path, tmp_path / "a.y4m")
    assert len(found) == FRAMES
    assert decoded.beyond == (GOP,)
    told = CliRunner().invoke(main, ["verify", str(path)])
    assert told.exit_code == 3
    assert f"than the encoder expected: frames {GOP}\n" in told.output


def test_another_index_than_the_encoder_s_is_noticed(
    streams: Mapping[str, Path], tmp_path: Path
) -> None:
    def change(frame: CodedFrame) -> CodedFrame:
        data = bytearray(frame.sections[0].data)
        data[3] ^= 1 if frame.display_index == 2 else 0
        return replace(
            frame, sections=(replace(frame.sections[0], data=bytes(data)), *frame.sections[1:])
        )

    path = repacked(streams["paper"], tmp_path / "a.mkv", change)
    with pytest.raises(PictureHashError):
        vireo.decode(path, tmp_path / "a.y4m")


def _damaged(path: Path, target: Path, packet: int, like: Path | None = None) -> Path:
    """With a byte of a packet's indices flipped, and its checksum as it was."""
    data = bytearray(path.read_bytes())
    coded = packets(like or path)[0][packet].sections[0].data
    at = bytes(data).find(coded)
    data[at + len(coded) // 2] ^= 0x10
    target.write_bytes(data)
    return target


def test_frames_behind_a_lost_one_are_decoded_from_the_latents_before(
    streams: Mapping[str, Path], folder: Folder, tmp_path: Path
) -> None:
    path = _damaged(streams["paper"], tmp_path / "a.mkv", 2)
    with pytest.raises(ChecksumError):
        vireo.decode(path, tmp_path / "a.y4m")
    found, report = frames_of(path, tmp_path / "a.y4m", conceal=True)
    whole, _ = frames_of(streams["paper"], tmp_path / "b.y4m")
    assert report.concealed == 1
    assert report.partial == {3: 0, 4: 0}
    assert ChecksumError in [type(e) for e in report.damage]
    same = [np.array_equal(a[0], b[0]) for a, b in zip(found, whole, strict=True)]
    assert same == [True, True, False, False, False, True, True, True]
    # What is sent about the next frame is of use: repeating the frame before would be worse.
    repeated = plane_mse(found[1][0], folder.frames[3].y)
    assert plane_mse(found[3][0], folder.frames[3].y) < repeated
    assert vireo.verify(path).frames == FRAMES - 3


def test_lost_frames_one_after_another(streams: Mapping[str, Path], tmp_path: Path) -> None:
    path = _damaged(streams["paper"], tmp_path / "a.mkv", 1)
    path = _damaged(path, tmp_path / "b.mkv", 2, like=streams["paper"])
    _, report = frames_of(path, tmp_path / "a.y4m", conceal=True)
    assert report.concealed == 2
    assert report.partial == {3: 0, 4: 0}


def test_indices_that_are_wrong_behind_a_checksum_are_concealed_too(
    streams: Mapping[str, Path], tmp_path: Path
) -> None:
    """Whether they can't be parsed, or aren't what the hash is of."""
    for profile, shorter in (("paper", True), ("paper", False), ("entropy", False)):

        def change(frame: CodedFrame, shorter: bool = shorter) -> CodedFrame:
            if frame.display_index != 2 or frame.is_key or frame.pts > GOP:
                return frame
            data = bytearray(frame.sections[0].data)
            data[len(data) // 2] ^= 0x11
            section = replace(frame.sections[0], data=bytes(data[: -1 if shorter else None]))
            return replace(frame, sections=(section, *frame.sections[1:]))

        path = repacked(streams[profile], tmp_path / "a.mkv", change)
        found, report = frames_of(path, tmp_path / "a.y4m", conceal=True)
        assert len(found) == FRAMES
        assert report.concealed >= 1
        if profile == "paper":
            assert report.concealed == 1
            assert report.partial == {3: 0, 4: 0}


def test_a_gop_on_another_key_frame_is_noticed(streams: Mapping[str, Path], tmp_path: Path) -> None:
    """Its P frames' own indices are right; the hash is of the GOP's so far."""
    header, stored = packets_of(streams["paper"])
    kept = [*stored[:1], *stored[GOP + 2 :]]
    path = write_packets(tmp_path / "a.mkv", header, kept)
    report = vireo.verify(path)
    assert report.frames == 1
    assert any(isinstance(e, PictureHashError) for e in report.damage)


def test_references_that_were_released_or_are_two_are_refused(
    streams: Mapping[str, Path], tmp_path: Path
) -> None:
    def release(frame: CodedFrame) -> CodedFrame:
        if frame.is_key or frame.display_index != 1 or frame.pts > GOP:
            return frame
        return replace(frame, released=(*frame.released, 1))

    path = repacked(streams["paper"], tmp_path / "a.mkv", release)
    report = vireo.verify(path)
    assert any(isinstance(e, MissingReferenceError) for e in report.damage)
    assert report.frames == FRAMES - 3

    def bidirectional(frame: CodedFrame) -> CodedFrame:
        if frame.is_key or frame.display_index != 3 or frame.pts > GOP:
            return frame
        return replace(frame, frame_type=FrameType.B, references=(0, 2), released=())

    path = repacked(streams["paper"], tmp_path / "a.mkv", bidirectional)
    path = _damaged(path, tmp_path / "b.mkv", 2, like=path)
    assert any(isinstance(e, StreamError) for e in vireo.verify(path).damage)


def test_adapted_frequencies_are_lost_with_a_frame(
    streams: Mapping[str, Path], tmp_path: Path
) -> None:
    path = _damaged(streams["entropy"], tmp_path / "a.mkv", 2)
    found, report = frames_of(path, tmp_path / "a.y4m", conceal=True)
    assert report.concealed == 3
    assert report.partial == {}
    kinds = [type(e) for e in report.damage]
    assert kinds[0] is ChecksumError
    assert set(kinds[1:]) == {MissingReferenceError}
    assert np.array_equal(found[4][0], found[1][0])
    whole, _ = frames_of(streams["entropy"], tmp_path / "b.y4m")
    assert np.array_equal(found[5][0], whole[5][0])


@pytest.mark.parametrize("profile", PROFILES)
def test_any_bytes_are_indices_or_refused(profile: str, streams: Mapping[str, Path]) -> None:
    frames, start = packets(streams[profile])
    decoder = picture_decoder(start.header, Limits())
    key = decoder.parse(frames[0], [])
    picture = decoder.reconstruct(key, [])
    rng = np.random.default_rng(0)
    sizes = [0, 1, 40, len(frames[1].sections[0].data), 4000]
    outcomes = []
    for size in sizes:
        kind = SectionKind.FIXED if profile == "paper" else SectionKind.ADAPTIVE
        section = replace(frames[1].sections[0], kind=kind, data=rng.bytes(size))
        try:
            parsed = decoder.parse(replace(frames[1], sections=(section,)), [key.state])
        except StreamError as error:
            outcomes.append(type(error))
            continue
        outcomes.append(type(decoder.crop(decoder.reconstruct(parsed, [picture]))))
    if profile == "paper":
        assert outcomes == [*3 * [TruncatedError], tuple, SyntaxElementError]
    else:
        assert outcomes == 5 * [tuple]


@pytest.mark.parametrize("profile", PROFILES)
def test_mutated_streams_end_in_errors_or_in_pictures(
    profile: str, folder: Folder, tmp_path: Path
) -> None:
    """A slice of `benchmarks/fuzz.py`."""
    path = tmp_path / "a.mkv"
    source = write_y4m(tmp_path / "a.y4m", moving(48, 40, 6))
    vireo.encode(source, path, codec="codebook", profile=profile, gop_size=2)
    findings = fuzz(path, 60, seed=1, progress=lambda done: None)
    assert findings.failures == []
    assert findings.worst[0] < 5, findings.worst
    assert findings.outcomes["PictureHashError"] + findings.outcomes["concealed"] > 3


def test_sections_that_are_none_are_refused(streams: Mapping[str, Path]) -> None:
    frames, start = packets(streams["entropy"])
    decoder = picture_decoder(start.header, Limits())
    last = frames[GOP]
    indices, probes = last.sections
    state = decoder.parse(frames[0], []).state

    def refused(changed: CodedFrame, message: str) -> None:
        with pytest.raises(StreamError, match=message):
            decoder.parse(changed, [state])

    refused(replace(last, sections=()), "indices and perhaps probes")
    refused(replace(last, sections=(probes,)), "indices and perhaps probes")
    refused(replace(last, sections=(probes, indices)), "indices and perhaps probes")
    refused(replace(last, sections=(indices, probes, probes)), "indices and perhaps probes")
    refused(replace(last, sections=(replace(indices, droppable=True),)), "droppable")
    refused(replace(last, sections=(indices, replace(probes, droppable=False))), "droppable")
    refused(replace(last, sections=(indices, replace(probes, data=probes.data[:-1]))), "are left")
    refused(replace(last, sections=(indices, replace(probes, data=probes.data + b"0"))), "longer")
    refused(replace(last, frame_type=FrameType.B), "no B frames")
    refused(replace(last, references=(1,)), "frame 4 of a GOP refers to 1")


def test_a_configuration_that_is_none_is_refused(streams: Mapping[str, Path]) -> None:
    _, start = packets(streams["entropy"])
    header = start.header
    for configuration, message in [
        (header.configuration[:-1], "damaged"),
        (header.configuration + b"\0", "longer"),
        (header.configuration[:16] + b"\x03", "rate 3"),
        (header.configuration[:16] + b"\xff", "damaged"),
    ]:
        with pytest.raises(HeaderError, match=message):
            picture_decoder(replace(header, configuration=configuration), Limits())
    with pytest.raises(HeaderError, match="profile 2"):
        picture_decoder(replace(header, profile=2), Limits())
    with pytest.raises(HeaderError, match="exact"):
        picture_decoder(replace(header, exactness=vireo.container.Exactness.EXACT), Limits())
    with pytest.raises(UsageError, match="not here"):
        picture_decoder(replace(header, configuration=b"\0" * 17), Limits())


def test_an_interrupted_encode_goes_on(
    folder: Folder, streams: Mapping[str, Path], tmp_path: Path
) -> None:
    """To the same bytes, probes included: these need all latents of the GOP at both precisions."""
    target = tmp_path / "out.mkv"
    done: list[object] = []

    def interrupt(event: object) -> None:
        done.append(event)
        if len(done) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vireo.encode(
            folder.source, target, codec="codebook", gop_size=GOP, listener=interrupt, threads=1
        )
    report = vireo.encode(folder.source, target, codec="codebook", gop_size=GOP, threads=1)
    assert report.resumed >= 3
    ours, theirs = packets(target)[0], packets(streams["entropy"])[0]
    assert [f.sections for f in ours] == [f.sections for f in theirs]


@given(st.lists(st.tuples(st.integers(1, 13), st.integers(0, 2**13 - 1)), min_size=1))
def test_numbers_are_packed(numbers: list[tuple[int, int]]) -> None:
    bits = np.array([n for n, _ in numbers], np.uint8)
    values = np.array([v % (1 << n) for n, v in numbers], np.uint16)
    data = packed(values, bits)
    text = "".join(f"{v:0{n}b}" for v, n in zip(values.tolist(), bits.tolist(), strict=True))
    assert data == int(text.ljust(8 * len(data), "0"), 2).to_bytes(len(data), "big")
    assert np.array_equal(unpacked(data, bits), values)
    with pytest.raises(SyntaxElementError):
        unpacked(data + b"\0", bits)
    with pytest.raises(TruncatedError):
        unpacked(data[:-1], bits)


def test_probes_are_all_over_the_picture() -> None:
    places = Probes.places(288, 352)
    assert len(set(places.tolist())) == PROBES
    assert places.min() >= 0
    assert places.max() < 288 * 352
    halves = np.unravel_index(places, (288, 352))
    for half, side in zip(halves, (288, 352), strict=True):
        assert 4 <= (half < side // 2).sum() <= 12
    assert Probes.places(1, 1).tolist() == [0] * PROBES
    luma = np.full((2, 3), 100, np.uint8)
    probes = Probes.of(luma, 4)
    assert probes.hold(luma + 4)
    assert not probes.hold(luma - 5)


def test_fixed_sizes_have_no_target(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one of a few sizes"):
        vireo.encode(
            folder.source, tmp_path / "a.mkv", codec="codebook", profile="paper", target_psnr=30
        )


def test_intra_streams_and_precisions_by_command(folder: Folder, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    command = ["encode", str(folder.source), str(target), "--codec", "codebook", "--gop", "intra"]
    done = CliRunner().invoke(main, [*command, "--profile", "paper"])
    assert done.exit_code == 0, done.output
    assert "bytes in an I frame, " in done.output
    for precision in Precision:
        done = CliRunner().invoke(main, ["verify", str(target), "--precision", precision])
        assert done.exit_code == 0, done.output
        assert f"{FRAMES} frames, every picture" in done.output
    done = CliRunner().invoke(
        main, ["decode", str(target), str(tmp_path / "a.y4m"), "--precision", "float64"]
    )
    assert done.exit_code == 2
    assert "no precision 'float64'; there is float32, float16, bfloat16" in done.output


def test_exact_codecs_have_no_precision(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="coolchic computes with integers"):
        vireo.decode(sample.path, tmp_path / "a.y4m", precision="float16")
    with pytest.raises(UsageError, match="no precision 'half'"):
        vireo.verify(sample.path, precision="half")


def test_weights_of_another_codec_are_refused(folder: Folder, tmp_path: Path) -> None:
    named = weights.named("small", "codebook")
    assert named.path == folder.path / "codebook-small.safetensors"
    assert weights.named("small", "dhvc").path.name == "small.safetensors"
    with pytest.raises(UsageError, match="has not the weights of such a model small"):
        vireo.encode(
            folder.source,
            tmp_path / "out.mkv",
            codec="codebook",
            model=str(weights.named("small").path),
        )
    assert len(LAMBDAS) == CONFIGS["small"].rates


def test_the_identity_is_of_all_that_a_decoder_needs(folder: Folder) -> None:
    """Networks of floats are in it, but for the encoder's own."""
    named = weights.named("small", "codebook")
    for key, same in [("analysis.first.weight", True), ("image.last.weight", False)]:
        tensors = dict(named.tensors)
        tensors[key] = tensors[key] + 1
        assert (weights._identity(tensors) == named.identity) is same


def test_one_kind_of_section_is_droppable(streams: Mapping[str, Path], tmp_path: Path) -> None:
    """Without probes the video is the same."""

    def strip(frame: CodedFrame) -> CodedFrame:
        kept = tuple(s for s in frame.sections if s.kind != SectionKind.PROBES)
        return replace(frame, sections=kept)

    path = repacked(streams["paper"], tmp_path / "a.mkv", strip)
    ours, _ = frames_of(path, tmp_path / "a.y4m")
    theirs, _ = frames_of(streams["paper"], tmp_path / "b.y4m")
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(ours, theirs, strict=True))
