"""The errors that Vireo raises: a small tree under `VireoError`.

The command line maps each branch to an exit status: `UsageError` and
`InputError` to 2, `StreamError` to 3.
"""

from __future__ import annotations


class VireoError(Exception):
    """Any error that Vireo raises on purpose."""


class UsageError(VireoError):
    """The request can't be carried out as asked: an option, a path, a combination."""


class InputError(VireoError):
    """The source media can't be read, or holds something that Vireo can't code."""


class StreamError(VireoError):
    """A Vireo stream breaks the format.

    Attributes:
        packet: position of the packet in the stream's coding order, from 0, or None
            where the error is not in a packet.
        offset: byte offset within the packet, or None where it is not known.
    """

    def __init__(self, reason: str, *, packet: int | None = None, offset: int | None = None):
        super().__init__(reason)
        self.reason = reason
        self.packet = packet
        self.offset = offset

    def at(self, *, packet: int | None = None, offset: int | None = None) -> StreamError:
        """This error with the place filled in where it was unknown."""
        if self.packet is None:
            self.packet = packet
        if self.offset is None:
            self.offset = offset
        return self

    def __str__(self) -> str:
        place = []
        if self.packet is not None:
            place.append(f"packet {self.packet}")
        if self.offset is not None:
            place.append(f"offset {self.offset}")
        return f"{', '.join(place)}: {self.reason}" if place else self.reason


class HeaderError(StreamError):
    """The stream header is missing, malformed or of an unknown version or codec."""


class TruncatedError(StreamError):
    """The bytes end before the syntax does."""


class ChecksumError(StreamError):
    """A checksum does not match the bytes it covers."""


class SyntaxElementError(StreamError):
    """A field holds a value that the format does not allow."""


class MissingReferenceError(StreamError):
    """A frame refers to a picture that was not decoded."""


class PictureHashError(StreamError):
    """A decoded picture is not the one that the encoder made."""


class LimitError(StreamError):
    """The stream asks for more memory or work than the limits allow."""
