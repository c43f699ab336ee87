"""Which frame is coded when, from which references.

All structures are closed: a GOP's frames refer to nothing outside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from vireo.video.frame import Plane


class FrameType(IntEnum):
    """How a frame is predicted; the value is its number of references."""

    I = 0  # noqa: E741 (the field's name for it)
    P = 1
    B = 2


class GopStructure(StrEnum):
    """How the frames of a GOP depend on each other."""

    RANDOM_ACCESS = "random-access"
    LOW_DELAY = "low-delay"
    INTRA = "intra"
    SEGMENT = "segment"


@dataclass(frozen=True)
class PlannedFrame:
    """One frame's place in a GOP.

    Attributes:
        display_index: its place in display order, from 0.
        references: display indices of the frames it is predicted from: none for I, one
            for P, two for B frames.
        released: display indices, of references and this frame, of pictures that no
            later frame in coding order refers to.
        importance: what its quality is worth, its own and to the frames that depend on it,
            at least 1.
        effort: how much of an encoder's time it is worth, against its GOP's mean.
        block_weights: what its squared errors are worth where, by blocks of the codec's choice,
            1 in the mean; None where all are worth the same.
        target: makes, with so many threads, planes Y, U, V that an encoder shall come near to
            instead of the frame's own, at the coded size; None for its own.
    """

    display_index: int
    references: tuple[int, ...]
    released: tuple[int, ...] = ()
    importance: float = 1.0
    effort: float = 1.0
    block_weights: NDArray[np.float32] | None = field(default=None, compare=False)
    target: Callable[[int], tuple[Plane, Plane, Plane]] | None = field(default=None, compare=False)


def plan_gop(
    structure: GopStructure, frames: int, interval: int | None = None
) -> tuple[PlannedFrame, ...]:
    """The frames of a GOP of `frames` >= 1 frames, in coding order.

    Random access codes an I frame, the frame `interval` later from it (P), halves what is
    between with B frames, depth first, and goes on from the P frame; without an interval the
    P frame is the last one (paper on Cool-chic video, section 3.1). Low delay codes each
    frame from the one before; with an interval, also from the last frame but that whose place
    is a multiple of it. Intra has no references. All frames of a segment refer to the first.
    """
    if structure is GopStructure.INTRA:
        plan = [PlannedFrame(i, ()) for i in range(frames)]
    elif structure is GopStructure.SEGMENT:
        plan = [PlannedFrame(i, (0,) if i else ()) for i in range(frames)]
    elif structure is GopStructure.LOW_DELAY:
        plan = [PlannedFrame(i, _earlier(i, interval)) for i in range(frames)]
    else:
        plan = [PlannedFrame(0, ())]
        step = interval or max(1, frames - 1)
        for first in range(0, frames - 1, step):
            last = min(first + step, frames - 1)
            plan.append(PlannedFrame(last, (first,)))
            plan.extend(_halve(first, last))
    return _mark_releases(plan)


def _earlier(index: int, interval: int | None) -> tuple[int, ...]:
    before = index - 1
    if index == 0:
        return ()
    if interval is None:
        return (before,)
    kept = max((before - 1) // interval * interval, 0)
    return (before, kept) if kept < before else (before,)


def _halve(first: int, last: int) -> Iterator[PlannedFrame]:
    if last - first < 2:
        return
    middle = (first + last) // 2
    yield PlannedFrame(middle, (first, last))
    yield from _halve(first, middle)
    yield from _halve(middle, last)


def _mark_releases(plan: list[PlannedFrame]) -> tuple[PlannedFrame, ...]:
    needed: set[int] = set()
    marked = []
    for frame in reversed(plan):
        own = (*frame.references, frame.display_index)
        marked.append(replace(frame, released=tuple(i for i in own if i not in needed)))
        needed.update(frame.references)
    return tuple(reversed(marked))


def held_pictures(plan: tuple[PlannedFrame, ...]) -> int:
    """The most reference pictures that a decoder holds between two frames of `plan`."""
    held: set[int] = set()
    most = 0
    for frame in plan:
        held.add(frame.display_index)
        held -= set(frame.released)
        most = max(most, len(held))
    return most


def gop_frames(structure: GopStructure, gop_size: int) -> int:
    """Frames per GOP for `gop_size` inter frames after each I frame; 1 for intra."""
    return 1 if structure is GopStructure.INTRA else gop_size + 1
