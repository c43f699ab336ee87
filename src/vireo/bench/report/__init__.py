"""Markdown tables and an interactive page of a benchmark's results.

It needs the extra `vireo[bench]`.
"""

from vireo.bench.report.write import ReportFiles, write_report

__all__ = ["ReportFiles", "write_report"]
