"""Vireo: compress video with learned codecs and play it back anywhere."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from vireo.errors import InputError, StreamError, UsageError, VireoError

if TYPE_CHECKING:
    from vireo.api import DecodeReport, EncodeReport, decode, encode, verify
    from vireo.reading import Video, open
    from vireo.report import StreamInfo, probe
    from vireo.video import Frame

try:
    __version__ = version("vireo")
except PackageNotFoundError:  # run from a source tree that isn't installed
    __version__ = "0+unknown"

# Looked up at first use, so that `import vireo` and the command line start at once.
_HOMES = {
    "DecodeReport": "vireo.api",
    "EncodeReport": "vireo.api",
    "Frame": "vireo.video",
    "StreamInfo": "vireo.report",
    "Video": "vireo.reading",
    "decode": "vireo.api",
    "encode": "vireo.api",
    "open": "vireo.reading",
    "probe": "vireo.report",
    "verify": "vireo.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vireo' has no attribute {name!r}")


__all__ = [
    "DecodeReport",
    "EncodeReport",
    "Frame",
    "InputError",
    "StreamError",
    "StreamInfo",
    "UsageError",
    "Video",
    "VireoError",
    "decode",
    "encode",
    "open",
    "probe",
    "verify",
]
