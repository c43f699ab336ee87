"""Symbols of a picture improved by gradients before they are sent.

An analysis network gives what suits pictures on the average; gradient descent on the latents
themselves finds what suits this one (Campos et al., 2019, "Content adaptive optimization for neural
image compression"). A decoder knows nothing of it. Rounding is soft, and harder from step to step,
where Yang et al. (2020) anneal noise: what a step sees is nearly what will be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from vireo.codecs.base import Planes
from vireo.codecs.devices import threads_of_pytorch
from vireo.codecs.encoding import Progress
from vireo.codecs.ssf.autoencoder import HYPERLATENTS, LEAST_DEVIATION, Autoencoder, Symbols
from vireo.codecs.ssf.coding import Coder
from vireo.codecs.ssf.model import blur_stacks, moved
from vireo.codecs.ssf.training import error
from vireo.exact import PROCESSOR, full_precision
from vireo.nn.latents import bits_of, lower_bound, normal_mass
from vireo.nn.picture import Picture, picture_of
from vireo.nn.rounding import soft_round

# docs/results/insta.md has what these were chosen by.
TEMPERATURES = 0.15, 0.03  # of soft rounding, at the first step and at the last
_STEPS = 40
LEARNING_RATE = 0.015  # at first, with _STEPS; with others it goes as 1 over their root
MOMENTS = 0.8, 0.95  # Adam's: short, as there are few steps
_KEPT_INTRA = 0.8  # of an I frame's error, in the error of the frame behind it, and so on
_KEPT = 1 / 3  # the same of a P frame's


def worth(followers: int, *, intra: bool) -> float:
    """What a picture's squared error is worth where so many follow, each from the one before."""
    kept = _KEPT_INTRA if intra else _KEPT
    return (1 - kept ** (followers + 1)) / (1 - kept)


@dataclass(frozen=True)
class Refinement:
    """How far to go.

    Attributes:
        steps: of each picture.
        lambda_: what a bit per luma sample costs.
    """

    steps: int
    lambda_: float

    def intra(self, coder: Coder, target: Planes, importance: float, progress: Progress) -> Symbols:
        """Symbols of an I frame, whose squared error counts `importance` times."""
        model = coder.model

        def made(latents: Sequence[Tensor]) -> Picture:
            return model.intra_picture(model.intra.decode(latents[0]))

        with _alone(coder):
            with _computing(coder):
                wanted = picture_of(target, coder.device)
                own = _Latents(model.intra, coder.places.intra, model.intra_input(wanted))
            return self._run(coder, [own], made, wanted, importance, progress)[0]

    def inter(
        self,
        coder: Coder,
        target: Planes,
        reference: Planes,
        importance: float,
        progress: Progress,
    ) -> tuple[Symbols, Symbols]:
        """Symbols of a P frame's flow and of its residual."""
        model, place = coder.model, coder.places.inter

        def prediction(flow: Tensor) -> Picture:
            return moved(stacks, model.vectors(model.flow.decode(flow)))

        def made(latents: Sequence[Tensor]) -> Picture:
            flow, residual = latents
            return model.inter_picture(prediction(flow), model.residual.decode(residual, flow))

        with _alone(coder):
            with _computing(coder):
                wanted = picture_of(target, coder.device)
                before = picture_of(reference, coder.device)
                stacks = blur_stacks(before)
                flow = _Latents(model.flow, place, model.flow_input(wanted, before))
                start = prediction(flow.sent()[1])
                rest = _Latents(model.residual, place, model.residual_input(wanted, start))
            of_flow, of_rest = self._run(coder, [flow, rest], made, wanted, importance, progress)
            return of_flow, of_rest

    def _run(
        self,
        coder: Coder,
        parts: Sequence[_Latents],
        made: Callable[[Sequence[Tensor]], Picture],
        target: Picture,
        importance: float,
        progress: Progress,
    ) -> list[Symbols]:
        """The symbols after all steps or, if these cost no less, before."""
        samples = target.luma.numel()

        def cost(latents: Sequence[Tensor], bits: Sequence[Tensor]) -> Tensor:
            distortion = importance * error(made(latents), target)
            return distortion + self.lambda_ * torch.stack(list(bits)).sum() / samples

        def now() -> tuple[float, list[Symbols]]:
            with _computing(coder):
                symbols, latents, bits = zip(*(part.sent() for part in parts), strict=True)
                return float(cost(latents, bits)), list(symbols)

        first, before = now()
        variables = [v for part in parts for v in (part.latents, part.hyperlatents)]
        rate = LEARNING_RATE * sqrt(_STEPS / self.steps)
        optimiser = torch.optim.Adam(variables, rate, MOMENTS)
        high, low = TEMPERATURES
        for step in range(self.steps):
            share = step / self.steps
            for group in optimiser.param_groups:
                group["lr"] = rate * (1 - share)
            optimiser.zero_grad(set_to_none=True)
            temperature = high * (low / high) ** share
            with _computing(coder, gradients=True):
                loss = cost(*zip(*(part.soft(temperature) for part in parts), strict=True))
                loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            progress(step + 1, self.steps)
        last, found = now()
        return found if last < first else before


@contextmanager
def _computing(coder: Coder, *, gradients: bool = False) -> Iterator[None]:
    """As the encoder's one pass does, whatever mode the caller is in."""
    with (
        torch.inference_mode(False),
        torch.set_grad_enabled(gradients),
        full_precision(coder.device.type),
    ):
        yield


def _alone(coder: Coder) -> AbstractContextManager[None]:
    """In one thread: gradients of a 1x1 convolution differ in their last bits with several."""
    if coder.device != PROCESSOR:
        return nullcontext()
    return threads_of_pytorch(1, torch.get_num_threads())


class _Latents:
    """An autoencoder's of one picture, to be moved.

    Attributes:
        latents: `[1, C, h, w]`, in their steps, not rounded.
        hyperlatents: not rounded, either.
    """

    def __init__(self, part: Autoencoder, place: int, x: Tensor) -> None:
        self._part = part
        self._place = place
        latents, hyperlatents = part.analysed(x, place)
        self.latents = latents.requires_grad_()
        self.hyperlatents = hyperlatents.requires_grad_()
        self._steps = part.steps_at(place)

    def soft(self, temperature: float) -> tuple[Tensor, Tensor]:
        """For the synthesis, and their bits, with hyperlatents rounded and latents nearly so."""
        z = HYPERLATENTS.nearest(self.hyperlatents)
        mean, deviation = self._part.distributions(z, self.latents.shape[-2:])
        symbols = soft_round(self.latents - mean, temperature)
        latents = symbols + mean
        scaled = latents if self._steps is None else latents * self._steps
        return scaled, self._bits(symbols, z, deviation)

    def sent(self) -> tuple[Symbols, Tensor, Tensor]:
        """What is sent, for the synthesis, and its bits."""
        own = self._part.symbols(self.latents, self.hyperlatents)
        scaled = self._part.dequantised(own.latents, own.mean, self._steps)
        return own, scaled, self._bits(own.latents, own.hyperlatents, own.deviation)

    def _bits(self, symbols: Tensor, z: Tensor, deviation: Tensor) -> Tensor:
        mass = normal_mass(symbols, lower_bound(deviation, LEAST_DEVIATION))
        return bits_of(mass) + self._part.prior.bits(z)
