"""One point of a run: what determines it, and the note of its finished encode."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from vireo.bench.clips import Clip
from vireo.bench.environment import codec_fingerprint, versions
from vireo.bench.plan import Entry
from vireo.bench.record import CostRecord
from vireo.bench.streams import VIREO_SUFFIX
from vireo.options import Adapt


@dataclass(frozen=True)
class Point:
    """One clip through one codec at one rate point.

    Attributes:
        entry, clip, value: what, on what, where.
        threads: per process.
        key: hash of everything that determines the stream.
    """

    entry: Entry
    clip: Clip
    value: float
    threads: int
    key: str = field(init=False)

    def __post_init__(self) -> None:
        content = json.dumps(
            {
                "clip": self.clip.sha256,
                "frames": self.clip.frames,
                "settings": self.entry.settings(),
                "control": self.entry.control,
                "value": self.value,
                **self._code(),
            },
            sort_keys=True,
        )
        object.__setattr__(self, "key", sha256(content.encode()).hexdigest()[:16])

    def _code(self) -> dict[str, Any]:
        """What makes the stream; most of Vireo's don't depend on the number of threads."""
        if self.entry.anchor is None:
            code = {"vireo": versions()["vireo"], "code": codec_fingerprint()}
            options = self.entry.options
            if options.is_pretrained:
                from vireo import weights

                path = weights.named(options.model, self.entry.codec).path
                code["weights"] = sha256(path.read_bytes()).hexdigest()
            # By the clock, or by sums whose order follows from the threads.
            by_clock = options.adapt != Adapt.NONE or options.time_budget is not None
            if by_clock or options.codec == "nvrc":
                code["threads"] = str(self.threads)
            return code
        package = "av" if self.entry.anchor.encoder.in_pyav else "imageio-ffmpeg"
        return {package: versions().get(package), "threads": self.threads}

    def vireo_command(self) -> list[str]:
        """What to type for the stream of a codec of Vireo."""
        command = ["vireo", "encode", str(self.clip.path), self.stream]
        for name, setting in self.entry.settings().items():
            command += [f"--{name}", str(setting)]
        command += [f"--{self.entry.control}", f"{self.value:.12g}"]
        return [*command, "--frames", str(self.clip.frames), "--threads", str(self.threads)]

    @property
    def stream(self) -> str:
        anchor = self.entry.anchor
        return self.key + (f".{anchor.encoder.muxer}" if anchor else VIREO_SUFFIX)

    def __str__(self) -> str:
        control, value = self.entry.control, self.value
        return f"{self.clip.path.stem}, {self.entry.label}, {control} {value:g}"


@dataclass(frozen=True)
class Encoded:
    """A finished encode, noted beside its stream, so that what fails later doesn't lose it.

    Attributes:
        cost: of all trials.
        trials: how many encodes met the target.
        command: what a person would type for it.
    """

    cost: CostRecord
    trials: int
    command: str

    @staticmethod
    def read(stream: Path) -> Encoded | None:
        """The note of a stream, where both are there and belong together."""
        try:
            content = json.loads(_note(stream).read_text())
            if content.pop("size") != stream.stat().st_size:
                return None
            return Encoded(**{**content, "cost": CostRecord(**content["cost"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, stream: Path) -> None:
        content = {**asdict(self), "size": stream.stat().st_size}
        _note(stream).write_text(json.dumps(content))


def _note(stream: Path) -> Path:
    return stream.with_name(f"{stream.name}.json")
