"""Models fitted to latents, held against what the format's integer models spend on them."""

import numpy as np

from vireo import _core
from vireo.codecs.coolchic.config import FILTER_WEIGHTS, STANDARD
from vireo.codecs.coolchic.fitting import CodedLatents, fit_models
from vireo.codecs.coolchic.networks import shipped_sets
from vireo.codecs.coolchic.stream import StreamShape
from vireo.codecs.coolchic.trainer import trained_grids
from vireo.codecs.coolchic.updates import magnitude_bits, to_floats, to_integers
from vireo.gop import FrameType

HEIGHT, WIDTH = 48, 64


def picture(seed: int) -> CodedLatents:
    """Latents that are large where the temporal context is, and hardly anywhere else."""
    rng = np.random.default_rng(seed)
    latents, temporal = [], []
    for i, grid in enumerate(trained_grids(STANDARD, FrameType.P, HEIGHT, WIDTH)):
        size = grid.height, grid.width
        busy = rng.random(size) < 0.1
        values = np.rint(rng.laplace(scale=np.where(busy, 4.0, 0.1)))
        latents.append(values.astype(np.int16))
        if i < STANDARD.grids:
            temporal.append(np.where(busy, 12, 2).astype(np.int16))
    return CodedLatents(latents, temporal)


def bits(parameters: np.ndarray, coded: CodedLatents) -> tuple[float, float]:
    """Of luma and of chroma."""
    core = StreamShape(STANDARD).core()
    motion = [
        np.zeros((g.height, g.width), np.int16)
        for g in STANDARD.latent_grids(FrameType.P, HEIGHT, WIDTH)[len(coded.latents) :]
    ]
    grids = coded.latents + motion
    filters = np.zeros(sum(FILTER_WEIGHTS), np.int32)
    integers = np.concatenate([to_integers(parameters, STANDARD), filters])
    networks = _core.Networks(core, 1, magnitude_bits(grids, STANDARD), integers)
    spent = _core.measure_latents(core, networks, grids, coded.temporal)
    return sum(spent[: STANDARD.grids]), sum(spent[STANDARD.grids : len(coded.latents)])


def test_what_is_fitted_takes_fewer_bits_on_other_pictures() -> None:
    sets = shipped_sets(STANDARD)
    start = to_floats(sets.parameters[sets.nearest(FrameType.P, 1e-3)], STANDARD)
    fitted = fit_models(start, [picture(seed) for seed in range(4)], STANDARD, steps=150)
    other = picture(99)
    for before, after in zip(bits(start, other), bits(fitted, other), strict=True):
        assert after < 0.9 * before
    # That luma's is large is known from the temporal context alone.
    blind = CodedLatents(other.latents, [np.zeros_like(t) for t in other.temporal])
    assert bits(fitted, other)[0] < 0.9 * bits(fitted, blind)[0]


def test_only_the_models_change() -> None:
    start = to_floats(shipped_sets(STANDARD).parameters[0], STANDARD)
    fitted = fit_models(start, [picture(0)], STANDARD, steps=3)
    slices = STANDARD.parameter_slices(FrameType.I)
    for name, where in slices.items():
        same = np.array_equal(fitted[where], start[where])
        assert same != name.startswith("arm"), name
