"""What codecs with pretrained weights have in common, for parsers and encoders alike.

A stream says which weights it was made with, and where between their rate points its frames lie.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from vireo.codecs.base import Planes
from vireo.codecs.rate_points import Places
from vireo.container import CodedFrame, FrameType, StreamHeader
from vireo.container.syntax import U8, ByteReader, Field, FixedBytes, Structure
from vireo.errors import HeaderError, StreamError, SyntaxElementError, UsageError

HASH_BYTES = 16  # as in `vireo.weights`, which needs PyTorch

T = TypeVar("T")


def configuration(codec: str, title: str) -> Structure:
    """What a stream header's configuration holds."""
    return Structure(
        f"{codec}-configuration",
        f"Configuration of a {title} stream",
        (
            Field("weights", FixedBytes(HASH_BYTES), "hash of the weights"),
            Field("intra_place", U8, "of I frames: place between the model's rate points"),
            Field("inter_place", U8, "of P frames"),
        ),
    )


@dataclass(frozen=True)
class PretrainedShape:
    """What a configuration fixes (see `codecs.base.Shape`).

    Attributes:
        structure: of `configuration`.
        weights: their hash.
        places: of the stream's frames.
    """

    structure: Structure
    weights: bytes
    places: Places

    @property
    def profile(self) -> int:
        """Its number in the stream header."""
        return 0

    def write(self) -> bytes:
        intra, inter = self.places
        return self.structure.write(
            {"weights": self.weights, "intra_place": intra, "inter_place": inter}
        )

    @staticmethod
    def read(structure: Structure, data: bytes) -> PretrainedShape:
        """Raises HeaderError where the configuration is damaged."""
        values = read_configuration(structure, data)
        places = Places(values["intra_place"], values["inter_place"])
        return PretrainedShape(structure, values["weights"], places)


def read_configuration(structure: Structure, data: bytes) -> dict[str, Any]:
    """Its fields; raises HeaderError where it is damaged."""
    reader = ByteReader(data)
    try:
        values = structure.read(reader)
    except StreamError as error:  # Its offset is within the configuration.
        raise HeaderError(f"the codec's configuration is damaged: {error.reason}") from error
    if reader.remaining:
        raise HeaderError("the codec's configuration is longer than its fields")
    return values


def open_coder(header: StreamHeader, structure: Structure, make: Callable[[Any, Places], T]) -> T:
    """What `make` makes of the weights and places that a stream names.

    Raises HeaderError for a stream that this isn't of, or whose places the weights don't have, and
    UsageError where the weights are not here.
    """
    check_kind(header, (0,))
    shape = PretrainedShape.read(structure, header.configuration)
    return with_weights(shape.weights, lambda found: make(found, shape.places))


def check_kind(header: StreamHeader, profiles: Collection[int]) -> None:
    """Raises HeaderError for a stream whose profile or exactness its codec doesn't have."""
    if header.profile not in profiles or header.exactness is not header.codec.exactness:
        raise HeaderError(
            f"the stream's {header.codec.name} profile {header.profile} "
            f"({header.exactness.name.lower()}) is unknown"
        )


def check_reference(frame: CodedFrame, kind: str) -> None:
    """Raises SyntaxElementError for a frame that refers to any but the one before.

    `kind` is that of the stream, with its article.
    """
    if frame.frame_type is FrameType.B:
        raise SyntaxElementError(f"{kind} stream has no B frames")
    if any(r != frame.display_index - 1 for r in frame.references):
        raise SyntaxElementError(
            f"frame {frame.display_index} of a GOP refers to {frame.references[0]}, and not to the "
            "frame before"
        )


def with_weights(identity: bytes, make: Callable[[Any], T]) -> T:
    """What `make` makes of the weights that a stream names.

    Raises UsageError where they are not here, and HeaderError where `make` has no use for them.
    """
    from vireo import weights  # which needs PyTorch; who only reads headers doesn't

    found = weights.find(identity)
    try:
        return make(found)
    except UsageError as error:
        raise HeaderError(str(error)) from error


def coded_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """The size at which pictures are coded: whole latents; what is beyond them is cropped."""
    return -(-height // stride) * stride, -(-width // stride) * stride


def padded(planes: Planes, stride: int) -> Planes:
    """To the coded size, the border repeated."""
    height, width = coded_size(planes[0].shape[0], planes[0].shape[1], stride)
    y, u, v = (
        np.pad(p, [(0, h - p.shape[0]), (0, w - p.shape[1])], mode="edge")
        for p, (h, w) in zip(
            planes, ((height, width), *2 * ((height // 2, width // 2),)), strict=True
        )
    )
    return y, u, v


def cropped(planes: Planes, height: int, width: int) -> Planes:
    """The part of a coded picture that is shown."""
    y, u, v = planes
    chroma = slice(-(-height // 2)), slice(-(-width // 2))
    return y[:height, :width], u[chroma], v[chroma]
