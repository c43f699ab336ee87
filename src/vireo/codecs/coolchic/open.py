"""Makes a Cool-chic encoder for what was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vireo.codecs.base import Planes
from vireo.codecs.coolchic.budget import TimeBudget
from vireo.codecs.coolchic.config import PAPER, STANDARD, Architecture
from vireo.codecs.coolchic.encoder import CoolchicEncoder, Settings
from vireo.codecs.coolchic.parts_encoder import PartsEncoder
from vireo.codecs.coolchic.presets import INTER_PROMISE, PRESETS
from vireo.codecs.coolchic.stream import StreamShape
from vireo.codecs.coolchic.trainer import Prediction
from vireo.codecs.coolchic.training import Trainer, TrainerFactory
from vireo.codecs.devices import torch_device
from vireo.codecs.encoding import Opening, PictureEncoder, PictureJob
from vireo.errors import UsageError
from vireo.gop import GopStructure, gop_frames
from vireo.options import EncodeOptions

if TYPE_CHECKING:
    from vireo.codecs.coolchic.torch_trainer import StepBatcher

FRAMES_TOGETHER = 16  # that a GPU trains at once
ARCHITECTURES = {"standard": STANDARD, "paper": PAPER}


def open_picture_encoder(opening: Opening) -> tuple[PictureEncoder, StreamShape]:
    """The picture encoder, and what the stream header says of its shapes.

    Raises UsageError for what can't be had here.
    """
    options, video, frames = opening.options, opening.video, opening.frames
    shape = StreamShape(ARCHITECTURES[options.profile])
    preset = PRESETS[options.preset]
    budget = None
    if options.time_budget is not None:
        if not frames:
            raise UsageError("a time budget needs to know how many frames there are")
        gop = gop_frames(GopStructure(options.gop), options.gop_size)
        promise = INTER_PROMISE if shape.architecture.parts else 1.0
        samples = video.width * video.height
        budget = TimeBudget(options.time_budget, frames, samples, gop, promise)
        preset = budget.base
    settings = Settings(
        options.resolved_lambda, preset, seed=options.seed, threads=options.resolved_threads
    )
    make = PartsEncoder if shape.architecture.parts else CoolchicEncoder
    return make(shape, settings, _trainers(options), budget, opening.times), shape


def _trainers(options: EncodeOptions) -> TrainerFactory:
    if options.device == "cuda":
        return _cuda_trainers()
    return native_trainers()


def native_trainers() -> TrainerFactory:
    """Of frames that are trained in compiled code, each with its job's threads."""
    from vireo.codecs.coolchic.trainer import Trainer as NativeTrainer

    return _factory(NativeTrainer, lambda job: {"threads": job.threads})


def _cuda_trainers() -> TrainerFactory:
    device = torch_device("cuda")
    from vireo.codecs.coolchic.torch_trainer import StepBatcher

    return torch_trainers(StepBatcher(device, FRAMES_TOGETHER))


def torch_trainers(batcher: StepBatcher | None) -> TrainerFactory:
    """Of frames that are trained by PyTorch, in company, or each alone on the CPU."""
    from vireo.codecs.coolchic.torch_trainer import TorchTrainer

    return _factory(TorchTrainer, lambda job: {"batcher": batcher})


def _factory(
    kind: Callable[..., Trainer], more: Callable[[PictureJob], dict[str, Any]]
) -> TrainerFactory:
    """Makes trainers of a kind, with `more` arguments by the picture."""

    def make(
        architecture: Architecture,
        job: PictureJob,
        references: Sequence[Planes] = (),
        prediction: Prediction | None = None,
        temporal: Sequence[NDArray[np.int16]] | None = None,
    ) -> Trainer:
        return kind(
            architecture,
            job.frame_type,
            job.target,
            references,
            prediction=prediction,
            temporal=temporal,
            **more(job),
        )

    return make
