"""Which frames can be encoded now: those whose references are decoded."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from vireo.container import GopStart
from vireo.errors import VireoError
from vireo.gop import PlannedFrame
from vireo.video.frame import Frame


@dataclass(eq=False)
class Task:
    """A frame to encode.

    Attributes:
        planned: its place in its GOP.
        frame: the source.
        first: index of the GOP's first frame in the video.
        place: its place in the GOP's coding order.
        start: what the GOP's packets share.
        gop: all of the GOP's frames, if this is the first that is coded.
        references: decoded pictures, there once it is started.
        parsed: what was parsed of each reference's packet.
    """

    planned: PlannedFrame
    frame: Frame
    first: int
    place: int
    start: GopStart
    gop: Sequence[Frame] = ()
    references: list[Any] = field(default_factory=list)
    parsed: list[Any] = field(default_factory=list)

    @property
    def index(self) -> int:
        """Display order in the whole video."""
        return self.first + self.planned.display_index

    @property
    def coding_index(self) -> int:
        """Coding order in the whole video."""
        return self.first + self.place


class TaskQueue:
    """Frames in coding order, some of them ahead of their turn.

    A decoded picture is kept while a frame that isn't started refers to it. The next GOP is
    opened when no frame of those that are open can start.

    Args:
        gops: each GOP's tasks in coding order.

    Attributes:
        failure: what ended the input, if an error did.
    """

    def __init__(self, gops: Iterator[list[Task]]) -> None:
        self.failure: VireoError | None = None
        self._gops = gops
        self._waiting: deque[Task] = deque()
        self._decoded: dict[int, tuple[Any, Any]] = {}
        self._users: Counter[int] = Counter()

    def start(self, free: int, most: int) -> list[tuple[Task, int]]:
        """Tasks to start with `free` threads, at most `most` of them, and each one's share."""
        if free < 1 or most < 1:
            return []
        ready = [task for task in self._waiting if self._is_ready(task)]
        while len(ready) < min(free, most) and self._open_gop():
            ready = [task for task in self._waiting if self._is_ready(task)]
        chosen = ready[: min(free, most)]
        started = []
        for place, task in enumerate(chosen):
            share = (free * (place + 1)) // len(chosen) - (free * place) // len(chosen)
            started.append((task, share))
            self._waiting.remove(task)
            known = [self._decoded[task.first + r] for r in task.planned.references]
            task.references = [decoded for decoded, _ in known]
            task.parsed = [parsed for _, parsed in known]
            for reference in task.planned.references:
                self._release(task.first + reference)
        return started

    def finish(self, task: Task, decoded: Any, parsed: Any = None) -> None:
        """A task's picture is decoded."""
        if self._users[task.index]:
            self._decoded[task.index] = decoded, parsed

    def _is_ready(self, task: Task) -> bool:
        return all(task.first + r in self._decoded for r in task.planned.references)

    def _open_gop(self) -> bool:
        try:
            gop = next(self._gops, None)
        except VireoError as error:
            self.failure = error  # the frames that are open come first
            return False
        if gop is None:
            return False
        for task in gop:
            self._waiting.append(task)
            self._users.update(task.first + r for r in task.planned.references)
        return True

    def _release(self, index: int) -> None:
        self._users[index] -= 1
        if not self._users[index]:
            del self._users[index]
            del self._decoded[index]
