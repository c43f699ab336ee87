"""The results file of a run: opened by one run at a time, appended to, never rewritten."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

from vireo.bench.record import Record, read_records
from vireo.errors import UsageError
from vireo.journal import lock_file


class Results:
    """Finished points by key; use it as a context manager.

    Args:
        path: the JSON-lines file, made if it isn't there. A last line without its end,
            as a killed run leaves it, is cut off. Raises InputError where it holds anything
            else than records, UsageError where another run has it open.

    Attributes:
        records: every record, in order.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.Lock()
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise UsageError(f"{path} can't be written to: {error.strerror}") from error
        try:
            try:
                lock_file(self._file)
            except OSError as error:
                raise UsageError(f"{path}: another run writes to it") from error
            self.records = read_records(path)
            self._file.seek(0)
            data = self._file.read()
            self._file.truncate(data.rfind(b"\n") + 1)
        except BaseException:
            self._file.close()
            raise

    @property
    def streams(self) -> Path:
        """The folder of the encoded files, beside the results."""
        return streams_folder(self.path)

    def append(self, record: Record) -> None:
        """Add a record, and see it on disk; can be called from any thread."""
        with self._mutex:
            self._file.write(record.to_line().encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self.records.append(record)

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def streams_folder(results: Path) -> Path:
    """Where the encoded files of a results file are."""
    return results.with_suffix(".streams")
