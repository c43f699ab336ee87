"""Records made by hand, for numbers that can be checked by hand."""

from __future__ import annotations

from typing import Any

from vireo.bench.record import ClipRecord, CostRecord, Record, SizeRecord


def clip_record(name: str = "clip", frames: int = 2, **others: Any) -> ClipRecord:
    """10x10 samples at 10 frames per second."""
    values = {"path": f"clips/{name}.mkv", "sha256": name, "width": 10, "height": 10}
    return ClipRecord(**({"name": name, "frame_rate": "10/1", "frames": frames} | values | others))


def point(
    label: str,
    value: float,
    video: int,
    mse: float = 1.0,
    *,
    clip: str | ClipRecord = "clip",
    seconds: float = 1.0,
    complete: bool = True,
    container: int = 0,
    remarks: int = 0,
    **others: Any,
) -> Record:
    """A point of `video` bytes whose planes all have one mean squared error in every frame.

    Half of its bytes but 10 are an I frame's, the other half but 10 a P frame's.
    """
    clip = clip_record(clip) if isinstance(clip, str) else clip
    cost = CostRecord(seconds, 2 * seconds, 50_000_000, complete)
    series = {name: [mse] * clip.frames for name in ("mse_y", "mse_u", "mse_v")}
    size = video // 2 - 10
    values: dict[str, Any] = {
        "key": f"{clip.name} {label} {value}",
        "label": label,
        "codec": label.split()[0],
        "settings": {},
        "control": "crf",
        "value": value,
        "clip": clip,
        "size": SizeRecord(video + container + remarks, video, container, remarks),
        "parts": {},
        "frames": {"type": ["I", "P"], "bytes": [size, size], **series},
        "encode": cost,
        "decode": CostRecord(seconds / 10, seconds / 5, 20_000_000, complete),
        "decoder": {},
        "trials": 1,
        "threads": 1,
        "jobs": 1,
        "versions": {"encoder": "1.0"},
        "machine": {"processor": "a processor", "cores": 2, "memory": 3 << 30},
        "command": f"encode --crf {value:g} {clip.path}",
        "stream": f"{clip.name}-{label}-{value}.h264",
        "finished": "2026-01-02T03:04:05Z",
    }
    return Record(**(values | others))


def line(label: str, sizes: list[int], **others: Any) -> list[Record]:
    """Points of rising rate and quality: the MSE is halved from one to the next."""
    return [
        point(label, 30 - step, size, 16.0 / 2**step, **others) for step, size in enumerate(sizes)
    ]
