"""The Markdown tables have the figures, in the right rows."""

from __future__ import annotations

import pytest

from tests.bench.report.records import line, point
from vireo.bench.record import Record
from vireo.bench.report.markdown import markdown, table
from vireo.bench.report.summary import Comparison
from vireo.metrics.quality import MEASURES


def text_of(records: list[Record], anchor: str) -> str:
    return markdown(Comparison.of(records), MEASURES["psnr"], anchor)


def rows_of(text: str, heading: str) -> dict[str, list[str]]:
    """A section's table by first cell; several rows of one name are the last one."""
    (section,) = (s for s in text.split("\n## ") if s.startswith(heading))
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[c.strip() for c in line.strip("|").split(" | ")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    return {row[0]: row[1:] for row in cells}


@pytest.fixture(scope="module")
def text() -> str:
    records = []
    for clip in ("one", "two"):
        records += line("x264", [200, 400, 800, 1600], clip=clip, remarks=33)
        records += line("vireo", [100, 200, 400, 800], clip=clip, container=44, seconds=100.0,
                        parts={"networks": 1.0, "latents 1/1": 3.0},
                        decoder={"parameters": 807.0, "multiplications": 924.0})  # fmt: skip
    return text_of([*records, *line("late", [100, 200], clip="one")], "x264")


def test_matrix(text: str):
    rows = rows_of(text, "BD-rate, ")
    assert rows["x264"] == ["", "+100.0", "–"]
    assert rows["vireo"] == ["−50.0", "", "–"]
    assert "the anchor has … different points, fewer than 3 (2 times)" in text
    assert "not both have points (4 times)" in text


def test_against_the_anchor_by_clip(text: str):
    rows = rows_of(text, "BD-rate against x264 by clip")
    assert rows["one"] == ["−50.0", "–"]
    assert rows["**mean**"] == ["−50.0", "–"]


def test_times(text: str):
    rows = rows_of(text, "Time and BD-rate")
    assert rows["vireo"][:3] == ["−50.0", "100 ×", "100 ×"]
    assert rows["x264"][0] == "anchor"


def test_points(text: str):
    row = dict(zip(rows_of(text, "one")["codec"], rows_of(text, "one")["vireo"], strict=True))
    assert row["setting"] == "crf 27"
    assert (row["bytes"], row["container"], row["remarks"]) == ("800", "44", "0")
    assert row["bits/pixel"] == "32.0000"
    assert row["kbit/s"] == "32.00"
    assert row["psnr"] == "45.121"
    assert (row["encode s"], row["encode CPU s"], row["encode MB"]) == ("100", "200", "50")


def test_bytes_decoders_and_origin(text: str):
    assert (
        rows_of(text, "Where the bytes went")["vireo"][0] == "networks 25.0 %, latents 1/1 75.0 %"
    )
    assert rows_of(text, "Decoders")["vireo"] == ["807", "924"]
    assert "- vireo: `encode --crf 30 one.mkv`" in text
    assert "a processor, 2 cores, 3 GiB" in text


def test_interrupted_times_are_lower_bounds():
    text = text_of([point("a", 20, 100, seconds=3.0, complete=False)], "a")
    assert "> 3.00" in text


def test_cells_cannot_break_a_table():
    assert table(["a"], [["x|y\nz"]]).splitlines()[-1] == "| x\\|y z |"
