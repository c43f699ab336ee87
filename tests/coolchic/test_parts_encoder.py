"""Profile `standard` from a video to a file and back, and what decides on the way."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

import vireo
from tests.clips import middle
from vireo import _core
from vireo.codecs.base import Planes
from vireo.codecs.coolchic import parts_encoder
from vireo.codecs.coolchic.coding import Base
from vireo.codecs.coolchic.config import FILTER_WEIGHTS, STANDARD, Architecture
from vireo.codecs.coolchic.encoder import Settings
from vireo.codecs.coolchic.inheritance import Motion, MovedPicture
from vireo.codecs.coolchic.motion import predict
from vireo.codecs.coolchic.networks import shipped_sets
from vireo.codecs.coolchic.open import native_trainers
from vireo.codecs.coolchic.parts_encoder import LAMBDA_MOST, PartsEncoder
from vireo.codecs.coolchic.presets import PRESETS
from vireo.codecs.coolchic.quantise import FrameCost
from vireo.codecs.coolchic.stream import LATENT_SECTION, StreamShape
from vireo.codecs.coolchic.structure import prediction_interval, unexplained
from vireo.codecs.coolchic.trainer import Prediction, Trainer, trained_grids
from vireo.codecs.coolchic.updates import (
    UpdateCost,
    choose_update,
    groups,
    magnitude_bits,
    to_floats,
    to_integers,
)
from vireo.codecs.encoding import EncodedPicture, PictureJob
from vireo.container.syntax import ByteReader
from vireo.gop import FrameType, GopStructure
from vireo.metrics import plane_mse, weighted_mse
from vireo.metrics.psnr import PEAK
from vireo.video import Frame

assert STANDARD.parts is not None
PARTS = STANDARD.parts
LAMBDA = 1e-3
CLIP = "carphone_176x144_97f.mkv"


@pytest.mark.parametrize("gop", ["random-access", "low-delay"])
def test_a_clip_there_and_back(gop: str, clips: Path, tmp_path: Path) -> None:
    source = middle(clips / CLIP, tmp_path / "in.y4m", 96, 80, 6)
    sizes = []
    for threads in (1, 2):
        target = tmp_path / f"{threads}.mkv"
        report = vireo.encode(
            source,
            target,
            profile="standard",
            gop=gop,
            gop_size=4,
            preset="ultrafast",
            threads=threads,
        )
        assert vireo.verify(target).frames == 6
        assert report.psnr > 31.5  # 33.3 and 33.0 measured
        sizes.append(target.read_bytes())
    assert sizes[0] == sizes[1]


def test_standard_is_smaller_than_paper_at_equal_training(clips: Path, tmp_path: Path) -> None:
    source = middle(clips / CLIP, tmp_path / "in.y4m", 96, 80, 9)
    found = {}
    for profile in ("paper", "standard"):
        found[profile] = vireo.encode(
            source,
            tmp_path / f"{profile}.mkv",
            profile=profile,
            gop_size=8,
            preset="ultrafast",
        )
    paper, standard = found["paper"], found["standard"]
    # Bits at equal quality, a dB being worth about a fifth.
    ratio = standard.video_size / paper.video_size * 0.8 ** (standard.psnr - paper.psnr)
    assert ratio < 0.4  # 0.25 measured


def texture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2)).astype(np.float32)
    smooth = coarse.repeat(8, 0).repeat(8, 1)
    for axis in (0, 1):
        smooth = sum(np.roll(smooth, i, axis) for i in range(-4, 5)) / 9
    return smooth[:height, :width].round().astype(np.uint8)


def grey(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chroma = np.full([n // 2 for n in luma.shape], 128, np.uint8)
    return luma, chroma, chroma


def test_how_far_frames_predict_each_other() -> None:
    still = [grey(texture(0))] * 33
    assert prediction_interval(still, PARTS, LAMBDA) == 16
    assert prediction_interval(still[:17], PARTS, LAMBDA) is None
    assert prediction_interval(still[:30], PARTS, LAMBDA) == 15
    assert unexplained(still[1], still[0], PARTS, LAMBDA) < 0.05
    rng = np.random.default_rng(9)
    unrelated = [grey(rng.integers(0, 256, (96, 128), dtype=np.uint8)) for _ in range(33)]
    assert prediction_interval(unrelated, PARTS, LAMBDA) == 8
    assert unexplained(unrelated[1], unrelated[0], PARTS, LAMBDA) > 0.9
    assert prediction_interval(still[:1], PARTS, LAMBDA) is None
    small = [grey(f[0][:2, :6].copy()) for f in unrelated]
    assert prediction_interval(small, PARTS, LAMBDA) in (8, 16)


def test_what_others_depend_on_is_worth_more() -> None:
    encoder = PartsEncoder(
        StreamShape(STANDARD), Settings(LAMBDA, PRESETS["ultrafast"]), native_trainers()
    )

    def gop(luma: list[np.ndarray]) -> list[Frame]:
        grey = np.full((48, 64), 128, np.uint8)
        return [Frame(y, grey, grey, pts=i) for i, y in enumerate(luma)]

    still = encoder.plan(GopStructure.RANDOM_ACCESS, gop([texture(0)] * 9))
    by_display = {f.display_index: f for f in still}
    assert fmean(f.effort for f in still) == pytest.approx(1)
    for worth in ("importance", "effort"):
        first, middle, last = (getattr(by_display[i], worth) for i in (0, 2, 1))
        assert first > 1.5 * middle > 1.5 * 1.4 * last
    for index, frame in by_display.items():
        if index % 2:  # no other refers to it
            assert frame.importance == 1
            assert frame.block_weights is None
            assert frame.target is None
        else:
            assert frame.block_weights is not None
            assert frame.block_weights.shape == (12, 16)
            assert frame.block_weights.mean() == pytest.approx(1, abs=1e-4)
            assert frame.target is not None
            assert [p.shape for p in frame.target(1)] == [(96, 128), (48, 64), (48, 64)]
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (96, 128), dtype=np.uint8) for _ in range(9)]
    unrelated = encoder.plan(GopStructure.RANDOM_ACCESS, gop(noise))
    assert max(f.importance for f in unrelated) < 2


@pytest.mark.parametrize(("lambda_", "power"), [(1e-4, 1.0), (5.83e-4, 0.8), (1e-2, 0.6)])
def test_at_high_rates_errors_count_for_all_that_they_are_worth(
    lambda_: float, power: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = np.array([[1, 4], [9, 16]], np.float32)
    monkeypatch.setattr(parts_encoder, "worth", lambda *_: {0: blocks})
    settings = Settings(lambda_, PRESETS["ultrafast"])
    encoder = PartsEncoder(StreamShape(STANDARD), settings, native_trainers())
    frame = Frame(*grey(texture(0, 16, 16)), pts=0)
    first, second = encoder.plan(GopStructure.LOW_DELAY, [frame, replace(frame, pts=1)])
    assert first.importance == pytest.approx((blocks**power).mean(), rel=1e-3)
    assert first.block_weights is not None
    np.testing.assert_allclose(first.block_weights * first.importance, blocks**power, rtol=2e-3)
    assert second.importance == 1


def test_refined_latents_cost_less() -> None:
    planes = [texture(3), texture(4)[::2, ::2].copy(), texture(5)[::2, ::2].copy()]
    job = PictureJob(0, 0, FrameType.I, 1.0, planes, ())
    costs = []
    for rounds in (0, 1):
        settings = Settings(LAMBDA, replace(PRESETS["ultrafast"], main=45, refinements=rounds))
        encoder = PartsEncoder(StreamShape(STANDARD), settings, native_trainers())
        picture = encoder.encode(job, lambda done, planned: None)
        errors = [plane_mse(a, b) for a, b in zip(picture.decoded, planes, strict=True)]
        bits = 8 * sum(len(s.data) for s in picture.sections)
        rate = LAMBDA * LAMBDA_MOST * bits / planes[0].size
        costs.append(weighted_mse(errors) / PEAK**2 + rate)
    assert costs[1] < costs[0] * 0.98


def test_what_is_worth_more_is_coded_better() -> None:
    planes = [texture(3), texture(4)[::2, ::2].copy(), texture(5)[::2, ::2].copy()]
    weights = np.full((12, 16), 1.8, np.float32)
    weights[:, 8:] = 0.2
    errors = []
    for own in (None, weights):
        job = PictureJob(0, 0, FrameType.I, 1.0, planes, (), block_weights=own)
        settings = Settings(LAMBDA, PRESETS["ultrafast"])
        encoder = PartsEncoder(StreamShape(STANDARD), settings, native_trainers())
        luma = encoder.encode(job, lambda done, planned: None).decoded[0]
        errors.append(
            [plane_mse(a, b) for a, b in zip(halves(luma), halves(planes[0]), strict=True)]
        )
    assert errors[1][0] < 0.9 * errors[0][0]
    assert errors[1][1] > 1.3 * errors[0][1]


def halves(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = plane.shape[1] // 2
    return plane[:, :middle], plane[:, middle:]


def test_networks_are_chosen_by_weighted_errors() -> None:
    core = StreamShape(STANDARD).core()
    planes = [texture(3), texture(4)[::2, ::2].copy(), texture(5)[::2, ::2].copy()]
    grids = [
        np.zeros((g.height, g.width), np.int16)
        for g in STANDARD.latent_grids(FrameType.I, *planes[0].shape)
    ]
    weights = np.random.default_rng(1).uniform(0, 2, planes[1].shape).astype(np.float32)
    cost = FrameCost(core, FrameType.I, grids, planes, [], LAMBDA, weights=weights)
    parameters = shipped_sets(STANDARD).parameters[0].astype(np.int32)
    networks = _core.Networks(core, int(FrameType.I), 1, parameters)
    decoded = _core.reconstruct(core, networks, grids, [])
    squares = [(a.astype(float) - b) ** 2 for a, b in zip(decoded, planes, strict=True)]
    full = np.kron(weights, np.ones((2, 2)))
    y, u, v = ((e * w).mean() for e, w in zip(squares, (full, weights, weights), strict=True))
    expected = (4 * y + u + v) / 6 / PEAK**2
    assert cost.picture_cost(networks) == pytest.approx(expected, rel=1e-5)
    update = UpdateCost(Base(0, parameters), cost)
    assert update.picture_cost(networks) == cost.picture_cost(networks)


def test_motion_is_coded_as_it_predicted_in_training() -> None:
    moved, other = texture(6), texture(7)
    moved[:48] = np.roll(moved[:48], 3, axis=1)
    moved[64:, 80:] = other[64:, 80:]  # what no motion explains
    reference = [texture(6), *(texture(i)[::2, ::2].copy() for i in (8, 9))]
    seen = MovedPicture(tuple(reference), Motion(0, ()))
    job = PictureJob(1, 1, FrameType.P, 1.0, [moved, *reference[1:]], [seen])
    predictions = []

    def make(
        architecture: Architecture,
        job: PictureJob,
        references: Sequence[Planes] = (),
        prediction: Prediction | None = None,
        temporal: Sequence[np.ndarray] | None = None,
    ) -> Trainer:
        predictions.append(prediction)
        return native_trainers()(architecture, job, references, prediction, temporal)

    encoder = PartsEncoder(StreamShape(STANDARD), Settings(LAMBDA, PRESETS["ultrafast"]), make)
    picture = encoder.encode(job, lambda done, planned: None)
    grids = decoded_grids(picture, [reference])
    trained = len(trained_grids(STANDARD, FrameType.P, *moved.shape))
    assert any(g.any() for g in grids[:trained])
    assert any(g.any() for g in grids[trained:])
    (prediction,) = predictions
    for ours, theirs in zip(predict(grids[trained:], [reference], PARTS), prediction, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def decoded_grids(picture: EncodedPicture, references: list[Planes]) -> list[np.ndarray]:
    """All latents of a P frame that starts from a shipped set."""
    core, sets = StreamShape(STANDARD).core(), shipped_sets(STANDARD).parameters
    sections = picture.sections
    unused = _core.Networks(core, int(FrameType.I), 1, sets[0].astype(np.int32))
    reader = ByteReader(sections[0].data)
    LATENT_SECTION.read(reader, {"last": len(sections) == 1})
    coded = reader.take(reader.remaining, "latents")
    networks = _core.Networks.decode_update(core, int(FrameType.P), coded, sets, [unused])
    latents = _core.LatentReader(core, networks, *references[0][0].shape)
    done = 0
    for section in sections:
        reader = ByteReader(section.data)
        start = LATENT_SECTION.read(reader, {"last": section is sections[-1]})
        count = start.get("tiles", latents.tiles - done)
        data = reader.take(reader.remaining, "latents")
        tiles = _core.SectionReader(latents, data, done, count, done == 0)
        tiles.read()
        tiles.read(references)
        done += count
    return latents.grids()


def test_parameters_survive_the_streams_formats() -> None:
    for integers in shipped_sets(STANDARD).parameters.astype(np.int32):
        networks = integers[: -sum(FILTER_WEIGHTS)]
        np.testing.assert_array_equal(
            to_integers(to_floats(integers, STANDARD), STANDARD), networks
        )


def test_groups_hold_every_parameter_once() -> None:
    for frame_type in FrameType:
        found = np.concatenate([g.members for g in groups(STANDARD, frame_type)])
        assert len(np.unique(found)) == len(found)
        assert len(found) == sum(STANDARD.parameters(frame_type).values())


def test_updates_that_gain_nothing_are_not_sent() -> None:
    base = shipped_sets(STANDARD).parameters[0].astype(np.int32)
    rng = np.random.default_rng(0)
    height, width = 48, 64
    grids = [
        np.zeros((g.height, g.width), np.int16)
        for g in STANDARD.latent_grids(FrameType.I, height, width)
    ]
    core = StreamShape(STANDARD).core()
    still = _core.Networks(core, 0, magnitude_bits(grids, STANDARD), base)
    target = _core.reconstruct(core, still, grids, [])
    cost = UpdateCost(Base(0, base), FrameCost(core, FrameType.I, grids, target, [], LAMBDA))
    shaken = to_floats(base, STANDARD)
    shaken += rng.normal(size=len(shaken)).astype(np.float32) * 0.02
    chosen = choose_update(shaken, STANDARD, cost)
    assert cost.total(chosen) <= cost.total(still)
    assert chosen.update_bits(0, base) < still.update_bits(0, base) + 16


def test_magnitudes_are_the_pictures_and_not_its_motions() -> None:
    grids = [
        np.zeros((g.height, g.width), np.int16) for g in STANDARD.latent_grids(FrameType.B, 48, 64)
    ]
    grids[-1][0, 0] = 900
    assert magnitude_bits(grids, STANDARD) == 0
    last = len(trained_grids(STANDARD, FrameType.B, 48, 64)) - 1
    for largest, bits in ((1, 1), (-8, 4), (255, 8)):
        grids[last][0, 0] = largest
        assert magnitude_bits(grids, STANDARD) == bits
