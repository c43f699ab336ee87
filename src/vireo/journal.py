"""Finished packets on disk, so that an interrupted encode goes on where it was.

A journal is a file beside the output: one line of JSON that says what is being made,
then packets, each after its place in coding order, its length and its CRC-32C, in the order
in which they were finished. A torn last record is dropped.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from vireo import _core
from vireo.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows: nothing stops two encodes of one output there
    fcntl = None  # type: ignore[assignment]

_RECORD = struct.Struct("<III")  # place in coding order, length, CRC-32C
_VERSION = 2


class PacketJournal:
    """The journal of one encode.

    Args:
        path: the journal's file; made if it isn't there. No other process may have it open:
            UsageError.
        identity: everything that determines the packets (source, settings, seed), as JSON
            values. A journal of something else is started afresh.

    Attributes:
        resumed: packets that an earlier run left.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        line = json.dumps({"vireo-journal": _VERSION, **identity}, sort_keys=True).encode() + b"\n"
        self._file: BinaryIO = open(path, "a+b")  # noqa: SIM115
        try:
            lock_file(self._file)
        except OSError as error:
            self._file.close()
            raise UsageError(f"{path.name}: another encode of the same output runs") from error
        self._file.seek(0)
        self._packets, end = _read(self._file.read(), line)
        self.resumed = len(self._packets)
        self._is_empty = not self._packets
        self._file.truncate(end)
        if not end:
            self._write(line)

    def packets(self) -> Mapping[int, bytes]:
        """What an earlier run left, by place in coding order."""
        return self._packets

    def append(self, place: int, packet: bytes) -> None:
        self._is_empty = False
        self._write(_RECORD.pack(place, len(packet), _core.crc32c(packet)) + packet)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; a journal without packets is removed."""
        if self._is_empty:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def remove(self) -> None:
        """The output is whole: the journal has served."""
        self._is_empty = True
        self.close()


def lock_file(file: BinaryIO) -> None:
    """Raises OSError where another process has the lock, which ends with the process."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read(data: bytes, line: bytes) -> tuple[dict[int, bytes], int]:
    """Packets of a journal that starts with `line`, and the offset behind the last one."""
    if not data.startswith(line):
        return {}, 0
    packets = {}
    position = len(line)
    while position + _RECORD.size <= len(data):
        place, size, checksum = _RECORD.unpack_from(data, position)
        packet = data[position + _RECORD.size : position + _RECORD.size + size]
        if len(packet) < size or _core.crc32c(packet) != checksum:
            break
        packets[place] = packet
        position += _RECORD.size + size
    return packets, position
