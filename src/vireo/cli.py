"""The command line: thin over the API. Standard output is for data, standard error for people.

Exit status: 0 done, 2 a wrong request or unreadable input, 3 a damaged stream, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from vireo import __version__
from vireo.bench.cli import bench
from vireo.parameters import BitRate, Duration, Rate, Size
from vireo.terminal import (
    DAMAGED,
    INTERRUPTED,
    USAGE,
    errors,
    partial_frames,
    print_json,
    say,
)
from vireo.train.cli import train


class _Commands(click.Group):
    """Says what is wrong with a request in one line, where Click takes four."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().main(*args, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(USAGE)
        except click.ClickException as error:
            say(" ".join(error.format_message().split()))
            sys.exit(USAGE)
        except (click.Abort, KeyboardInterrupt):
            say("interrupted")
            sys.exit(INTERRUPTED)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Who reads has seen enough. The interpreter must not meet the pipe again at exit.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vireo")
def main() -> None:
    """Compress video with learned codecs, and decode it to the same pixels everywhere.

    \b
    vireo encode holiday.mp4 holiday.mkv            # middle quality
    vireo encode in.y4m out.mkv --quality 70 --preset fast
    vireo decode holiday.mkv - | ffplay -           # watch it
    vireo info holiday.mkv                          # where the bytes went
    """


@main.command()
@click.argument("input", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--codec",
    default="coolchic",
    show_default=True,
    help="coolchic or nvrc, trained on the video itself, or ssf, dhvc or codebook, pretrained "
    "networks.",
)
@click.option(
    "--model",
    help="Of ssf: ssf1; of dhvc: small, small-parallel; of codebook: small; or a file of "
    "weights. Of nvrc: xxs, xs, s1, s2, s3, s4.  "
    "[default: the first]",
    metavar="NAME",
)
@click.option(
    "--profile",
    metavar="NAME",
    help="Profile of the codec: standard, of codebook entropy; or paper, of coolchic, codebook and "
    "nvrc (as published; larger files).  [default: the first]",
)
@click.option(
    "--gop",
    metavar="NAME",
    help="Structure of GOPs: random-access (of coolchic), low-delay or intra; segment of nvrc.  "
    "[default: random-access of coolchic, else low-delay]",
)
@click.option(
    "--gop-size",
    type=int,
    metavar="N",
    help="Frames that follow each I frame; a power of two in random access.  "
    "[default: 32; ssf: 11; dhvc, codebook: 31; nvrc: 63]",
)
@click.option(
    "--segment",
    type=click.IntRange(min=2),
    metavar="N",
    help="Of nvrc: frames that share a network.  [default: 64]",
)
@click.option("--quality", type=float, help="0 to 100; higher is better and larger. [default: 50]")
@click.option(
    "--lambda",
    "lambda_",
    type=float,
    help="In place of a quality: cost of a bit per sample against mean squared error "
    "(samples in 0…1); 0.02 is coarse, 0.0001 fine.",
)
@click.option(
    "--target-psnr",
    type=float,
    metavar="DB",
    help="In place of a quality: meet this PSNR within 0.1 dB, by several whole encodes.",
)
@click.option(
    "--target-bitrate",
    type=BitRate(),
    help="In place of a quality: meet this rate of the video within 5 %, by several whole "
    "encodes: 250k, 1.5M.",
)
@click.option(
    "--preset",
    metavar="NAME",
    help="Of coolchic and nvrc: how long to train: ultrafast, faster, fast, medium, slow, slower, "
    "placebo. Frames that gain little by it have less. Of ssf: how long to refine what is sent of "
    "each picture; ultrafast doesn't.  [default: medium; of ssf without --adapt: ultrafast]",
)
@click.option(
    "--time-budget",
    type=Duration(),
    help="Spend this long on the whole video instead of what the preset takes: 90s, 10m, 1h30m. "
    "Of ssf, on --adapt.  [default there: 10m]",
)
@click.option(
    "--distortion",
    metavar="NAME",
    help="Of nvrc: what to lower: mse, or with MS-SSIM yuv or rgb.  "
    "[default: mse; of profile paper: yuv]",
)
@click.option(
    "--adapt",
    metavar="WHAT",
    help="Of ssf: fine-tune the model on the video first, its encoder or all of it (full); what "
    "changes of the decoder is sent.  [default: none]",
)
@click.option(
    "--update-every",
    type=int,
    metavar="GOPS",
    help="Adapt to so many GOPs at a time, for videos whose content changes.  "
    "[default: to the whole video]",
)
@click.option(
    "--resync",
    default="",
    metavar="FRAME:SCALE,…",
    help="Of dhvc: let a scale of a frame, and those above it, refer to no frame before; losses "
    "of them end there (see decode --drop).",
)
@click.option("--frames", type=int, help="Encode at most this many frames.")
@click.option("--start", type=int, default=0, help="Skip this many frames first.")
@click.option("--size", type=Size(), help="Picture size of raw video (.yuv).")
@click.option("--fps", type=Rate(), help="Frame rate of raw video. [default: 25]")
@click.option("--pix-fmt", help="Sample layout of raw video. [default: yuv420p]")
@click.option("--threads", type=int, help="Threads to use. [default: all processors]")
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Where coolchic and nvrc train, and pretrained networks compute: cpu or cuda. On cuda as "
    "many frames of coolchic train at once as there are threads, 16 at most.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--profile-time", is_flag=True, help="Say where the time went, by stage.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on standard output.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
def encode(
    input: Path,
    output: Path,
    as_json: bool,
    overwrite: bool,
    profile_time: bool,
    segment: int | None,
    **options: Any,
) -> None:
    """Encode INPUT, any video file, to OUTPUT, a Matroska file (.mkv).

    Sound, subtitles and chapters are copied. An interrupted encode goes on where it was when
    the same command is run again.
    """
    from dataclasses import asdict

    from vireo.api import encode as run
    from vireo.profiling import TimeProfile
    from vireo.progress import EncodeProgress

    if segment is not None:
        if options["codec"] != "nvrc" or options["gop_size"] is not None:
            say("--segment is the GOP size of nvrc, and of nothing else")
            sys.exit(USAGE)
        options["gop_size"] = segment - 1
    times = TimeProfile() if profile_time else None
    with errors(), EncodeProgress(output, print_json if as_json else None) as progress:
        try:
            report = run(
                input,
                output,
                overwrite=overwrite,
                listener=progress,
                notify=progress.say,
                on_open=progress.start,
                times=times,
                **{k: v for k, v in options.items() if v is not None},
            )
        except KeyboardInterrupt:
            progress.close()
            kept = progress.frames_done
            say(f"interrupted; {kept} frames are kept: run the same command again to go on")
            sys.exit(INTERRUPTED)
    if as_json:
        stages = {"stages": times.seconds} if times else {}
        print_json({"event": "summary", **asdict(report), **stages})
    for line in times.lines(report.seconds) if times else ():
        click.echo(line, err=True)
    rate = f", {report.bit_rate / 1000:.1f} kbit/s" if report.bit_rate else ""
    say(
        f"{output}: {report.frames} frames, {report.size} bytes "
        f"({report.bits_per_pixel:.4f} bits per pixel{rate}), PSNR {report.psnr:.2f} dB "
        f"(Y {report.psnr_y:.2f}, U {report.psnr_u:.2f}, V {report.psnr_v:.2f}), "
        f"{report.seconds:.1f} s"
    )


def _decoder_options(command: Any) -> Any:
    """What all commands take that decode."""
    for option in (
        click.option(
            "--max-pixels",
            type=click.IntRange(min=1),
            help="Decode pictures up to this many samples.",
        ),
        click.option("--threads", type=int, help="Threads to use. [default: all processors]"),
        click.option(
            "--precision",
            metavar="NAME",
            help="Of codebook: compute in float32, float16 or bfloat16.  [default: float32]",
        ),
        click.option(
            "--device",
            default="cpu",
            show_default=True,
            metavar="NAME",
            help="Of all but coolchic: compute on cpu or cuda.",
        ),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("input", type=click.Path(path_type=Path))
@click.argument("output")
@click.option(
    "--kind",
    type=click.Choice(["y4m", "yuv", "ffv1", "x264", "png"]),
    help="What to write, where OUTPUT's suffix doesn't tell: .y4m, .yuv, .mkv (FFV1), .mp4 "
    "(lossless x264), a directory or name_%05d.png; - is y4m on standard output.",
)
@click.option(
    "--conceal",
    is_flag=True,
    help="Go on after damage: repeat the frame before. With codebook's profile paper, frames "
    "behind it are decoded from what was there.",
)
@click.option(
    "--scales",
    type=click.IntRange(min=1),
    help="Of dhvc: decode so many scales, from the lowest: a preview.  [default: all]",
)
@click.option(
    "--drop",
    default="",
    metavar="LOSSES",
    help="Of dhvc: as if sections were lost. 5:4,9-11:2 is scale 4 of frame 5, and scale 2 and "
    "what is above it of frames 9 to 11; frames count from 0.",
)
@_decoder_options
@click.option("--profile-time", is_flag=True, help="Say where the time went, by stage.")
@click.option("--json", "as_json", is_flag=True, help="A summary as JSON on standard output.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
def decode(
    input: Path,
    output: str,
    kind: Any,
    conceal: bool,
    scales: int | None,
    drop: str,
    precision: str | None,
    device: str,
    threads: int | None,
    max_pixels: int | None,
    profile_time: bool,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Decode INPUT, a Vireo file, to OUTPUT; - is standard output.

    Every picture is compared with the hash that its packet carries; of codebook, whose samples
    depend on the machine, the hash is that of what was parsed. After damage the frames before it
    are kept, and the exit status is 3.
    """
    from vireo.api import decode as run
    from vireo.profiling import TimeProfile
    from vireo.progress import counter

    if as_json and output == "-":
        say("--json and video can't both go to standard output")
        sys.exit(USAGE)
    times = TimeProfile() if profile_time else None
    with errors(), counter("decoding") as count:
        report = run(
            input,
            output,
            kind=kind,
            overwrite=overwrite,
            conceal=conceal,
            scales=scales,
            drop=drop,
            precision=precision,
            device=device,
            threads=threads,
            limits=_limits(max_pixels),
            listener=count,
            notify=say,
            times=times,
        )
    for error in report.damage:
        say(str(error))
    if report.concealed:
        say(f"{report.concealed} damaged frames were replaced or left out")
    if report.partial:
        say(f"not as they were encoded, for want of parts: {partial_frames(report.partial)}")
    if report.beyond:
        say(_beyond(report.beyond))
    if as_json:
        stages = {"stages": times.seconds} if times else {}
        summary = {"frames": report.frames, "seconds": report.seconds, **_damage(report)}
        print_json({**summary, **stages})
    for line in times.lines(report.seconds) if times else ():
        click.echo(line, err=True)
    speed = report.frames / max(report.seconds, 1e-9)
    say(f"{report.frames} frames in {report.seconds:.1f} s ({speed:.1f} per second)")
    if report.damage:
        sys.exit(DAMAGED)


@main.command()
@click.argument("input", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--packets", is_flag=True, help="List every packet too.")
def info(input: Path, as_json: bool, packets: bool) -> None:
    """Show what is in INPUT, a Vireo file, and where its bytes went."""
    from vireo.progress import counter
    from vireo.report import probe

    with errors(), counter("reading") as count:
        content = probe(input, listener=count)
    if as_json:
        print_json(content.to_json(packets=packets))
        return
    header, video = content.header, content.header.video_format
    rate = f"{float(video.frame_rate):.6g} frames per second" if video.frame_rate else "rate varies"
    click.echo(
        f"{input}: {header.codec.name.lower()}, {header.exactness.name.lower()}, "
        f"{video.width}x{video.height}, {rate}, {content.frames} frames in {content.gops} GOPs"
    )
    for name, size in content.parts.items():
        click.echo(f"{name:>26}  {size:>12.0f} bytes  {100 * size / content.size:5.1f} %")
    click.echo(f"{'total':>26}  {content.size:>12} bytes")
    click.echo(
        f"{'decoder':>26}  {content.complexity.parameters:>12.0f} parameters and "
        f"{content.complexity.multiplications:.0f} multiplications per sample, on average"
    )
    if packets:
        click.echo("packet  type  display  key  references       bytes")
        for p in content.packets:
            references = ",".join(map(str, p.references)) or "-"
            key = "K" if p.key else "-"
            click.echo(
                f"{p.index:>6}  {p.frame_type:>4}  {p.display_index:>7}  {key:>3}  "
                f"{references:>10}  {p.size:>10}"
            )


@main.command()
@click.argument("input", type=click.Path(path_type=Path))
@_decoder_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verify(
    input: Path,
    precision: str | None,
    device: str,
    threads: int | None,
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Check every checksum of INPUT, and every decoded picture against its hash.

    Of codebook the hash is that of what was parsed, and the last picture of each GOP is compared
    with sixteen samples of luma that its packet carries: it has to be as near to them as the
    packet says.
    """
    from vireo.api import verify as run
    from vireo.progress import counter

    with errors(), counter("verifying") as count:
        report = run(
            input,
            threads=threads,
            limits=_limits(max_pixels),
            listener=count,
            precision=precision,
            device=device,
        )
    for error in report.damage:
        say(str(error))
    if as_json:
        print_json({"frames": report.frames, "seconds": report.seconds, **_damage(report)})
    else:
        verdict = "damaged" if report.damage else "every picture is as it was encoded"
        if report.partial and not report.damage:
            verdict = f"as they were encoded; {len(report.partial)} others lack parts"
        elif report.beyond and not report.damage:
            verdict = f"as they were encoded; {_beyond(report.beyond)}"
        click.echo(f"{input}: {report.frames} frames, {verdict}")
    if report.damage or report.beyond:
        sys.exit(DAMAGED)


def _beyond(frames: tuple[int, ...]) -> str:
    named = ", ".join(map(str, frames[:12])) + (" and others" if len(frames) > 12 else "")
    return f"farther from what was encoded than the encoder expected: frames {named}"


def _damage(report: Any) -> dict[str, Any]:
    return {
        "concealed": report.concealed,
        "partial": {str(frame): used for frame, used in report.partial.items()},
        "beyond": list(report.beyond),
        "damage": [
            {"packet": e.packet, "offset": e.offset, "reason": e.reason} for e in report.damage
        ],
    }


def _limits(max_pixels: int | None) -> Any:
    from vireo.codecs.base import Limits

    return Limits() if max_pixels is None else Limits(pixels=max_pixels)


main.add_command(bench)
main.add_command(train)
