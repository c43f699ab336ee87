"""Exact presentation times on a file's own clock.

Matroska counts milliseconds, a cut moves every track's times by the same amount, and `ffmpeg -c
copy` takes the times of a Vireo track for decoding times and changes those of B frames. A Vireo
packet has its exact time in ticks, which no tool touches. The container's times of key packets
stay right, so they say by how much the two clocks differ.
"""

from __future__ import annotations

from fractions import Fraction

_TOLERANCE = Fraction(2, 1000)


class Timeline:
    """Turns packets' ticks into exact seconds on the clock that the file's other tracks share.

    The offset between the clocks is taken from the first key packet, and anew at a key packet
    that disagrees with it by over 2 ms (the start of a piece that was appended). An offset of up
    to 1 ms is rounding by the container and counts as none. It is known to 0.5 ms, as exactly as
    the container tells it; the distance between two frames of a piece is exact.

    Attributes:
        offset: seconds that the file's clock is ahead of the ticks'; 0 before the first GOP.
    """

    def __init__(self, time_base: Fraction):
        self._time_base = time_base
        self._known = False
        self.offset = Fraction(0)

    def start_gop(self, pts: int, container_time: Fraction | None) -> None:
        """Take note of a key packet at `pts` ticks.

        `container_time` is the file's time for it in seconds, or None where it has none.
        """
        if container_time is None:
            return
        difference = container_time - pts * self._time_base
        if not self._known or abs(difference - self.offset) > _TOLERANCE:
            self._known = True
            self.offset = difference if abs(difference) > _TOLERANCE / 2 else Fraction(0)

    def seconds(self, pts: int) -> Fraction:
        """Exact time, in seconds on the file's clock, of a frame at `pts` ticks."""
        return pts * self._time_base + self.offset
