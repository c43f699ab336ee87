"""What a run shall compute, from a TOML file.

```toml
clips = ["clips/*.mkv"]          # relative to this file
frames = 33                      # of each clip; all by default
threads = 1                      # per encoder and decoder
measures = ["rgb", "ms-ssim", "vmaf"]   # besides PSNR

[codecs."x265 medium"]
anchor = "x265-medium"           # `vireo bench anchors` lists them
crf = [22, 27, 32, 37, 42]       # the anchor's own points by default

[codecs."Cool-chic"]
codec = "coolchic"               # and any of `vireo encode`'s options
preset = "fast"
quality = [20, 40, 60, 80]
```

A codec's rate points are `crf` or `qp` (anchors, whichever is the anchor's), `quality` or
`lambda` (codecs of Vireo), or `target-psnr` (dB) or `target-bitrate` (bits per second).
"""

from __future__ import annotations

import glob
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from vireo.bench.anchors import ANCHORS, Anchor, anchor_named
from vireo.errors import InputError, UsageError
from vireo.options import CODECS, EncodeOptions

MEASURES = ("rgb", "ms-ssim", "vmaf")
TARGETS = ("target-psnr", "target-bitrate")
_VIREO_CONTROLS = ("quality", "lambda", *TARGETS)
_VIREO_QUALITIES = (20.0, 40.0, 60.0, 80.0)
# What a run sets for every codec alike, or what belongs to one input.
_NOT_A_SETTING = {
    *("codec", "frames", "threads", "start", "size", "fps", "pix_fmt"),
    *("quality", "lambda_", "target_psnr", "target_bitrate"),
}
SETTINGS = {f.name: f.name.replace("_", "-") for f in fields(EncodeOptions)}
for _name in _NOT_A_SETTING:
    del SETTINGS[_name]


@dataclass(frozen=True)
class Entry:
    """A codec with its settings, as the run file names it.

    Attributes:
        label: the run file's name for it.
        anchor: the anchor; None for a codec of Vireo.
        options: of a codec of Vireo.
        control: how its rate is chosen: "crf", "qp", "quality", "lambda" or a target.
        values: its rate points.
    """

    label: str
    anchor: Anchor | None
    options: EncodeOptions
    control: str
    values: tuple[float, ...]

    @property
    def codec(self) -> str:
        return self.anchor.name if self.anchor else self.options.codec

    def settings(self) -> dict[str, Any]:
        """What determines its streams, beside rate, clip and threads."""
        if self.anchor:
            return dict(self.anchor.settings())
        own = {flag: getattr(self.options, name) for name, flag in SETTINGS.items()}
        had = {flag: value for flag, value in own.items() if value not in ("", None)}
        return {"codec": self.options.codec, **had}

    def options_at(self, value: float) -> EncodeOptions:
        """A Vireo codec's options at a rate point; of an anchor, what a target asks for."""
        name = self.control.replace("-", "_") + ("_" if self.control == "lambda" else "")
        asked: dict[str, Any] = {name: value}
        return replace(self.options, **asked)

    def check(self) -> None:
        """Raises UsageError or TypeError where an encode would refuse what is asked for."""
        for value in self.values:
            self.options_at(value)


@dataclass(frozen=True)
class Plan:
    """A run: every clip through every codec at each of its rate points.

    Attributes:
        clips: the files.
        entries: the codecs.
        frames: of each clip at most; None for all.
        threads: per process.
        measures: groups of measures besides PSNR: "rgb", "ms-ssim", "vmaf".
    """

    clips: tuple[Path, ...]
    entries: tuple[Entry, ...]
    frames: int | None = None
    threads: int = 1
    measures: tuple[str, ...] = field(default=())

    def points(self) -> Iterator[tuple[Entry, Path, float]]:
        for entry in self.entries:
            for clip in self.clips:
                for value in entry.values:
                    yield entry, clip, value


def read_plan(path: Path) -> Plan:
    """Raises InputError where the file can't be read, UsageError for what can't be run."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}") from error
    try:
        return _plan(content, path.parent)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _plan(content: dict[str, Any], folder: Path) -> Plan:
    _only(content, ("clips", "frames", "threads", "measures", "codecs"), "the run")
    codecs = content.get("codecs")
    if not isinstance(codecs, dict) or not codecs:
        raise UsageError("it names no codec: add a table such as [codecs.x265]")
    measures = _strings(content, "measures")
    for measure in measures:
        if measure not in MEASURES:
            raise UsageError(f"there is no measure {measure!r}; there is {', '.join(MEASURES)}")
    return Plan(
        _clips(_strings(content, "clips"), folder),
        tuple(_entry(label, table) for label, table in codecs.items()),
        _count(content, "frames"),
        _count(content, "threads") or 1,
        measures,
    )


def _clips(patterns: tuple[str, ...], folder: Path) -> tuple[Path, ...]:
    if not patterns:
        raise UsageError('it names no clip: add a line such as clips = ["clips/*.mkv"]')
    found: dict[str, Path] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        whole = str(path) if path.is_absolute() else f"{glob.escape(str(folder))}/{path}"
        matches = sorted(str(Path(match)) for match in glob.glob(whole))
        if not matches:
            raise UsageError(f"there is no clip {pattern!r}")
        for match in map(Path, matches):
            if not match.is_file():
                raise UsageError(f"the clip {match} is no file")
            if found.setdefault(match.stem, match) != match:
                raise UsageError(f"two clips are called {match.stem!r}; names must differ")
    return tuple(found.values())


def _entry(label: str, table: Any) -> Entry:
    try:
        if not isinstance(table, dict):
            raise UsageError("must be a table")
        if ("anchor" in table) == ("codec" in table):
            raise UsageError("needs either `anchor` or `codec`")
        return _anchor_entry(label, table) if "anchor" in table else _vireo_entry(label, table)
    except UsageError as error:
        raise UsageError(f"codec {label!r}: {error}") from error


def _anchor_entry(label: str, table: dict[str, Any]) -> Entry:
    name = table["anchor"]
    if not isinstance(name, str):
        raise UsageError(f"`anchor` must be a name: {', '.join(ANCHORS)}")
    anchor = anchor_named(name)
    controls = (anchor.control, *TARGETS)
    _only(table, ("anchor", *controls), f"the anchor {name}")
    control, values = _rate(table, controls, anchor.values)
    for value in values:
        if control == anchor.control and not 0 <= value <= anchor.encoder.coarsest:
            raise UsageError(f"{control} {value:g} is not within 0 … {anchor.encoder.coarsest}")
        whole = control == "qp" or (control == "crf" and anchor.encoder.step == 1)
        if whole and value != int(value):
            raise UsageError(f"{control} {value:g} is no whole number")
    entry = Entry(label, anchor, EncodeOptions(), control, values)
    if control in TARGETS:
        entry.check()
    return entry


def _vireo_entry(label: str, table: dict[str, Any]) -> Entry:
    codec = table["codec"]
    if codec not in CODECS:
        raise UsageError(f"there is no codec {codec!r}; there is {', '.join(CODECS)}")
    _only(table, ("codec", *_VIREO_CONTROLS, *SETTINGS.values()), f"the codec {codec}")
    known = {name: table[flag] for name, flag in SETTINGS.items() if flag in table}
    control, values = _rate(table, _VIREO_CONTROLS, _VIREO_QUALITIES)
    try:
        entry = Entry(label, None, EncodeOptions(codec=codec, **known), control, values)
        entry.check()
    except TypeError as error:
        raise UsageError(f"an option has a wrong type: {error}") from error
    return entry


def _rate(
    table: Mapping[str, Any], controls: tuple[str, ...], default: tuple[float, ...]
) -> tuple[str, tuple[float, ...]]:
    asked = [c for c in controls if c in table]
    if len(asked) > 1:
        raise UsageError(f"give one of {', '.join(asked)}")
    if not asked:
        return controls[0], default
    values = table[asked[0]]
    values = values if isinstance(values, list) else [values]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not values or len(numbers) < len(values) or not all(map(math.isfinite, numbers)):
        raise UsageError(f"`{asked[0]}` must be numbers")
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"`{asked[0]}` names a point twice")
    return asked[0], tuple(float(v) for v in numbers)


def _only(table: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{what} knows no `{key}`; it knows {', '.join(known)}")


def _strings(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = content.get(key, [])
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise UsageError(f"`{key}` must be a list of strings")
    return tuple(values)


def _count(content: Mapping[str, Any], key: str) -> int | None:
    value = content.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"`{key}` must be a whole number from 1 on")
    return value
