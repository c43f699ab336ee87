"""Sections that didn't arrive, or that a decoder does without."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vireo.container import CodedFrame
from vireo.errors import UsageError

_LOSS = re.compile(r"(\d+)(?:-(\d+))?:(\d+)")
_MOST_FRAMES = 1 << 20  # of a list of losses


@dataclass(frozen=True)
class Losses:
    """Up to which layer sections are there.

    A frame's droppable sections are its layers, from the lowest to the highest; what is not
    droppable is in the first one. A layer is of no use without those below it.

    Attributes:
        layers: of every frame; None for all.
        by_frame: of single frames, by their place in the stream's coding order.
    """

    layers: int | None = None
    by_frame: Mapping[int, int] = field(default_factory=dict)

    def apply(self, index: int, frame: CodedFrame) -> CodedFrame:
        """What is left of a frame."""
        kept = self.by_frame.get(index, self.layers)
        if self.layers is not None and kept is not None:
            kept = min(kept, self.layers)
        if kept is None:
            return frame
        sections = []
        layer = 1
        for section in frame.sections:
            layer += section.droppable
            if layer <= kept:
                sections.append(section)
        return replace(frame, sections=tuple(sections))


def read_losses(text: str, layers: int | None = None) -> Losses:
    """From "5:4,9-11:2": of frame 5 layer 4 is lost, of frames 9 to 11 all from 2 on.

    Args:
        text: frames, counted from 0, and the lowest layer that each lost, 2 or more.
        layers: that are kept of every frame; None for all.

    Raises UsageError for what can't be lost.
    """
    by_frame: dict[int, int] = {}
    for part in filter(None, text.split(",")):
        match = _LOSS.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"{part!r} is no loss: write frame:layer or first-last:layer")
        first, last, layer = (int(n) if n else None for n in match.groups())
        assert first is not None
        assert layer is not None
        last = first if last is None else last
        if not first <= last < first + _MOST_FRAMES:
            raise UsageError(f"{part!r} is no loss: frames {first} to {last}")
        if layer < 2:
            raise UsageError(f"{part!r} can't be lost: without the lowest layer there is no frame")
        for frame in range(first, last + 1):
            by_frame[frame] = min(layer - 1, by_frame.get(frame, layer - 1))
    if layers is not None and layers < 1:
        raise UsageError("at least one layer has to be kept")
    return Losses(layers, by_frame)
