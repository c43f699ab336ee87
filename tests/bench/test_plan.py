"""Run files: what they say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clips import moving, write_y4m
from vireo.bench.plan import read_plan
from vireo.errors import InputError, UsageError

CODEC = '[codecs.a]\nanchor = "x265-medium"\n'


def plan_of(folder: Path, text: str) -> Path:
    for name in ("b", "a"):
        write_y4m(folder / f"{name}.y4m", moving(32, 32, 2))
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_full_plan(tmp_path: Path) -> None:
    text = """
        clips = ["*.y4m"]
        frames = 5
        threads = 2
        measures = ["vmaf"]
        [codecs.anchor]
        anchor = "x265-dhvc"
        qp = [22, 30]
        [codecs.ours]
        codec = "coolchic"
        gop = "low-delay"
        preset = "ultrafast"
        lambda = 0.01
    """
    plan = read_plan(plan_of(tmp_path, text))
    assert [clip.name for clip in plan.clips] == ["a.y4m", "b.y4m"]
    assert (plan.frames, plan.threads, plan.measures) == (5, 2, ("vmaf",))
    anchor, ours = plan.entries
    assert (anchor.codec, anchor.control, anchor.values) == ("x265-dhvc", "qp", (22.0, 30.0))
    options = ours.options_at(0.01)
    assert (options.lambda_, options.gop, options.preset) == (0.01, "low-delay", "ultrafast")
    assert ours.settings()["gop"] == "low-delay"
    points = [(e.label, c.stem, v) for e, c, v in plan.points()]
    assert points == [
        ("anchor", "a", 22.0),
        ("anchor", "a", 30.0),
        ("anchor", "b", 22.0),
        ("anchor", "b", 30.0),
        ("ours", "a", 0.01),
        ("ours", "b", 0.01),
    ]


def test_defaults(tmp_path: Path) -> None:
    text = f'clips = ["a.y4m"]\n{CODEC}[codecs.b]\ncodec = "coolchic"'
    plan = read_plan(plan_of(tmp_path, text))
    assert (plan.frames, plan.threads, plan.measures) == (None, 1, ())
    assert [e.control for e in plan.entries] == ["crf", "quality"]
    assert all(len(e.values) >= 4 for e in plan.entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CODEC, "names no clip"),
        (f'clips = ["c.y4m"]\n{CODEC}', "no clip 'c.y4m'"),
        (f"clips = [3]\n{CODEC}", "`clips` must be a list of strings"),
        ('clips = ["a.y4m"]', "names no codec"),
        (f'clips = ["a.y4m"]\nframe = 3\n{CODEC}', "knows no `frame`"),
        (f'clips = ["a.y4m"]\nframes = 0\n{CODEC}', "`frames` must be a whole number"),
        (f'clips = ["a.y4m"]\nmeasures = ["ssim"]\n{CODEC}', "no measure 'ssim'"),
        ('clips = ["a.y4m"]\n[codecs.a]\nanchor = "x266"', "'a': there is no anchor 'x266'"),
        ('clips = ["a.y4m"]\n[codecs.a]\ncodec = "x266"', "'a': there is no codec 'x266'"),
        ('clips = ["a.y4m"]\n[codecs]\na = 3', "'a': must be a table"),
        ('clips = ["a.y4m"]\n[codecs.a]\nqp = [3]', "either `anchor` or `codec`"),
        (f'clips = ["a.y4m"]\n{CODEC}qp = [3]', "knows no `qp`; it knows anchor, crf"),
        (f'clips = ["a.y4m"]\n{CODEC}crf = ["x"]', "`crf` must be numbers"),
        (f'clips = ["a.y4m"]\n{CODEC}crf = []', "`crf` must be numbers"),
        (f'clips = ["a.y4m"]\n{CODEC}crf = [3, 3]', "names a point twice"),
        (f'clips = ["a.y4m"]\n{CODEC}crf = [99]', "crf 99 is not within 0 … 51"),
        (f'clips = ["a.y4m"]\n{CODEC}crf = [9]\ntarget-psnr = [30]', "one of crf, target-psnr"),
        ('clips = ["a.y4m"]\n[codecs.a]\nanchor="x265-dhvc"\nqp=[3.5]', "no whole number"),
        ('clips = ["a.y4m"]\n[codecs.a]\nanchor="svtav1-8"\ncrf=[3.5]', "no whole number"),
        (f'clips = ["a.y4m"]\n{CODEC}target-bitrate = 0', "must be above 0"),
        (f'clips = ["a.y4m"]\n{CODEC}target-psnr = 99', "ask for 10 to 60"),
        ('clips = ["a.y4m"]\n[codecs.a]\ncodec="coolchic"\npreset="x"', "no preset 'x'"),
        ('clips = ["a.y4m"]\n[codecs.a]\ncodec="coolchic"\nseed="x"', "wrong type"),
        ('clips = ["a.y4m"]\n[codecs.a]\ncodec="coolchic"\nquality=[101]', "it must be 0 to 100"),
        ('clips = ["a.y4m"]\n[codecs.a]\ncodec="coolchic"\nframes=3', "knows no `frames`"),
    ],
)
def test_bad_plan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = plan_of(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_plan(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert message in said
    assert "\n" not in said


def test_unreadable_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_plan(tmp_path / "absent.toml")
    path = tmp_path / "bad.toml"
    path.write_text("clips = [")
    with pytest.raises(InputError, match="no TOML file"):
        read_plan(path)
