from pathlib import Path

import pytest

from vireo.container.document import STRUCTURES, fill, main, table
from vireo.container.syntax import U8, Field, Structure

SPECIFICATION = Path(__file__).parents[2] / "docs" / "bitstream.md"


def test_the_specification_s_tables_are_the_declared_ones():
    text = SPECIFICATION.read_text(encoding="utf-8")
    assert fill(text, STRUCTURES) == text
    assert main(["--check", str(SPECIFICATION)]) == 0


def test_a_stale_table_is_found_and_made_anew(tmp_path):
    text = SPECIFICATION.read_text(encoding="utf-8")
    copy = tmp_path / "bitstream.md"
    copy.write_text(text.replace("| `profile` | u8 |", "| `profile` | u16 |"), encoding="utf-8")
    assert main(["--check", str(copy)]) == 1
    assert main([str(copy)]) == 0
    assert copy.read_text(encoding="utf-8") == text


def test_a_table_says_what_the_field_says():
    structure = Structure("s", "s", (Field("level", U8, "how loud", low=1, high=9),))
    assert "| `level` | u8 | 1…9 |  | how loud |" in table(structure)


def test_unknown_and_missing_tables_are_refused():
    with pytest.raises(ValueError, match="declared are"):
        fill("<!-- table nothing -->\n<!-- end -->", STRUCTURES)
