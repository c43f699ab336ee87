"""CRC-32C (Castagnoli): the checksum of headers, packets and pictures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vireo._core import crc32c
from vireo.video.frame import Plane


def bytes_crc(data: bytes) -> int:
    """CRC-32C of `data`, 0 … 2**32 - 1 (RFC 3720's: of b"123456789" it is 0xE3069283)."""
    return crc32c(np.frombuffer(data, np.uint8))


def folded(crc: int, size: int) -> int:
    """The XOR of the parts of a CRC of 32 bits that have `size` bytes: 1, 2 or 4.

    It notices any odd number of flipped bits, as CRC-32C does, whose polynomial x + 1 divides:
    then an odd number of the CRC's bits differ, and so of theirs.
    """
    if size <= 2:
        crc = (crc ^ crc >> 16) & 0xFFFF
    if size == 1:
        crc = (crc ^ crc >> 8) & 0xFF
    return crc


def picture_hash(planes: Iterable[Plane]) -> int:
    """The CRC-32C over a picture's samples: plane after plane, row after row, without padding.

    `planes` are uint8 `[H, W]`, for a frame in the order Y, U, V (`Frame.planes`).
    """
    crc = 0
    for plane in planes:
        if plane.dtype != np.uint8:
            raise ValueError(f"a plane's samples are uint8, not {plane.dtype}")
        crc = crc32c(np.ascontiguousarray(plane).reshape(-1), crc)
    return crc
