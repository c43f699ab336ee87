"""Frames, and reading and writing them in any media file."""

from vireo.video.frame import ColorDescription, ColorRange, Frame, VideoFormat
from vireo.video.reader import VideoSource, open_source
from vireo.video.remux import TrackCopier
from vireo.video.sink import VideoSink
from vireo.video.writer import SinkKind, open_sink

__all__ = [
    "ColorDescription",
    "ColorRange",
    "Frame",
    "SinkKind",
    "TrackCopier",
    "VideoFormat",
    "VideoSink",
    "VideoSource",
    "open_sink",
    "open_source",
]
