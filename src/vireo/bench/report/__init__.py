"""Markdown tables and an interactive page of a benchmark's results."""
