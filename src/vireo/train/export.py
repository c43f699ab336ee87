"""From a training run to a file of weights, with the record of how they were made."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from vireo import weights
from vireo.train.loop import Run


def export(run: Run, path: Path) -> weights.Weights:
    """Writes the averaged weights; raises InexactError where their sums can't be proved exact."""
    model: Any = run.averaged().model
    record = {
        "model": run.recipe.model,
        "recipe": run.recipe.values(),
        "clips": run.clip_count,
        "steps": run.step,
        "seconds": round(run.seconds),
        "machine": _machine(),
        "torch": torch.__version__,
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "validation": run.validate(),
        "curve": run.history(),
    }
    return weights.save(model, run.recipe.model, run.recipe.lambdas, path, record)


def _machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{torch.get_num_threads()} threads of {name}"


def _commit() -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, capture_output=True, text=True
        )
    except OSError:
        return None
    return done.stdout.strip() or None
