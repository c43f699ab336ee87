"""Types of the compiled core; `native/binding` holds the definitions."""

from collections.abc import Sequence
from enum import Enum
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

Grids = Sequence[NDArray[np.int16]]
Inherited = Sequence[NDArray[np.int32]]
Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
References = Sequence[Sequence[NDArray[np.uint8]]]
Mlp = tuple[NDArray[np.int32], int, int, list[int]]
Signals = tuple[
    Planes, list[NDArray[np.int32]], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]
]

class Isa(Enum):
    BASELINE = 0
    AVX2 = 1
    AVX512 = 2
    AVX512_VNNI = 3

def has_isa(isa: Isa) -> bool: ...
def force_isa(isa: Isa) -> None: ...
def measure_peak() -> float: ...
def crc32c(data: NDArray[np.uint8] | bytes, previous: int = 0) -> int: ...

MAX_INHERITED: int
MAX_CORNER: int
MOTION_CONTEXTS: int
FRAME_CONTEXTS: int
MAX_MOTION: int
TEMPORAL_PARAMETERS: int

class Parts:
    def __init__(
        self,
        chroma_first: int,
        chroma_synthesis: Sequence[int],
        motion_first: int,
        motion_grids: int,
        motion_probabilities: NDArray[np.uint16],
        frame_probabilities: NDArray[np.uint16],
        temporal: NDArray[np.int16],
    ) -> None: ...

class Architecture:
    def __init__(
        self,
        grids: int,
        context: Sequence[tuple[int, int]],
        arm: Sequence[int],
        kernel: int,
        synthesis: Sequence[int],
        band_rows_log2: int,
        block_log2: int,
        parts: Parts | None = None,
    ) -> None: ...

class Networks:
    @overload
    def __init__(
        self, architecture: Architecture, references: int, magnitude_bits: int
    ) -> None: ...
    @overload
    def __init__(
        self,
        architecture: Architecture,
        references: int,
        magnitude_bits: int,
        parameters: NDArray[np.int32],
    ) -> None: ...
    def set_arm(
        self,
        parameters: NDArray[np.int32],
        weight_bits: int,
        bias_bits: int,
        hidden_bits: Sequence[int],
    ) -> None: ...
    def set_synthesis(
        self,
        parameters: NDArray[np.int32],
        weight_bits: int,
        bias_bits: int,
        hidden_bits: Sequence[int],
    ) -> None: ...
    def set_kernel(self, parameters: NDArray[np.int32], bits: int) -> None: ...
    @property
    def references(self) -> int: ...
    @property
    def magnitude_bits(self) -> int: ...
    @property
    def parameters(self) -> NDArray[np.int32]: ...
    @property
    def arms(self) -> list[Mlp]: ...
    @property
    def syntheses(self) -> list[Mlp]: ...
    @property
    def arm(self) -> Mlp: ...
    @property
    def synthesis(self) -> Mlp: ...
    @property
    def kernel(self) -> tuple[NDArray[np.int32], int]: ...
    @property
    def filtered(self) -> tuple[bool, bool]: ...
    @filtered.setter
    def filtered(self, on: tuple[bool, bool]) -> None: ...
    @property
    def inherits(self) -> bool: ...
    @inherits.setter
    def inherits(self, on: bool) -> None: ...
    @property
    def corners(self) -> list[int]: ...
    @corners.setter
    def corners(self, corners: Sequence[int]) -> None: ...
    @property
    def bits(self) -> float: ...
    def encode(self) -> bytes: ...
    @staticmethod
    def decode(architecture: Architecture, references: int, data: bytes) -> Networks: ...
    @property
    def coded_bits(self) -> float: ...
    def encode_update(self, number: int, base: NDArray[np.int32]) -> bytes: ...
    def update_bits(self, number: int, base: NDArray[np.int32]) -> float: ...
    @staticmethod
    def decode_update(
        architecture: Architecture,
        references: int,
        data: bytes,
        sets: NDArray[np.int16],
        bases: Sequence[Networks],
    ) -> Networks: ...

class StageTimes:
    def __init__(self) -> None: ...
    @property
    def upsampling(self) -> float: ...
    @property
    def synthesis(self) -> float: ...
    @property
    def inter(self) -> float: ...
    @property
    def filter(self) -> float: ...

class LatentReader:
    def __init__(
        self, architecture: Architecture, networks: Networks, height: int, width: int
    ) -> None: ...
    @property
    def tiles(self) -> int: ...
    @property
    def luma_tiles(self) -> int: ...
    @property
    def free_tiles(self) -> int: ...
    def set_temporal(self, planes: Grids) -> None: ...
    def set_inherited(self, planes: Inherited) -> None: ...
    @property
    def inherits(self) -> bool: ...
    def vectors(self) -> list[NDArray[np.int32]]: ...
    def temporal(self) -> list[NDArray[np.int16]]: ...
    def grids(self) -> list[NDArray[np.int16]]: ...
    def reconstruct(
        self,
        architecture: Architecture,
        networks: Networks,
        references: References,
        times: StageTimes | None = None,
    ) -> Planes: ...

class SectionReader:
    def __init__(
        self,
        latents: LatentReader,
        data: bytes,
        first: int,
        count: int,
        behind_networks: bool = False,
    ) -> None: ...
    @property
    def done(self) -> bool: ...
    def read(self, references: References | None = None) -> None: ...

def encode_latents(
    architecture: Architecture,
    networks: Networks,
    grids: Grids,
    first: int,
    count: int,
    temporal: Grids = [],
    number: int | None = None,
    base: NDArray[np.int32] | None = None,
) -> bytes: ...
def tile_count(architecture: Architecture, height: int, width: int, references: int = 0) -> int: ...
def measure_latents(
    architecture: Architecture, networks: Networks, grids: Grids, temporal: Grids = []
) -> list[float]: ...
def count_motion(
    architecture: Architecture, grids: Grids, references: int
) -> NDArray[np.int32]: ...
def count_frame(
    architecture: Architecture,
    networks: Networks,
    grids: Grids,
    temporal: Grids,
    number: int,
    base: NDArray[np.int32],
) -> NDArray[np.int32]: ...
@overload
def reconstruct(
    architecture: Architecture,
    networks: Networks,
    grids: Grids,
    references: References,
    signals: Literal[False] = False,
    inherited: Inherited = ...,
) -> Planes: ...
@overload
def reconstruct(
    architecture: Architecture,
    networks: Networks,
    grids: Grids,
    references: References,
    signals: Literal[True],
    inherited: Inherited = ...,
) -> Signals: ...
def block_fields(
    grids: Grids,
    motion_first: int,
    height: int,
    width: int,
    references: int,
    inherited: Inherited = ...,
) -> list[NDArray[np.int32]]: ...
def temporal_contexts(
    architecture: Architecture,
    fields: Sequence[NDArray[np.int32]],
    references: References,
    height: int,
    width: int,
) -> list[NDArray[np.int16]]: ...
def filter_plane(plane: NDArray[np.uint8], weights: NDArray[np.int32]) -> NDArray[np.uint8]: ...
def filter_equations(
    decoded: NDArray[np.uint8], target: NDArray[np.uint8], weights: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def predict(
    fields: Sequence[NDArray[np.int32]], references: References, height: int, width: int
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]: ...

class IndexCoder:
    """Codes frames of codebooks' indices, and adapts to them."""

    def __init__(
        self,
        stages: Sequence[tuple[int, int, int, int]],
        frequencies: Sequence[Sequence[int]],
    ) -> None: ...
    def copy(self) -> IndexCoder: ...
    def statistics(self) -> list[tuple[NDArray[np.uint32], NDArray[np.uint32]]]: ...
    def encode(
        self,
        indices: NDArray[np.uint16],
        before: NDArray[np.uint16] | None = None,
        skips: NDArray[np.uint8] | None = None,
    ) -> bytes: ...
    def decode(
        self, data: bytes, before: NDArray[np.uint16] | None = None, skips: bool = False
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]: ...

class SymbolTables:
    """Distributions of integers, in frequencies."""

    def __init__(self, tables: Sequence[tuple[int, Sequence[int]]]) -> None: ...
    def __len__(self) -> int: ...
    def encode(self, values: NDArray[np.int16], indices: NDArray[np.uint8]) -> bytes: ...
    def decode(self, data: bytes, indices: NDArray[np.uint8]) -> NDArray[np.int16]: ...
    def bits(self, values: NDArray[np.int16], indices: NDArray[np.uint8]) -> float: ...

def encode_grids(
    tables: SymbolTables,
    grids: Sequence[tuple[Sequence[int], Sequence[int], Sequence[int]]],
    width: int,
    weights: Sequence[NDArray[np.float64]],
    biases: NDArray[np.float64],
    powers: Sequence[int],
    values: Sequence[NDArray[np.int32]],
) -> bytes: ...
def decode_grids(
    tables: SymbolTables,
    grids: Sequence[tuple[Sequence[int], Sequence[int], Sequence[int]]],
    width: int,
    weights: Sequence[NDArray[np.float64]],
    biases: NDArray[np.float64],
    powers: Sequence[int],
    data: bytes,
) -> list[NDArray[np.int32]]: ...

class SymbolEncoder:
    """Symbols under tables, some at a time, into one stream."""

    def __init__(self, tables: SymbolTables) -> None: ...
    def encode(self, values: NDArray[np.int16], indices: NDArray[np.uint16]) -> None: ...
    def finish(self) -> bytes: ...

class SymbolDecoder:
    """What SymbolEncoder wrote, some at a time."""

    def __init__(self, tables: SymbolTables, data: bytes) -> None: ...
    def decode(self, indices: NDArray[np.uint16]) -> NDArray[np.int16]: ...

def encode_updates(
    table: SymbolTables, values: NDArray[np.int16], sizes: Sequence[int]
) -> bytes: ...
def decode_updates(table: SymbolTables, data: bytes, sizes: Sequence[int]) -> NDArray[np.int16]: ...
