"""What `import vireo` gives: encode, decode, verify."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from typing import Any
from uuid import uuid4

from av.container import OutputContainer

from vireo import __version__
from vireo.codecs.base import Limits, Precision, Shape, encoder_module
from vireo.codecs.decoding import GopDecoder
from vireo.codecs.encoding import FrameReport, GopEncoder, Listener, Opening, PictureEncoder
from vireo.container import Codec, MatroskaReader, MatroskaWriter, Packet, StreamHeader
from vireo.errors import InputError, StreamError, UsageError
from vireo.gop import GopStructure, gop_frames
from vireo.journal import PacketJournal
from vireo.metrics import PLANE_WEIGHTS, psnr, weighted_mse
from vireo.options import (
    EncodeOptions,
    check_output,
    checked_device,
    checked_threads,
    lambda_of_quality,
)
from vireo.profiling import TimeProfile, measured
from vireo.stream.losses import read_losses
from vireo.targets import Goal, search
from vireo.video import TrackCopier, VideoSource, open_sink, open_source
from vireo.video.writer import SinkKind

PathLike = str | os.PathLike[str]
Notify = Callable[[str], None]


@dataclass(frozen=True)
class EncodeReport:
    """What came of an encode.

    Attributes:
        frames: frames coded.
        size: bytes of the file, everything included.
        video_size: bytes of the video's packets.
        psnr_y, psnr_u, psnr_v: of the mean squared error over all frames, in dB.
        psnr: of the mean squared errors of Y, U, V weighted 4:1:1, over all frames, in dB.
        bits_per_pixel: of the file, per luma sample.
        bit_rate: of the video's packets, in bits per second; None where the rate varies.
        seconds: wall-clock time of this run.
        resumed: frames that an interrupted run had left.
        trials: encodes made to meet a target.
    """

    frames: int
    size: int
    video_size: int
    psnr_y: float
    psnr_u: float
    psnr_v: float
    psnr: float
    bits_per_pixel: float
    bit_rate: float | None
    seconds: float
    resumed: int
    trials: int = 1


@dataclass(frozen=True)
class DecodeReport:
    """What came of a decode.

    Attributes:
        frames: frames given out; by `verify`, those that are as they were encoded.
        seconds: wall-clock time.
        damage: errors that were passed over, with `conceal`.
        concealed: frames that were replaced or left out.
        partial: of frames that are not as they were encoded, as some of their layers were missing
            or referred to what was missing: how many were used, by the frame's place in the output,
            from 0.
        beyond: of a bounded codec, frames whose samples are not as near to the encoder's as their
            packets say, by the same places.
    """

    frames: int
    seconds: float
    damage: tuple[StreamError, ...] = ()
    concealed: int = 0
    partial: Mapping[int, int] = field(default_factory=dict)
    beyond: tuple[int, ...] = ()


def encode(
    source: PathLike,
    target: PathLike,
    *,
    overwrite: bool = False,
    listener: Listener | None = None,
    notify: Notify | None = None,
    on_open: Callable[[VideoSource, PacketJournal], None] | None = None,
    times: TimeProfile | None = None,
    **options: Any,
) -> EncodeReport:
    """Encode a video file to a Vireo file.

    Finished frames are kept in a journal beside the target, so that the same call goes on
    where an interrupted one was, to the same result. The target appears when it is whole.
    Sound, subtitles, chapters and metadata are copied.

    Args:
        source: any media file that FFmpeg's libraries read, or raw planar YUV.
        target: the Matroska file to make.
        overwrite: whether an existing target may be replaced.
        listener: told of progress and of each finished frame.
        notify: told, in sentences, what is converted or left out.
        on_open: called before the first frame with the source and the journal.
        times: told where the time goes.
        codec: "coolchic" or "nvrc", trained on the video itself, or a pretrained one: "ssf",
            "dhvc" or "codebook". Samples that decoders make of "codebook" and "nvrc" are about the
            same, not the same.
        profile: "standard", or of coolchic "paper" (as published; larger files); of codebook
            "entropy" or "paper" (each frame of one type takes the same bytes); of nvrc
            "standard" or "paper" (trained as published); the codec's own, the first, if not given.
        model: of a pretrained codec, such as "ssf1" or "small", or a file of weights; of nvrc the
            size of its network: "xs", "xxs", "s1" … "s4".
        gop: "random-access" (of coolchic), "low-delay" or "intra"; "segment" of nvrc; the codec's
            own if not given.
        gop_size: frames that follow each I frame (1 … 1024; a power of two in random access);
            32 of coolchic, 11 of ssf, 63 of nvrc, else 31 if not given.
        quality: 0 … 100, higher is better and larger; 50 if nothing is asked for.
        lambda_: in place of a quality: cost of a bit per luma sample against mean squared
            error of samples in 0…1.
        target_psnr: in place of a quality: dB that `EncodeReport.psnr` shall come to within
            0.1, by whole encodes at different lambdas.
        target_bitrate: the same for `EncodeReport.bit_rate`, bits per second, within 5 %.
        preset: of coolchic and nvrc, how long to train: "ultrafast" … "placebo". Of ssf how long
            to refine the symbols of each picture, not at all with "ultrafast"; "medium" if not
            given, but of ssf without `adapt` "ultrafast".
        time_budget: seconds to spend on the video, in place of the preset's training length; of
            ssf, on adaptation (10 minutes if not given).
        distortion: of nvrc, what is lowered: "mse", as the other codecs do; "yuv" or "rgb", the
            paper's, with MS-SSIM. Profile paper's own is "yuv".
        adapt: of ssf: "none", "encoder" or "full": fine-tune the model's encoder, or all of it,
            on the video first, and send what changes of the decoder.
        update_every: with `adapt`: GOPs that are adapted to together (1 … 65,536); the whole
            video if not given.
        resync: of dhvc: which scales shall not refer to the frames before, so that losses there
            end: "8:3" is scale 3 and those above it of frame 8, counted from 0. In a model with
            auxiliary refinement it is all scales. Or what to ask before a P frame is coded, by
            its place: returns the lowest such scale, 1 … 4, or None; anything else raises
            UsageError. It is asked once for each P frame, by the thread that codes it: in order
            within a GOP, but with several threads also for frames of different GOPs at the same
            time; with a target, in every trial. As nobody knows what it would answer, no encode
            with it goes on where an interrupted one was.
        start, frames: frames to skip, and to encode at most.
        size, fps, pix_fmt: of raw video: (width, height), frames per second, FFmpeg's name.
        threads: threads to use; all processors by default. Doesn't change the result but of nvrc,
            where the order of sums in training depends on it, and on "cuda".
        device: "cpu" or "cuda": where coolchic trains, as many frames at a time as there are
            threads and up to 16, and the networks of pretrained codecs
            compute. On another device their encoders may choose other symbols, as these come of
            floats; adaptation trains on the cpu and tries out on the device.
        seed: of everything random, 0 … 2**31 - 1.

    Raises:
        UsageError: an option is wrong, or the target can't be made.
        InputError: the source can't be read.
    """
    asked = EncodeOptions(**options)
    source, target = Path(source), Path(target)
    say = notify or (lambda sentence: None)
    if not source.exists():
        raise InputError(f"{source} does not exist")
    check_output(source, target, overwrite=overwrite)
    job = _Job(source, listener, say, on_open, times)
    if asked.goal is None:
        return job.run(target, asked)
    return _encode_to_goal(job, target, asked, asked.goal)


@dataclass(frozen=True)
class _Job:
    """Encodes one source, perhaps several times."""

    source: Path
    listener: Listener | None
    say: Notify
    on_open: Callable[[VideoSource, PacketJournal], None] | None
    times: TimeProfile | None

    def open(self, asked: EncodeOptions) -> VideoSource:
        return open_source(
            self.source,
            size=asked.size,
            fps=asked.fps,
            pix_fmt=asked.pix_fmt,
            start=asked.start,
            frames=asked.frames,
        )

    def _open_encoder(
        self, asked: EncodeOptions, video: VideoSource, folder: Path
    ) -> tuple[PictureEncoder, Shape]:
        """The codec's encoder, with its training code."""
        opening = Opening(
            asked,
            video.format,
            video.frame_count,
            lambda: self.open(asked),
            folder,
            json.dumps(self.identity(asked), sort_keys=True),
            self.say,
            self.times,
        )
        module = encoder_module(Codec[asked.codec.upper()])
        pictures: tuple[PictureEncoder, Shape] = module.open_picture_encoder(opening)
        return pictures

    def run(self, target: Path, asked: EncodeOptions) -> EncodeReport:
        began = perf_counter()
        with self.open(asked) as video:
            for sentence in video.notices:
                self.say(sentence)
            folder = target.with_name(f"{target.name}.vireo-adaptation")
            pictures, shape = self._open_encoder(asked, video, folder)
            header = _header(video, asked, shape, pictures)
            journal = PacketJournal(
                target.with_name(f"{target.name}.vireo-journal"),
                {
                    **self.identity(asked),
                    "header": header.write().hex(),
                    "pictures": pictures.identity,
                },
            )
            with closing(journal):
                if self.on_open:
                    self.on_open(video, journal)
                totals = _Totals(video, self.listener)
                encoder = GopEncoder(
                    header,
                    pictures,
                    GopStructure(asked.gop),
                    asked.gop_size,
                    threads=asked.resolved_threads,
                    # With a time budget each frame has all of the clock, but that of a pretrained
                    # codec is over by now; and on a GPU all of that, but frames of coolchic take
                    # their steps there together.
                    side_by_side=(asked.device == "cpu" or asked.codec == "coolchic")
                    and (asked.time_budget is None or asked.is_pretrained),
                    journal=journal,
                    listener=totals,
                )
                self._write(target, video, asked, encoder, totals)
                journal.remove()
                rmtree(folder, ignore_errors=True)
        return totals.report(target.stat().st_size, perf_counter() - began, journal.resumed)

    def _write(
        self,
        target: Path,
        video: VideoSource,
        asked: EncodeOptions,
        encoder: GopEncoder,
        totals: _Totals,
    ) -> None:
        # A part that doesn't start at the source's first frame starts at time 0.
        trimmed = asked.start > 0
        shift = round(video.start_time / video.format.time_base) if trimmed else 0

        def copier(output: OutputContainer) -> TrackCopier:
            tracks = TrackCopier(
                self.source,
                output,
                start_time=video.start_time if trimmed else 0,
                end_time=video.end_time,
            )
            for sentence in tracks.notices:
                self.say(sentence)
            return tracks

        frames = (replace(f, pts=f.pts - shift) for f in video)
        with MatroskaWriter(
            target, encoder.header, copier=None if video.is_raw else copier
        ) as writer:
            for packet in encoder.encode(frames):
                totals.add(packet)
                writer.write(packet)

    def identity(self, asked: EncodeOptions) -> dict[str, Any]:
        """Everything that determines the packets, but the stream header; threads don't."""
        status = self.source.stat()
        options = {k: str(v) for k, v in vars(replace(asked, threads=None)).items()}
        if callable(asked.resync):
            options["resync"] = uuid4().hex  # its answers aren't known: this is no earlier encode
        return {
            "source": str(self.source.resolve()),
            "size": status.st_size,
            "modified": status.st_mtime_ns,
            "options": options,
            "version": __version__,
        }


def _encode_to_goal(job: _Job, target: Path, asked: EncodeOptions, goal: Goal) -> EncodeReport:
    """Trials at different lambdas, kept in a folder beside the target until one is chosen."""
    with job.open(asked) as video:
        if asked.target_bitrate is not None and video.format.frame_rate is None:
            raise UsageError("a bit rate can't be aimed at where the frame rate varies")
    folder = target.with_name(f"{target.name}.vireo-trials")
    folder.mkdir(exist_ok=True)
    trials: dict[float, tuple[Path, EncodeReport]] = {}

    def trial(lambda_: float) -> float:
        once = replace(
            asked, lambda_=float(f"{lambda_:.4g}"), target_psnr=None, target_bitrate=None
        )
        identity = json.dumps(job.identity(once), sort_keys=True).encode()
        path = folder / f"{sha256(identity).hexdigest()[:16]}.mkv"
        record = path.with_suffix(".json")
        if record.exists() and path.exists():
            report = EncodeReport(**json.loads(record.read_text()))
        else:
            report = job.run(path, once)
            record.write_text(json.dumps(asdict(report)))
        trials[lambda_] = path, report
        rate = "" if report.bit_rate is None else f", {report.bit_rate / 1000:.1f} kbit/s"
        job.say(f"trial {len(trials)}: lambda {once.lambda_:g} gives {report.psnr:.2f} dB{rate}")
        if asked.target_psnr is not None:
            return report.psnr
        assert report.bit_rate is not None  # the frame rate is constant
        return math.log(report.bit_rate)

    outcome = search(goal, lambda_of_quality(50), trial)
    if not outcome.met:
        job.say("no trial met the target; this is the nearest")
    path, report = trials[outcome.lambda_]
    path.replace(target)
    rmtree(folder)
    return replace(report, trials=outcome.trials)


def _header(
    video: VideoSource, asked: EncodeOptions, shape: Shape, pictures: PictureEncoder
) -> StreamHeader:
    structure = GopStructure(asked.gop)
    longest = gop_frames(structure, asked.gop_size)
    if video.frame_count:
        longest = min(longest, video.frame_count)
    codec = Codec[asked.codec.upper()]
    return StreamHeader.for_video(
        video.format,
        codec=codec,
        profile=shape.profile,
        exactness=codec.exactness,
        max_gop_frames=longest,
        max_references=pictures.held_pictures(structure, longest),
        configuration=shape.write(),
    )


class _Totals:
    """Sums up what a listener hears, and passes it on."""

    def __init__(self, video: VideoSource, listener: Listener | None) -> None:
        self._format = video.format
        self._listener = listener
        self._reports: list[FrameReport] = []
        self._size = 0

    def __call__(self, event: Any) -> None:
        if isinstance(event, FrameReport):
            self._reports.append(event)
        if self._listener:
            self._listener(event)

    def add(self, packet: Packet) -> None:
        self._size += len(packet.data)

    def report(self, size: int, seconds: float, resumed: int) -> EncodeReport:
        count = len(self._reports)
        mse = [sum(r.mse[c] for r in self._reports) / count for c in range(len(PLANE_WEIGHTS))]
        samples = count * self._format.width * self._format.height
        rate = self._format.frame_rate
        return EncodeReport(
            frames=count,
            size=size,
            video_size=self._size,
            psnr_y=psnr(mse[0]),
            psnr_u=psnr(mse[1]),
            psnr_v=psnr(mse[2]),
            psnr=psnr(weighted_mse(mse)),
            bits_per_pixel=8 * size / samples,
            bit_rate=float(8 * self._size * rate / count) if rate else None,
            seconds=seconds,
            resumed=resumed,
        )


def decode(
    source: PathLike,
    target: PathLike,
    *,
    kind: SinkKind | None = None,
    overwrite: bool = False,
    conceal: bool = False,
    threads: int | None = None,
    limits: Limits | None = None,
    listener: Callable[[int], None] | None = None,
    notify: Notify | None = None,
    times: TimeProfile | None = None,
    scales: int | None = None,
    drop: str = "",
    precision: str | None = None,
    device: str = "cpu",
) -> DecodeReport:
    """Decode a Vireo file to y4m, raw YUV, lossless Matroska or MP4, or PNG pictures.

    Args:
        source: a Matroska (or QuickTime) file with a Vireo track.
        target: the file or directory to make; its suffix says what to write. "-" is
            standard output (y4m, unless `kind` says otherwise).
        kind: "y4m", "yuv", "ffv1", "x264" or "png", in place of the suffix.
        overwrite: whether an existing target may be replaced.
        conceal: go on after damage, with the frame before in place of a missing one; of codebook's
            profile "paper" frames that refer to it are decoded from that, of all others they are
            missing, too.
        threads: how many to decode with; as many as processors by default.
        limits: what to refuse whatever the stream says.
        listener: called with the number of frames done.
        notify: told, in sentences, what is left out.
        times: told where the time goes.
        scales: of a stream that has several, how many to decode, from the lowest.
        drop: sections to do without, such as "5:4,9-11:2": of frame 5 scale 4, of frames 9 to 11
            scale 2 and what is above it; frames count from 0, as in `DecodeReport.partial`.
        precision: of codebook: "float32", "float16" or "bfloat16", what its networks compute in;
            float32 if not given.
        device: of pretrained codecs: "cpu" or "cuda", where their networks compute.

    Raises:
        UsageError: the target can't be made, what is to be dropped can't be lost, or the device
            isn't here or of no use to the codec.
        InputError: the source can't be opened.
        StreamError: the stream is damaged; the frames before the damage are written.
    """
    source = Path(source)
    say = notify or (lambda sentence: None)
    if not source.exists():
        raise InputError(f"{source} does not exist")
    if os.fspath(target) != "-" and Path(target).exists() and Path(target).samefile(source):
        check_output(source, Path(target), overwrite=True)
    began = perf_counter()
    decoder = GopDecoder(
        threads=checked_threads(threads),
        limits=limits,
        conceal=conceal,
        times=times,
        losses=read_losses(drop, scales),
        precision=_precision(precision),
        device=checked_device(device),
    )
    with MatroskaReader(source) as reader:
        decoder.limits.check(reader.header)
        with open_sink(
            target,
            reader.header.video_format,
            kind=kind,
            sound_from=source,
            overwrite=overwrite,
            keep_partial=True,
        ) as sink:
            for frame in decoder.decode(reader):
                with measured(times, "writing"):
                    sink.write(frame)
                if listener:
                    listener(sink.frame_count)
    for sentence in sink.notices:
        say(sentence)
    return _report(decoder, sink.frame_count, perf_counter() - began)


def verify(
    source: PathLike,
    *,
    threads: int | None = None,
    limits: Limits | None = None,
    listener: Callable[[int], None] | None = None,
    precision: str | None = None,
    device: str = "cpu",
) -> DecodeReport:
    """Decode everything and compare each picture with the hash that its packet carries.

    Of a bounded codec the hash is that of what was parsed; pictures are compared with the samples
    that some packets carry, and what is farther from them than the packet says is in
    `DecodeReport.beyond`. `precision` and `device` are as in `decode`.

    Damage is in the report, not raised; only a file that can't be opened as a Vireo stream
    raises InputError or StreamError.
    """
    began = perf_counter()
    decoder = GopDecoder(
        threads=checked_threads(threads),
        limits=limits,
        conceal=True,
        precision=_precision(precision),
        device=checked_device(device),
    )
    with MatroskaReader(source) as reader:
        decoder.limits.check(reader.header)
        # The decoder keeps all damage; it raises where no frame is left.
        with suppress(StreamError):
            for count, _ in enumerate(decoder.decode(reader), start=1):
                if listener:
                    listener(count)
    return _report(decoder, decoder.verified, perf_counter() - began)


def _report(decoder: GopDecoder, frames: int, seconds: float) -> DecodeReport:
    damage = tuple(decoder.damage)
    beyond = tuple(decoder.beyond)
    return DecodeReport(frames, seconds, damage, decoder.concealed, decoder.partial, beyond)


def _precision(name: str | None) -> Precision | None:
    if name is not None and name not in tuple(Precision):
        raise UsageError(f"there is no precision {name!r}; there is {', '.join(Precision)}")
    return None if name is None else Precision(name)


__all__ = ["DecodeReport", "EncodeReport", "decode", "encode", "verify"]
