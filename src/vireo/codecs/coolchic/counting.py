"""Makes the tables of probabilities that decisions in a frame start from.

    python -m vireo.codecs.coolchic.counting FILE … --sets OLD.npz --out NEW.npz

encodes clips of a training set (7 frames each, as `pretraining` takes them) at random qualities,
and counts how decisions come out. How motion is chosen depends on what it costs: to begin with
other tables changes the counts a little.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from vireo import _core
from vireo.codecs.coolchic.config import STANDARD
from vireo.codecs.coolchic.encoder import Settings
from vireo.codecs.coolchic.networks import read_sets
from vireo.codecs.coolchic.open import native_trainers
from vireo.codecs.coolchic.parts_encoder import Coded, PartsEncoder
from vireo.codecs.coolchic.presets import PRESETS
from vireo.codecs.coolchic.pretraining import CLIP, clips
from vireo.codecs.coolchic.stream import StreamShape
from vireo.codecs.encoding import EncodedPicture, GopEncoder, PictureJob
from vireo.container import Codec, StreamHeader
from vireo.gop import FrameType, GopStructure
from vireo.options import lambda_of_quality
from vireo.video.frame import Frame, VideoFormat

CLIPS = 50
CROP = 192  # luma samples, the side of what is encoded
QUALITIES = 10, 85
LOW_DELAY = 0.2  # of the clips; the others are in random access
STILL = 0.2  # of frames have no motion at all; a training set has too few of them
_P, _B, _P_INHERITING = 0, 1, 2  # rows of motion's counts; those that begin with motion
# Whether there is any motion; whether a frame inherits some; whether it has the whole picture's.
_ANY, _INHERITS, _GLOBAL = -1, 0, 52
SHAKEN = 0.15, 0.03  # of P and of B frames have the latter: a guess, clips are too short and small
SEEN = 0.4  # what either result of a decision is counted before the first one


class CountingEncoder(PartsEncoder):
    """Counts what it codes.

    Attributes:
        motion, frame: how often each decision came out 0 and 1, `[4, contexts, 2]` and `[3,
            contexts, 2]` in the order of `NetworkSets`.
    """

    def __init__(self, lambda_: float) -> None:
        super().__init__(
            StreamShape(STANDARD), Settings(lambda_, PRESETS["ultrafast"]), native_trainers()
        )
        self.motion = np.zeros((4, _core.MOTION_CONTEXTS, 2), np.int64)
        self.frame = np.zeros((3, _core.FRAME_CONTEXTS, 2), np.int64)
        self._mutex = Lock()

    def _code(self, job: PictureJob, coded: Coded, iterations: int) -> EncodedPicture:
        networks, base, kind = coded.networks, coded.base, job.frame_type
        with self._mutex:
            self.frame[kind] += _core.count_frame(
                self._core, networks, coded.grids, coded.temporal, base.number, base.parameters
            )
            if kind != FrameType.I:
                row = kind - 1 + 2 * (networks.inherits or len(networks.corners) > 0)
                self.motion[row] += _core.count_motion(self._core, coded.grids, int(kind))
        return super()._code(job, coded, iterations)


def probabilities(counts: NDArray[np.int64]) -> NDArray[np.uint16]:
    """That decisions come out 1, in 2**-16."""
    ones = (counts[..., 1] + SEEN) / (counts.sum(-1) + 2 * SEEN)
    table: NDArray[np.uint16] = np.rint(ones * 65536).clip(64, 65536 - 64).astype(np.uint16)
    return table


def motion_probabilities(counts: NDArray[np.int64]) -> NDArray[np.uint16]:
    """The same of motion's, of which the last one says whether there is any."""
    known = counts.copy()
    known[_P_INHERITING] += counts[_P]  # clips are too short for many of these
    table = probabilities(known)
    table[[_P, _B], _ANY] = round((1 - STILL) * 65536)
    return table


def frame_probabilities(counts: NDArray[np.int64]) -> NDArray[np.uint16]:
    """The same of a frame's others."""
    table = probabilities(counts)
    table[FrameType.P, _INHERITS] = 1 << 15  # clips are too short for P frames that could
    table[:, _GLOBAL] = [round(share * 65536) for share in (0.5, *SHAKEN)]
    return table


def count(
    files: list[Path], number: int, seed: int, threads: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`CountingEncoder.motion` and `frame`, after so many clips."""
    rng = np.random.default_rng(seed)
    source = clips(files, rng, CROP)
    motion = np.zeros((4, _core.MOTION_CONTEXTS, 2), np.int64)
    frame = np.zeros((3, _core.FRAME_CONTEXTS, 2), np.int64)
    for done in range(1, number + 1):
        encoder = CountingEncoder(lambda_of_quality(rng.uniform(*QUALITIES)))
        low_delay = rng.random() < LOW_DELAY
        structure = GopStructure.LOW_DELAY if low_delay else GopStructure.RANDOM_ACCESS
        shown = [Frame(*planes, pts) for pts, planes in enumerate(next(source))]
        gop = GopEncoder(_header(encoder), encoder, structure, CLIP - 1, threads=threads)
        for _ in gop.encode(shown):
            pass
        motion += encoder.motion
        frame += encoder.frame
        print(f"{done} of {number} clips", flush=True)
    return motion, frame


def _header(encoder: CountingEncoder) -> StreamHeader:
    rate = Fraction(25)
    video = VideoFormat(width=CROP, height=CROP, frame_rate=rate, time_base=1 / rate)
    shape = encoder.shape
    return StreamHeader.for_video(
        video,
        codec=Codec.COOLCHIC,
        profile=shape.profile,
        max_gop_frames=CLIP,
        max_references=CLIP,
        configuration=shape.write(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    motion, frame = count(asked.files, asked.clips, asked.seed, asked.threads)
    replace(
        read_sets(asked.sets),
        motion=motion_probabilities(motion),
        frame=frame_probabilities(frame),
    ).write(asked.out)


if __name__ == "__main__":
    main()
