"""Entropy coding of a network's latents: integers under integer tables."""

from vireo.entropy.normal import SCALES, scale_thresholds, standard_deviation
from vireo.entropy.tables import WEIGHT_BITS, latent_tables, mixture_tables

__all__ = [
    "SCALES",
    "WEIGHT_BITS",
    "latent_tables",
    "mixture_tables",
    "scale_thresholds",
    "standard_deviation",
]
