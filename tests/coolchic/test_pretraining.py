"""How what comes with the format is made."""

import numpy as np
import torch

from vireo.codecs.coolchic import parts_model
from vireo.codecs.coolchic.config import STANDARD
from vireo.codecs.coolchic.model import mlp
from vireo.codecs.coolchic.networks import shipped_sets
from vireo.codecs.coolchic.parts_model import PartNetworks
from vireo.codecs.coolchic.pretraining import scaled
from vireo.codecs.coolchic.updates import to_floats
from vireo.gop import FrameType

FACTOR = 2.5


def networks_of(parameters: np.ndarray) -> PartNetworks:
    flat = torch.from_numpy(parameters).double()
    return PartNetworks.of(flat, STANDARD, FrameType.I)


def test_scaled_networks_say_the_same_of_larger_latents() -> None:
    sets = shipped_sets(STANDARD)
    chosen = sets.parameters[sets.nearest(FrameType.I, 1e-3)].astype(np.int32)
    own = to_floats(chosen, STANDARD)
    before, after = networks_of(own), networks_of(scaled(own, FACTOR))

    rng = np.random.default_rng(1)
    latents = [
        torch.from_numpy(rng.laplace(0, 1.5, (grid.height, grid.width)))
        for grid in STANDARD.latent_grids(FrameType.I, 32, 48)
    ]
    pictures = (
        parts_model.decode(values, networks, STANDARD)
        for values, networks in ((latents, before), ([FACTOR * x for x in latents], after))
    )
    for first, second in zip(*pictures, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-5, atol=1e-6)

    inputs = torch.from_numpy(rng.laplace(0, 1.5, (13, 100)))
    for kind in (0, 1):
        larger = FACTOR * inputs
        if kind == 0:
            larger[-1] = inputs[-1]  # the temporal context
        mean, log2_scale = mlp(before.arms[kind], inputs)
        scaled_mean, scaled_log2 = mlp(after.arms[kind], larger)
        torch.testing.assert_close(scaled_mean, FACTOR * mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(scaled_log2, log2_scale + np.log2(FACTOR), rtol=1e-5, atol=1e-5)
