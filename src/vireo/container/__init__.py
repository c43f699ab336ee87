"""The stream format: headers and packets, and the Matroska track that carries them."""

from vireo.container.checksum import picture_hash
from vireo.container.header import Codec, Exactness, StreamHeader
from vireo.container.packet import (
    CodedFrame,
    FrameType,
    GopStart,
    Packet,
    Section,
    read_packet,
    write_packet,
)

__all__ = [
    "Codec",
    "CodedFrame",
    "Exactness",
    "FrameType",
    "GopStart",
    "Packet",
    "Section",
    "StreamHeader",
    "picture_hash",
    "read_packet",
    "write_packet",
]
