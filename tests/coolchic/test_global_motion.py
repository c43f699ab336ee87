"""Motion of the whole picture: found among blocks' vectors, and used where a camera turns."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests.coolchic.test_motion_search import texture
from vireo import _core
from vireo.codecs.coolchic.counting import CountingEncoder
from vireo.codecs.coolchic.global_motion import GlobalMotion, global_motion
from vireo.codecs.coolchic.parts_encoder import Coded
from vireo.codecs.decoding import GopDecoder
from vireo.codecs.encoding import EncodedPicture, GopEncoder, PictureJob
from vireo.container import Codec, StoredPacket, StreamHeader
from vireo.gop import FrameType, GopStructure
from vireo.video.frame import Frame, VideoFormat

SIZE = 66, 98
CORNERS = 150, -90, 40, 12, -60, 33


def test_what_most_blocks_share_is_found() -> None:
    rng = np.random.default_rng(0)
    vectors = list(GlobalMotion(CORNERS, SIZE))
    blocks = vectors[0].shape
    others = rng.random(blocks) < 0.3
    moved = [np.where(others, v + rng.integers(-4000, 4000, blocks), v) for v in vectors]
    found = global_motion([m.astype(np.int32) for m in moved], [np.ones(blocks)], SIZE)
    assert found is not None
    np.testing.assert_allclose(found.corners, CORNERS, atol=2)


def test_blocks_that_are_not_predicted_say_nothing() -> None:
    vectors = list(GlobalMotion(CORNERS, SIZE))
    weights = np.ones(vectors[0].shape)
    weights[:, 6:] = 0
    for v in vectors:
        v[:, 6:] = 999
    found = global_motion(vectors, [weights], SIZE)
    assert found is not None
    np.testing.assert_allclose(found.corners, CORNERS, atol=2)


def test_a_still_camera_has_none() -> None:
    vectors = list(GlobalMotion((3, -5, 2, 0, 1, 4), SIZE))
    assert global_motion(vectors, [np.ones(vectors[0].shape)], SIZE) is None


@pytest.mark.parametrize("size", [(2, 2), (4, 98), (66, 4)])
def test_a_row_of_blocks_has_motion_too(size: tuple[int, int]) -> None:
    vectors = list(GlobalMotion((160, -90, 0, 0, 0, 0), size))
    found = global_motion(vectors, [np.ones(vectors[0].shape)], size)
    assert found is not None
    for ours, wanted in zip(found, vectors, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=4)


class Recorder(CountingEncoder):
    """Keeps what P frames say of the whole picture's motion."""

    def __init__(self, lambda_: float) -> None:
        super().__init__(lambda_)
        self.corners: list[list[int]] = []

    def _code(self, job: PictureJob, coded: Coded, iterations: int) -> EncodedPicture:
        if job.frame_type == FrameType.P:
            self.corners.append(coded.networks.corners)
        return super()._code(job, coded, iterations)


def turned(height: int, width: int, degrees: float, scale: float) -> Frame:
    """A texture seen by a camera that turns and comes closer."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    y, x = y - height / 2, x - width / 2
    c, s = np.cos(np.radians(degrees)) / scale, np.sin(np.radians(degrees)) / scale
    luma = texture(60 + c * y + s * x, 60 + c * x - s * y)
    grey = np.full((height // 2, width // 2), 128, np.uint8)
    return Frame(luma.clip(0, 255).round().astype(np.uint8), grey, grey, round(degrees))


def test_a_camera_that_turns_moves_the_whole_picture() -> None:
    height, width = 160, 224
    frames = [turned(height, width, 0, 1), turned(height, width, 6, 1.1)]
    encoder, rate = Recorder(2e-3), Fraction(25)
    header = StreamHeader.for_video(
        VideoFormat(width=width, height=height, frame_rate=rate, time_base=1 / rate),
        codec=Codec.COOLCHIC,
        profile=encoder.shape.profile,
        max_gop_frames=2,
        max_references=2,
        configuration=encoder.shape.write(),
    )
    gop = GopEncoder(header, encoder, GopStructure.RANDOM_ACCESS, 1)
    packets = [packet.data for packet in gop.encode(frames)]
    [corners] = encoder.corners
    # From the second frame's upper left corner to the same place of the first, and so on.
    angle = np.radians(6)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / 1.1
    places = np.array([[0, 0], [width, 0], [0, height]]) - np.array([width, height]) / 2
    moved = 16 * (places @ turn.T - places)
    expected = np.concatenate([moved[0], moved[1] - moved[0], moved[2] - moved[0]])
    np.testing.assert_allclose(corners, expected, atol=6)
    decoder = GopDecoder()
    stored = [StoredPacket(data, None, False, i, None) for i, data in enumerate(packets)]
    assert len(list(decoder.decode(stored))) == decoder.verified == 2


def test_what_the_numbers_take_is_known() -> None:
    motion = GlobalMotion(CORNERS, SIZE)
    core = CountingEncoder(1e-3)._core
    parameters = np.zeros(1459, np.int32)
    networks = _core.Networks(core, 1, 5, parameters)
    before = networks.update_bits(254, parameters)
    networks.corners = motion.corners
    assert abs(networks.update_bits(254, parameters) - before - motion.bits) < 10
