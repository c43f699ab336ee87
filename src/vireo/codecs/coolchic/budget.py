"""Spends a given time on the frames that are left."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from time import perf_counter
from typing import NamedTuple

from vireo.codecs.coolchic.presets import PRESETS, Preset
from vireo.codecs.encoding import PictureJob
from vireo.gop import FrameType

RESERVE = 0.97  # of a frame's share; the rest is for luck
AFTER = 0.1  # of it: a first guess of what comes after the training
SECONDS_PER_SAMPLE_STEP = 1e-7  # a cautious first guess, for choosing the warm-up
GUESSED = 4  # inter frames that a first guess of what they promise counts as


class _Worth(NamedTuple):
    """Of a frame: its effort, and that times what training promised."""

    effort: float
    worth: float


class TimeBudget:
    """Gives each frame its share of the time that is left, by what its time is worth.

    Args:
        seconds: wall-clock time for all frames, from now. Where the first ones are there
            already, the others get their share.
        frames: how many there are.
        samples: luma samples of a frame.
        gop: how many frames a GOP has.
        promise: what is expected of an inter frame, before one is known.
    """

    def __init__(
        self, seconds: float, frames: int, samples: int, gop: int, promise: float = 1.0
    ) -> None:
        self._began = perf_counter()
        self._seconds = seconds
        self._end: float | None = None
        self._frames = frames
        self._gop = gop
        self._surplus = 0.0  # effort beyond one a frame so far; in the mean it is one
        self._intra: list[_Worth] = []
        self._inter = [_Worth(GUESSED, GUESSED * promise)]
        self._after: dict[FrameType, list[float]] = defaultdict(list)
        affordable = seconds / frames / (SECONDS_PER_SAMPLE_STEP * samples)
        fitting = [p for p in PRESETS.values() if p.steps <= affordable]
        self.base = fitting[-1] if fitting else next(iter(PRESETS.values()))

    def preset(
        self, job: PictureJob, seconds_per_step: float, spent: float, promise: float = 1.0
    ) -> Preset:
        """Main and final steps for a frame.

        Args:
            spent: seconds of its warm-up.
            promise: what more steps are worth, for its effort (`presets.promise`).
        """
        end = self._end_of_all(job)
        worth = _Worth(job.effort, job.effort * promise)
        (self._intra if job.frame_type is FrameType.I else self._inter).append(worth)
        self._surplus += job.effort - 1
        part = worth.worth / (worth.worth + self._to_come(job.coding_index + 1))
        share = RESERVE * (end - perf_counter() + spent) * part
        steps = (share - spent - self._rest(job.frame_type, share)) / seconds_per_step
        return self.base.stretched(steps / (self.base.main + self.base.final))

    def _end_of_all(self, job: PictureJob) -> float:
        """When the time is over; the first frame that is told of tells how many are there."""
        if self._end is None:
            left = max(1, self._frames - job.coding_index)
            self._end = self._began + self._seconds * left / self._frames
        return self._end

    def _to_come(self, first: int) -> float:
        """What all frames from one on are worth together, by those before."""
        effort = self._frames - first - self._surplus
        intra = -(-self._frames // self._gop) - -(-first // self._gop)
        known = self._intra or [_Worth(1.0, 1.0)]
        effort -= intra * fmean(w.effort for w in known)
        worth = intra * fmean(w.worth for w in known)
        promise = sum(w.worth for w in self._inter) / sum(w.effort for w in self._inter)
        return worth + max(0.0, effort) * promise

    def skip(self, job: PictureJob) -> None:
        """A frame needs no training."""
        self._end_of_all(job)
        self._surplus += job.effort - 1

    def settle(self, job: PictureJob, seconds: float) -> None:
        """What came after a frame's training, refinement and coding, took so long."""
        self._after[job.frame_type].append(seconds)

    def _rest(self, frame_type: FrameType, share: float) -> float:
        """What will come after a frame's training: as long as it took for the last of its type."""
        known = self._after[frame_type][-3:]
        return max(known) if known else AFTER * share
