"""What the decoder makes of damaged and forged streams.

    python benchmarks/fuzz.py [--count 10000] [--seed 0] [FILE]

Mutates a Vireo file (a tiny one made here, if none is given): the file's bytes, the order of
its packets, the bytes of packets, and those bytes with their checksums made right again, so
that what stands behind the checksums is tried too. Each mutated stream must end in a typed
error or in pictures that are the original's (of a bounded codec in any pictures, as its hashes
are of what was parsed). Of forged packets that decode at all, one in 256 has the right 8 bits of
a hash by luck: a few may give another picture. Prints how many ended how, the longest time
and the peak of memory; the exit status is 1 if any ended otherwise.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

import vireo
from vireo.codecs.base import Limits
from vireo.codecs.decoding import GopDecoder
from vireo.container import (
    Exactness,
    MatroskaReader,
    StoredPacket,
    picture_hash,
)
from vireo.container.packet import with_checksum, without_checksum
from vireo.errors import VireoError

LIMITS = Limits(pixels=1 << 20, multiplications=20_000)
HANG = 60  # seconds after which a stream counts as hanging
UNNOTICED = 1 / 100  # of all streams, at most: short packets have 8 bits of a picture's hash


@dataclass(frozen=True)
class Original:
    """The stream to mutate.

    Attributes:
        content: the file.
        packets: its packets.
        pictures: its pictures' hashes; None where they may differ.
    """

    content: bytes
    packets: tuple[bytes, ...]
    pictures: frozenset[int] | None

    @staticmethod
    def of(path: Path) -> Original:
        with MatroskaReader(path) as reader:
            packets = tuple(stored.data for stored in reader)
            exact = reader.header.exactness is Exactness.EXACT
        pictures = None
        if exact:
            with vireo.open(path) as video:
                pictures = frozenset(picture_hash(frame.planes) for frame in video)
        return Original(path.read_bytes(), packets, pictures)


@dataclass
class Findings:
    """What became of the streams.

    Attributes:
        outcomes: how many ended how.
        failures: descriptions of those that ended as none may.
        worst: the longest time that a stream took, in seconds, and which one it was.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    worst: tuple[float, str] = (0.0, "")


def edit(data: bytes, chance: random.Random, *, same_size: bool = False) -> bytes:
    """A few flips, or bytes replaced, cut out, put in or repeated."""
    out = bytearray(data)
    change = chance.randrange(3 if same_size else 6)
    at = chance.randrange(max(1, len(out)))
    size = min(chance.choice((1, 2, 5, 40, 300)), len(out) - at)
    if change == 0:
        for _ in range(chance.randint(1, 8)):
            out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    elif change == 1:
        out[at : at + size] = chance.randbytes(size)
    elif change == 2:
        out[at : at + size] = bytes([chance.choice((0, 0x7F, 0x80, 0xFF))]) * size
    elif change == 3:
        del out[at:]
    elif change == 4:
        del out[at : at + size]
    else:
        out[at:at] = chance.choice((chance.randbytes(size), bytes(out[at : at + size])))
    return bytes(out)


def forge(packet: bytes, chance: random.Random) -> bytes:
    """A packet with other content and the right checksum."""
    covered = without_checksum(packet)
    if covered[0] & 4 and len(covered) > 3 and chance.random() < 0.6:  # A key packet: its header.
        size = covered[2]  # a varint of one byte: headers are shorter than 128 bytes
        forged = edit(covered[3 : 3 + size], chance, same_size=True)
        return with_checksum(covered[:3] + forged + covered[3 + size :])
    head = covered[:24]
    if chance.random() < 0.3:
        return with_checksum(edit(head, chance) + covered[24:])
    cut = chance.randrange(len(covered))  # the latents come last, and are small
    return with_checksum(covered[:cut] + edit(covered[cut:], chance))


def reorder(packets: Sequence[bytes], chance: random.Random) -> list[bytes]:
    out = list(packets)
    for _ in range(chance.randint(1, 3)):
        a, b = chance.randrange(len(out)), chance.randrange(len(out))
        change = chance.randrange(4)
        if change == 0:
            out[a], out[b] = out[b], out[a]
        elif change == 1 and len(out) > 1:
            del out[a]
        elif change == 2:
            out.insert(b, out[a])
        else:
            out.insert(b, out.pop(a))
    return out


def change_one(
    packets: Sequence[bytes], chance: random.Random, change: Callable[[bytes], bytes]
) -> list[bytes]:
    out = list(packets)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(out))
        if out[at]:
            out[at] = change(out[at])
    return out


def mutate(original: Original, chance: random.Random) -> tuple[str, bytes, list[bytes]]:
    """The kind of mutation, and a file's content; or no content, and packets."""
    kind = chance.choice(("file", "file", "packets", "order", "forged", "forged", "forged"))
    if kind == "file":
        return kind, edit(original.content, chance), []
    if kind == "packets":
        return kind, b"", change_one(original.packets, chance, lambda p: edit(p, chance))
    if kind == "order":
        return kind, b"", reorder(original.packets, chance)
    packets = change_one(original.packets, chance, lambda p: forge(p, chance))
    if chance.random() < 0.3:
        packets = reorder(packets, chance)
    # Where nothing moves it can be tried within the file.
    if [len(p) for p in packets] == [len(p) for p in original.packets]:
        content = original.content
        for old, new in zip(original.packets, packets, strict=True):
            content = content.replace(old, new, 1)
        return kind, content, []
    return kind, b"", packets


def is_original(frame: vireo.Frame, original: Original) -> bool:
    if original.pictures is None:
        return True
    return picture_hash(frame.planes) in original.pictures


def outcome(
    original: Original,
    kind: str,
    content: bytes,
    packets: list[bytes],
    scratch: Path,
    chance: random.Random,
) -> str:
    """How a stream ended."""
    conceal = chance.random() < 0.3
    decoder = GopDecoder(threads=chance.choice((1, 2)), limits=LIMITS, conceal=conceal)
    shown = 0
    try:
        if content:
            scratch.write_bytes(content)
            if chance.random() < 0.1:
                with suppress(vireo.StreamError):
                    vireo.probe(scratch, limits=LIMITS)
                with suppress(vireo.StreamError), vireo.open(scratch, limits=LIMITS) as video:
                    count = len(video)
                    if count and not is_original(video[chance.randrange(count)], original):
                        return "unnoticed"
        reader = MatroskaReader(scratch) if content else None
        stored = [StoredPacket(p, None, False, i, None) for i, p in enumerate(packets)]
        try:
            for frame in decoder.decode(reader or stored):
                if not is_original(frame, original):
                    return "unnoticed"
                shown += 1
                assert shown < 200_000, "frames without end"
        finally:
            if reader:
                reader.close()
    except VireoError as error:
        return type(error).__name__
    if decoder.damage:
        return "concealed"
    return "whole" if shown == len(original.packets) else "part of the frames"


def fuzz(path: Path, count: int, seed: int, progress: Callable[[int], None]) -> Findings:
    """Mutate the file at `path` `count` times; the same seed tries the same streams."""
    original = Original.of(path)
    findings = Findings()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "stream.mkv"
        for number in range(count):
            chance = random.Random(f"{seed} {number}")
            kind, content, packets = mutate(original, chance)
            faulthandler.dump_traceback_later(HANG, exit=True)
            began = perf_counter()
            try:
                ended = outcome(original, kind, content, packets, scratch, chance)
            except Exception as error:  # Nothing else may come out: that is what is tested.
                ended = f"escaped: {type(error).__name__}"
                findings.failures.append(f"stream {number} ({kind}): {error!r}")
            seconds = perf_counter() - began
            faulthandler.cancel_dump_traceback_later()
            if ended == "unnoticed" and kind in ("file", "packets"):
                findings.failures.append(f"stream {number} ({kind}): another picture")
            findings.outcomes[ended] += 1
            findings.worst = max(findings.worst, (seconds, f"stream {number} ({kind}): {ended}"))
            progress(number + 1)
    if (unnoticed := findings.outcomes["unnoticed"]) > max(3, UNNOTICED * count):
        findings.failures.append(f"{unnoticed} streams with other pictures, unnoticed")
    return findings


def make_clip(folder: Path) -> Path:
    """A drifting pattern of 48x40 samples, 8 frames in two GOPs."""
    y, x = np.mgrid[0:60, 0:48]
    source = folder / "clip.y4m"
    with source.open("wb") as file:
        file.write(b"YUV4MPEG2 W48 H40 F25:1\n")
        for t in range(8):
            picture = 128 + 60 * np.sin((x + 2 * t) / 7) * np.cos((y + t) / 9)
            file.write(b"FRAME\n" + picture.round().astype(np.uint8).tobytes())
    target = folder / "clip.mkv"
    vireo.encode(source, target, preset="ultrafast", gop_size=4)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description="Decode mutated streams.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("file", nargs="?", type=Path, help="the Vireo file to mutate")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = asked.file or make_clip(Path(folder))
        began = perf_counter()

        def progress(done: int) -> None:
            if done % 500 == 0:
                print(f"{done} streams, {perf_counter() - began:.0f} s", file=sys.stderr)

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        findings = fuzz(path, asked.count, asked.seed, progress)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, number in findings.outcomes.most_common():
        print(f"{number:>8}  {name}")
    print(f"longest: {findings.worst[0]:.3f} s, {findings.worst[1]}")
    print(f"peak memory: {after / 1024:.0f} MiB ({before / 1024:.0f} MiB before)")
    for failure in findings.failures[:50]:
        print(failure)
    return 1 if findings.failures else 0


if __name__ == "__main__":
    sys.exit(main())
