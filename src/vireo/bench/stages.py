"""A point's three stages: encode, decode, measure. Each runs in another process than the run.

Encoding and decoding get one of their own each time: so each has its own peak memory, and no
encoder meets what another has left in its process.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from vireo.bench.anchors import Anchor, run_anchor, run_binary
from vireo.bench.clips import Clip, raw_frames
from vireo.bench.elementary import decode as decode_elementary
from vireo.bench.elementary import encoder_version, remarks
from vireo.bench.record import CostRecord, SizeRecord
from vireo.bench.streams import VIREO_SUFFIX, pictures
from vireo.options import EncodeOptions
from vireo.video import Frame


@dataclass(frozen=True)
class Measured:
    """What a stream turned out to be.

    Attributes:
        size, parts, frames, decoder: as in `Record`.
        encoder: how the encoder names itself in the stream; None where it doesn't.
    """

    size: SizeRecord
    parts: dict[str, float] = field(default_factory=dict)
    frames: dict[str, list[Any]] = field(default_factory=dict)
    decoder: dict[str, float] = field(default_factory=dict)
    encoder: str | None = None


def encode_anchor(
    anchor: Anchor, value: float, clip: Clip, target: Path, threads: int
) -> CostRecord:
    """Encode to an elementary stream; the cost of the encoder alone."""
    meter = _Meter()
    if anchor.encoder.in_pyav:
        run_anchor(anchor, value, raw_frames(clip.raw, clip.format), clip.format, target, threads)
    else:
        run_binary(anchor, value, clip.raw, clip.format, target, threads)
    return meter.cost()


def encode_vireo(
    options: EncodeOptions, clip: Clip, target: Path, say: Callable[[str], None]
) -> tuple[CostRecord, int]:
    """Encode to a Vireo file; its cost, and the trials made to meet a target.

    An interrupted encode of the same target goes on where it was.
    """
    import vireo
    from vireo.codecs.encoding import FrameReport

    done = 0

    def listen(event: Any) -> None:
        nonlocal done
        if isinstance(event, FrameReport):
            done += 1
            say(f"encodes {done}/{clip.frames}")

    asked = {f.name: getattr(options, f.name) for f in fields(options)}
    trials_before = target.with_name(f"{target.name}.vireo-trials").exists()
    meter = _Meter()
    report = vireo.encode(clip.path, target, overwrite=True, listener=listen, **asked)
    complete = not report.resumed and not trials_before
    return meter.cost(complete=complete), report.trials


def decode(stream: Path, threads: int) -> CostRecord:
    """Decode every frame, and drop it."""
    meter = _Meter()
    for _ in pictures(stream, threads=threads):
        pass
    return meter.cost()


def measure(stream: Path, clip: Clip, wanted: tuple[str, ...], threads: int) -> Measured:
    """Sizes, and quality frame by frame against the clip; `wanted` as in `Plan.measures`."""
    from vireo.metrics.quality import GROUPS, measure_frame

    groups = set(wanted) & set(GROUPS)
    about, decoded = (
        _about_vireo(stream, threads)
        if stream.suffix == VIREO_SUFFIX
        else _about_elementary(stream, threads)
    )
    if "ms-ssim" in wanted:
        import torch

        torch.set_num_threads(threads)
    series: dict[str, list[Any]] = {"type": [], "bytes": []}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "decoded.yuv"
        with copy.open("wb") as file:
            for (kind, bytes_, frame), source in zip(
                decoded, raw_frames(clip.raw, clip.format), strict=True
            ):
                series["type"].append(kind)
                series["bytes"].append(bytes_)
                values = measure_frame(source, frame, groups, clip.is_full_range)
                for name, value in values.items():
                    series.setdefault(name, []).append(_shortened(value))
                if "vmaf" in wanted:
                    for plane in frame.planes:
                        file.write(plane.tobytes())
        if "vmaf" in wanted:
            series["vmaf_neg"] = _vmaf(clip, copy, threads)
    return replace(about, frames=series)


def _shortened(value: float | None) -> float | None:
    """Seven digits: within 1e-6 dB, and a third of the results file."""
    return None if value is None else float(f"{value:.7g}")


def _vmaf(clip: Clip, decoded: Path, threads: int) -> list[float]:
    from vireo.metrics.vmaf import vmaf_neg

    shape = clip.format.width, clip.format.height
    return vmaf_neg(clip.raw, decoded, shape, clip.frames, clip.frame_rate, threads=threads)


Described = Iterator[tuple[str, int, Frame]]
"""Type, bytes and picture of each frame, in display order."""


def _about_vireo(stream: Path, threads: int) -> tuple[Measured, Described]:
    """What a file says without its pictures, and its frames."""
    import vireo
    from vireo.report import CONTAINER

    info = vireo.probe(stream)
    container = round(info.parts[CONTAINER])
    about = Measured(
        SizeRecord(info.size, info.size - container, container),
        {name: round(size, 1) for name, size in info.parts.items() if name != CONTAINER},
        decoder=asdict(info.complexity),
    )
    packets = sorted(info.packets, key=lambda p: p.pts)
    shown = zip(packets, pictures(stream, threads=threads), strict=True)
    return about, ((packet.frame_type, packet.size, frame) for packet, frame in shown)


def _about_elementary(stream: Path, threads: int) -> tuple[Measured, Described]:
    """As `_about_vireo`, of an elementary stream."""
    data = stream.read_bytes()
    text = remarks(data, stream.suffix[1:])
    about = Measured(
        SizeRecord(len(data), len(data) - text, 0, text), encoder=encoder_version(data)
    )
    shown = decode_elementary(stream, threads=threads)
    return about, ((coded.type, coded.size, frame) for coded, frame in shown)


class _Meter:
    """Seconds since its making, and the process' largest size; child processes count."""

    def __init__(self) -> None:
        self._wall = perf_counter()
        self._cpu = _cpu_seconds()

    def cost(self, *, complete: bool = True) -> CostRecord:
        wall, cpu = perf_counter() - self._wall, _cpu_seconds() - self._cpu
        return CostRecord(round(wall, 4), round(cpu, 4), _peak_memory(), complete)


def _peak_memory() -> int:
    """Largest resident bytes of this process or a child.

    Linux counts in `ru_maxrss` what the parent held when it forked, so that the process' own
    mark is read where there is one.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    status = Path("/proc/self/status")
    if status.exists():
        marks = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        own = int(marks[0].split()[1]) * 1024 if marks else own
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    return max(own, children)


def _cpu_seconds() -> float:
    times = os.times()
    return process_time() + times.children_user + times.children_system
