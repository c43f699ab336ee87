from pathlib import Path

import pytest

from vireo.container.document import fill, main, table, tables
from vireo.container.syntax import U8, Field, Structure

SPECIFICATION = Path(__file__).parents[2] / "docs" / "bitstream.md"


def test_the_specification_s_tables_are_the_declared_ones():
    text = SPECIFICATION.read_text(encoding="utf-8")
    assert fill(text, tables()) == text
    assert main(["--check", str(SPECIFICATION)]) == 0


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("| `profile` | u8 |", "| `profile` | u16 |"),
        ("| `grids` | u8 | 1…16 |", "| `grids` | u8 | 1…17 |"),
        ("| 40 | 4034748382 | 9 |", "| 40 | 4034748383 | 9 |"),
    ],
)
def test_a_stale_table_is_found_and_made_anew(tmp_path, right, wrong):
    text = SPECIFICATION.read_text(encoding="utf-8")
    assert text.count(right) == 1
    copy = tmp_path / "bitstream.md"
    copy.write_text(text.replace(right, wrong), encoding="utf-8")
    assert main(["--check", str(copy)]) == 1
    assert main([str(copy)]) == 0
    assert copy.read_text(encoding="utf-8") == text


def test_a_table_says_what_the_field_says():
    structure = Structure("s", "s", (Field("level", U8, "how loud", low=1, high=9),))
    assert "| `level` | u8 | 1…9 |  | how loud |" in table(structure)


def test_unknown_and_missing_tables_are_refused():
    with pytest.raises(ValueError, match="declared are"):
        fill("<!-- table nothing -->\n<!-- end -->", tables())
