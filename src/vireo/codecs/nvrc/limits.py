"""What decoding a segment may take."""

from __future__ import annotations

from vireo.codecs.base import Limits
from vireo.codecs.nvrc.config import (
    Config,
    Extent,
    context_multiplications,
    context_places,
    multiplications,
    parameters,
)
from vireo.codecs.nvrc.layout import Method, side_numbers
from vireo.errors import LimitError

_HELD = 16
_WORK = 1 << 16


def check(config: Config, extent: Extent, method: Method, limits: Limits) -> None:
    """Raises LimitError for a network that is too large, before anything of it is made."""
    count = parameters(config, extent) + side_numbers(config, extent, method)
    work = multiplications(config, extent)
    held = 0
    if method.contexts:
        held = context_places(config, extent)
        work = max(work, context_multiplications(config, extent))
    if max(count, held // _HELD, work // _WORK) > limits.network:
        raise LimitError(
            f"segments of up to {extent.frames} frames with {count} numbers each, or what decoding "
            f"them takes, exceed the limit of {limits.network}; raise it to decode this stream"
        )
