"""How far the encoder refines a picture's symbols: data, not code."""

from __future__ import annotations

PRESETS = {
    "ultrafast": 0,
    "faster": 10,
    "fast": 20,
    "medium": 40,
    "slow": 80,
    "slower": 160,
    "placebo": 320,
}
"""Steps of each picture (`refinement`); none is one pass of the analysis networks."""

ONE_PASS = "ultrafast"
ADAPTED = "medium"  # where the networks are adapted to the video, which takes minutes anyway
