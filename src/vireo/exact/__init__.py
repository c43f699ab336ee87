"""Networks of integers: the same numbers on every machine."""

from vireo.exact.full_precision import PROCESSOR, full_precision
from vireo.exact.functions import LayerNorm, Lookup, gelu, hard_sigmoid, sigmoid
from vireo.exact.grid import Grid, unrounded
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
    "PROCESSOR",
    "WEIGHT_BITS",
    "Conv",
    "ExactLayer",
    "Grid",
    "InexactError",
    "LayerNorm",
    "Lookup",
    "TransposedConv",
    "exact_layers",
    "full_precision",
    "gelu",
    "hard_sigmoid",
    "prove",
    "sigmoid",
    "unrounded",
]
