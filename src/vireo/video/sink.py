"""What every way of writing frames has in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import av

from vireo.errors import UsageError, VireoError
from vireo.video.frame import Frame, VideoFormat


class VideoSink(ABC):
    """Takes frames in display order. A context manager; or call `close` or `abort`.

    Attributes:
        format: what holds for every frame.
        notices: what is lost or left out, a sentence each; complete after `close`.
        frame_count: frames written so far.
        keep_partial: whether a `VireoError` that ends the `with` block keeps the frames
            written before it. Any other exception discards them.
    """

    def __init__(self, format: VideoFormat):
        self.format = format
        self.notices: tuple[str, ...] = ()
        self.frame_count = 0
        self.keep_partial = False
        self._open = True

    def write(self, frame: Frame) -> None:
        """Write the next frame.

        Raises:
            ValueError: the frame's size is not the format's, or the sink is closed.
            BrokenPipeError: who reads standard output has gone; stop quietly.
            OSError: the disk is full, or the like.
            UsageError: the format written can't hold this frame, such as for its time stamp.
        """
        if not self._open:
            raise ValueError("the sink is closed")
        if (frame.width, frame.height) != (self.format.width, self.format.height):
            raise ValueError(
                f"a frame of {frame.width}x{frame.height} in a video of "
                f"{self.format.width}x{self.format.height}"
            )
        with self._translated():
            self._write(frame)
        self.frame_count += 1

    def close(self) -> None:
        """Finish the file and give it its name. Once closed, does nothing.

        Raises:
            BrokenPipeError, OSError, UsageError: as `write` does, and a file of video with no
                frame is refused; nothing is left behind.
        """
        if self._open:
            self._open = False
            try:
                with self._translated():
                    self._finish()
            except BaseException:
                self._discard()
                raise

    def abort(self) -> None:
        """Remove what was written. Once closed, does nothing."""
        if self._open:
            self._open = False
            self._discard()

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        kept = isinstance(exc, VireoError) and self.keep_partial and self.frame_count > 0
        if exc is None or kept:
            self.close()
        else:
            self.abort()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            reason = error.strerror or error
            raise UsageError(f"frame {self.frame_count} can't be written: {reason}") from error

    @abstractmethod
    def _write(self, frame: Frame) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...

    @abstractmethod
    def _discard(self) -> None:
        """Remove what was written; called once, in any state."""


class StagedFile:
    """A file that grows under a temporary name beside its own.

    Attributes:
        temporary: where to write.
    """

    def __init__(self, path: Path, overwrite: bool):
        if path.is_dir():
            raise UsageError(f"{path} is a directory")
        if path.exists() and not overwrite:
            raise UsageError(f"{path} exists: choose another name, or allow overwriting")
        if not path.parent.is_dir():
            raise UsageError(f"the directory {path.parent} does not exist")
        if not os.access(path.parent, os.W_OK):
            raise UsageError(f"the directory {path.parent} can't be written to")
        self._path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.part")

    def publish(self) -> None:
        """Give the file its own name, at once and whole."""
        self.temporary.replace(self._path)

    def discard(self) -> None:
        """Remove the temporary file, where there is one."""
        self.temporary.unlink(missing_ok=True)
