"""Entropy coding of a network's latents: integers under integer tables."""
