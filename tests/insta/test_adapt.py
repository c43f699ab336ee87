"""Adaptation to a video: the stream holds what a decoder needs of it, and more time isn't worse."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import vireo
from tests.clips import moving, write_y4m
from vireo import weights
from vireo.codecs.base import Limits, Planes, picture_decoder
from vireo.codecs.encoding import FrameReport
from vireo.codecs.insta import adapt as adapt_module
from vireo.codecs.insta.adapt import Adaptation, Kept
from vireo.codecs.insta.updates import update_grids, write
from vireo.codecs.rate_points import Places
from vireo.codecs.ssf.adaptation import tried_places, try_out
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.config import CONFIGS
from vireo.codecs.ssf.model import Model
from vireo.codecs.ssf.stream import SectionKind, SentUpdates
from vireo.codecs.ssf.training import ClipLoss, loss_of
from vireo.container import GopStart, MatroskaReader, read_packet
from vireo.errors import MissingReferenceError, SyntaxElementError, UsageError
from vireo.options import EncodeOptions

LAMBDAS = (8e-3, 2e-3, 5e-4, 1.25e-4)
LAMBDA = 1e-3
FRAMES = 5


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that know other frames a little, so that a few steps show."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(5)
    loss = ClipLoss("ssf1")
    optimiser = torch.optim.Adam(loss.parameters(), 2e-3)
    frames = moving(64, 48, 12)[6:8]
    luma = torch.from_numpy(np.stack([f.y for f in frames])[None, :, None])
    chroma = torch.from_numpy(np.stack([np.stack([f.u, f.v]) for f in frames])[None])
    for _ in range(60):
        optimiser.zero_grad()
        loss_of(loss(luma, chroma, torch.ones(1)), torch.tensor([LAMBDA])).backward()
        torch.nn.utils.clip_grad_norm_(loss.parameters(), 1.0)
        optimiser.step()
    weights.save(loss.model, "ssf1", LAMBDAS, folder / "ssf1.safetensors", {})
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.FOLDERS, str(folder))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_y4m(tmp_path / "source.y4m", moving(64, 48, FRAMES))


def adapt(source: Path, target: Path, how: str, seconds: float) -> vireo.EncodeReport:
    return vireo.encode(
        source,
        target,
        codec="ssf",
        adapt=how,
        time_budget=seconds,
        lambda_=LAMBDA,
        preset="ultrafast",
        gop_size=1,
        overwrite=True,
    )


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> dict[str, Path]:
    """The same video without adaptation, with half of it, and with all."""
    place = tmp_path_factory.mktemp("streams")
    video = write_y4m(place / "source.y4m", moving(64, 48, FRAMES))
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.FOLDERS, str(folder))
        for how, seconds in (("none", None), ("encoder", 6.0), ("full", 12.0)):
            made[how] = place / f"{how}.mkv"
            options = {"adapt": how, "time_budget": seconds} if seconds else {}
            vireo.encode(video, made[how], codec="ssf", lambda_=LAMBDA, gop_size=1, **options)
    return made


def packets(path: Path) -> tuple[list[bytes], GopStart]:
    with MatroskaReader(path) as file:
        return [p.data for p in file], GopStart(file.header, 0, 2)


@pytest.mark.parametrize("how", ["none", "encoder", "full"])
def test_adapted_streams_decode(streams: dict[str, Path], how: str) -> None:
    assert vireo.verify(streams[how]).frames == FRAMES


def test_only_full_adaptation_sends_updates(streams: dict[str, Path]) -> None:
    for how, path in streams.items():
        data, _ = packets(path)
        kinds = [s.kind for s in read_packet(data[0], None).sections]
        assert (SectionKind.UPDATES in kinds) == (how == "full")
        later = read_packet(data[2], None)  # the next GOP's first
        sent = SentUpdates.of(later)
        assert (sent is not None) == (how == "full")
        assert sent is None or sent.data is None, "they are sent once"
    parts = vireo.probe(streams["full"]).parts
    assert any(name.startswith("updates ") for name in parts)


def test_adaptation_lowers_the_cost(streams: dict[str, Path]) -> None:
    found = {}
    for how, path in streams.items():
        with vireo.open(path) as video:
            frames = list(video)
        error = np.mean(
            [
                (
                    4 * np.mean((f.y.astype(float) - o.y) ** 2)
                    + np.mean((f.u.astype(float) - o.u) ** 2)
                    + np.mean((f.v.astype(float) - o.v) ** 2)
                )
                / 6
                for f, o in zip(frames, moving(64, 48, FRAMES), strict=True)
            ]
        )
        size = sum(len(d) for d in packets(path)[0])
        found[how] = error / 255**2 + LAMBDA * 8 * size / (FRAMES * 64 * 48)
    assert found["encoder"] < 0.95 * found["none"]
    assert found["full"] < 0.95 * found["none"]


def test_a_gop_can_be_decoded_by_itself(streams: dict[str, Path]) -> None:
    """Seeking finds the updates where they are."""
    with vireo.open(streams["full"]) as video:
        last = video[4]
    with vireo.open(streams["full"]) as video:
        frames = list(video)
    assert np.array_equal(last.y, frames[4].y)


def test_updates_that_are_missing_or_others_are_an_error(streams: dict[str, Path]) -> None:
    data, start = packets(streams["full"])
    decoder = picture_decoder(start.header, Limits())
    with pytest.raises(MissingReferenceError, match="updates"):
        decoder.gop_decoder(read_packet(data[2], None))
    first = read_packet(data[0], None)
    section = replace(first.sections[0], data=first.sections[0].data + b"x")
    with pytest.raises(SyntaxElementError, match="don't match"):
        decoder.gop_decoder(replace(first, sections=(section, *first.sections[1:])))
    assert decoder.gop_decoder(first) is decoder.gop_decoder(read_packet(data[2], None))


def test_updates_are_found_behind_gops_that_need_none(streams: dict[str, Path]) -> None:
    """And no decoder holds on to those of weights that were sent before."""
    data, start = packets(streams["full"])
    first, later = read_packet(data[0], None), read_packet(data[2], None)
    decoder = picture_decoder(start.header, Limits())
    assert decoder.provides(first)
    assert not decoder.provides(later)
    plain = replace(later, sections=later.sections[1:])
    assert not decoder.needs_earlier(plain)
    adapted = decoder.gop_decoder(first)
    assert decoder.gop_decoder(plain) is decoder
    assert decoder.gop_decoder(later) is adapted
    updates = SentUpdates.of(first)
    assert updates is not None
    assert updates.data is not None
    gone = weakref.ref(adapted)
    del adapted
    for n in range(2):
        section = SentUpdates.section(updates.data + bytes([n]), again=False)
        decoder.gop_decoder(replace(first, sections=(section, *first.sections[1:])))
    gc.collect()
    assert gone() is None
    with pytest.raises(MissingReferenceError):
        decoder.gop_decoder(later)


def test_no_time_costs_no_more_than_no_adaptation(source: Path, tmp_path: Path) -> None:
    plain = vireo.encode(source, tmp_path / "plain.mkv", codec="ssf", lambda_=LAMBDA, gop_size=1)
    for how in ("encoder", "full"):
        report = adapt(source, tmp_path / f"{how}.mkv", how, 0.01)
        assert report.video_size == plain.video_size
        assert report.psnr == plain.psnr


def test_empty_updates_are_under_a_thousandth_of_a_stream() -> None:
    model = Model(CONFIGS["ssf1"])
    none = {name: torch.zeros(model.get_parameter(name).shape) for name in update_grids(model)}
    assert len(write(none, update_grids(model))) < 5


def test_more_time_is_never_worse(folder: Path) -> None:
    """By the encoder's own measure: the best state so far is kept."""
    found = weights.load(folder / "ssf1.safetensors")
    video = [tuple(p for p in f.planes) for f in moving(64, 48, FRAMES)]
    costs = []

    def evaluate(own: dict[str, torch.Tensor], updates: bytes) -> tuple[float, dict[int, Planes]]:
        trial = try_out(Coder(found, Places(16, 16), updates, own), video, 3)
        costs.append(trial.cost(LAMBDA))
        return costs[-1], dict(enumerate(trial.decoded))

    loss = ClipLoss("ssf1")
    found.load_into(loss.model)
    adapted = Adaptation(loss, 1.0, LAMBDA, video, evaluate, decoder=True, gop=3).run(
        6, lambda share, cost: None
    )
    assert len(costs) > 1
    assert adapted.cost == min(costs)
    again = try_out(Coder(found, Places(16, 16), adapted.updates, adapted.state), video, 3).cost(
        LAMBDA
    )
    assert again == pytest.approx(adapted.cost, rel=1e-9)


def adaptation(folder: Path) -> Adaptation:
    found = weights.load(folder / "ssf1.safetensors")
    video = [tuple(p for p in f.planes) for f in moving(64, 48, FRAMES)]
    loss = ClipLoss("ssf1")
    found.load_into(loss.model)

    def evaluate(own: dict[str, torch.Tensor], updates: bytes) -> tuple[float, dict[int, Planes]]:
        trial = try_out(Coder(found, Places(16, 16), updates, own), video, 3)
        return trial.cost(LAMBDA), dict(enumerate(trial.decoded))

    return Adaptation(loss, 1.0, LAMBDA, video, evaluate, decoder=True, gop=3)


class Killed(Exception):
    pass


def test_an_interrupted_adaptation_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the weights, the updates and the optimiser as they were, and the best state so far."""
    monkeypatch.setattr(adapt_module, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(adapt_module, "FIRST_TRIAL", 4)
    kept = Kept(tmp_path / "kept.pt", "this video")
    first = adaptation(folder)

    def kill(share: float, cost: float) -> None:
        raise Killed

    with pytest.raises(Killed):
        first.run(60, kill, kept)
    state = kept.load()
    assert state is not None
    assert state["progress"]["step"] == 3
    assert any(momentum.any() for momentum in state["orthogonal"]["momenta"])
    straight = adaptation(folder)
    steps: list[int] = []
    made = Adaptation._step

    def step(self: Adaptation, number: int) -> None:
        made(self, number)
        steps.append(number)
        if number == 8:
            raise Killed

    monkeypatch.setattr(Adaptation, "_step", step)
    with pytest.raises(Killed):
        straight.run(60, lambda share, cost: None)
    assert steps == list(range(9))
    resumed = adaptation(folder)
    with pytest.raises(Killed):
        resumed.run(60, lambda share, cost: None, kept)
    assert steps[9:] == list(range(3, 9))
    for name, update in straight._updates.items():
        assert torch.equal(update, resumed._updates[name]), name
    for name, own in straight._own.items():
        assert torch.equal(own, resumed._own[name]), name
    for name, average in straight._average.items():
        assert torch.equal(average, resumed._average[name]), name


def test_trials_take_gops_from_all_of_a_video() -> None:
    assert tried_places(5, 12) == list(range(5))
    assert tried_places(40, 12) == list(range(40))
    long = tried_places(1201, 12)
    assert len(long) == 3 * 12 + 1
    assert long[:13] == [*range(12), 396]
    assert long[-1] == 1200
    assert tried_places(300, 100) == list(range(100))


def test_steps_follow_frames_that_were_decoded(folder: Path) -> None:
    """Where trials decode few of many frames; one clip of many starts a GOP."""
    video = [tuple(p for p in f.planes) for f in moving(64, 48, 40)]
    found = weights.load(folder / "ssf1.safetensors")
    loss = ClipLoss("ssf1")
    found.load_into(loss.model)
    decoded = {n: video[n] for n in range(10, 20)}
    one = Adaptation(
        loss, 1.0, LAMBDA, video, lambda own, updates: (1.0, decoded), decoder=True, gop=10
    )
    one._trial(0)
    rng = np.random.default_rng(0)
    batches = [one._batch(rng) for _ in range(200)]
    starts = [batch for batch in batches if batch.before is None]
    assert 8 <= len(starts) <= 40
    known = {planes[0].tobytes(): n for n, planes in decoded.items()}
    for batch in batches:
        if batch.before is not None:
            place = known[batch.before[0].numpy().tobytes()]
            assert np.array_equal(batch.luma[0, 0, 0].numpy(), video[place + 1][0])
            assert batch.luma.shape[1] == min(3, 20 - (place + 1)), "within its GOP"


def test_what_is_kept_of_another_video_is_not_used(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "kept.pt"
    adaptation(folder).run(0.01, lambda share, cost: None, Kept(path, "this video"))
    assert Kept(path, "this video").load() is not None
    assert Kept(path, "another").load() is None
    path.write_bytes(path.read_bytes()[:-100])
    assert Kept(path, "this video").load() is None
    assert Kept(tmp_path / "none.pt", "this video").load() is None


def test_an_interrupted_encode_does_not_adapt_again(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"

    def kill(event: object) -> None:
        if isinstance(event, FrameReport) and event.index == 1:
            raise Killed

    said: list[str] = []
    options = {"codec": "ssf", "adapt": "full", "time_budget": 4.0, "lambda_": LAMBDA}
    with pytest.raises(Killed):
        vireo.encode(source, target, listener=kill, notify=said.append, **options)
    assert any("adapting" in sentence for sentence in said)
    assert (tmp_path / "out.mkv.vireo-adaptation").is_dir()
    said.clear()
    report = vireo.encode(source, target, notify=said.append, **options)
    assert report.resumed >= 1
    assert not any("adapting" in sentence for sentence in said)
    assert vireo.verify(target).frames == FRAMES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mkv", "source.y4m"]


def test_groups_of_gops_have_their_own_updates(source: Path, tmp_path: Path) -> None:
    """Two GOPs each; any GOP can be decoded by itself."""
    target = tmp_path / "out.mkv"
    vireo.encode(
        source,
        target,
        codec="ssf",
        adapt="full",
        update_every=2,
        time_budget=12.0,
        lambda_=1e-5,  # so that two small frames are worth updates
        gop="intra",
    )
    data, _ = packets(target)
    sent = [SentUpdates.of(read_packet(d, None)) for d in data]
    assert [s is not None and s.data is not None for s in sent[::2]] == [True, True, True]
    assert [s is not None and s.data is None for s in sent[1::2]] == [True, True]
    checksums = [s.checksum for s in sent if s]
    assert checksums[0] == checksums[1] != checksums[2] == checksums[3] != checksums[4]
    assert vireo.verify(target).frames == FRAMES
    with vireo.open(target) as video:
        frames = [f.y for f in video]
        for index in (4, 1, 3, 0, 2):
            assert np.array_equal(video[index].y, frames[index])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "ssf", "adapt": "decoder"}, "adaptation 'decoder'"),
        ({"codec": "ssf", "time_budget": 5.0}, "adapt"),
        ({"codec": "coolchic", "adapt": "full"}, "trains its networks"),
        ({"codec": "ssf", "update_every": 2}, "no updates"),
        ({"codec": "ssf", "adapt": "full", "update_every": 0}, "1 to 65536"),
    ],
)
def test_what_cannot_be_adapted_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EncodeOptions(**options)  # type: ignore[arg-type]
