"""How fast Vireo files decode, and where the time goes.

    python benchmarks/decode.py FILE... [--threads 1 2] [--seconds 4] [--isa avx2]

The frames of a file are decoded again and again, each time as a GOP of its own, so that
threads find as much to do as in a long video; hashes are checked. Rates are frames per
second of wall-clock time. The time of each stage is that of `vireo decode --profile-time`,
per frame and summed over threads.

Beside each stage stands its floor: the multiplications that the networks' shapes ask for,
of every latent and sample whatever the stream leaves out, over the machine's peak of 16-bit
multiply-adds; or the bytes of pictures that it reads and writes over the bandwidth of
memory, where that takes longer. Both are measured first, on one core. What a floor leaves
out: range decoding, loads, rounding, clamping, addresses.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from time import perf_counter

import numpy as np

from vireo import _core
from vireo.codecs.coolchic.stream import StreamShape, coded_size
from vireo.codecs.decoding import GopDecoder
from vireo.container import (
    CodedFrame,
    GopStart,
    MatroskaReader,
    StoredPacket,
    read_packet,
    write_packet,
)
from vireo.profiling import TimeProfile

STAGES = {
    "arm": "parse",
    "upsampling": "upsampling",
    "synthesis": "synthesis",
    "inter": "inter coding",
}


@dataclass(frozen=True)
class Machine:
    """Multiply-adds and bytes per second of one core."""

    multiply_adds: float
    bandwidth: float


@dataclass(frozen=True)
class Stream:
    """A file's packets, as a GOP that can be repeated."""

    path: Path
    packets: tuple[StoredPacket, ...]
    size: str
    pixels: int
    longest_gop_ticks: int
    multiplications: dict[str, float]  # per frame, by stage
    moved: dict[str, float]  # bytes of pictures per frame, by stage

    @staticmethod
    def read(path: Path) -> Stream:
        with MatroskaReader(path) as reader:
            packets = tuple(reader)
            header = reader.header
        video = header.video_format
        height, width = coded_size(video.height, video.width)
        architecture = StreamShape.read(header.configuration, header.profile).architecture
        totals = dict.fromkeys(STAGES.values(), 0.0)
        picture = 1.5 * height * width
        moved = {"hash": picture, "inter coding": 0.0}
        start: GopStart | None = None
        for packet in packets:
            frame = read_packet(packet.data, start)
            start = frame.gop_start if frame.is_key else start
            per_sample = architecture.multiplications(frame.frame_type, height, width)
            for module, stage in STAGES.items():
                totals[stage] += per_sample[module] * height * width / len(packets)
            moved["inter coding"] += (1 + frame.frame_type) * picture / len(packets)
        size = f"{video.width}x{video.height}"
        rate = video.frame_rate or Fraction(25)
        ticks = round(header.max_gop_frames / (rate * video.time_base)) + 1
        return Stream(path, packets, size, height * width, ticks, totals, moved)

    def repeated(self, seconds: float) -> Iterator[StoredPacket]:
        """Packets, GOP after GOP, until the time is over.

        Only key packets hold a time: they are moved so that it rises from turn to turn.
        """
        frames = [self._key_frame(p) for p in self.packets]
        times = [f.pts for f in frames if f]
        turn_ticks = (times[-1] - times[0]) + self.longest_gop_ticks
        end = perf_counter() + seconds
        index = count()
        for turn in count():
            for packet, key in zip(self.packets, frames, strict=True):
                data = packet.data
                if key and turn:
                    data = write_packet(replace(key, pts=key.pts + turn * turn_ticks))
                yield StoredPacket(data, None, packet.is_key, next(index), None)
            if perf_counter() > end:
                return

    @staticmethod
    def _key_frame(packet: StoredPacket) -> CodedFrame | None:
        return read_packet(packet.data, None) if packet.is_key else None


def measure_machine() -> Machine:
    source = np.zeros(1 << 26, np.uint8)
    source[::4096] = 1  # its pages exist
    seconds = []
    for _ in range(5):
        began = perf_counter()
        source.max()
        seconds.append(perf_counter() - began)
    return Machine(_core.measure_peak(), source.size / min(seconds))


def decode(stream: Stream, threads: int, seconds: float) -> tuple[float, TimeProfile, int]:
    """Frames per second, where the time went, and frames."""
    times = TimeProfile()
    decoder = GopDecoder(threads=threads, times=times)
    began = perf_counter()
    frames = sum(1 for _ in decoder.decode(stream.repeated(seconds)))
    return frames / (perf_counter() - began), times, frames


def report(stream: Stream, threads: Sequence[int], seconds: float, machine: Machine) -> None:
    bits = 8 * sum(len(p.data) for p in stream.packets) / len(stream.packets) / stream.pixels
    print(f"\n{stream.path.name}: {stream.size}, {bits:.3f} bits per sample")
    floors = {k: v / machine.multiply_adds for k, v in stream.multiplications.items()}
    for stage, size in stream.moved.items():
        floors[stage] = max(floors.get(stage, 0.0), size / machine.bandwidth)
    for n in threads:
        rate, times, frames = decode(stream, n, seconds)
        print(f"  {n} thread{'s' * (n > 1)}: {rate:.1f} frames/s")
        for stage, spent in times.seconds.items():
            line = f"    {stage:>12} {1000 * spent / frames:8.2f} ms"
            if stage in floors:
                line += f"   floor {1000 * floors[stage]:7.2f} ms"
            print(line)
        idle = n / rate - sum(times.seconds.values()) / frames
        print(f"    {'the rest':>12} {1000 * idle:8.2f} ms   Python, waiting")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=4.0, help="per file and number of threads")
    parser.add_argument("--isa", choices=[i.name.lower() for i in _core.Isa])
    arguments = parser.parse_args()
    if arguments.isa:
        _core.force_isa(_core.Isa[arguments.isa.upper()])
    machine = measure_machine()
    print(
        f"one core: {machine.multiply_adds / 1e9:.0f} 10^9 16-bit multiply-adds per second, "
        f"{machine.bandwidth / 1e9:.1f} GB/s"
    )
    for path in arguments.files:
        report(Stream.read(path), arguments.threads, arguments.seconds, machine)


if __name__ == "__main__":
    main()
