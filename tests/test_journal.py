from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vireo
from tests.clips import Sample, moving, write_y4m
from vireo.codecs.encoding import FrameReport
from vireo.errors import UsageError
from vireo.journal import PacketJournal

IDENTITY = {"source": "clip.y4m", "seed": 1}
PACKETS = [b"first", b"", b"x" * 1000]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.mkv.vireo-journal"


def filled(path: Path) -> bytes:
    journal = PacketJournal(path, IDENTITY)
    for place, packet in enumerate(PACKETS):
        journal.append(place, packet)
    journal.close()
    return path.read_bytes()


def left(path: Path, identity=IDENTITY) -> list[bytes]:
    journal = PacketJournal(path, identity)
    journal.close()
    assert journal.resumed == len(journal.packets())
    assert list(journal.packets()) == list(range(journal.resumed))
    return list(journal.packets().values())


def test_packets_come_back(path: Path) -> None:
    filled(path)
    assert left(path) == PACKETS
    assert json.loads(path.read_bytes().splitlines()[0])["seed"] == 1


@pytest.mark.parametrize("cut", [1, 7, 8, 500, 999, 1007])
def test_a_torn_record_is_dropped_and_written_again(path: Path, cut: int) -> None:
    content = filled(path)
    path.write_bytes(content[:-cut])
    journal = PacketJournal(path, IDENTITY)
    assert journal.packets() == dict(enumerate(PACKETS[:2]))
    journal.append(2, PACKETS[2])
    journal.close()
    assert path.read_bytes() == content


def test_a_damaged_record_ends_the_journal(path: Path) -> None:
    content = bytearray(filled(path))
    content[-500] ^= 1
    path.write_bytes(content)
    assert left(path) == PACKETS[:2]


def test_a_journal_of_something_else_is_not_used(path: Path) -> None:
    filled(path)
    assert left(path, {**IDENTITY, "seed": 2}) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 5000, b'{"seed": 1}\n'])
def test_a_file_that_is_no_journal_is_not_used(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert left(path) == []


def test_an_empty_journal_leaves_no_file(path: Path) -> None:
    assert left(path) == []
    assert not path.exists()


def test_two_encodes_of_one_output_exclude_each_other(path: Path) -> None:
    journal = PacketJournal(path, IDENTITY)
    journal.append(0, b"one")
    with pytest.raises(UsageError, match="another encode"):
        PacketJournal(path, IDENTITY)
    journal.close()
    assert left(path) == [b"one"]


# Interrupted encodes


def start(source: Path, target: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vireo", "encode", str(source), str(target), *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background ignore interrupts, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_records(journal: Path, size: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not journal.exists() or journal.stat().st_size < size:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_killed_and_run_again_gives_the_same_bytes(sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    journal = tmp_path / "out.mkv.vireo-journal"
    process = start(
        sample.source, target, "--preset", "ultrafast", "--gop-size", "4", "--threads", "1"
    )
    first_line = 1200
    wait_for_records(journal, first_line + len(sample.packets[0].data), process)
    process.kill()
    process.communicate()
    assert not target.exists()
    kept = journal.stat().st_size
    with journal.open("ab") as file:  # as if it had been killed amid a record
        file.write(b"\x40\0\0\0torn")

    done: list[FrameReport] = []
    resumed = []
    report = vireo.encode(
        sample.source,
        target,
        **sample.options,
        listener=lambda e: done.append(e) if isinstance(e, FrameReport) else None,
        on_open=lambda video, journal: resumed.append(journal.resumed),
    )
    assert resumed[0] >= 1
    assert report.resumed == resumed[0]
    assert sum(e.seconds == 0 for e in done) == resumed[0]
    assert kept > 0
    assert target.read_bytes() == sample.path.read_bytes()
    assert files(tmp_path) == ["out.mkv"]
    assert report.psnr == sample.report.psnr


def test_ctrl_c_ends_soon_and_keeps_what_is_done(tmp_path: Path) -> None:
    source = write_y4m(tmp_path / "in.y4m", moving(176, 144, 3))
    target = tmp_path / "out.mkv"
    process = start(source, target, "--preset", "placebo", "--gop-size", "2")
    wait_for_records(tmp_path / "out.mkv.vireo-journal", 10, process)
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 2
    assert process.returncode == 130
    assert out == ""
    assert err.count("\n") == 1
    assert "run the same command again" in err
    assert files(tmp_path) == ["in.y4m"]


def test_a_failed_encode_leaves_nothing_but_its_journal(sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"

    class Stop(Exception):
        pass

    def listen(event: object) -> None:
        if isinstance(event, FrameReport) and event.index == 4:
            raise Stop

    with pytest.raises(Stop):
        vireo.encode(sample.source, target, **sample.options, listener=listen)
    assert files(tmp_path) == ["out.mkv.vireo-journal"]
    other = {**sample.options, "seed": 9, "frames": 1}
    assert vireo.encode(sample.source, target, **other).resumed == 0
    assert files(tmp_path) == ["out.mkv"]


def test_a_changed_source_starts_afresh(sample: Sample, tmp_path: Path) -> None:
    source = tmp_path / "in.y4m"
    source.write_bytes(sample.source.read_bytes())
    target = tmp_path / "out.mkv"

    def stop(event: object) -> None:
        if isinstance(event, FrameReport):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vireo.encode(source, target, **sample.options, listener=stop)
    os.utime(source, (1, 1))
    options = {**sample.options, "frames": 1}
    assert vireo.encode(source, target, **options).resumed == 0
