"""What values of the command line's options look like."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import click

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


class Duration(click.ParamType[float]):
    """Seconds, or a number with h, m, s: 90, 10m, 1h30m."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, float):
            return value
        match = _DURATION.fullmatch(value)
        if not value or not match:
            self.fail(f"{value!r} is no time; write 90, 90s, 10m or 1h30m", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return 3600 * hours + 60 * minutes + seconds


class Size(click.ParamType[tuple[int, int]]):
    """WIDTHxHEIGHT."""

    name = "WxH"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        match = re.fullmatch(r"(\d+)x(\d+)", value) if isinstance(value, str) else None
        if not match:
            self.fail(f"{value!r} is no size; write WIDTHxHEIGHT, such as 352x288", param, ctx)
        return int(match[1]), int(match[2])


class BitRate(click.ParamType[float]):
    """Bits per second, or a number with k or M."""

    name = "RATE"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", value) if isinstance(value, str) else None
        if not match:
            self.fail(f"{value!r} is no bit rate; write 250k, 1.5M or bits per second", param, ctx)
        return float(match[1]) * {"": 1.0, "k": 1e3, "M": 1e6}[match[2]]


class Rate(click.ParamType[Fraction]):
    """Frames per second: 25, 29.97, 30000/1001."""

    name = "FPS"

    def convert(self, value: Any, param: Any, ctx: Any) -> Fraction:
        try:
            return Fraction(value).limit_denominator(100_000)
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no frame rate; write 25 or 30000/1001", param, ctx)
