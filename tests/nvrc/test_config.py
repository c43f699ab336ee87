"""What a representation counts to, beside the paper's tables."""

from __future__ import annotations

from math import prod

import pytest

from vireo.codecs.nvrc.config import (
    CONFIGS,
    Extent,
    context_multiplications,
    layers,
    multiplications,
    parameters,
)

UVG = Extent.of(600, 1080, 1920)


@pytest.mark.parametrize(("name", "millions"), [("s2", 6.35), ("s3", 14.19), ("s4", 31.41)])
def test_parameters_are_those_of_table_5(name: str, millions: float) -> None:
    assert parameters(CONFIGS[name], UVG) == pytest.approx(1e6 * millions, rel=0.01)


def test_what_table_5_says_of_s1_is_less_than_its_own_row_adds_up_to() -> None:
    """2.14 million, with 0.96 million numbers in its grids and 1.6 million in its units alone."""
    config = CONFIGS["s1"]
    grids = sum(prod(shape) for shape in UVG.grids(config))
    units = sum(prod(s) for n, s in layers(config, UVG) if "expand" in n or "project" in n)
    assert grids + units > 2.14e6
    assert parameters(config, UVG) == 2_900_035


@pytest.mark.parametrize(
    ("name", "billions", "coding"),
    [("s2", 359.6, 25.2), ("s3", 842.8, 50.4), ("s4", 1929.0, 100.8)],
)
def test_multiplications_are_those_of_table_2(name: str, billions: float, coding: float) -> None:
    config = CONFIGS[name]
    assert multiplications(config, UVG) == pytest.approx(1e9 * billions, rel=0.01)
    assert context_multiplications(config, UVG) == pytest.approx(1e9 * coding, rel=0.01)
