"""The command line as people and programs meet it: in a process of its own where it matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.clips import Sample, repeated, write_packets
from tests.video.media import write_movie
from vireo.cli import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def spawn(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vireo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def assert_refused(result: Result, *words: str, status: int = 2) -> None:
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("vireo: ")
    for word in words:
        assert word in result.stderr


@pytest.fixture
def folder(sample: Sample, tmp_path: Path, monkeypatch) -> Path:
    """A working directory with a clip, its encode, and things that are neither."""
    monkeypatch.chdir(tmp_path)
    for name, content in (
        ("in.y4m", sample.source.read_bytes()),
        ("raw.yuv", sample.source.read_bytes()),
        ("in.mkv", sample.path.read_bytes()),
        ("empty.mp4", b""),
        ("junk.mkv", bytes(range(256)) * 20),
        ("text.txt", b"not a video\n"),
    ):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "directory").mkdir()
    (tmp_path / "link.mkv").symlink_to("in.mkv")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("encode in.y4m", "OUTPUT"),
        ("encode in.y4m in.y4m", "the output is the input"),
        ("encode in.mkv link.mkv --overwrite", "the output is the input"),
        ("encode in.y4m in.mkv", "exists"),
        ("encode none.y4m out.mkv", "does not exist"),
        ("encode directory out.mkv", "directory"),
        ("encode in.y4m directory", "directory"),
        ("encode in.y4m nowhere/out.mkv", "nowhere"),
        ("encode empty.mp4 out.mkv", "empty.mp4"),
        ("encode junk.mkv out.mkv", "junk.mkv"),
        ("encode text.txt out.mkv", "text.txt"),
        ("encode in.mkv out.mkv", "in.mkv"),
        ("encode raw.yuv out.mkv", "size"),
        ("encode raw.yuv out.mkv --size 0x0", "0x0"),
        ("encode raw.yuv out.mkv --size 48", "WIDTHxHEIGHT"),
        ("encode raw.yuv out.mkv --size 99999x99999", "no whole frame"),
        ("encode raw.yuv out.mkv --size 48x40 --fps 0", "frame rate"),
        ("encode raw.yuv out.mkv --size 48x40 --fps x", "frame rate"),
        ("encode raw.yuv out.mkv --size 48x40 --pix-fmt x", "pixel format"),
        ("encode in.y4m out.mkv --codec h264", "coolchic"),
        ("encode in.y4m out.mkv --profile x", "paper"),
        ("encode in.y4m out.mkv --gop x", "low-delay"),
        ("encode in.y4m out.mkv --gop-size 0", "GOP size"),
        ("encode in.y4m out.mkv --gop-size 6", "power of two"),
        ("encode in.y4m out.mkv --preset x", "ultrafast"),
        ("encode in.y4m out.mkv --quality 101", "0 to 100"),
        ("encode in.y4m out.mkv --quality nan", "0 to 100"),
        ("encode in.y4m out.mkv --quality x", "--quality"),
        ("encode in.y4m out.mkv --lambda 0", "lambda"),
        ("encode in.y4m out.mkv --lambda 0.1 --quality 5", "one of"),
        ("encode in.y4m out.mkv --target-psnr 30 --quality 5", "one of"),
        ("encode in.y4m out.mkv --target-psnr 300", "can't be had"),
        ("encode in.y4m out.mkv --target-bitrate fast", "bit rate"),
        ("encode in.y4m out.mkv --target-psnr 30 --time-budget 5s", "together"),
        ("encode in.y4m out.mkv --threads 0", "threads"),
        ("encode in.y4m out.mkv --threads 1000000", "threads"),
        ("encode in.y4m out.mkv --time-budget 5x", "10m"),
        ("encode in.y4m out.mkv --time-budget 0", "time budget"),
        ("encode in.y4m out.mkv --frames 0", "frames"),
        ("encode in.y4m out.mkv --start -1", "start"),
        ("encode in.y4m out.mkv --start 8", "8 frames"),
        ("encode in.y4m out.mkv --seed -1", "seed"),
        ("encode in.y4m out.mkv --device tpu", "cuda"),
        ("encode in.y4m out.mkv --no-such-option", "--no-such-option"),
        ("decode in.mkv in.mkv", "the output is the input"),
        ("decode in.mkv link.mkv --overwrite", "the output is the input"),
        ("decode in.mkv in.y4m", "exists"),
        ("decode in.mkv out.avi", ".y4m"),
        ("decode in.mkv nowhere/out.y4m", "nowhere"),
        ("decode in.mkv - --kind ffv1", "standard output"),
        ("decode in.mkv - --json", "standard output"),
        ("decode in.mkv out.y4m --kind gif", "ffv1"),
        ("decode in.mkv out.y4m --threads 0", "threads"),
        ("decode in.mkv out.y4m --max-pixels 0", "--max-pixels"),
        ("decode in.mkv out.y4m --device tpu", "cuda"),
        ("decode in.mkv out.y4m --device cuda", "cpu only"),
        ("verify in.mkv --device cuda", "cpu only"),
        ("decode none.mkv out.y4m", "does not exist"),
        ("decode none.mkv in.mkv --overwrite", "does not exist"),
        ("info none.mkv", "none.mkv"),
        ("info directory", "directory"),
        ("verify none.mkv", "none.mkv"),
        ("no-such-command", "no-such-command"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(folder: Path, arguments: str, word: str) -> None:
    before = contents(folder)
    assert_refused(run(*arguments.split()), word)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["empty.mp4", "junk.mkv", "text.txt", "in.y4m"])
@pytest.mark.parametrize("command", ["decode", "info", "verify"])
def test_a_file_that_is_no_vireo_stream(folder: Path, command: str, name: str) -> None:
    before = contents(folder)
    target = ["out.y4m"] if command == "decode" else []
    assert_refused(run(command, name, *target), name, status=3)
    assert contents(folder) == before


def test_limits_and_the_option_that_raises_them(folder: Path) -> None:
    assert_refused(run("decode", "in.mkv", "out.y4m", "--max-pixels", 1919), "limit", status=3)
    assert not (folder / "out.y4m").exists()
    assert run("decode", "in.mkv", "out.y4m", "--max-pixels", 1920).exit_code == 0


def test_profile_time_says_where_decoding_spent_it(folder: Path) -> None:
    result = run("decode", "in.mkv", "timed.yuv", "--threads", 1, "--profile-time", "--json")
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    stages = summary["stages"]
    expected = {"reading", "parse", "upsampling", "synthesis", "inter coding", "hash", "writing"}
    assert expected < stages.keys()
    assert all(seconds > 0 for seconds in stages.values())
    assert sum(stages.values()) < summary["seconds"]  # one thread works while one waits
    for stage in stages:
        assert f"{stage:>30} " in result.stderr
    plain = run("decode", "in.mkv", "again.yuv", "--json")
    assert "stages" not in json.loads(plain.stdout)
    assert "synthesis" not in plain.stderr
    assert Path("timed.yuv").read_bytes() == Path("again.yuv").read_bytes()


def test_encode_with_json_prints_json_lines_only(folder: Path) -> None:
    result = run("encode", "in.y4m", "out.mkv", "--preset", "ultrafast", "--frames", 2, "--json")
    assert result.exit_code == 0
    *frames, summary = (json.loads(line) for line in result.stdout.splitlines())
    assert [f["event"] for f in frames] == ["frame", "frame"]
    assert [f["type"] for f in frames] == ["I", "P"]
    assert summary["event"] == "summary"
    assert summary["frames"] == 2
    assert summary["size"] == (folder / "out.mkv").stat().st_size
    assert "PSNR" in result.stderr
    verified = run("verify", "out.mkv", "--json")
    assert json.loads(verified.stdout)["damage"] == []


def test_info_says_where_the_bytes_went(folder: Path) -> None:
    result = run("info", "in.mkv", "--json", "--packets")
    content = json.loads(result.stdout)
    assert content["size"] == (folder / "in.mkv").stat().st_size
    assert abs(sum(content["bytes"].values()) - content["size"]) <= len(content["bytes"])
    assert [p["frame_type"] for p in content["packets"]] == list("IPBBBIPB")
    assert content["gops"] == 2
    text = run("info", "in.mkv", "--packets").stdout
    assert "48x40" in text
    assert f"{content['size']} bytes" in text


def damaged(sample: Sample, path: Path, packet: int) -> Path:
    packets = list(sample.packets)
    data = packets[packet].data
    packets[packet] = replace(packets[packet], data=data[:-1] + bytes([data[-1] ^ 1]))
    return write_packets(path, sample.header, packets)


def test_damage_is_status_3_and_the_frames_before_it_stay(sample: Sample, folder: Path) -> None:
    damaged(sample, folder / "broken.mkv", 5)
    assert run("decode", "in.mkv", "good.yuv").exit_code == 0
    good = (folder / "good.yuv").read_bytes()
    frame = len(good) // 8

    result = run("decode", "broken.mkv", "part.yuv")
    assert_refused(result, "packet 5", "offset 0", status=3)
    assert (folder / "part.yuv").read_bytes() == good[: 5 * frame]

    result = run("decode", "broken.mkv", "part.mkv")
    assert result.exit_code == 3
    assert (folder / "part.mkv").exists()

    assert_refused(run("info", "broken.mkv"), "packet 5", status=3)
    result = run("verify", "broken.mkv", "--json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert report["frames"] == 5
    assert report["damage"][0]["packet"] == 5


def test_conceal_writes_what_comes_after_the_next_key_frame(sample: Sample, folder: Path) -> None:
    damaged(sample, folder / "broken.mkv", 1)
    run("decode", "in.mkv", "good.yuv")
    good = (folder / "good.yuv").read_bytes()
    frame = len(good) // 8
    result = run("decode", "broken.mkv", "part.yuv", "--conceal", "--json")
    assert result.exit_code == 3
    content = (folder / "part.yuv").read_bytes()
    assert content[:frame] == good[:frame]
    assert content[frame : 5 * frame] == 4 * good[:frame]
    assert content[5 * frame :] == good[5 * frame :]
    assert json.loads(result.stdout)["concealed"] == 4


def test_nothing_but_damage_leaves_no_file(sample: Sample, folder: Path) -> None:
    cut = [replace(p, data=p.data[:-1]) if i else p for i, p in enumerate(sample.packets)]
    wrong = replace(sample.coded[0], picture_hash=sample.coded[0].picture_hash ^ 1)
    from vireo.container import write_packet

    cut[0] = replace(cut[0], data=write_packet(wrong))
    write_packets(folder / "broken.mkv", sample.header, cut)
    for target in ("out.yuv", "out.mkv", "out.mp4"):
        for option in ([], ["--conceal"]):
            result = run("decode", "broken.mkv", target, *option)
            assert_refused(result, "packet 0", status=3)
            assert not (folder / target).exists()


def test_every_kind_of_output(folder: Path) -> None:
    for target in ("out.y4m", "out.yuv", "out.mkv", "out.mp4", "pictures"):
        result = run("decode", "in.mkv", target)
        assert result.exit_code == 0, result.stderr
        assert "left out" not in result.stderr, "there is no sound in the file"
    assert len(list((folder / "pictures").iterdir())) == 8
    assert not list(folder.glob(".*.part"))


def test_sound_that_y4m_can_t_hold_is_mentioned(folder: Path) -> None:
    write_movie(folder / "film.mkv", "aac", seconds=1)
    result = run("encode", "film.mkv", "out.mkv", "--preset", "ultrafast", "--frames", 1)
    assert result.exit_code == 0, result.stderr
    assert "sound and subtitles are left out" in run("decode", "out.mkv", "out.y4m").stderr


def test_decoding_to_a_pipe(folder: Path) -> None:
    run("decode", "in.mkv", "out.y4m")
    piped = subprocess.run(
        [sys.executable, "-m", "vireo", "decode", "in.mkv", "-"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert piped.stdout == (folder / "out.y4m").read_bytes()


@pytest.mark.parametrize(
    "command", ["decode {} -", "info {} --json --packets", "info {} --packets"]
)
def test_a_reader_that_goes_away_is_no_error(sample: Sample, tmp_path: Path, command: str) -> None:
    path = write_packets(tmp_path / "long.mkv", sample.header, repeated(sample, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", "vireo", *command.format(path).split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(100)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert errors == b""


@pytest.mark.parametrize(
    "command", ["decode in.mkv out.y4m", "info in.mkv", "decode -h", "encode -h"]
)
def test_decoding_starts_at_once_and_without_training_code(folder: Path, command: str) -> None:
    """It imports nothing that takes long; the time itself depends on the machine and its load."""
    slow = {"torch", "safetensors", "plotly", "jinja2", "PIL", "pytorch_msssim", "bjontegaard"}
    slow |= {"vireo._train", "vireo.codecs.coolchic.trainer"}
    program = (
        "import sys\n"
        "from vireo.cli import main\n"
        f"try: main({command.split()!r})\n"
        "except SystemExit as end: assert not end.code\n"
        f"loaded = {slow!r} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_module_and_version() -> None:
    done = spawn("--version", env={**os.environ, "COLUMNS": "40"})
    assert done.returncode == 0
    assert done.stdout.startswith("vireo")
    assert spawn().returncode == 2


def test_profile_tells_where_the_time_went(sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    options = ["--preset", "ultrafast", "--gop-size", "4", "--profile-time", "--threads", "1"]
    done = run("encode", sample.source, target, *options, "--json")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout.splitlines()[-1])
    stages = summary["stages"]
    assert {"motion search", "training: arm", "training: picture"} <= set(stages)
    assert {"network updates", "refinement", "coding"} <= set(stages)
    # What is busy in one thread is no more than the clock's time, and most of it.
    assert 0.5 * summary["seconds"] < sum(stages.values()) < 1.05 * summary["seconds"]
    assert "training: arm" in done.stderr
