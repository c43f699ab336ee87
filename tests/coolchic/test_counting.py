"""Tables of probabilities, from counts of what an encoder decides; and that it inherits motion."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from tests.coolchic.test_motion_search import texture
from vireo.codecs.coolchic import counting
from vireo.codecs.coolchic.config import STANDARD
from vireo.codecs.coolchic.counting import CountingEncoder, frame_probabilities, probabilities
from vireo.codecs.coolchic.networks import shipped_sets
from vireo.codecs.decoding import GopDecoder
from vireo.codecs.encoding import GopEncoder
from vireo.container import Codec, StoredPacket, StreamHeader
from vireo.gop import FrameType, GopStructure
from vireo.video.frame import Frame, VideoFormat

FRAMES, HEIGHT, WIDTH = 5, 64, 96
UPDATED = 17  # of a frame's decisions, the one that every frame takes once


def steady(frames: int) -> list[Frame]:
    """Two halves that move apart, each as fast all the time, in different directions."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    across = np.where(x < WIDTH // 2, -3.0, 2.0)
    down = np.where(x < WIDTH // 2, 1.0, -2.0)
    grey = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    lumas = (texture(y + t * down, x + t * across) for t in range(frames))
    return [
        Frame(luma.clip(0, 255).round().astype(np.uint8), grey, grey, t)
        for t, luma in enumerate(lumas)
    ]


@pytest.fixture(scope="module")
def encoded() -> tuple[CountingEncoder, list[bytes]]:
    encoder = CountingEncoder(1e-3)
    rate = Fraction(25)
    header = StreamHeader.for_video(
        VideoFormat(width=WIDTH, height=HEIGHT, frame_rate=rate, time_base=1 / rate),
        codec=Codec.COOLCHIC,
        profile=encoder.shape.profile,
        max_gop_frames=FRAMES,
        max_references=FRAMES,
        configuration=encoder.shape.write(),
    )
    gop = GopEncoder(header, encoder, GopStructure.RANDOM_ACCESS, FRAMES - 1)
    return encoder, [packet.data for packet in gop.encode(steady(FRAMES))]


def test_steady_motion_is_inherited(encoded: tuple[CountingEncoder, list[bytes]]) -> None:
    encoder, packets = encoded
    p, b, p_inheriting, b_inheriting = (int(counts[-1].sum()) for counts in encoder.motion)
    assert (p, p_inheriting) == (1, 0)  # an I frame has no motion
    assert b + b_inheriting == FRAMES - 2
    assert b_inheriting > 0
    decoder = GopDecoder()
    stored = [StoredPacket(data, None, False, i, None) for i, data in enumerate(packets)]
    assert len(list(decoder.decode(stored))) == decoder.verified == FRAMES


def test_every_decision_is_counted(encoded: tuple[CountingEncoder, list[bytes]]) -> None:
    encoder, _ = encoded
    types = Counter({FrameType.I: 1, FrameType.P: 1, FrameType.B: FRAMES - 2})
    for kind, frames in types.items():
        assert encoder.frame[kind, UPDATED].sum() == frames
    assert encoder.frame[FrameType.I, 0].sum() == 0  # whether motion is inherited
    shared = int(encoder.frame[FrameType.B, 52, 1])  # whether motion is the whole picture's
    begins = int(encoder.frame[FrameType.B, 0, 1]) + shared
    alone, others = (int(encoder.motion[row, -1].sum()) for row in (1, 3))
    assert (alone, others) == (FRAMES - 2 - begins, begins)


def test_probabilities_follow_from_counts() -> None:
    counts = np.array([[0, 0], [10, 10], [30, 10], [10**6, 0], [0, 10**6]])
    assert probabilities(counts).tolist() == [32768, 32768, 16705, 64, 65472]
    frame = np.zeros((3, 53, 2), np.int64)
    frame[:, :, 1] = 100
    table = frame_probabilities(frame)
    assert (table[:, 0] == 32768).tolist() == [False, True, False]
    assert table[:, 52].tolist() == shipped_sets(STANDARD).frame[:, 52].tolist()


def test_p_frames_that_inherit_learn_from_others() -> None:
    motion = np.zeros((4, 3, 2), np.int64)
    motion[0, :, 1] = 1000
    table = counting.motion_probabilities(motion)
    assert (table[2] > 65000).all()
    assert table[:2, -1].tolist() == [round(65536 * (1 - counting.STILL))] * 2
    assert (table[3] == 32768).all()
