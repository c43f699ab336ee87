"""Runs: every point once, nothing lost, nothing overwritten."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.clips import moving, write_y4m
from vireo import weights
from vireo.bench import runner
from vireo.bench.plan import read_plan
from vireo.bench.points import Point
from vireo.bench.record import Record, latest, read_records
from vireo.bench.results import Results
from vireo.codecs.ssf.config import CONFIGS
from vireo.codecs.ssf.model import Model
from vireo.errors import InputError, UsageError
from vireo.metrics.quality import MEASURES

RUN = """
clips = ["clip.y4m"]
[codecs.anchor]
anchor = "x264-coolchic-random-access"
crf = [22, 30]
[codecs.ours]
codec = "coolchic"
preset = "ultrafast"
gop-size = 2
quality = [30]
"""


class Log:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: list[str] = []
        self.errors: list[str] = []

    def plan(self, total: int, done: int) -> None: ...

    def begin(self, slot: int, point: Point) -> None: ...

    def stage(self, slot: int, what: str) -> None:
        self.stages.append(what.split()[0])

    def finish(self, slot: int, point: Point, record: Record | None, error: str) -> None:
        if error:
            self.errors.append(f"{point}: {error}")

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def prepare(folder: Path) -> Path:
    write_y4m(folder / "clip.y4m", moving(64, 48, 3))
    (folder / "run.toml").write_text(RUN)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepare(tmp_path)


def compute(folder: Path, log: Log | None = None) -> runner.Outcome:
    plan = read_plan(folder / "run.toml")
    with Results(folder / "run.jsonl") as results:
        return runner.run(plan, results, log or Log())


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepare(tmp_path_factory.mktemp("run"))
    assert compute(folder) == runner.Outcome(known=0, computed=3, failed=0)
    return folder


@pytest.fixture
def computed(whole_run: Path, tmp_path: Path) -> Path:
    """The test's own copy of a folder in which `RUN` has been computed."""
    return shutil.copytree(whole_run, tmp_path / "computed")


def no_luck(*arguments: object) -> None:
    raise runner.StageError("no luck")


def test_every_point_is_measured_once(computed: Path) -> None:
    before = (computed / "run.jsonl").read_bytes()
    records = read_records(computed / "run.jsonl")
    assert {(r.label, r.value) for r in records} == {("anchor", 22), ("anchor", 30), ("ours", 30)}
    for r in records:
        stream = computed / "run.streams" / r.stream
        assert r.size.file == stream.stat().st_size
        assert r.size.video == r.size.file - r.size.container - r.size.remarks
        assert r.clip.frames == 3
        assert r.bits_per_pixel == 8 * r.size.video / (3 * 64 * 48)
        assert r.kbit_per_second == pytest.approx(8 * r.size.video / 1000 / (3 / 25))
        assert 20 < (MEASURES["psnr"].of(r.frames) or 0) < 60
        assert r.encode.wall > 0
        assert r.decode.cpu > 0
        assert r.encode.peak_memory > 10e6
    assert compute(computed) == runner.Outcome(known=3, computed=0, failed=0)
    assert (computed / "run.jsonl").read_bytes() == before
    ours = next(r for r in records if r.label == "ours")
    assert ours.size.container > 0
    assert sum(ours.parts.values()) == pytest.approx(ours.size.video, abs=1)
    assert sum(ours.frames["bytes"]) == ours.size.video
    assert ours.decoder["parameters"] > 300
    anchor = next(r for r in records if r.value == 22)
    assert anchor.size.remarks > 500
    assert "x264 - core" in anchor.versions["encoder"]


def test_command_gives_the_same_file(computed: Path) -> None:
    ours = next(r for r in read_records(computed / "run.jsonl") if r.label == "ours")
    program, *arguments = ours.command.split()
    assert program == "vireo"
    command = [sys.executable, "-m", "vireo", *arguments]
    subprocess.run(command, cwd=computed, check=True, capture_output=True)
    stream = computed / "run.streams" / ours.stream
    assert (computed / ours.stream).read_bytes() == stream.read_bytes()


def test_other_weights_are_another_point(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a pretrained codec can be adapted for as long as the run says."""
    monkeypatch.setenv(weights.FOLDERS, str(folder))
    (folder / "run.toml").write_text(
        """
        clips = ["clip.y4m"]
        [codecs.adapted]
        codec = "ssf"
        model = "ssf1"
        adapt = "encoder"
        time-budget = 1
        quality = [30]
        """
    )

    def save(seed: int) -> None:
        torch.manual_seed(seed)
        model = Model(CONFIGS["ssf1"])
        weights.save(model, "ssf1", (1e-2, 1e-3, 1e-4, 1e-5), folder / "ssf1.safetensors", {})

    save(0)
    assert compute(folder) == runner.Outcome(known=0, computed=1, failed=0)
    (record,) = read_records(folder / "run.jsonl")
    assert "--time-budget 1" in record.command
    monkeypatch.setattr(runner._Crew, "_record", no_luck)
    assert compute(folder) == runner.Outcome(known=1, computed=0, failed=0)
    save(1)
    assert compute(folder) == runner.Outcome(known=0, computed=0, failed=1)


def test_extended_run_computes_what_is_new(computed: Path) -> None:
    more = RUN.replace("crf = [22, 30]", "crf = [22, 30, 35]")
    again = '[codecs.again]\nanchor = "x264-coolchic-random-access"\ncrf = [22]\n'
    (computed / "run.toml").write_text(more + again)
    log = Log()
    assert compute(computed, log) == runner.Outcome(known=4, computed=1, failed=0)
    assert log.stages.count("encodes") == 1
    records = read_records(computed / "run.jsonl")
    by_label = {(r.label, r.value): r for r in records}
    assert by_label["again", 22].frames == by_label["anchor", 22].frames


def test_one_stream_under_several_names_is_made_once(folder: Path) -> None:
    names = ("x265-insta-default", "x265-nvrc", "x265-veryslow")
    tables = "".join(f'[codecs.{name}]\nanchor = "{name}"\ncrf = [30]\n' for name in names)
    (folder / "copy.y4m").write_bytes((folder / "clip.y4m").read_bytes())
    (folder / "run.toml").write_text('clips = ["clip.y4m", "copy.y4m"]\n' + tables)
    log = Log()
    assert compute(folder, log) == runner.Outcome(known=0, computed=6, failed=0)
    assert log.stages.count("encodes") == 1
    records = read_records(folder / "run.jsonl")
    assert {(r.label, r.clip.name) for r in records} == {
        (name, clip) for name in names for clip in ("clip", "copy")
    }
    assert len({r.stream for r in records}) == 1
    assert compute(folder) == runner.Outcome(known=6, computed=0, failed=0)


def test_an_unexpected_error_fails_its_point_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = runner._Crew._measure

    def fail(crew: runner._Crew, stream: Path, point: Point, wanted: tuple[str, ...]) -> object:
        if point.value == 22:
            raise ValueError("odd")
        return measure(crew, stream, point, wanted)

    monkeypatch.setattr(runner._Crew, "_measure", fail)
    log = Log()
    assert compute(folder, log) == runner.Outcome(known=0, computed=2, failed=1)
    assert log.errors[0].endswith("ValueError: odd")


def test_added_measure_needs_no_encode(computed: Path) -> None:
    (computed / "run.toml").write_text('measures = ["rgb"]\n' + RUN)
    log = Log()
    assert compute(computed, log).computed == 3
    assert set(log.stages) == {"measures"}
    for record in latest(read_records(computed / "run.jsonl")):
        assert MEASURES["psnr-rgb-bt709"].of(record.frames) is not None


def test_failed_measure_keeps_the_encode(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(runner._Crew, "_measure", no_luck)
        log = Log()
        assert compute(folder, log).failed == 3
        assert len(log.errors) == 3
    log = Log()
    assert compute(folder, log).computed == 3
    assert "encodes" not in log.stages


def test_changed_clip_is_another_point(computed: Path) -> None:
    write_y4m(computed / "clip.y4m", moving(64, 48, 2))
    assert compute(computed).computed == 3


@pytest.mark.parametrize(
    ("target", "value", "unit"), [("target-psnr", 33, "dB"), ("target-bitrate", 60000, "bit/s")]
)
def test_anchor_meets_a_target(folder: Path, target: str, value: float, unit: str) -> None:
    text = f'clips = ["clip.y4m"]\n[codecs.a]\nanchor = "x264-insta-default"\n{target} = {value}'
    write_y4m(folder / "clip.y4m", moving(96, 80, 8))
    (folder / "run.toml").write_text(text)
    log = Log()
    assert compute(folder, log).computed == 1
    (record,) = read_records(folder / "run.jsonl")
    assert record.trials > 1
    assert not log.said
    if unit == "dB":
        assert MEASURES["psnr"].of(record.frames) == pytest.approx(value, abs=0.1)
    else:
        assert 1000 * record.kbit_per_second == pytest.approx(value, rel=0.05)
    assert "-crf" in record.command


def test_vireo_meets_a_target(folder: Path) -> None:
    write_y4m(folder / "clip.y4m", moving(96, 80, 4))
    (folder / "run.toml").write_text(
        'clips = ["clip.y4m"]\n[codecs.a]\ncodec = "coolchic"\npreset = "ultrafast"\n'
        "gop-size = 2\ntarget-psnr = 35"
    )
    assert compute(folder).computed == 1
    (record,) = read_records(folder / "run.jsonl")
    assert MEASURES["psnr"].of(record.frames) == pytest.approx(35, abs=0.1)
    assert record.trials >= 1


def test_one_bad_point_leaves_the_others(folder: Path) -> None:
    damaged = write_y4m(folder / "damaged.y4m", moving(64, 48, 4)[1:])
    data = damaged.read_bytes()
    (folder / "run.toml").write_text(RUN.replace('"clip.y4m"', '"clip.y4m", "damaged.y4m"'))
    plan = read_plan(folder / "run.toml")
    log = Log()
    clip_open = runner.Clip.open

    def then_cut(path: Path, frames: int | None, work: Path) -> runner.Clip:
        clip = clip_open(path, frames, work)
        if path == damaged:
            damaged.write_bytes(data[:3000])
        return clip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.Clip, "open", staticmethod(then_cut))
        with Results(folder / "run.jsonl") as results:
            outcome = runner.run(plan, results, log)
    assert outcome == runner.Outcome(known=0, computed=3, failed=3)
    assert all("damaged" in error for error in log.errors)


def test_a_truncated_clip_is_no_short_clip(clips: Path, folder: Path) -> None:
    data = (clips / "carphone_176x144_97f.mkv").read_bytes()
    (folder / "cut.mkv").write_bytes(data[:200_000])
    (folder / "run.toml").write_text(RUN.replace("clip.y4m", "cut.mkv"))
    log = Log()
    assert compute(folder, log).failed == 3
    assert all("cut.mkv" in error and "truncated" in error for error in log.errors), log.errors


def test_killed_run_goes_on(folder: Path) -> None:
    write_y4m(folder / "clip.y4m", moving(64, 48, 9))
    (folder / "run.toml").write_text(RUN.replace("gop-size = 2", "gop-size = 8"))
    command = [sys.executable, "-m", "vireo", "bench", "run", "run.toml", "--jobs", "1"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, start_new_session=True)
    journal = None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        journal = next(iter(folder.glob("run.streams/*.vireo-journal")), None)
        if journal and journal.stat().st_size > 1000:
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if process.stderr:
        process.stderr.close()
    assert journal, "the run ended before it could be killed"
    (folder / "run.jsonl").open("ab").write(b'{"schema":1,"key":"torn')
    time.sleep(1)  # the encode ends with its parent
    outcome = compute(folder)
    assert (outcome.known, outcome.computed) == (2, 1)
    ours = next(r for r in read_records(folder / "run.jsonl") if r.label == "ours")
    assert not ours.encode.complete


def test_corrupt_results_are_left_alone(computed: Path) -> None:
    path = computed / "run.jsonl"
    good = path.read_bytes()
    for damage in (b"{}\n", b"nonsense\n", good[:40] + b"\n", b'{"schema":9}\n', b"[]\n"):
        path.write_bytes(damage + good)
        with pytest.raises(InputError, match=r"run\.jsonl, line 1: this is no result"):
            compute(computed)
        assert path.read_bytes() == damage + good


def test_two_runs_cant_share_results(folder: Path) -> None:
    with Results(folder / "run.jsonl"), pytest.raises(UsageError, match="another run"):
        Results(folder / "run.jsonl")


def test_record_survives_its_line(computed: Path) -> None:
    for record in read_records(computed / "run.jsonl"):
        assert Record.from_json(json.loads(record.to_line())) == record


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "absent.toml"], "absent.toml: No such file or directory"),
        (["run", "clip.y4m"], "clip.y4m is no TOML file"),
        (["anchors", "x266"], "there is no anchor 'x266'"),
    ],
)
def test_command_line_says_what_is_wrong(folder: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "vireo", "bench", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(p.name for p in folder.iterdir()) == ["clip.y4m", "run.toml"]


def test_command_line_lists_anchors(folder: Path) -> None:
    command = [sys.executable, "-m", "vireo", "bench", "anchors", "svtav1-4", "--value", "35"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "libsvtav1" in done.stdout
    assert "-preset 4 -crf 35" in done.stdout
