"""Sections that didn't arrive, or that a decoder does without."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vireo.container import CodedFrame
from vireo.errors import UsageError

_LAYER = re.compile(r"(\d+)(?:-(\d+))?:(\d+)")
_MOST_FRAMES = 1 << 20  # of one entry of a list


@dataclass(frozen=True)
class Losses:
    """Up to which layer sections are there.

    A frame's droppable sections are its layers, from the lowest to the highest; what is not
    droppable is in the first one. A layer is of no use without those below it.

    Attributes:
        layers: of every frame; None for all.
        by_frame: of single frames, by their packet's place in the file, from 0. Codecs that have
            layers code frames in the order in which they are shown.
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
    lowest = lowest_layers(text, "loss")
    for frame, layer in lowest.items():
        if layer < 2:
            raise UsageError(
                f"layer {layer} of frame {frame} can't be lost: without the lowest one there is "
                "no frame"
            )
    if layers is not None and layers < 1:
        raise UsageError("at least one layer has to be kept")
    return Losses(layers, {frame: layer - 1 for frame, layer in lowest.items()})


def lowest_layers(text: str, what: str) -> dict[int, int]:
    """From "5:4,9-11:2": layer 4 for frame 5, layer 2 for frames 9 to 11, the lower one of two.

    Raises UsageError for text that is no list of `what`.
    """
    found: dict[int, int] = {}
    for part in filter(None, text.split(",")):
        match = _LAYER.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"{part!r} is no {what}: write frame:layer or first-last:layer")
        first, layer = int(match[1]), int(match[3])
        last = first if match[2] is None else int(match[2])
        if not first <= last < first + _MOST_FRAMES:
            raise UsageError(f"{part!r} is no {what}: frames {first} to {last}")
        for frame in range(first, last + 1):
            found[frame] = min(layer, found.get(frame, layer))
    return found
