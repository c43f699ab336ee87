"""Networks of integers: the same numbers on every machine."""

from vireo.exact.grid import Grid
from vireo.exact.layers import (
    WEIGHT_BITS,
    Conv,
    ExactLayer,
    InexactError,
    TransposedConv,
    exact_layers,
    prove,
)

__all__ = [
    "WEIGHT_BITS",
    "Conv",
    "ExactLayer",
    "Grid",
    "InexactError",
    "TransposedConv",
    "exact_layers",
    "prove",
]
