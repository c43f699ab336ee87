"""Spends a given time on the frames that are left."""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter

from vireo.codecs.coolchic.presets import PRESETS, Preset
from vireo.codecs.encoding import PictureJob
from vireo.gop import FrameType

RESERVE = 0.97  # of a frame's share; the rest is for luck
AFTER = 0.1  # of it: a first guess of what comes after the training
SECONDS_PER_SAMPLE_STEP = 1e-7  # a cautious first guess, for choosing the warm-up


class TimeBudget:
    """Gives each frame its share of the time that is left, by what its time is worth.

    Args:
        seconds: wall-clock time for all frames, from now. Where the first ones are there
            already, the others get their share.
        frames: how many there are.
        samples: luma samples of a frame.
    """

    def __init__(self, seconds: float, frames: int, samples: int) -> None:
        self._began = perf_counter()
        self._seconds = seconds
        self._end: float | None = None
        self._frames = frames
        self._surplus = 0.0  # effort beyond one a frame so far
        self._after: dict[FrameType, list[float]] = defaultdict(list)
        affordable = seconds / frames / (SECONDS_PER_SAMPLE_STEP * samples)
        fitting = [p for p in PRESETS.values() if p.steps <= affordable]
        self.base = fitting[-1] if fitting else next(iter(PRESETS.values()))

    def preset(self, job: PictureJob, seconds_per_step: float, spent: float) -> Preset:
        """Main and final steps for a frame whose warm-up took `spent` seconds."""
        left = self._frames - job.coding_index
        if self._end is None:
            self._end = self._began + self._seconds * max(1, left) / self._frames
        part = job.effort / max(job.effort, left - self._surplus)
        self._surplus += job.effort - 1
        share = RESERVE * (self._end - perf_counter() + spent) * part
        steps = (share - spent - self._rest(job.frame_type, share)) / seconds_per_step
        return self.base.stretched(steps / (self.base.main + self.base.final))

    def settle(self, job: PictureJob, seconds: float) -> None:
        """What came after a frame's training, refinement and coding, took so long."""
        self._after[job.frame_type].append(seconds)

    def _rest(self, frame_type: FrameType, share: float) -> float:
        """What will come after a frame's training: as long as it took for the last of its type."""
        known = self._after[frame_type][-3:]
        return max(known) if known else AFTER * share
