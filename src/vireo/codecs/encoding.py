"""Encoding a stream of GOPs: frames in, packets out.

The same for every codec with one picture per packet: which frame is coded when, from
which decoded pictures, what its packet says, and how an interrupted run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event, Lock
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.base import PictureDecoder, Planes, parse_whole
from vireo.codecs.order import Task, TaskQueue
from vireo.container import (
    CodedFrame,
    FrameType,
    GopStart,
    Packet,
    Section,
    StreamHeader,
    read_packet,
    write_packet,
)
from vireo.errors import InputError
from vireo.gop import GopStructure, PlannedFrame, gop_frames
from vireo.metrics import plane_mse
from vireo.options import EncodeOptions
from vireo.profiling import TimeProfile
from vireo.video.frame import Frame, VideoFormat

SAMPLES_AT_A_TIME = 1 << 23
"""Luma samples of the frames that are encoded side by side, at most."""


@dataclass(frozen=True)
class PictureJob:
    """One picture to encode.

    Attributes:
        index: its place in the whole video in display order, from 0.
        coding_index: its place in coding order, from 0.
        frame_type: I, P or B.
        importance, effort, block_weights: what its quality, its encoder's time and its squared
            errors are worth (`gop.PlannedFrame`).
        target: the planes to come near to, at the coded size: the source's, or what is planned
            instead (`gop.PlannedFrame`).
        references: decoded pictures, as the codec has them.
        parsed: what the codec's `PictureDecoder.parse` made of each reference's packet.
        threads: how many to use.
        is_last: whether it is the last one of its GOP, in coding order.
        display_index: its place in its GOP in display order, from 0.
        gop: of the first one that is coded, all of the GOP's frames, in display order.
    """

    index: int
    coding_index: int
    frame_type: FrameType
    importance: float
    target: Planes
    references: Sequence[Any]
    parsed: Sequence[Any] = ()
    threads: int = 1
    effort: float = 1.0
    is_last: bool = False
    display_index: int = 0
    gop: Sequence[Frame] = ()
    block_weights: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class EncodedPicture:
    """What an encoder makes of a picture: its sections, and what a decoder makes of those."""

    sections: tuple[Section, ...]
    decoded: Any
    iterations: int


@dataclass(frozen=True)
class FrameReport:
    """What became of one frame.

    Attributes:
        index: display order, from 0.
        frame_type: I, P or B.
        size: bytes of the packet.
        mse: mean squared error of Y, U and V in squared sample values.
        seconds: time it took; 0 where a journal had it already.
        iterations: steps of training or of refinement.
    """

    index: int
    frame_type: FrameType
    size: int
    mse: tuple[float, float, float]
    seconds: float
    iterations: int


@dataclass(frozen=True)
class FrameProgress:
    """How far the frame at hand is: steps done and planned."""

    index: int
    frame_type: FrameType
    iterations: int
    planned: int


Listener = Callable[[FrameReport | FrameProgress], None]
Progress = Callable[[int, int], None]
"""Told of iterations done and planned."""


class PictureEncoder(Protocol):
    """How a codec with one picture per packet encodes; `GopEncoder` does the rest.

    Attributes:
        identity: changes with what, beside options and stream header, determines the packets.
    """

    @property
    def identity(self) -> str: ...

    def computing(self, threads: int) -> AbstractContextManager[None]:
        """In which a picture is worked at, by its thread, with so many of the codec's."""

    def encode(self, job: PictureJob, progress: Progress) -> EncodedPicture:
        """Encode one picture; calls `progress` now and then."""

    def plan(self, structure: GopStructure, gop: Sequence[Frame]) -> tuple[PlannedFrame, ...]:
        """Which of a GOP's frames is coded when, from which (`gop.plan_gop`)."""

    def decoder(self, header: StreamHeader, index: int) -> PictureDecoder:
        """What decodes the picture at a place in display order."""

    def held_pictures(self, structure: GopStructure, frames: int) -> int:
        """The most reference pictures that a decoder holds in a GOP of up to so many frames."""


class HasOwnThreads:
    """Picture encoders whose jobs say how many threads to use, and nothing else does."""

    def computing(self, threads: int) -> AbstractContextManager[None]:
        """Nothing is to be done."""
        return nullcontext()


@dataclass(frozen=True)
class Opening:
    """What an encoder is opened with.

    Attributes:
        options: what was asked for.
        video: the source's format.
        frames: how many there are, or None.
        source: opens the source anew, for those that look at all of it first.
        folder: may be made, for what an interrupted run should find again; it goes when the
            output is whole.
        identity: everything that determines what is made; what is of another is not gone on with.
        say: told, in sentences, what a person should know.
        times: told where the time goes.
    """

    options: EncodeOptions
    video: VideoFormat
    frames: int | None
    source: Callable[[], AbstractContextManager[Iterable[Frame]]]
    folder: Path
    identity: str
    say: Callable[[str], None]
    times: TimeProfile | None = None


class Journal(Protocol):
    """Finished packets that outlive the process."""

    def packets(self) -> Mapping[int, bytes]:
        """Those of an earlier run, by place in coding order."""

    def append(self, place: int, packet: bytes) -> None:
        """Keep one more, durably."""


class GopEncoder:
    """Encodes frames GOP by GOP (see `codecs.base.Encoder`).

    Frames that don't wait for each other are encoded side by side, each with its share of
    the threads: the same packets come out as with one thread, sooner.

    Args:
        header: the stream header.
        pictures: the codec's picture encoder.
        structure, gop_size: the structure of GOPs; `gop_size` inter frames follow an I frame.
        threads: to share out, at least 1.
        side_by_side: False where each frame shall have all threads, one after another.
        journal: packets of an earlier run are taken over instead of being made again.
        listener: told of progress and of each finished frame, by one thread at a time.
    """

    def __init__(
        self,
        header: StreamHeader,
        pictures: PictureEncoder,
        structure: GopStructure,
        gop_size: int,
        *,
        threads: int = 1,
        side_by_side: bool = True,
        journal: Journal | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.header = header
        self._pictures = pictures
        self._structure = structure
        self._gop_frames = gop_frames(structure, gop_size)
        self._threads = threads
        self._side_by_side = side_by_side
        self._journal = journal
        self._known = dict(journal.packets()) if journal else {}
        self._listener = listener or (lambda event: None)
        self._mutex = Lock()
        self._stopped = Event()

    def encode(self, frames: Iterable[Frame]) -> Iterator[Packet]:
        """Packets in coding order. Memory holds one GOP, or as many as are encoded at a time.

        Raises InputError for no frames, or for one that doesn't come after the one before, once
        every GOP before it has been given.
        """
        queue = TaskQueue(self._gops(frames))
        most = self._most_at_a_time()
        free = self._threads
        running: dict[Future[_Finished], tuple[Task, int]] = {}
        finished: dict[int, tuple[Task, _Finished]] = {}
        given = 0
        pool = ThreadPoolExecutor(most, "vireo-encode")
        try:
            while True:
                for task, share in queue.start(free, most - len(running)):
                    free -= share
                    running[pool.submit(self._work, task, share)] = task, share
                if not running and not finished:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task, share = running.pop(future)
                    free += share
                    result = self._keep(task, future.result())
                    finished[task.coding_index] = task, result
                    queue.finish(task, result.decoded, result.parsed)
                while given in finished:
                    yield self._give(*finished.pop(given))
                    given += 1
        finally:
            self._stopped.set()
            pool.shutdown(cancel_futures=True)
            for future, (task, _) in running.items():  # what ended meanwhile isn't lost
                if not future.cancelled() and future.exception() is None:
                    self._keep(task, future.result())
        if queue.failure:
            raise queue.failure
        if given == 0:
            raise InputError("the input has no frames")

    def _most_at_a_time(self) -> int:
        """Frames side by side: no more than memory should hold."""
        if not self._side_by_side:
            return 1
        video = self.header.video_format
        return min(self._threads, max(1, SAMPLES_AT_A_TIME // (video.width * video.height)))

    def _gops(self, frames: Iterable[Frame]) -> Iterator[list[Task]]:
        source = _rising(frames)
        first = 0
        while gop := list(islice(source, self._gop_frames)):
            start = GopStart(self.header, gop[0].pts, len(gop))
            yield [
                Task(
                    planned,
                    gop[planned.display_index],
                    first,
                    place,
                    start,
                    () if place else gop,
                )
                for place, planned in enumerate(self._pictures.plan(self._structure, gop))
            ]
            first += len(gop)

    def _work(self, task: Task, threads: int) -> _Finished:
        """One picture, made or taken from the journal; runs in a thread of its own."""
        with self._pictures.computing(threads):
            return self._made(task, threads)

    def _made(self, task: Task, threads: int) -> _Finished:
        began = perf_counter()
        decoder = self._pictures.decoder(self.header, task.index)
        if task.coding_index in self._known:
            data = self._known[task.coding_index]
            parsed = _parse(decoder, data, task)
            decoded = decoder.reconstruct(parsed, task.references)
            iterations, seconds = 0, 0.0
        else:
            make_target = task.planned.target
            job = PictureJob(
                task.index,
                task.coding_index,
                FrameType(len(task.references)),
                task.planned.importance,
                make_target(threads) if make_target else pad_to_even(task.frame),
                task.references,
                task.parsed,
                threads,
                task.planned.effort,
                task.place + 1 == task.start.gop_frames,
                task.planned.display_index,
                task.gop,
                task.planned.block_weights,
            )
            picture = self._pictures.encode(job, partial(self._progress, job))
            decoded, iterations = picture.decoded, picture.iterations
            data = write_packet(self._coded(picture, decoder, task), task.start)
            parsed = _parse(decoder, data, task)
            seconds = perf_counter() - began
        shown = decoder.crop(decoded)
        y, u, v = (plane_mse(a, b) for a, b in zip(shown, task.frame.planes, strict=True))
        kind = FrameType(len(task.references))
        report = FrameReport(task.index, kind, len(data), (y, u, v), seconds, iterations)
        return _Finished(data, decoded, parsed, report)

    def _progress(self, job: PictureJob, done: int, planned: int) -> None:
        if self._stopped.is_set():
            raise _Stopped
        with self._mutex:
            self._listener(FrameProgress(job.index, job.frame_type, done, planned))

    def _keep(self, task: Task, finished: _Finished) -> _Finished:
        if self._journal and task.coding_index not in self._known:
            self._journal.append(task.coding_index, finished.data)
        return finished

    def _give(self, task: Task, finished: _Finished) -> Packet:
        with self._mutex:
            self._listener(finished.report)
        return Packet(finished.data, task.frame.pts, task.planned.display_index == 0)

    def _coded(self, picture: EncodedPicture, decoder: PictureDecoder, task: Task) -> CodedFrame:
        planned = task.planned
        is_key = planned.display_index == 0
        return CodedFrame(
            frame_type=FrameType(len(planned.references)),
            display_index=planned.display_index,
            pts=task.frame.pts,
            references=planned.references,
            picture_hash=decoder.hash(picture.decoded),
            sections=picture.sections,
            header=self.header if is_key else None,
            gop_frames=task.start.gop_frames if is_key else None,
            released=planned.released,
        )


class _Stopped(Exception):
    """Ends a frame's encoding that nobody waits for any more."""


@dataclass(frozen=True)
class _Finished:
    data: bytes
    decoded: Any
    parsed: Any
    report: FrameReport


def _parse(decoder: PictureDecoder, data: bytes, task: Task) -> Any:
    states = [parsed.state for parsed in task.parsed]
    return parse_whole(decoder, read_packet(data, task.start), states)


def _rising(frames: Iterable[Frame]) -> Iterator[Frame]:
    before: int | None = None
    for index, frame in enumerate(frames):
        if before is not None and frame.pts <= before:
            raise InputError(f"frame {index} is not shown after the one before, by its time stamp")
        before = frame.pts
        yield frame


def pad_to_even(frame: Frame) -> Planes:
    """The source at the size at which chroma has exactly half of luma's samples."""
    pad = [(0, frame.height % 2), (0, frame.width % 2)]
    y = np.ascontiguousarray(np.pad(frame.y, pad, mode="edge"))
    return y, np.ascontiguousarray(frame.u), np.ascontiguousarray(frame.v)
