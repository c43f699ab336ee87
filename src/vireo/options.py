"""What an encode can be asked for, checked once for the API and the command line."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

from vireo.codecs.coolchic.presets import DEFAULT_PRESET, PRESETS
from vireo.codecs.dhvc.config import SCALES
from vireo.codecs.nvrc import presets as nvrc
from vireo.codecs.nvrc.config import CONFIGS as NVRC_MODELS
from vireo.codecs.ssf import presets as ssf
from vireo.errors import UsageError
from vireo.gop import GopStructure
from vireo.stream.losses import lowest_layers
from vireo.targets import Goal

CODECS = ("coolchic", "ssf", "dhvc", "codebook", "nvrc")
TRAINED_ON_THE_VIDEO = ("coolchic", "nvrc")
PROFILES = {
    "coolchic": ("standard", "paper"),
    "ssf": ("standard",),
    "dhvc": ("standard",),
    "codebook": ("entropy", "paper"),
    "nvrc": ("standard", "paper"),
}
"""Each codec's, its own choice first."""


class Adapt(StrEnum):
    """What of a pretrained codec is fine-tuned on the video."""

    NONE = "none"
    ENCODER = "encoder"
    FULL = "full"


ADAPTATION_TIME = 600.0
_NOT_ASKED = -(1 << 31)
# What a codec takes where nothing is asked for.
_OWN: dict[str, dict[str, Any]] = {
    "coolchic": {
        "gop": GopStructure.RANDOM_ACCESS,
        "gop_size": 32,
        "preset": DEFAULT_PRESET,
    },
    "ssf": {
        "gop": GopStructure.LOW_DELAY,
        "gop_size": 11,
        "model": "ssf1",
        "preset": ssf.ONE_PASS,
    },
    "dhvc": {"gop": GopStructure.LOW_DELAY, "gop_size": 31, "model": "small"},
    "codebook": {"gop": GopStructure.LOW_DELAY, "gop_size": 31, "model": "small"},
    "nvrc": {
        "gop": GopStructure.SEGMENT,
        "gop_size": 63,
        "model": "xxs",
        "preset": nvrc.DEFAULT_PRESET,
    },
}
DEVICES = ("cpu", "cuda")
MAX_GOP_SIZE = 1024
MAX_THREADS = 1024

# Quality 0 … 100 spaces lambda evenly in its logarithm, with a middle setting in the middle.
_LAMBDA_AT_0 = 2e-2
_LAMBDA_AT_100 = 5e-5


def lambda_of_quality(quality: float) -> float:
    """Cost of a bit per luma sample against mean squared error of samples in 0…1."""
    ratio = _LAMBDA_AT_100 / _LAMBDA_AT_0
    return _LAMBDA_AT_0 * math.exp(math.log(ratio) * quality / 100)


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode (see `vireo.encode` for the meaning of each).

    A profile, model, structure or size of GOPs not asked for becomes the codec's own. Raises
    UsageError at construction for a value that is unknown or out of range.
    """

    codec: str = "coolchic"
    profile: str = ""
    model: str = ""
    gop: str = ""
    gop_size: int = _NOT_ASKED
    quality: float | None = None
    lambda_: float | None = None
    target_psnr: float | None = None
    target_bitrate: float | None = None
    preset: str = ""
    time_budget: float | None = None
    distortion: str = ""
    adapt: str = Adapt.NONE
    update_every: int | None = None
    resync: str | Callable[[int], int | None] = ""
    start: int = 0
    frames: int | None = None
    size: tuple[int, int] | None = None
    fps: Fraction | None = None
    pix_fmt: str | None = None
    threads: int | None = None
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("codec", self.codec, CODECS)
        defaults = {"profile": PROFILES[self.codec][0], **_OWN[self.codec]}
        if self.codec == "ssf" and self.adapt != Adapt.NONE:
            defaults["preset"] = ssf.ADAPTED
        for name, own in defaults.items():
            if getattr(self, name) in ("", _NOT_ASKED):
                object.__setattr__(self, name, own)
        _one_of("profile", self.profile, PROFILES[self.codec])
        _one_of("gop", self.gop, tuple(GopStructure))
        checked_device(self.device)
        self._check_codec()
        if not 1 <= self.gop_size <= MAX_GOP_SIZE:
            raise UsageError(f"the GOP size is {self.gop_size}; it must be 1 to {MAX_GOP_SIZE}")
        power_of_two = self.gop_size & (self.gop_size - 1) == 0
        if self.gop == GopStructure.RANDOM_ACCESS and not power_of_two:
            raise UsageError(f"random access needs a power of two as GOP size, not {self.gop_size}")
        asked = (self.quality, self.lambda_, self.target_psnr, self.target_bitrate)
        if sum(value is not None for value in asked) > 1:
            raise UsageError("give one of quality, lambda, target PSNR and target bit rate")
        if self.target_psnr is not None and not 10 <= self.target_psnr <= 60:
            raise UsageError(f"a PSNR of {self.target_psnr:g} dB can't be had; ask for 10 to 60")
        if self.target_bitrate is not None and not self.target_bitrate > 0:
            raise UsageError("the target bit rate must be above 0 bits per second")
        if self.goal is not None and (self.codec, self.profile) == ("codebook", "paper"):
            raise UsageError(
                "frames of codebook's profile paper have one of a few sizes: choose by quality"
            )
        if self.time_budget is not None and (self.target_psnr or self.target_bitrate):
            raise UsageError("a time budget and a target can't be met together")
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise UsageError(f"the quality is {self.quality:g}; it must be 0 to 100")
        if self.lambda_ is not None and not 0 < self.lambda_ <= 1:
            raise UsageError(f"lambda is {self.lambda_:g}; it must be above 0, and 1 at most")
        if self.time_budget is not None and not self.time_budget > 0:
            raise UsageError("the time budget must be above 0 seconds")
        if self.update_every is not None:
            if self.adapt == Adapt.NONE:
                raise UsageError("there are no updates without adaptation")
            if not 1 <= self.update_every <= 1 << 16:
                raise UsageError("updates come every 1 to 65536 GOPs")
        if self.resync and self.codec != "dhvc":
            raise UsageError(f"{self.codec} has no scales to resynchronise; dhvc has")
        _ = self.resynchronised  # a list of none raises
        checked_threads(self.threads)
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"the seed is {self.seed}; it must be 0 to {2**31 - 1}")

    def _check_codec(self) -> None:
        """What one codec has and another hasn't."""
        if self.codec == "coolchic":
            if self.model:
                raise UsageError("coolchic has no models: it trains its networks on the video")
            _one_of("preset", self.preset, tuple(PRESETS))
        elif self.codec == "nvrc":
            _one_of("model", self.model, tuple(NVRC_MODELS))
            _one_of("preset", self.preset, tuple(nvrc.PRESETS))
            if self.distortion:
                _one_of("distortion", self.distortion, nvrc.DISTORTIONS)
        if (self.gop == GopStructure.SEGMENT) != (self.codec == "nvrc"):
            raise UsageError("nvrc codes segments, and nothing else does: leave the structure out")
        if self.distortion and self.codec != "nvrc":
            raise UsageError(f"{self.codec} lowers the squared error; nvrc has other distortions")
        if not self.is_pretrained:
            if self.adapt != Adapt.NONE:
                raise UsageError(f"{self.codec} trains its networks on the video: there is no more")
            return
        _one_of("adaptation", self.adapt, tuple(Adapt))
        if self.codec != "ssf" and self.adapt != Adapt.NONE:
            raise UsageError(f"adaptation is for ssf: {self.codec} has none")
        if self.codec == "ssf":
            _one_of("preset", self.preset, tuple(ssf.PRESETS))
        elif self.preset:
            raise UsageError(f"{self.codec} has no presets: its networks are trained already")
        if self.gop == GopStructure.RANDOM_ACCESS:
            raise UsageError(f"{self.codec} has I and P frames only: use low-delay or intra")
        if self.time_budget is not None and self.adapt == Adapt.NONE:
            raise UsageError(f"{self.codec} is trained already: a time budget is for --adapt")

    @property
    def is_pretrained(self) -> bool:
        """Whether the codec's networks are weights that the stream names."""
        return self.codec not in TRAINED_ON_THE_VIDEO

    @property
    def resolved_lambda(self) -> float:
        """The lambda asked for, or that of the quality, or of the middle quality."""
        if self.lambda_ is not None:
            return self.lambda_
        return lambda_of_quality(50 if self.quality is None else self.quality)

    @property
    def resynchronised(self) -> Callable[[int], int | None]:
        """What tells a frame's lowest scale that shall not refer to the frames before, if any.

        Scales count from 1. Raises UsageError for a list that is none.
        """
        if not isinstance(self.resync, str):
            return self.resync
        lowest = lowest_layers(self.resync, "scale to resynchronise")
        for frame, scale in lowest.items():
            if not 1 <= scale <= SCALES:
                raise UsageError(f"frame {frame} has no scale {scale}; it has 1 to {SCALES}")
        return lowest.get

    @property
    def resolved_adaptation_time(self) -> float:
        """Seconds that a pretrained codec is adapted for."""
        return ADAPTATION_TIME if self.time_budget is None else self.time_budget

    @property
    def goal(self) -> Goal | None:
        """What to aim at by trials, if anything."""
        if self.target_psnr is not None:
            return Goal.psnr(self.target_psnr)
        if self.target_bitrate is not None:
            return Goal.bit_rate(self.target_bitrate)
        return None

    @property
    def resolved_threads(self) -> int:
        return checked_threads(self.threads)


def checked_threads(threads: int | None) -> int:
    """How many threads to use, by default one per processor; UsageError where out of range."""
    if threads is None:
        return len(available_processors())
    if not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"{threads} threads can't work; it must be 1 to {MAX_THREADS}")
    return threads


def checked_device(device: str) -> str:
    """The same; raises UsageError for one that is unknown. Whether it is here is seen later."""
    _one_of("device", device, DEVICES)
    return device


def available_processors() -> tuple[int, ...]:
    """Numbers of the processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return tuple(sorted(affinity(0))) if affinity else tuple(range(os.cpu_count() or 1))


def check_output(source: Path, target: Path, *, overwrite: bool) -> None:
    """Raises UsageError where `target` can't be made from `source`, before any work is done."""
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"the output is the input: {target}")
    if target.is_dir():
        raise UsageError(f"the output is a directory: {target}")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists; choose another name, or allow to overwrite it")
    if not target.parent.is_dir():
        raise UsageError(f"the output's directory doesn't exist: {target.parent}")
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"the output's directory can't be written to: {target.parent}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"there is no {name} {value!r}; there is {', '.join(known)}")
