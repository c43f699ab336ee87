"""Motion that frames inherit: a picture that others refer to carries its blocks' vectors along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.base import Planes
from vireo.codecs.coolchic.config import Parts
from vireo.video.frame import Plane

Inherited = Sequence[NDArray[np.int32]]
"""What vectors begin with, as `Motion.vectors`; empty where they begin at 0."""


@dataclass(frozen=True)
class Motion:
    """Where a frame's blocks come from; all frames by their places in the GOP in display order.

    Attributes:
        display_index: the frame's place.
        references: those of what it is predicted from.
        vectors: x and y to each of these, int32 per block of 4x4 luma samples, in 1/64 sample.
    """

    display_index: int
    references: tuple[int, ...]
    vectors: tuple[NDArray[np.int32], ...] = ()


class MovedPicture(tuple[Plane, Plane, Plane]):
    """Planes Y, U, V of a decoded picture of profile `standard`, and their motion."""

    motion: Motion

    def __new__(cls, planes: Planes, motion: Motion) -> MovedPicture:
        picture = super().__new__(cls, planes)
        picture.motion = motion
        return picture


def inherited_motion(
    display_index: int, references: Sequence[Motion]
) -> tuple[NDArray[np.int32], ...]:
    """What a frame's vectors may begin with: a reference's motion at the same place, in proportion.

    It is that between the two references, if one of them refers to the other, or else the first
    reference's to the first of its own (docs/bitstream.md, "Fields").

    Args:
        display_index: the frame's place in its GOP.
        references: the motion of what it is predicted from.

    Returns:
        As `Motion.vectors`; nothing where no reference has motion.
    """
    between = {r.display_index for r in references}
    candidates = [(r, i) for r in references for i in range(len(r.references))]
    if not candidates:
        return ()
    moved, i = next((c for c in candidates if c[0].references[c[1]] in between), candidates[0])
    span = moved.references[i] - moved.display_index
    return tuple(
        _scaled(vector, other.display_index - display_index, span)
        for other in references
        for vector in moved.vectors[2 * i : 2 * i + 2]
    )


def _scaled(vector: NDArray[np.int32], times: int, span: int) -> NDArray[np.int32]:
    """To the nearest, halves up."""
    if span < 0:
        times, span = -times, -span
    scaled = (2 * times * vector.astype(np.int64) + span) // (2 * span)
    return scaled.clip(-_core.MAX_INHERITED, _core.MAX_INHERITED).astype(np.int32)


def motion_of(
    display_index: int,
    references: Sequence[Motion],
    fields: Sequence[NDArray[np.int16]],
    inherited: Inherited,
    parts: Parts,
    size: tuple[int, int],
) -> Motion:
    """A frame's motion from its fields' latents and what it inherits; `size` is (H, W)."""
    places = tuple(r.display_index for r in references)
    if not references:
        return Motion(display_index, places)
    values = _core.block_fields(fields, parts.motion_first, *size, len(places), inherited)
    return Motion(display_index, places, tuple(values[: 2 * len(places)]))
