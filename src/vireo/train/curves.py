"""A run's log as curves: loss, rate and PSNR over the steps, in one HTML file."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots

CURVES = "curves.html"
POINTS = 60  # of a curve, each the mean of as many logged steps as that makes


def draw(log: Path, target: Path) -> None:
    """Writes the page; a line of the log that was cut off is left out."""
    by_rate: dict[int, list[dict[str, Any]]] = defaultdict(list)
    validations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in log.read_text().splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if entry["kind"] == "step":
            by_rate[round(entry["rate"])].append(entry)
        elif entry["kind"] == "validation":
            validations[entry["rate"]].append(entry)
    titles = ("loss", "bits per sample", "PSNR of the last frame, dB")
    figure: Figure = make_subplots(rows=3, cols=1, shared_xaxes=True, subplot_titles=titles)
    for rate in sorted(by_rate):
        color = _COLORS[rate % len(_COLORS)]
        groups = _groups(by_rate[rate])
        steps = [group[-1]["step"] for group in groups]
        for row, value in enumerate((_loss, _bits, _psnr), 1):
            means = [fmean(value(entry) for entry in group) for group in groups]
            figure.add_trace(
                Scatter(
                    x=steps,
                    y=means,
                    name=f"rate point {rate}",
                    line={"color": color},
                    legendgroup=rate,
                    showlegend=row == 1,
                ),
                row=row,
                col=1,
            )
        for row, value in ((2, _bits), (3, _psnr)):
            figure.add_trace(
                Scatter(
                    x=[entry["step"] for entry in validations[rate]],
                    y=[value(entry) for entry in validations[rate]],
                    name=f"rate point {rate}, validation",
                    mode="markers",
                    marker={"color": color, "symbol": "diamond"},
                    legendgroup=rate,
                    showlegend=row == 2,
                ),
                row=row,
                col=1,
            )
    figure.update_yaxes(type="log", row=1, col=1)
    figure.update_xaxes(title="steps", row=3, col=1)
    figure.update_layout(height=900, template="plotly_white")
    figure.write_html(target, include_plotlyjs=True)


_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")


def _groups(entries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    size = -(-len(entries) // POINTS)
    return [entries[i : i + size] for i in range(0, len(entries), size)]


def _loss(entry: dict[str, Any]) -> float:
    return float(entry["loss"])


def _bits(entry: dict[str, Any]) -> float:
    return fmean(entry["bpp"])


def _psnr(entry: dict[str, Any]) -> float:
    return float(entry["psnr"][-1])
