"""The page in a real browser, from a file URL without a network."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64decode
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.bench.report.records import clip_record, point
from tests.clips import moving, write_y4m
from vireo.bench.record import Record
from vireo.bench.report import ReportFiles, write, write_report
from vireo.bench.report.pictures import WINDOW, Window
from vireo.bench.report.summary import Comparison, average_points, per_frame
from vireo.errors import InputError, UsageError
from vireo.metrics import plane_mse
from vireo.metrics.quality import MEASURES
from vireo.video import ColorDescription, Frame
from vireo.video.convert import picture_of, rgb_picture

FRAMES = 3
SIZES = {"small": (64, 48), "large": (80, 64)}
PRESETS = {"x264 fast": "ultrafast", "x264 slow": "medium"}
RATES = (18, 26, 34, 42)
COLOR = ColorDescription()


def encode(frames: list[Frame], path: Path, preset: str, crf: int) -> list[int]:
    """An elementary stream; the size of each frame in display order."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(10), Fraction(1, 10)
    encoder.options = {"preset": preset, "crf": str(crf), "bf": "0", "threads": "1"}
    packets = []
    for frame in frames:
        packets += encoder.encode(picture_of(frame, COLOR, Fraction(1, 10)))
    packets += encoder.encode(None)
    path.write_bytes(b"".join(bytes(packet) for packet in packets))
    return [packet.size for packet in sorted(packets, key=lambda packet: packet.pts)]


def decoded(path: Path) -> list[Frame]:
    with av.open(str(path)) as file:
        return [Frame(*(plane[: f.height] for plane in _planes(f))) for f in file.decode(video=0)]


def _planes(picture: av.VideoFrame) -> list[np.ndarray]:
    flat = picture.to_ndarray(format="yuv420p")
    height, width = picture.height, picture.width
    chroma = flat[height:].reshape(2, height // 2, width // 2)
    return [flat[:height], chroma[0], chroma[1]]


def rgb(frame: Frame) -> np.ndarray:
    return rgb_picture(frame, COLOR, Fraction(1)).to_ndarray()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """A results file with its streams; one codec's streams are lost."""
    folder = tmp_path_factory.mktemp("results")
    streams = folder / "run.streams"
    streams.mkdir()
    made = []
    for name, (width, height) in SIZES.items():
        frames = moving(width, height, FRAMES)
        path = write_y4m(folder / f"{name}.y4m", frames, "F10:1 Ip A1:1 C420mpeg2")
        clip = clip_record(name, FRAMES, path=path.name, width=width, height=height)
        for label, preset in PRESETS.items():
            for crf in RATES:
                stream = streams / f"{name}-{preset}-{crf}.h264"
                sizes = encode(frames, stream, preset, crf)
                errors = [
                    [plane_mse(a, b) for a, b in zip(f.planes, g.planes, strict=True)]
                    for f, g in zip(frames, decoded(stream), strict=True)
                ]
                series: dict[str, list[Any]] = dict(
                    zip(("mse_y", "mse_u", "mse_v"), map(list, zip(*errors, strict=True)),
                        strict=True)
                )  # fmt: skip
                series = {"type": ["I", "P", "P"], "bytes": sizes, **series}
                values = {"clip": clip, "frames": series, "stream": stream.name}
                made.append(point(label, crf, sum(sizes), **values))
                lost = {**values, "stream": "lost.h264", "parts": {"</script>": 1.0}}
                made.append(point("lost <b>", crf, 2 * sum(sizes), **lost))
    path = folder / "run.jsonl"
    path.write_text("".join(record.to_line() + "\n" for record in made))
    return path, made


@pytest.fixture(scope="module")
def report(records: tuple[Path, list[Record]]) -> ReportFiles:
    return write_report([records[0]], records[0].with_name("report"))


def test_html_refers_to_nothing_outside(report: ReportFiles):
    html = report.page.read_text("utf-8")
    tags = re.sub(r"(<script[^>]*>).*?</script>", r"\1", html, flags=re.S)
    assert not re.findall(r"""\s(?:src|href|action|poster)\s*=""", tags)
    assert not re.findall(r"@import|url\(", tags)
    assert "default-src 'none'" in tags
    assert report.page_size == report.page.stat().st_size
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert data is not None
    assert json.loads(data[1])["codecs"][1]["label"] == "lost <b>"


def test_lost_streams_are_left_out_and_said(report: ReportFiles):
    assert len(report.notes) == len(SIZES)
    assert all("lost.h264" in note and str(report.page.parent) not in note for note in report.notes)
    assert 2 * (1 + 2) <= report.pictures <= 2 * (1 + 2 * 3)


def test_report_without_pictures(records: tuple[Path, list[Record]], tmp_path: Path):
    files = write_report([records[0]], tmp_path / "r", pictures=False)
    assert files.pictures == 0
    assert "data:image" not in re.sub(
        r"<script>.*?</script>", "", files.page.read_text("utf-8"), flags=re.S
    )


def test_too_many_pictures_leave_the_middle_rate(
    records: tuple[Path, list[Record]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(write, "MAX_PICTURES", 5)
    files = write_report([records[0]], tmp_path / "r")
    assert files.pictures == 2 * (1 + 2)
    assert "all but each clip's middle rate" in files.notes[0]


def test_wrong_requests(records: tuple[Path, list[Record]], tmp_path: Path):
    path, out = records[0], tmp_path / "report"
    with pytest.raises(UsageError, match="no measure is called vmaf: there are psnr"):
        write_report([path], out, measure="vmaf")
    with pytest.raises(UsageError, match="no result has vmaf-neg"):
        write_report([path], out, measure="vmaf-neg")
    with pytest.raises(UsageError, match="no codec is called x265: there are x264 fast"):
        write_report([path], out, anchor="x265")
    with pytest.raises(UsageError, match="frames count from 0"):
        write_report([path], out, frame=-1)
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(InputError, match="no results are in there"):
        write_report([empty], out)
    assert not list(tmp_path.glob("report*"))
    out.with_suffix(".md").touch()
    with pytest.raises(UsageError, match=r"report\.md exists"):
        write_report([path], out, pictures=False)
    write_report([path], out, pictures=False, overwrite=True)
    assert out.with_suffix(".md").stat().st_size


def test_large_pictures_show_their_middle():
    window = Window.of(clip_record(width=1920, height=1080))
    assert (window.width, window.height) == WINDOW
    assert (2 * window.left + window.width, 2 * window.top + window.height) == (1920, 1080)
    assert Window.of(clip_record(width=176, height=144)) == Window(0, 0, 176, 144)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("there is no Chromium to show the page in")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any, report: ReportFiles) -> Iterator[Any]:
    """The page when it has drawn everything; in the end, nothing may have gone wrong in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    shown = context.new_page()
    wrong: list[str] = []
    shown.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("requestfailed", lambda request: wrong.append(f"failed: {request.url[:100]}"))
    requests: list[str] = []
    shown.on("request", lambda request: requests.append(request.url.partition(":")[0]))
    shown.goto(report.page.as_uri())
    shown.wait_for_selector("#viewer[data-ready]")
    yield shown
    assert wrong == []
    assert requests.count("file") == 1
    assert set(requests) <= {"file", "data", "blob"}
    context.close()


def traces(page: Any, plot: str) -> list[dict[str, Any]]:
    """A plot's traces as the page holds them."""
    return page.evaluate(
        f"document.getElementById('{plot}').data.map("
        "({name, x, y}) => ({name, x: Array.from(x), y: Array.from(y)}))"
    )


def canvas(page: Any) -> np.ndarray:
    """What the viewer shows, `[H, W, 4]`."""
    height, width, samples = page.evaluate(
        """() => {
          const canvas = document.querySelector("#stage canvas");
          const {width, height} = canvas;
          const copy = new OffscreenCanvas(width, height).getContext("2d");
          copy.drawImage(canvas, 0, 0);
          const {data} = copy.getImageData(0, 0, width, height);
          return [height, width, btoa(data.reduce((s, byte) => s + String.fromCharCode(byte), ""))];
        }"""
    )
    return np.frombuffer(b64decode(samples), np.uint8).reshape(height, width, 4)


def choose(page: Any, side: str, label: str) -> None:
    before = page.get_attribute("#viewer", "data-ready")
    page.select_option(f"#{side}", label=label)
    page.wait_for_selector(f"#viewer[data-ready]:not([data-ready='{before}'])")


def drag_divider(page: Any, part: float) -> None:
    grip = page.locator("#divider").bounding_box()
    stage = page.locator("#stage").bounding_box()
    y = stage["y"] + stage["height"] / 2
    page.mouse.move(grip["x"] + grip["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(stage["x"] + stage["width"] * part, y, steps=3)
    page.mouse.up()


def test_divider_moves_by_pointer_and_keys(page: Any):
    choose(page, "left", "original")
    choose(page, "right", "x264 fast")
    page.locator("#stage").scroll_into_view_if_needed()
    drag_divider(page, 0.65)
    right = canvas(page)
    drag_divider(page, 0.35)
    left = canvas(page)
    width = right.shape[1]
    changed = (right != left).any(axis=(0, 2))
    assert changed[int(0.4 * width) : int(0.6 * width)].all()
    assert not changed[: int(0.34 * width)].any()
    assert not changed[int(0.66 * width) :].any()

    slider = page.locator("#divider")
    assert slider.get_attribute("aria-valuenow") == "35"
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuenow") == "36"
    slider.press("Home")
    assert slider.get_attribute("aria-valuenow") == "0"


def test_viewer_shows_the_very_samples(page: Any, records: tuple[Path, list[Record]]):
    choose(page, "left", "original")
    choose(page, "right", "x264 slow")
    caption = page.inner_text("#right-caption")
    crf = int(re.match(r"crf (\d+)", caption)[1])
    folder = records[0].with_suffix(".streams")
    original = rgb(moving(*SIZES["small"], FRAMES)[FRAMES // 2])
    coded = rgb(decoded(folder / f"small-medium-{crf}.h264")[FRAMES // 2])
    page.click("[data-zoom=one]")

    def middle(part: float) -> np.ndarray:
        page.locator("#divider").press("End" if part else "Home")
        shown = canvas(page)
        top, left = ((shown.shape[i] - original.shape[i]) // 2 for i in (0, 1))
        found = [
            shown[y : y + original.shape[0], x : x + original.shape[1], :3]
            for y in (top, top + 1)
            for x in (left, left + 1)
        ]
        return min(found, key=lambda view: np.abs(view.astype(int) - wanted).sum())

    wanted = original.astype(int)
    np.testing.assert_array_equal(middle(1), original)
    wanted = coded.astype(int)
    np.testing.assert_array_equal(middle(0), coded)
    page.click("#error button[data-value='4']")
    page.wait_for_function(
        "document.querySelector('#error [data-value=\"4\"]').ariaPressed == 'true'"
    )
    page.wait_for_timeout(100)
    wanted = (4 * np.abs(coded.astype(int) - original)).clip(0, 255)
    np.testing.assert_array_equal(middle(0), wanted)
    assert wanted.any()
    wanted = np.zeros_like(wanted)
    np.testing.assert_array_equal(middle(1), 0)


def test_zoom_and_pan(page: Any):
    page.locator("#stage").scroll_into_view_if_needed()
    before = canvas(page)
    first = page.inner_text("#zoom-value")
    page.click("[data-zoom=in]")
    assert page.inner_text("#zoom-value") != first
    zoomed = canvas(page)
    assert (zoomed != before).any()
    stage = page.locator("#stage").bounding_box()
    x, y = stage["x"] + stage["width"] / 3, stage["y"] + stage["height"] / 3
    page.mouse.move(x, y)
    page.mouse.wheel(0, -240)
    page.wait_for_function(f"document.getElementById('zoom-value').value != '{first}'")
    page.mouse.down(button="middle")
    page.mouse.move(x + 40, y + 10)
    page.mouse.up(button="middle")
    assert (canvas(page) != zoomed).any()
    assert page.locator("#divider").get_attribute("aria-valuenow") == "50"
    page.click("[data-zoom=fit]")
    np.testing.assert_array_equal(canvas(page), before)


def test_codec_switches_reach_every_plot(page: Any):
    labels = ["x264 fast", "lost <b>", "x264 slow"]
    assert [trace["name"] for trace in traces(page, "rd")] == labels
    page.click("#chips button:has-text('x264 slow')")
    for plot in ("rd", "time", "frames"):
        assert {trace["name"] for trace in traces(page, plot)} == set(labels[:2]), plot
    assert "x264 slow" not in page.inner_text("#matrix")
    assert all("x264 slow" not in trace["y"] for trace in traces(page, "bytes"))
    page.click("#chips button:has-text('x264 slow')")
    assert [trace["name"] for trace in traces(page, "rd")] == labels
    page.click("#chips button:has-text('none')")
    assert "switch codecs off" in page.inner_text("#rd")
    page.click("#chips button:has-text('all')")
    assert [trace["name"] for trace in traces(page, "rd")] == labels


def test_curves_are_those_of_the_records(page: Any, records: tuple[Path, list[Record]]):
    results = Comparison.of(records[1])
    psnr = MEASURES["psnr"]
    for trace in traces(page, "rd"):
        points = average_points([results.points(c, trace["name"]) for c in SIZES], psnr)
        assert trace["x"] == pytest.approx([p.bits_per_pixel for p in points])
        assert trace["y"] == pytest.approx([p.quality for p in points], abs=1e-3)
    page.select_option("#clip", label="large")
    page.select_option("#measure", label=MEASURES["psnr-y"].title)
    page.click("#rate button:has-text('kbit/s')")
    for trace in traces(page, "rd"):
        found = results.points("large", trace["name"])
        assert trace["x"] == pytest.approx([r.kbit_per_second for r in found])
        qualities = [MEASURES["psnr-y"].of(r.frames) for r in found]
        assert trace["y"] == pytest.approx(qualities, abs=1e-3)


def test_frames_and_bytes_are_those_of_the_records(page: Any, records: tuple[Path, list[Record]]):
    found = {(r.label, r.value): r for r in records[1] if r.clip.name == "small"}
    choose(page, "right", "x264 slow")
    crf = float(re.match(r"crf (\d+)", page.inner_text("#right-caption"))[1])
    record = found["x264 slow", crf]
    quality, bits = (t for t in traces(page, "frames") if t["name"] == "x264 slow")
    assert quality["y"] == pytest.approx(per_frame(record, MEASURES["psnr"]), rel=1e-4)
    assert bits["y"] == [8 * size for size in record.frames["bytes"]]
    page.click("#split button:has-text('frame type')")
    kilobytes = {t["name"]: t["x"][t["y"].index("x264 slow")] for t in traces(page, "bytes")}
    sizes = record.frames["bytes"]
    assert kilobytes["I"] == pytest.approx(sizes[0] / 1000)
    assert kilobytes["P"] == pytest.approx(sum(sizes[1:]) / 1000)


def test_clip_changes_everywhere(page: Any):
    assert page.inner_text("#viewer-about").startswith("small, frame 1")
    before = page.get_attribute("#viewer", "data-ready")
    page.select_option("#clip", label="large")
    page.wait_for_selector(f"#viewer[data-ready]:not([data-ready='{before}'])")
    assert page.inner_text("#viewer-about").startswith("large, frame 1")
    assert page.inner_text("#rd-about") == "large: 80×64, 3 frames."
    assert "large" in page.inner_text("#matrix-about")
    assert page.input_value("#detail-clip") == "1"


def test_matrix_has_the_mean_and_the_reasons(page: Any):
    cells = page.locator("#matrix tbody td").all_inner_texts()
    assert len(cells) == 9
    tips = [c.get_attribute("data-tip") for c in page.locator("#matrix td[data-tip]").all()]
    assert len(tips) == 6
    assert any("against x264 fast" in tip for tip in tips)
    page.locator("#matrix td[data-tip]").first.hover()
    assert page.inner_text("#tip") == tips[0].strip()


def test_lost_picture_cannot_be_chosen(page: Any):
    assert page.locator("#left option", has_text="lost").is_disabled()
    assert "lost.h264" in page.inner_text(".notes")
