"""VMAF NEG, by the libvmaf inside the ffmpeg that imageio-ffmpeg brings.

VMAF (Netflix) is a regression from features of luma to opinion scores, 0…100. Its NEG model
("no enhancement gain") gives no credit for sharpening or contrast beyond the original, and so is
the one to compare codecs with. The model used, `vmaf_v0.6.1neg`, is for 1920x1080 seen at three
times the screen's height; smaller pictures are measured as they are, without scaling. The first
frame has no motion to be measured, and scores lower than it would later in the video.
"""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from vireo.errors import InputError, UsageError, VireoError

MODEL = "vmaf_v0.6.1neg"


def vmaf_available() -> bool:
    """Whether imageio-ffmpeg is installed and its ffmpeg has libvmaf."""
    return _ffmpeg() is not None


def vmaf_neg(
    reference: Path,
    decoded: Path,
    size: tuple[int, int],
    frames: int,
    frame_rate: Fraction,
    *,
    threads: int = 1,
) -> list[float]:
    """VMAF NEG of each frame, 0…100, in display order.

    Args:
        reference, decoded: files of raw 8-bit planar 4:2:0 (`yuv420p`), frame after frame.
        size: width and height in luma samples.
        frames: how many to measure, from the first on. What follows them in a file has no
            influence (a score depends on the next frame too).
        frame_rate: frames per second; only labels the pictures.
        threads: how many libvmaf may use; no influence on the scores.

    Raises:
        UsageError: imageio-ffmpeg is not installed, or its ffmpeg lacks libvmaf.
        InputError: a file can't be read, or holds fewer frames.
        VireoError: libvmaf failed, as it does on pictures of a few samples; the message ends
            in ffmpeg's own.
    """
    ffmpeg = _ffmpeg()
    if ffmpeg is None:
        raise UsageError(
            "VMAF needs imageio-ffmpeg, with libvmaf in its ffmpeg: pip install 'vireo[bench]'"
        )
    width, height = size
    samples = width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
    for path in (reference, decoded):
        try:
            held = path.stat().st_size // samples
        except OSError as error:
            raise InputError(f"{path} can't be read: {error.strerror}") from error
        if held < frames:
            raise InputError(f"{path} holds {held} frames of {width}x{height}, not {frames}")
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}"]
    raw += ["-framerate", str(frame_rate)]
    # libvmaf wants the measured video first. The log's name has no folder: a filter's options
    # need quoting for most of what a path can hold.
    graph = (
        f"[0:v]trim=end_frame={frames}[decoded];[1:v]trim=end_frame={frames}[reference];"
        f"[decoded][reference]libvmaf=model=version={MODEL}:n_threads={threads}"
        ":log_fmt=json:log_path=vmaf.json"
    )
    command = [ffmpeg, "-nostdin", "-loglevel", "error"]
    command += [*raw, "-i", f"file:{decoded.resolve()}", *raw, "-i", f"file:{reference.resolve()}"]
    command += ["-lavfi", graph, "-f", "null", "-"]
    with TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        log = Path(folder, "vmaf.json")
        if done.returncode or not log.exists():
            reason = done.stderr.strip() or f"ffmpeg ended with status {done.returncode}"
            raise VireoError(f"VMAF of {decoded}, {width}x{height}, failed: {reason}")
        scores = [float(f["metrics"]["vmaf"]) for f in json.loads(log.read_text())["frames"]]
    if len(scores) != frames:
        raise VireoError(f"VMAF of {decoded} gave {len(scores)} scores for {frames} frames")
    return scores


@cache
def _ffmpeg() -> str | None:
    """The ffmpeg to run; None where there is none, or none with libvmaf."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        path = str(get_ffmpeg_exe())
        listed = subprocess.run([path, "-hide_banner", "-filters"], capture_output=True, text=True)
    except (ImportError, RuntimeError, OSError):
        return None
    return path if " libvmaf " in listed.stdout else None
