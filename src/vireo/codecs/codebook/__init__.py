"""The codebook codec ("Effortless cross-platform video codec"): frames as indices of codebooks."""
