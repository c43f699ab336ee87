"""The networks that come with the format: bases that a frame of profile `standard` starts from.

They are as normative as a table of constants: `docs/bitstream.md` gives their checksum.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.coolchic.config import STANDARD, Architecture

FILE = "networks.npz"


def shipped_sets(architecture: Architecture) -> NDArray[np.int16]:
    """Parameters `[sets, parameters]` in the order of `Architecture.parameters`; a set's number
    in the stream is its row.

    Raises ValueError for an architecture that there are none for.
    """
    if architecture != STANDARD:
        raise ValueError("no networks come with the format for these shapes")
    return _load()


def write_sets(sets: NDArray[np.int16], path: Path) -> None:
    """Make the file that `shipped_sets` reads."""
    with path.open("wb") as file:
        np.savez_compressed(file, sets=sets)


@cache
def _load() -> NDArray[np.int16]:
    with files(__package__).joinpath(FILE).open("rb") as file, np.load(file) as arrays:
        sets: NDArray[np.int16] = np.ascontiguousarray(arrays["sets"])
    sets.flags.writeable = False
    return sets
