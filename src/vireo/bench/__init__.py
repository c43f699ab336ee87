"""Compares codecs on the same frames: anchors, runs, results and their report.

The command line is `vireo bench`; it needs the extra `vireo[bench]`.
"""
