"""How fast latents are coded under tables, and how near to their ideal size.

    python benchmarks/symbols.py

One thread. The ideal size is that of normal distributions with the deviations of the tables.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch

from vireo.entropy.normal import SCALES, standard_deviation
from vireo.entropy.tables import latent_tables

COUNT = 2_000_000


def ideal_bits(values: np.ndarray, deviations: np.ndarray) -> float:
    normal = torch.distributions.Normal(0, 1)
    size, scale = torch.from_numpy(np.abs(values).astype(float)), torch.from_numpy(deviations)
    mass = normal.cdf((0.5 - size) / scale) - normal.cdf((-0.5 - size) / scale)
    return float(-mass.log2().sum())


def main() -> None:
    tables = latent_tables()
    print("deviations       bits/symbol  above ideal  encode M/s  decode M/s")
    for first, last in ((0, SCALES), (0, 30), (20, 50), (60, SCALES)):
        rng = np.random.default_rng(first)
        indices = rng.integers(first, last, COUNT).astype(np.uint8)
        deviations = standard_deviation(indices)
        values = np.rint(rng.normal(0, deviations)).astype(np.int16)
        encode, decode = [], []
        for _ in range(3):
            began = perf_counter()
            data = tables.encode(values, indices)
            between = perf_counter()
            decoded = tables.decode(data, indices)
            encode.append(between - began)
            decode.append(perf_counter() - between)
        assert np.array_equal(decoded, values)
        low, high = standard_deviation(first), standard_deviation(last - 1)
        print(
            f"{low:6.2f} to {high:6.2f} {8 * len(data) / COUNT:12.3f} "
            f"{8 * len(data) / ideal_bits(values, deviations) - 1:12.4%} "
            f"{COUNT / min(encode) / 1e6:11.0f} {COUNT / min(decode) / 1e6:11.0f}"
        )


if __name__ == "__main__":
    main()
