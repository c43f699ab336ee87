"""What both forms of the report say about the runs, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireo.bench.record import Record
from vireo.bench.report.summary import Comparison


@dataclass(frozen=True)
class Facts:
    """How the results came about.

    Attributes:
        when: the day, or the first and last.
        machines, threads, versions: each different one, in order of appearance.
        examples: one record of each codec.
    """

    when: str
    machines: list[str]
    threads: list[str]
    versions: list[str]
    examples: list[Record]


def facts(comparison: Comparison) -> Facts:
    """Of all records together."""
    records = comparison.records
    days = sorted({record.finished[:10] for record in records})
    first = {record.label: record for record in reversed(records)}
    return Facts(
        days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
        _unique(_machine(r.machine) for r in records),
        _unique(f"{count(r.threads, 'thread')} per process, {r.jobs} at a time" for r in records),
        _unique(_version(*item) for r in records for item in r.versions.items()),
        [first[label] for label in comparison.labels],
    )


def count(things: Collection[Any] | int, noun: str) -> str:
    """ "1 clip", "2 clips"."""
    number = things if isinstance(things, int) else len(things)
    return f"{number} {noun}{'' if number == 1 else 's'}"


def setting(record: Record) -> str:
    """How the point's rate was chosen: "crf 27"."""
    return f"{record.control} {record.value:g}"


def command(record: Record) -> str:
    """What makes the stream, wherever the clip is."""
    return record.command.replace(record.clip.path, Path(record.clip.path).name)


def _machine(machine: dict[str, Any]) -> str:
    known = dict(machine)
    memory = known.pop("memory", None)
    words = [str(v) if isinstance(v, str) else f"{v} {name}" for name, v in known.items()]
    return ", ".join(words + ([f"{memory / 2**30:.0f} GiB"] if memory else []))


def _version(name: str, version: str) -> str:
    """An encoder's version begins with its name."""
    return version if name == "encoder" else f"{name} {version}"


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))
