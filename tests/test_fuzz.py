"""A slice of `benchmarks/fuzz.py`."""

from __future__ import annotations

from benchmarks.fuzz import fuzz
from tests.clips import Sample


def test_mutated_streams_end_in_errors_or_in_the_right_pictures(sample: Sample) -> None:
    findings = fuzz(sample.path, 200, seed=1, progress=lambda done: None)
    assert findings.failures == []
    assert findings.worst[0] < 5, findings.worst
    assert findings.outcomes["PictureHashError"] > 2, "forged packets reach the decoder"
    assert findings.outcomes["SyntaxElementError"] > 10
    assert findings.outcomes["concealed"] > 10
