"""Types of the native trainer; `native/binding/train.cpp` holds the definitions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_Samples = NDArray[np.uint8]
_Metrics = tuple[float, float, float, float, float, float]

def available_kernels() -> list[str]: ...
def measure_peak(isa: str = "") -> float: ...
def search_motion(
    target: Sequence[_Samples],
    references: Sequence[Sequence[_Samples]],
    lambda_: float,
    first: int,
    grids: int,
    probabilities: NDArray[np.uint16],
    inherited: Sequence[NDArray[np.int32]] = ...,
    always: bool = ...,
) -> tuple[list[NDArray[np.int16]], bool, float]: ...

class Orthogonal:
    def __init__(
        self, matrices: Sequence[tuple[int, int, int]], threads: int = 1, isa: str = ""
    ) -> None: ...
    def of(self, vector: _Floats) -> _Floats: ...

class Held: ...

class Representation:
    def __init__(
        self,
        stages: Sequence[tuple[int, Sequence[tuple[int, int, int]]]],
        expansion: int,
        head: tuple[int, int, int],
        offset: float,
        threads: int = 1,
        isa: str = "",
    ) -> None: ...
    def forward(
        self,
        stem: _Floats,
        locals: Sequence[_Floats],
        parameters: _Floats,
        crops: Sequence[tuple[int, int, int, int]],
        keep: bool,
    ) -> tuple[_Floats, Held | None]: ...
    def backward(
        self, held: Held, d_out: _Floats, parameters: _Floats
    ) -> tuple[_Floats, list[_Floats], _Floats]: ...

class FrameTrainer:
    def __init__(
        self,
        models: Sequence[tuple[Sequence[tuple[int, int]], Sequence[int]]],
        layout: Sequence[tuple[int, int, int]],
        grids: int,
        kernel: int,
        synthesis: Sequence[int],
        chroma: Sequence[int],
        chroma_grids: int,
        target: Sequence[_Samples],
        references: Sequence[Sequence[_Samples]],
        prediction: Sequence[NDArray[np.int16]] | None,
        threads: int = 1,
        isa: str = "",
    ) -> None: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def latents(self) -> list[_Floats]: ...
    def set_latents(self, latents: Sequence[_Floats]) -> None: ...
    def set_given(self, grids: Sequence[_Floats]) -> None: ...
    def set_weights(self, weights: _Floats) -> None: ...
    def parameters(self) -> _Floats: ...
    def set_parameters(self, parameters: _Floats) -> None: ...
    def base(self) -> _Floats: ...
    def set_base(self, parameters: _Floats) -> None: ...
    def set_flow_targets(self, flows: _Floats) -> None: ...
    def run(
        self,
        schedule: _Floats,
        hard: bool,
        seed: int,
        first_iteration: int,
        clip: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        latent_beta1: float,
        latent_beta2: float,
        pooling: float,
        parameter_rate: float,
    ) -> _Floats: ...
    def gradients(
        self,
        hard: bool,
        temperature: float,
        noise_shape: float,
        lambda_: float,
        flow_weight: float,
        seed: int,
        iteration: int,
        noise: Sequence[_Floats] | None,
    ) -> tuple[_Metrics, list[_Floats], _Floats]: ...
    def refine(self, lambda_: float, sweeps: int) -> int: ...
    def evaluate(self, lambda_: float, flow_weight: float) -> _Metrics: ...
    def decode(self) -> tuple[_Floats, _Floats, _Floats, _Floats]: ...
    def draw_noise(self, noise_shape: float, seed: int, iteration: int) -> list[_Floats]: ...
    def reset_optimiser(self) -> None: ...
    def state(self) -> _Floats: ...
    def set_state(self, state: _Floats) -> None: ...
    def stage_seconds(self) -> dict[str, float]: ...
