"""A run's clips: what they are, and their frames as raw samples for every encoder alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from hashlib import file_digest
from pathlib import Path

from vireo.bench.record import ClipRecord
from vireo.errors import InputError
from vireo.video import ColorRange, Frame, VideoFormat, open_source


@dataclass(frozen=True)
class Clip:
    """One clip, opened for a run; can be sent to a process.

    Attributes:
        path: the file.
        sha256: of the file.
        format: size, rate, colour.
        limit: how many frames were asked for; None for all.
        frames: how many are encoded.
        raw: where its samples are kept for the time of the run (`prepare` writes them).
        notices: what reading it converts or leaves out.
    """

    path: Path
    sha256: str
    format: VideoFormat
    limit: int | None
    frames: int
    raw: Path
    notices: tuple[str, ...]

    @staticmethod
    def open(path: Path, frames: int | None, folder: Path) -> Clip:
        """Raises InputError where the clip can't be read, or its frame rate varies."""
        with open_source(path, frames=frames) as source, path.open("rb") as file:
            if source.format.frame_rate is None or not source.frame_count:
                raise InputError(f"{path}: its frame rate varies, so it can't be compared")
            return Clip(
                path,
                file_digest(file, "sha256").hexdigest(),
                source.format,
                frames,
                source.frame_count,
                folder / f"{path.stem}.yuv",
                source.notices,
            )

    @property
    def frame_rate(self) -> Fraction:
        assert self.format.frame_rate is not None  # `open` checks
        return self.format.frame_rate

    @property
    def is_full_range(self) -> bool:
        return self.format.color.range is ColorRange.FULL

    def prepare(self) -> None:
        """Write the raw file, once; raises InputError where the clip is damaged."""
        if self.raw.exists():
            return
        part = self.raw.with_suffix(".part")
        count = 0
        # Read to its end, a truncated file is told from a short one.
        with open_source(self.path, frames=self.limit) as source, part.open("wb") as file:
            for frame in source:
                for plane in frame.planes:
                    file.write(plane.tobytes())
                count += 1
        if count != self.frames:
            raise InputError(f"{self.path}: has {count} frames, not {self.frames}")
        part.rename(self.raw)

    def record(self) -> ClipRecord:
        return ClipRecord(
            self.path.stem,
            str(self.path),
            self.sha256,
            self.format.width,
            self.format.height,
            str(self.frame_rate),
            self.frames,
            self.format.color.matrix,
            self.is_full_range,
        )


def raw_frames(raw: Path, video: VideoFormat) -> Iterator[Frame]:
    """The frames of a prepared clip."""
    size = video.width, video.height
    with open_source(raw, size=size, fps=video.frame_rate, pix_fmt="yuv420p") as source:
        yield from source
