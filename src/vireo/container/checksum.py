"""CRC-32C (Castagnoli): the checksum of headers, packets and pictures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vireo._core import crc32c
from vireo.video.frame import Plane


def bytes_crc(data: bytes) -> int:
    """CRC-32C of `data`, 0 … 2**32 - 1 (RFC 3720's: of b"123456789" it is 0xE3069283)."""
    return crc32c(np.frombuffer(data, np.uint8))


def in_packet(crc: int, *, is_key: bool) -> int:
    """What a packet holds of a CRC: all of it in key packets, its halves' XOR in others.

    Unlike either half, that notices any one flipped bit of packets up to 50 KB.
    """
    return crc if is_key else (crc ^ crc >> 16) & 0xFFFF


def picture_hash(planes: Iterable[Plane], *, is_key: bool) -> int:
    """What a picture's packet holds of the CRC-32C over its samples (`in_packet`).

    They are taken plane after plane, row after row, without padding. `planes` are uint8
    `[H, W]`, for a frame in the order Y, U, V (`Frame.planes`).
    """
    crc = 0
    for plane in planes:
        if plane.dtype != np.uint8:
            raise ValueError(f"a plane's samples are uint8, not {plane.dtype}")
        crc = crc32c(np.ascontiguousarray(plane).reshape(-1), crc)
    return in_packet(crc, is_key=is_key)
