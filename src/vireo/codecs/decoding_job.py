"""Decoding one picture: parsing, parts, stages, verification, each as soon as it can be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from vireo.codecs.base import Begun, ParsedPicture, PictureDecoder, StandsIn
from vireo.codecs.workers import Countdown, Workers
from vireo.container import CodedFrame
from vireo.errors import MissingReferenceError, PictureHashError, StreamError
from vireo.profiling import TimeProfile, measured

T = TypeVar("T")


@dataclass(frozen=True)
class Pending:
    """A picture under way: what those that refer to it wait for.

    Attributes:
        state: its `ParsedPicture.state`, for parsing.
        begun: what `PictureDecoder.begin` gave, for beginning.
        decoded: the picture, for reconstructing. Each has the error that it failed with.
    """

    state: Future[Any]
    begun: Future[Any]
    decoded: Future[Any]

    def stand_in(self, decoder: StandsIn) -> Pending:
        """What is to be referred to in place of the picture behind this one, which is lost."""
        return Pending(
            _made_of(self.state, decoder.stand_in_state),
            self.begun,
            _made_of(self.decoded, decoder.stand_in),
        )

    def or_else(self, other: Pending) -> Pending:
        """This, and what can't be had of it from another."""
        return Pending(
            _first_of(self.state, other.state),
            _first_of(self.begun, other.begun),
            _first_of(self.decoded, other.decoded),
        )


def _made_of(future: Future[Any], make: Callable[[Any], Any]) -> Future[Any]:
    """What `make` makes of a future's result."""
    made: Future[Any] = Future()

    def finish(done: Future[Any]) -> None:
        try:
            made.set_result(make(done.result()))
        except BaseException as error:
            made.set_exception(error)

    future.add_done_callback(finish)
    return made


def _first_of(future: Future[Any], other: Future[Any]) -> Future[Any]:
    """A future's result or, if it fails for what is in the stream, another's."""
    found: Future[Any] = Future()
    others = [other]  # not kept, as futures keep their callbacks

    def copy(done: Future[Any]) -> None:
        error = done.exception()
        if isinstance(error, StreamError) and others:
            others.pop().add_done_callback(copy)
            return
        others.clear()
        if error is None:
            found.set_result(done.result())
        else:
            found.set_exception(error)

    future.add_done_callback(copy)
    return found


class DecodingJob:
    """One picture's way through the workers, in steps none of which blocks a thread.

    It is parsed when its references are, its parts run at the same time, then it is reconstructed
    when the references are decoded, or begun when they are and made in stages; then it is compared
    with its hash. What fails in a step fails it, and those that refer to it.

    Args:
        rank: of its steps; the least goes first.
        references: of the frame's, as they were started.
        times: told where the time goes.
    """

    def __init__(
        self,
        workers: Workers,
        rank: int,
        decoder: PictureDecoder,
        frame: CodedFrame,
        references: Sequence[Pending],
        times: TimeProfile | None,
    ) -> None:
        self._workers = workers
        self._rank = rank
        self._decoder = decoder
        self._frame = frame
        self._references = references
        self._times = times
        self._state: Future[Any] = Future()
        self._begun: Future[Any] = Future()
        self._decoded: Future[Any] = Future()

    def start(self) -> Pending:
        """Submits the first step as soon as it can run."""
        ready = Countdown(1 + len(self._references), lambda: self._submit(self._parse))
        for reference in self._references:
            reference.state.add_done_callback(ready.arrive)
        ready.arrive()
        return Pending(self._state, self._begun, self._decoded)

    def _submit(self, step: Callable[[], None]) -> None:
        self._workers.submit(self._rank, partial(self._run, step))

    def _run(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            self._references = ()
            for future in (self._state, self._begun):
                if not future.done():
                    future.set_exception(error)
            self._decoded.set_exception(error)

    def _parse(self) -> None:
        states = _results([r.state for r in self._references])
        with measured(self._times, "parse"):
            parsed = self._decoder.parse(self._frame, states)
        self._state.set_result(parsed.state)
        errors: dict[int, BaseException] = {}
        ready = Countdown(
            1 + len(parsed.parts) + len(self._references),
            lambda: self._submit(lambda: self._begin(parsed, errors)),
        )
        for index, part in enumerate(parsed.parts):
            run = partial(self._attempt, "parse", index, part, errors, ready)
            self._workers.submit(self._rank, run)
        for reference in self._references:
            reference.begun.add_done_callback(ready.arrive)
        ready.arrive()

    def _attempt(
        self,
        name: str,
        index: int,
        work: Callable[[], None],
        errors: dict[int, BaseException],
        ready: Countdown,
    ) -> None:
        """A part or a stage; `name` is what its time is accounted to."""
        try:
            with measured(self._times, name):
                work()
        except BaseException as error:
            errors[index] = error
        ready.arrive()

    def _begin(self, parsed: ParsedPicture, errors: dict[int, BaseException]) -> None:
        if errors:
            raise errors[min(errors)]
        begun = self._decoder.begin(parsed, _results([r.begun for r in self._references]))
        self._begun.set_result(begun)
        failures: dict[int, BaseException] = {}
        stages = begun.stages if begun else ()
        ready = Countdown(
            1 + len(stages) + len(self._references),
            lambda: self._submit(lambda: self._read_late(parsed, begun, failures)),
        )
        for index, stage in enumerate(stages):
            run = partial(self._attempt, "stages", index, stage.run, failures, ready)
            waiting = Countdown(
                1 + len(stage.after), partial(self._workers.submit, self._rank, run)
            )
            for future in stage.after:
                future.add_done_callback(waiting.arrive)
            waiting.arrive()
        for reference in self._references:
            reference.decoded.add_done_callback(ready.arrive)
        ready.arrive()

    def _read_late(
        self, parsed: ParsedPicture, begun: Begun | None, errors: dict[int, BaseException]
    ) -> None:
        pictures = _results([r.decoded for r in self._references])
        self._references = ()
        if errors:
            raise errors[min(errors)]
        late = self._decoder.late_parts(parsed, pictures)
        if len(late) < 2:  # `reconstruct` does one as well
            self._finish(parsed, begun, pictures, errors)
            return
        ready = Countdown(
            len(late), lambda: self._submit(lambda: self._finish(parsed, begun, pictures, errors))
        )
        for index, part in enumerate(late):
            run = partial(self._attempt, "parse", index, part, errors, ready)
            self._workers.submit(self._rank, run)

    def _finish(
        self,
        parsed: ParsedPicture,
        begun: Begun | None,
        pictures: Sequence[Any],
        errors: dict[int, BaseException],
    ) -> None:
        if errors:
            raise errors[min(errors)]
        if begun is not None:
            decoded = begun.result
        else:
            decoded = self._decoder.reconstruct(parsed, pictures, self._times)
        if self._decoder.layers(decoded).whole:
            with measured(self._times, "hash"):
                found = self._decoder.hash(decoded)
            if not self._frame.has_hash(found):
                raise PictureHashError("the decoded picture is not the one that was encoded")
        self._decoded.set_result(decoded)


def _results(references: Sequence[Future[T]]) -> list[T]:
    try:
        return [r.result() for r in references]
    except StreamError as error:
        raise MissingReferenceError("a reference could not be decoded") from error
