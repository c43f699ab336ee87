"""Finished packets on disk, so that an interrupted encode goes on where it was.

A journal is a file beside the output: one line of JSON that says what is being made,
then packets, each after its length and CRC-32C. A torn last record is dropped.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from vireo import _core

_RECORD = struct.Struct("<II")  # length, CRC-32C
_VERSION = 1


class PacketJournal:
    """The journal of one encode.

    Args:
        path: the journal's file; made if it isn't there.
        identity: everything that determines the packets (source, settings, seed), as JSON
            values. A journal of something else is started afresh.

    Attributes:
        resumed: packets that an earlier run left.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        line = json.dumps({"vireo-journal": _VERSION, **identity}, sort_keys=True).encode() + b"\n"
        self._packets, end = _read(path, line)
        self.resumed = len(self._packets)
        self._file: BinaryIO = open(path, "r+b" if end else "w+b")  # noqa: SIM115
        self._file.truncate(end)
        self._file.seek(end)
        if not end:
            self._write(line)

    def packets(self) -> Sequence[bytes]:
        return self._packets

    def append(self, packet: bytes) -> None:
        self._write(_RECORD.pack(len(packet), _core.crc32c(packet)) + packet)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        """The output is whole: the journal has served."""
        self.close()
        self.path.unlink(missing_ok=True)


def _read(path: Path, line: bytes) -> tuple[list[bytes], int]:
    """Packets of a journal that starts with `line`, and the offset behind the last one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    if not data.startswith(line):
        return [], 0
    packets = []
    position = len(line)
    while position + _RECORD.size <= len(data):
        size, checksum = _RECORD.unpack_from(data, position)
        packet = data[position + _RECORD.size : position + _RECORD.size + size]
        if len(packet) < size or _core.crc32c(packet) != checksum:
            break
        packets.append(packet)
        position += _RECORD.size + size
    return packets, position
