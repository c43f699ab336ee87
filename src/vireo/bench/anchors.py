"""The codecs that people use, as named settings, and how to run them.

Each anchor is a line of data: an encoder of FFmpeg's with the options of a paper's
command, or those that a user would pick today. PyAV's encoders run in this process, with
the same options that the printed command gives to ffmpeg. What PyAV's build lacks runs in
the ffmpeg binary that the package imageio-ffmpeg brings.

Options that only print something (`verbose`, `csv`, `psnr`) are left out. Threads are set
explicitly, because the streams of x264 and x265 depend on their number.
"""

from __future__ import annotations

import math
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vireo.errors import UsageError, VireoError
from vireo.video import Frame, VideoFormat
from vireo.video.convert import picture_of


class AnchorError(VireoError):
    """An anchor's encoder failed."""


@dataclass(frozen=True)
class Encoder:
    """One of FFmpeg's encoders.

    Attributes:
        name: as `-c:v` takes it.
        muxer: FFmpeg's format for its elementary stream, also the file's suffix.
        parameters: the option that takes the encoder's own settings as `a=b:c=d`.
        coarsest: largest value of its scale of rates, the coarsest quality.
        step: smallest step of that scale that makes a difference.
        in_pyav: whether PyAV's wheels hold it.
        pixel_format: what it codes.
    """

    name: str
    muxer: str
    parameters: str
    coarsest: int
    step: float
    in_pyav: bool = True
    pixel_format: str = "yuv420p"


X264 = Encoder("libx264", "h264", "x264-params", 51, 0.01)
X265 = Encoder("libx265", "hevc", "x265-params", 51, 0.01)
SVT_AV1 = Encoder("libsvtav1", "obu", "svtav1-params", 63, 1)
VVENC = Encoder("libvvenc", "vvc", "vvenc-params", 63, 1, False, "yuv420p10le")
AOM = Encoder("libaom-av1", "obu", "aom-params", 63, 1, False)

# About the same qualities, 30 to 41 dB on ordinary clips: curves must overlap to be compared.
CRFS = (22.0, 27.0, 32.0, 37.0, 42.0)
QPS = (27.0, 32.0, 37.0, 42.0, 47.0)
AV1_CRFS = (32.0, 40.0, 48.0, 56.0, 63.0)


@dataclass(frozen=True)
class Anchor:
    """A named setting of an encoder.

    Attributes:
        name: what run files and the command line call it.
        source: whose setting it is: paper and section.
        encoder: the encoder.
        options: FFmpeg's options, without the rate.
        parameters: the encoder's own settings, without the rate.
        control: "crf" (constant rate factor) or "qp" (constant quantiser).
        control_in_parameters: whether the paper gives the rate among the encoder's own
            settings, not as an option of FFmpeg's.
        values: points of its rate scale that cover ordinary qualities.
    """

    name: str
    source: str
    encoder: Encoder
    options: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    control: str = "crf"
    control_in_parameters: bool = False
    values: tuple[float, ...] = CRFS

    def arguments(self, value: float, threads: int) -> dict[str, str]:
        """FFmpeg's options at a rate point, for `threads` threads."""
        rate = {self.control: f"{value:.12g}"}
        options = {"threads": str(threads), **self.options}
        parameters = dict(self.parameters)
        if self.control_in_parameters:
            parameters = {**rate, **parameters}
        else:
            options |= rate
        if self.encoder is X265:
            # FFmpeg's threads are x265's frame threads; its pool would take every processor.
            parameters["pools"] = str(threads)
        if self.encoder is SVT_AV1:
            parameters["lp"] = str(threads)
        if parameters:
            options[self.encoder.parameters] = ":".join(f"{k}={v}" for k, v in parameters.items())
        return options

    def command(
        self, clip: Path | str, target: Path | str, value: float, *, frames: int, threads: int
    ) -> list[str]:
        """What to type for the same stream: ffmpeg and its arguments."""
        return [
            "ffmpeg",
            *("-noautorotate", "-i", str(clip), "-map", "0:v:0", "-frames:v", str(frames)),
            *("-pix_fmt", self.encoder.pixel_format, "-c:v", self.encoder.name),
            *(a for k, v in self.arguments(value, threads).items() for a in (f"-{k}", v)),
            *("-f", self.encoder.muxer, str(target)),
        ]

    def settings(self) -> dict[str, str]:
        """What determines its streams, rate and threads aside."""
        return {
            "encoder": self.encoder.name,
            **self.options,
            **{f"{self.encoder.parameters} {k}": v for k, v in self.parameters.items()},
            "rate": f"{self.control}{' as parameter' if self.control_in_parameters else ''}",
        }

    def value_of_lambda(self, lambda_: float) -> float:
        """The rate value that trades bits for error about as `lambda_` does.

        x264 and its successors use λ = 0.85 · 2^((q − 12) / 3), for squared errors of
        samples in 0 … 255 and q of H.264's scale; AV1's scale is mapped onto it linearly.
        """
        q = 12 + 3 * math.log2(lambda_ * 255**2 / 0.85)
        value = q * self.encoder.coarsest / 51
        value = round(value / self.encoder.step) * self.encoder.step
        if self.control == "qp":
            value = round(value)
        return min(max(value, 1.0), float(self.encoder.coarsest))

    def is_available(self) -> bool:
        """Whether its encoder is installed."""
        return self.encoder.in_pyav or ffmpeg_binary() is not None


_KEYINT_64 = {"keyint": "64", "min-keyint": "64"}
_KEYINT_12 = {"keyint": "12", "min-keyint": "12"}
_COOLCHIC = {"preset": "medium", "tune": "psnr"}
_CODEBOOK = {"preset": "medium", "tune": "zerolatency"}
_INSTA = {"preset": "veryslow", "tune": "zerolatency"}
_COOLCHIC_SOURCE = "Cool-chic video, section 3.1"
_CODEBOOK_SOURCE = "codebook codec, appendix G, table 7, GOP 12"
_TODAY = "what a user would pick today"


def _anchors() -> Iterable[Anchor]:
    for name, encoder in (("x264", X264), ("x265", X265)):
        yield Anchor(
            f"{name}-coolchic-random-access",
            f"{_COOLCHIC_SOURCE}, random access",
            encoder,
            _COOLCHIC,
            _KEYINT_64,
        )
        yield Anchor(
            f"{name}-coolchic-low-delay",
            f"{_COOLCHIC_SOURCE}, low delay P",
            encoder,
            _COOLCHIC,
            {"bframes": "0", **_KEYINT_64},
        )
        for control in ("crf", "qp"):
            yield Anchor(
                f"{name}-codebook-{control}",
                _CODEBOOK_SOURCE,
                encoder,
                _CODEBOOK,
                {"keyint": "12"},
                control,
                control_in_parameters=True,
                values=QPS if control == "qp" else CRFS,
            )
        yield Anchor(
            f"{name}-insta-low-delay",
            "InstA, appendix C, I and P frames",
            encoder,
            _INSTA,
            _KEYINT_12,
        )
        yield Anchor(
            f"{name}-insta-default",
            "InstA, appendix C, B frames: the encoder's defaults",
            encoder,
            {"preset": "veryslow"},
        )
    for name, encoder, source in (
        ("x265", X265, "DHVC 2.0, appendix, GOP 32"),
        ("x264", X264, "as DHVC 2.0 has x265"),
    ):
        yield Anchor(
            f"{name}-dhvc",
            source,
            encoder,
            {"preset": "veryslow", "tune": "zerolatency"},
            {"keyint": "32"},
            "qp",
            control_in_parameters=True,
            values=QPS,
        )
    yield Anchor(
        "x265-nvrc",
        "NVRC, section 4: veryslow; the paper names nothing else",
        X265,
        {"preset": "veryslow"},
    )
    for preset in ("medium", "veryslow"):
        yield Anchor(f"x265-{preset}", _TODAY, X265, {"preset": preset})
    for preset in ("8", "4"):
        yield Anchor(f"svtav1-{preset}", _TODAY, SVT_AV1, {"preset": preset}, values=AV1_CRFS)
    yield Anchor("vvenc-medium", _TODAY, VVENC, {"preset": "medium"}, control="qp", values=QPS)
    yield Anchor("aom-4", _TODAY, AOM, {"cpu-used": "4", "b:v": "0"}, values=AV1_CRFS)


ANCHORS: dict[str, Anchor] = {anchor.name: anchor for anchor in _anchors()}


def anchor_named(name: str) -> Anchor:
    """Raises UsageError where there is no such anchor."""
    if name not in ANCHORS:
        raise UsageError(f"there is no anchor {name!r}; `vireo bench anchors` lists them")
    return ANCHORS[name]


def ffmpeg_binary() -> str | None:
    """The ffmpeg that imageio-ffmpeg brings; None where the package is not installed."""
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    path: str = imageio_ffmpeg.get_ffmpeg_exe()
    return path


def run_anchor(
    anchor: Anchor,
    value: float,
    frames: Iterable[Frame],
    video: VideoFormat,
    target: Path,
    threads: int,
) -> None:
    """Encode with one of PyAV's encoders to an elementary stream.

    Does what the printed command does. Each call needs a process of its own: x264's streams
    have been seen to differ after another encoder had run in the same process. Raises
    AnchorError where the encoder fails.
    """
    assert video.frame_rate is not None  # a run's clips have one
    options = anchor.arguments(value, threads)
    if video.color.chroma_location:
        options["chroma_sample_location"] = str(video.color.chroma_location)
    try:
        with av.open(str(target), "w", format=anchor.encoder.muxer) as container:
            stream = container.add_stream(
                anchor.encoder.name, rate=video.frame_rate, options=options
            )
            assert isinstance(stream, VideoStream)
            _describe(stream.codec_context, video)
            for index, frame in enumerate(frames):
                picture = picture_of(frame, video.color, 1 / video.frame_rate)
                picture.pts = index
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise AnchorError(f"{anchor.name}: {error.strerror or error}") from error


def _describe(context: VideoCodecContext, video: VideoFormat) -> None:
    """Tell the encoder of the video what ffmpeg would tell it."""
    assert video.frame_rate is not None
    context.width, context.height, context.pix_fmt = video.width, video.height, "yuv420p"
    context.time_base = 1 / video.frame_rate
    context.color_range = int(video.color.range)
    context.color_primaries = video.color.primaries
    context.color_trc = video.color.transfer
    context.colorspace = video.color.matrix
    if video.sample_aspect_ratio != 1:  # ffmpeg leaves 1 unsaid where the file does
        context.sample_aspect_ratio = video.sample_aspect_ratio


def run_binary(
    anchor: Anchor, value: float, raw: Path, video: VideoFormat, target: Path, threads: int
) -> None:
    """Encode raw frames with imageio-ffmpeg's binary; raises AnchorError.

    The same options as in the printed command, but the frames that every encoder gets: from
    the clip itself ffmpeg would repeat frames where it doesn't start at time 0.
    """
    binary = ffmpeg_binary()
    if binary is None:
        raise AnchorError(f"{anchor.name} needs imageio-ffmpeg: pip install 'vireo[bench]'")
    command = anchor.command(raw, target, value, frames=1, threads=threads)
    options = command[command.index("-frames:v") + 2 :]
    start = [binary, "-nostdin", "-hide_banner", "-loglevel", "error", "-y"]
    done = subprocess.run(
        [*start, *_raw_input(raw, video), *options],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise AnchorError(f"{anchor.name}: ffmpeg failed: {lines[-1]}")


def _raw_input(raw: Path, video: VideoFormat) -> list[str]:
    color = video.color
    known = {
        "color_range": (int(color.range), 0),
        "color_primaries": (color.primaries, 2),
        "color_trc": (color.transfer, 2),
        "colorspace": (color.matrix, 2),
        "chroma_sample_location": (color.chroma_location, 0),
    }
    said = [a for k, (v, unsaid) in known.items() if v != unsaid for a in (f"-{k}", str(v))]
    size = f"{video.width}x{video.height}"
    shape = ["-pixel_format", "yuv420p", "-video_size", size, "-framerate", str(video.frame_rate)]
    return ["-f", "rawvideo", *shape, *said, "-i", str(raw)]


def shell(command: Iterable[str]) -> str:
    """A command as one types it."""
    return shlex.join(command)
