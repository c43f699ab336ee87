"""What a hierarchical stream says of itself, and the parts of its packets."""

from __future__ import annotations

from collections.abc import Mapping

from vireo.codecs.dhvc.config import SCALES
from vireo.codecs.pretrained import check_reference, configuration
from vireo.container import CodedFrame, FrameType, Section
from vireo.errors import SyntaxElementError

CONFIGURATION = configuration("dhvc", "hierarchical")

RESYNCHRONISED = SCALES
"""Added to a section's kind, which is its scale, where no frame before is referred to."""


def section_of(level: int, data: bytes, *, resynchronised: bool) -> Section:
    """That of a scale; all but the lowest are droppable."""
    return Section(level + RESYNCHRONISED * resynchronised, data, droppable=level > 0)


def sections_by_scale(frame: CodedFrame) -> Mapping[int, tuple[Section, bool]]:
    """A packet's sections, and whether they refer to no frame before; some may be missing.

    Raises SyntaxElementError for sections and references that a frame can't have.
    """
    check_reference(frame, "a hierarchical")
    found: dict[int, tuple[Section, bool]] = {}
    for section in frame.sections:
        resynchronised, level = divmod(section.kind, RESYNCHRONISED)
        if resynchronised > (frame.frame_type is FrameType.P):
            raise SyntaxElementError(
                f"a section of kind {section.kind} in {frame.frame_type.name} frame",
                offset=section.offset,
            )
        if found and level <= max(found):
            raise SyntaxElementError("scales are not in their order", offset=section.offset)
        if section.droppable != (level > 0):
            raise SyntaxElementError(
                "all scales but the lowest are droppable", offset=section.offset
            )
        found[level] = section, bool(resynchronised)
    if 0 not in found:
        raise SyntaxElementError("the lowest scale is missing", offset=0)
    return found
