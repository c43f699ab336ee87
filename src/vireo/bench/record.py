"""What one finished point of a run says, and the JSON-lines file that collects them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vireo.errors import InputError

SCHEMA = 1


@dataclass(frozen=True)
class ClipRecord:
    """What was encoded.

    Attributes:
        name: the file's name without its suffix.
        path: where it was.
        sha256: of the file.
        width, height: luma samples.
        frame_rate: frames per second, as a fraction: "30000/1001".
        frames: frames encoded, from the first on.
        matrix: H.273 code point of the colour matrix, 2 where the file doesn't say.
        full_range: whether samples use 0…255 instead of 16…235.
    """

    name: str
    path: str
    sha256: str
    width: int
    height: int
    frame_rate: str
    frames: int
    matrix: int = 2
    full_range: bool = False


@dataclass(frozen=True)
class SizeRecord:
    """Bytes of the encoded file, divided.

    Attributes:
        file: the file on disk.
        video: the coded video: what every rate in the report comes from.
        container: what the file adds to the coded video.
        remarks: text about the encoder and its settings inside the elementary stream
            (H.264 and H.265 user data), which no decoder needs.
    """

    file: int
    video: int
    container: int = 0
    remarks: int = 0


@dataclass(frozen=True)
class CostRecord:
    """What a process used.

    Attributes:
        wall, cpu: seconds.
        peak_memory: largest resident size of the process, bytes.
        complete: False where the process went on with an interrupted one's work, so that
            its times are only a part.
    """

    wall: float
    cpu: float
    peak_memory: int
    complete: bool = True


@dataclass(frozen=True)
class Record:
    """One clip through one codec at one rate point.

    Attributes:
        key: hash of everything that determines the result.
        label: what the run file calls the codec.
        codec: an anchor's name, or a codec of Vireo.
        settings: what the codec was asked for, rate aside.
        control, value: how its rate was chosen, and where: ("crf", 27).
        clip: what was encoded.
        size: bytes of the result.
        parts: bytes of `size.video` by what they are for.
        frames: one list per measure, in display order: "type" ("I", "P", "B"), "bytes",
            and the series of `metrics.SERIES` that were asked for.
        encode, decode: what these took.
        decoder: "parameters" and "multiplications" per luma sample, averaged over the
            frames, of a learned decoder; empty for others.
        trials: encodes made to meet a rate target.
        threads, jobs: threads per process, and processes at a time.
        versions, machine: what it ran with and on.
        command: what a person would type for the same stream.
        stream: the file's name in the results' folder of streams.
        finished: UTC, ISO 8601.
    """

    key: str
    label: str
    codec: str
    settings: dict[str, Any]
    control: str
    value: float
    clip: ClipRecord
    size: SizeRecord
    parts: dict[str, float]
    frames: dict[str, list[Any]] = field(repr=False)
    encode: CostRecord
    decode: CostRecord
    decoder: dict[str, float]
    trials: int
    threads: int
    jobs: int
    versions: dict[str, str]
    machine: dict[str, Any]
    command: str
    stream: str
    finished: str

    @property
    def bits_per_pixel(self) -> float:
        """Of the coded video, per luma sample."""
        samples = self.clip.width * self.clip.height * self.clip.frames
        return 8 * self.size.video / samples

    @property
    def kbit_per_second(self) -> float:
        """Of the coded video."""
        numerator, _, denominator = self.clip.frame_rate.partition("/")
        seconds = self.clip.frames * int(denominator or 1) / int(numerator)
        return 8 * self.size.video / 1000 / seconds

    @property
    def point(self) -> tuple[str, str, str, float]:
        """Clip, label, control and value: what a reader takes for one point."""
        return self.clip.name, self.label, self.control, self.value

    def to_line(self) -> str:
        """One line of JSON, without its end."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":"))

    @staticmethod
    def from_json(content: dict[str, Any]) -> Record:
        """Raises KeyError, TypeError or ValueError for anything else than a record."""
        values = dict(content)
        if values.pop("schema") != SCHEMA:
            raise ValueError(f"schema {content['schema']}; this version reads {SCHEMA}")
        values["clip"] = ClipRecord(**values["clip"])
        values["size"] = SizeRecord(**values["size"])
        values["encode"] = CostRecord(**values["encode"])
        values["decode"] = CostRecord(**values["decode"])
        record = Record(**values)
        if any(len(series) != record.clip.frames for series in record.frames.values()):
            raise ValueError("the series don't have one value per frame")
        return record


def read_records(path: Path) -> list[Record]:
    """The records of a results file, in their order.

    A last line without its end is what a killed run leaves, and is passed over. Raises
    InputError, which names the line, for anything else that is no record.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    records = []
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            records.append(Record.from_json(json.loads(line)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}, line {number}: this is no result of a run") from error
    return records


def latest(records: Iterable[Record]) -> list[Record]:
    """One record per point: the last of those that repeat it."""
    return list({record.point: record for record in records}.values())
