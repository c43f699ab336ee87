"""`vireo bench`: the commands, thin over the package."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vireo.errors import UsageError
from vireo.parameters import Size
from vireo.terminal import USAGE, errors, say


@click.group()
def bench() -> None:
    """Compare codecs on the same frames, from real files.

    \b
    vireo bench anchors                      # the settings of x264, x265, AV1, VVC
    vireo bench run compare.toml             # what compare.toml lists; again to go on
    vireo bench report compare.jsonl         # tables and a page to look at

    Needs the extra: pip install 'vireo[bench]'
    """


@bench.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Results to go on with. [default: FILE with the suffix .jsonl]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Points at a time. [default: processors divided by the run's threads]",
)
@click.option("--json", "as_json", is_flag=True, help="Finished records on standard output too.")
def run(file: Path, out: Path | None, jobs: int | None, as_json: bool) -> None:
    """Compute what FILE lists, a run in TOML, and append each finished point to the results.

    A point that the results hold already is not computed again, so that a run that was
    interrupted goes on, and a run that was extended computes what is new. The encoded
    files are kept beside the results, in a folder with the suffix .streams.

    \b
    clips = ["clips/*.mkv"]
    frames = 33
    measures = ["rgb", "ms-ssim", "vmaf"]
    [codecs."x265 medium"]
    anchor = "x265-medium"
    crf = [22, 27, 32, 37]
    [codecs."Cool-chic"]
    codec = "coolchic"
    preset = "fast"
    quality = [20, 40, 60, 80]

    A codec's rate points are `crf` or `qp` (whichever the anchor has), `quality` or
    `lambda`, or `target-psnr` (dB) or `target-bitrate` (bits per second).
    """
    from vireo.bench import runner
    from vireo.bench.live import LiveTable
    from vireo.bench.plan import read_plan
    from vireo.bench.results import Results

    with errors():
        plan = read_plan(file)
        path = out or file.with_suffix(".jsonl")
        with Results(path) as results, LiveTable(as_json=as_json) as table:
            outcome = runner.run(plan, results, table, jobs=jobs)
    say(
        f"{outcome.computed} points computed, {outcome.known} known before, "
        f"{outcome.failed} failed; results in {path}"
    )
    if outcome.failed:
        sys.exit(USAGE)


@bench.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Name of both files, without a suffix. [default: the first of RESULTS]",
)
@click.option(
    "--measure",
    default="psnr",
    show_default=True,
    help="Quality that tables compare at: psnr (Y, U, V weighted 4:1:1), psnr-y, psnr-yuv-611, "
    "psnr-rgb-bt709, ms-ssim-y, vmaf-neg, …",
)
@click.option("--anchor", help="Codec to compare with, as the run calls it. [default: the first]")
@click.option("--frame", type=int, help="Frame that the page shows. [default: each clip's middle]")
@click.option("--no-pictures", is_flag=True, help="Leave the pictures out: a small page.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def report(
    results: tuple[Path, ...],
    out: Path | None,
    measure: str,
    anchor: str | None,
    frame: int | None,
    no_pictures: bool,
    overwrite: bool,
) -> None:
    """Write Markdown tables and a page of plots and pictures from RESULTS of runs.

    The page is one file that needs no network. Pictures come from the clips and the encoded
    files beside the results, where these are still there.
    """
    with errors():
        try:
            from vireo.bench.report import write_report
        except ImportError as error:
            raise UsageError(f"{error.name} is missing: pip install 'vireo[bench]'") from error
        files = write_report(
            results,
            out or results[0].with_suffix(""),
            measure=measure,
            anchor=anchor,
            frame=frame,
            pictures=not no_pictures,
            overwrite=overwrite,
            notify=say,
        )
    for note in files.notes:
        say(note)
    size = files.page_size / 1e6
    say(f"wrote {files.page} ({size:.1f} MB, {files.pictures} pictures) and {files.tables}")


@bench.command()
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--size", type=Size(), help="Of the part in the middle.  [default: all of it]")
def patterns(picture: Path, folder: Path, size: tuple[int, int] | None) -> None:
    """Make PICTURE, or a video's first frame, move in eight ways: clips in FOLDER to run on.

    It is sharpened, lightened, zoomed into, faded, blurred, darkened, flickers and shakes: what
    codecs with motion vectors and without are told apart by (DHVC 2.0, section 7.2).
    """
    with errors():
        try:
            from vireo.bench.patterns import write_patterns
        except ImportError as error:
            raise UsageError(f"{error.name} is missing: pip install 'vireo[bench]'") from error
        folder.mkdir(parents=True, exist_ok=True)
        for path in write_patterns(picture, folder, size):
            click.echo(path)


@bench.command()
@click.argument("names", nargs=-1)
@click.option("--clip", default="CLIP.mkv", show_default=True, help="The clip in the command.")
@click.option("--frames", default=33, show_default=True, help="Frames in the command.")
@click.option("--threads", default=1, show_default=True, help="Threads in the command.")
@click.option("--value", type=float, help="The crf or qp. [default: a middle one]")
def anchors(
    names: tuple[str, ...], clip: str, frames: int, threads: int, value: float | None
) -> None:
    """List the anchors, all or those with NAMES, each with its ffmpeg command."""
    from vireo.bench.anchors import ANCHORS, anchor_named, shell

    with errors():
        chosen = [anchor_named(name) for name in names] or list(ANCHORS.values())
    for anchor in chosen:
        missing = "" if anchor.is_available() else " (needs imageio-ffmpeg)"
        point = anchor.values[len(anchor.values) // 2] if value is None else value
        command = anchor.command(
            clip, f"out.{anchor.encoder.muxer}", point, frames=frames, threads=threads
        )
        click.echo(f"{anchor.name}: {anchor.source}{missing}\n    {shell(command)}")
