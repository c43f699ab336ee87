"""What a point ran with and on."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import av

import vireo
from vireo.options import available_processors

_CODEC_SOURCES = (
    *("codecs", "container", "entropy", "exact", "metrics", "nn", "video", "weights"),
    *("api.py", "gop.py", "options.py", "targets.py"),
)


@cache
def versions() -> dict[str, str]:
    """Versions of everything that a result may depend on."""
    found = {
        "vireo": vireo.__version__,
        "python": platform.python_version(),
        "ffmpeg": av.ffmpeg_version_info,
    }
    for package in ("av", "numpy", "imageio-ffmpeg", "pytorch-msssim", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def machine() -> dict[str, Any]:
    """The processor, how many of them, memory in bytes, and the kind of system."""
    return {
        "processor": _processor(),
        "cores": len(available_processors()),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
    }


@cache
def codec_fingerprint() -> str:
    """Changes with the code that decides what Vireo's streams hold, compiled parts included."""
    package = Path(vireo.__file__).parent
    digest = sha256()
    for path in sorted(_codec_files(package)):
        digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _codec_files(package: Path) -> Iterable[Path]:
    for name in _CODEC_SOURCES:
        path = package / name
        if path.is_dir():
            yield from path.rglob("*.py")
            yield from path.rglob("*.npz")
        else:
            yield path
    for suffix in ("so", "pyd", "dylib"):
        yield from package.glob(f"_*.{suffix}")


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
