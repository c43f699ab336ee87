"""The stream format: headers and packets, and the Matroska track that carries them."""

from vireo.container.checksum import picture_hash
from vireo.container.header import Codec, Exactness, StreamHeader
from vireo.container.matroska_reader import KeyPoint, MatroskaReader, StoredPacket
from vireo.container.matroska_writer import MatroskaWriter, TrackCopier
from vireo.container.packet import (
    CodedFrame,
    GopStart,
    Packet,
    Section,
    read_packet,
    write_packet,
)
from vireo.container.timeline import Timeline
from vireo.gop import FrameType

__all__ = [
    "Codec",
    "CodedFrame",
    "Exactness",
    "FrameType",
    "GopStart",
    "KeyPoint",
    "MatroskaReader",
    "MatroskaWriter",
    "Packet",
    "Section",
    "StoredPacket",
    "StreamHeader",
    "Timeline",
    "TrackCopier",
    "picture_hash",
    "read_packet",
    "write_packet",
]
