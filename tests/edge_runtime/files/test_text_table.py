"""Tables of plain text, and how they become narrow."""

import pytest

from edge_runtime.files import fit_table, format_table, shortened

ROWS = [
    {"name": "a-long-name-of-a-layer", "kind": "int8", "bytes": 1234567, "share": "9.5"},
    {"name": "b", "kind": "float32", "bytes": 5, "share": "-"},
]
WIDE = {"name": "layer", "kind": "precision", "bytes": "bytes of it", "share": "share"}
NARROW = {"name": "layer", "kind": "kind", "bytes": "bytes"}


def test_numbers_stand_to_the_right_and_have_separators():
    """Texts to the left; a dash counts as a number that is missing; control characters are escaped."""
    assert format_table([*ROWS, {**ROWS[1], "name": "\x1b[2J"}], WIDE).splitlines() == [
        "layer                   precision  bytes of it  share",
        "----------------------  ---------  -----------  -----",
        "a-long-name-of-a-layer  int8         1,234,567    9.5",
        "b                       float32              5      -",
        r"\x1b[2J                 float32              5      -",
    ]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (None, ["layer                   precision  bytes of it  share"]),
        (53, ["layer                   precision  bytes of it  share"]),
        (52, ["layer                   kind         bytes"]),
        (42, ["layer                   kind         bytes"]),
        (41, ["layer                  kind         bytes", "---", "a-long-nam..f-a-layer  int8     1,234,567"]),
        (30, ["layer       kind         bytes", "---", "a-lo..ayer  int8     1,234,567"]),
    ],
)
def test_the_first_table_that_fits_is_taken_and_else_names_are_cut(width, lines):
    """Headings and columns give way before names do; figures are never cut."""
    found = fit_table(ROWS, width, WIDE, NARROW).splitlines()
    assert found[0] == lines[0]
    if len(lines) > 1:
        assert found[2] == lines[2]
    if width is not None:
        assert max(map(len, found)) <= width


def test_what_cannot_be_cut_stays():
    """Numbers, headings and the ends of names: a table is too wide before it says something else."""
    found = fit_table(ROWS, 10, WIDE, NARROW).splitlines()
    assert found[2].split() == ["a-l..yer", "int8", "1,234,567"]


@pytest.mark.parametrize("width", [5, 6, 7, 8, 25, 26, 27])
def test_a_long_text_keeps_its_two_ends(width):
    """In as many letters as are allowed; a short one stays as it is."""
    text = "abcdefghijklmnopqrstuvwxyz"
    found = shortened(text, width)
    if width >= 26:
        assert found == text
        return
    start, end = found.split("..")
    assert len(found) == width
    assert text.startswith(start)
    assert text.endswith(end)
    assert 0 <= len(start) - len(end) <= 1
