"""Frames, and reading them from any media file."""

from vireo.video.frame import ColorDescription, ColorRange, Frame, VideoFormat
from vireo.video.reader import VideoSource, open_source

__all__ = [
    "ColorDescription",
    "ColorRange",
    "Frame",
    "VideoFormat",
    "VideoSource",
    "open_source",
]
