import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.files.stream import tables_of
from edge_runtime.files.table import read_table


def pieces(*chunks, columns=1):
    """(rows, lines) of each table that comes, and the text of the error that ends them, or ""."""
    given, found = iter([*chunks, b""]), []
    try:
        for table in tables_of(lambda: next(given), "sensor", columns=columns):
            found.append((table.numbers.tolist(), table.line_numbers.tolist()))
    except InputError as error:
        return found, str(error)
    return found, ""


def test_each_row_comes_with_the_end_of_its_line():
    """What is asked for next is read only after the rows that have come were given."""
    asked = []
    chunks = iter([b"a,b\n", b"1,2\n", b"3,", b"4\n5,6\n", b"7,8", b""])

    def read():
        asked.append(next(chunks))
        return asked[-1]

    seen = [(len(asked), table.numbers.tolist()) for table in tables_of(read, "sensor")]
    assert seen == [(2, [[1, 2]]), (4, [[3, 4], [5, 6]]), (6, [[7, 8]])]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_pieces_of_any_size_give_the_table_of_the_whole(end, size):
    """Names, numbers, texts and line numbers are those that `read_table` finds, however the bytes come."""
    content = end.join(
        [b"# device", b"a;b;label", b"1,5;2;run", b"", b'3;4;"sit', b'down"', b"# pause", b"5;?;run", b""]
    )
    chunks = iter([*(content[place : place + size] for place in range(0, len(content), size)), b""])
    tables = list(tables_of(lambda: next(chunks), "sensor", columns=2))
    whole = read_table(content, "file")
    assert {table.names for table in tables} == {whole.names}
    np.testing.assert_array_equal(np.concatenate([table.numbers for table in tables]), whole.numbers)
    assert [line for table in tables for line in table.line_numbers] == whole.line_numbers.tolist()
    assert [text for table in tables for text in table.texts[2]] == whole.texts[2]


def test_a_row_that_counts_waits_for_the_next():
    """0, 1, 2 may be names, as pandas writes them, and wavelengths too: the line below tells."""
    assert pieces(b"400,410,420\n", b"0.5,1.5,2\n") == ([([[0.5, 1.5, 2]], [2])], "")
    assert pieces(b"400,410,420\n", b"5,1,2\n") == ([([[400, 410, 420], [5, 1, 2]], [1, 2])], "")
    assert pieces(b"0,1,2\n", b"0.5,1,2\n") == ([([[0.5, 1, 2]], [2])], "")
    assert pieces(b"0,1,2\n", b"3,4,5\n") == ([([[0, 1, 2], [3, 4, 5]], [1, 2])], "")


def test_the_first_comma_in_a_number_says_what_commas_are():
    """Whole numbers do not tell; a decimal comma that follows is read, unless points were there before."""
    found, error = pieces(b"7;2\n", b"1,5;2\n", b"2.5;1\n", columns=2)
    assert found[:2] == [([[7, 2]], [1]), ([[1.5, 2]], [2])]
    assert np.isnan(found[2][0][0][0])
    assert not error


def test_rows_before_a_broken_one_are_given_first():
    """The broken line is named by its number, also in the middle of what came at once."""
    for chunks in ((b"1,2\n3,4\n5\n6,7\n",), (b"1,2\n", b"3,4\n5\n6,7\n")):
        found, error = pieces(*chunks)
        assert [rows for rows, _ in found] == [[[1, 2]], [[3, 4]]]
        assert error == "sensor: row 3 has 1 columns, expected 2 as in row 1"


def test_empty_rows_are_left_out_at_the_end_alone():
    """As in a file: they are held back until it is known whether something follows."""
    assert pieces(b"1;2\n;\n", b";\n") == ([([[1, 2]], [1])], "")
    found, error = pieces(b"1;2\n;\n", b"3;4\n")
    assert not error
    assert [lines for _, lines in found] == [[1], [2, 3]]


def test_what_is_no_table_ends_with_a_word():
    """Nothing, a header alone, a line without end, and titles without end."""
    assert pieces()[1] == "sensor: no rows, expected at least one row of numbers"
    assert pieces(b"a,b\n")[1] == "sensor: only a header, expected at least one row of numbers"
    assert "a line of over 16,777,216 bytes" in pieces(*[b"x" * (1 << 22)] * 5)[1]
    assert "no rows" in pieces(*[b"# title\n" * 100_000] * 3)[1]


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        ([b"1.250;5.000;40.125\n", b"1,5;5,2;40,1\n"], [[1.25, 5, 40.125]]),
        ([b"7;2;1\n", b"1.250;5.000;40.125\n", b"1,5;5,2;40,1\n"], [[7, 2, 1], [1.25, 5, 40.125]]),
        ([b"7;2;1\n", b"1,5;2;3\n", b"1.250;1,5;3\n"], [[7, 2, 1], [1.5, 2, 3]]),
    ],
)
def test_numbers_are_spelled_alike_however_the_rows_come(rows, first):
    """The first mark settles; a row with another one holds texts, which are refused by its number, never a value."""
    for chunks in (rows, [b"".join(rows)], [b"a;b;c\n", *rows], [b"a;b;c\n" + b"".join(rows)]):
        found, error = pieces(*chunks, columns=3)
        values = [row for table, _ in found for row in table]
        assert not error
        assert values[: len(first)] == first
        assert np.isnan(values[len(first)][0])
