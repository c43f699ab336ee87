"""What comes with the format for profile `standard`: networks that a frame starts from,
the network of temporal contexts, and the probabilities that the coding of motion starts from.

They are as normative as a table of constants: `docs/bitstream.md` gives their checksums.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.coolchic.config import STANDARD, Architecture
from vireo.gop import FrameType

FILE = "networks.npz"


@dataclass(frozen=True)
class NetworkSets:
    """Networks to start from.

    Attributes:
        parameters: `[sets, parameters]` in the order of `Architecture.parameters`; a set's
            number in the stream is its row.
        frame_types, lambdas: what each set was trained for; only encoders ask.
        motion: `[4, contexts]`, of P and of B frames whose vectors begin at 0, then of the others:
            that a decision of motion comes out 1, in 2**-16.
        frame: `[3, contexts]`, of I, P and B frames: the same of a frame's other decisions.
        temporal: parameters of the network that gives luma's temporal contexts.
    """

    parameters: NDArray[np.int16]
    frame_types: NDArray[np.int8]
    lambdas: NDArray[np.float32]
    motion: NDArray[np.uint16]
    frame: NDArray[np.uint16]
    temporal: NDArray[np.int16]

    def nearest(self, frame_type: FrameType, lambda_: float) -> int:
        """The set for a type of frames whose lambda is nearest by ratio."""
        distance = np.abs(np.log(self.lambdas / lambda_))
        distance[self.frame_types != frame_type] = np.inf
        return int(distance.argmin())

    def write(self, path: Path) -> None:
        """Make the file that `shipped_sets` reads."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                sets=self.parameters,
                frame_types=self.frame_types,
                lambdas=self.lambdas,
                motion=self.motion,
                frame=self.frame,
                temporal=self.temporal,
            )


def shipped_sets(architecture: Architecture) -> NetworkSets:
    """The sets for streams of these shapes.

    Raises ValueError for an architecture that there are none for.
    """
    if architecture != STANDARD:
        raise ValueError("no networks come with the format for these shapes")
    return _load()


def temporal_parameters() -> NDArray[np.int16]:
    """The format's `NetworkSets.temporal`, whatever the shapes."""
    return _load().temporal


def motion_probabilities() -> NDArray[np.uint16]:
    """The format's `NetworkSets.motion`, whatever the shapes."""
    return _load().motion


def frame_probabilities() -> NDArray[np.uint16]:
    """The format's `NetworkSets.frame`, whatever the shapes."""
    return _load().frame


def read_sets(path: Traversable) -> NetworkSets:
    """What `NetworkSets.write` has made."""
    with path.open("rb") as file, np.load(file) as arrays:
        sets = NetworkSets(
            np.ascontiguousarray(arrays["sets"]),
            arrays["frame_types"],
            arrays["lambdas"],
            np.ascontiguousarray(arrays["motion"]),
            np.ascontiguousarray(arrays["frame"]),
            np.ascontiguousarray(arrays["temporal"]),
        )
    for array in vars(sets).values():
        array.flags.writeable = False
    return sets


@cache
def _load() -> NetworkSets:
    return read_sets(files(__package__).joinpath(FILE))
