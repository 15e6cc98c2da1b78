import gzip

import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.files.names import is_table_name
from edge_runtime.files.stream import tables_of
from edge_runtime.files.table import read_table
from tests.memory import traced

SPELLINGS = {
    "plain": "a,b,label\n1.5,-2,run\n0.25,1000,sit\n",
    "semicolons, decimal commas": "a;b;label\n1,5;-2;run\n0,25;1000;sit\n",
    "thousands": 'a;b;label\n1,5;"-2";run\n0,25;1.000;sit\n',
    "commas in quotes, points between thousands": 'a,b,label\n"1,5",-2,run\n"0,25",1.000,sit\n',
    "tabs": "a\tb\tlabel\n1.5\t-2\trun\n0.25\t1000\tsit\n",
    "pipes": "a|b|label\n1.5|-2|run\n0.25|1000|sit\n",
    "blanks": " a     b     label\n 1.5  -2    run\n 0.25 1000\tsit \n",
    "quotes": '"a","b","label"\n"1.5","-2","run"\n"0.25","1,000","sit"\n',
    "excel's separator line": "sep=;\r\na;b;label\r\n1,5;-2;run\r\n0,25;1000;sit\r\n",
    "old mac": "a,b,label\r1.5,-2,run\r0.25,1000,sit\r",
    "byte order mark": "\ufeffa,b,label\n1.5,-2,run\n0.25,1000,sit\n",
    "comments": "# device\n% rate\na,b,label\n1.5,-2,run\n# a pause\n0.25,1000,sit\n",
    "a title": "Record of 2024\n\na,b,label\n1.5,-2,run\n0.25,1000,sit\n",
    "names in a comment": "# a b label\n1.5 -2 run\n0.25 1000 sit\n",
    "trailing commas": "a,b,label,\n1.5,-2,run,\n0.25,1000,sit,\n",
    "trailing commas in rows": "a,b,label\n1.5,-2,run,\n0.25,1000,sit,\n",
    "units": "a,b,label\n(m/s),(kg),-\n1.5,-2,run\n0.25,1000,sit\n",
    "blank rows at the end": "a;b;label\n1,5;-2;run\n0,25;1000;sit\n;;\n;;\n",
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_one_table_in_many_spellings(text):
    """Separators, decimal marks, quotes, line ends, titles, comments, trailing marks: names and cells are the same."""
    for content in (text.encode(), text.encode("utf-16-le"), text.encode("utf-16")):
        table = read_table(content, "x.csv")
        assert table.names == ("a", "b", "label")
        np.testing.assert_array_equal(table.numbers, [[1.5, -2, np.nan], [0.25, 1000, np.nan]])
        assert table.texts == {2: ["run", "sit"]}
        assert table.missing is None


ERRORS = ["#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!"]


@pytest.mark.parametrize("word", ["", "?", "NA", "na", "N/A", "NaN", "null", "None", "-", *ERRORS])
def test_missing_cells_are_marked_in_numbers_and_in_texts(word):
    """An empty cell and each word for missing is NaN and True in `missing`, and makes no column a text column."""
    table = read_table(f"a,b,c\n1,{word},x\n2,3,{word}\n".encode(), "x.csv")
    assert table.missing.tolist() == [[False, True, False], [False, False, True]]
    assert np.isnan(table.numbers[0, 1])
    assert table.texts == {2: ["x", word]}


@pytest.mark.parametrize("word", ERRORS)
def test_a_row_that_begins_with_a_spreadsheets_error_is_no_comment(word):
    """It begins with #, and its first cell is missing; a comment beside it is left out."""
    for mark in ",; ":
        text = f'a,b\n{word},1\n# pause\n2,3\n"{word}",4\n{word.lower()},5\n'.replace(",", mark)
        table = read_table(text.encode(), "x.csv")
        assert table.names == ("a", "b")
        assert table.line_numbers.tolist() == [2, 4, 5, 6]
        assert table.missing.tolist() == [[True, False], [False, False], [True, False], [True, False]]


HEADERS = {
    "a,b\n1,2\n": ("a", "b"),
    "1,2\n3,4\n": (),
    "0,1,2\n0.5,7,1\n": ("0", "1", "2"),
    "1,2,3\n0.5,7,1\n": ("1", "2", "3"),
    "0,1,2\n3,4,5\n": (),
    "0,1,2,label\n0.5,7,1,x\n": ("0", "1", "2", "label"),
    "0,1\n1,0\n": (),
    "run,1,2\nwalk,0,0\nwalk,0,0\n": (),
    "1,2,3\n" + "3,1,2\n2,3,1\n1,2,3\n" * 5: (),
    "0,1,2,label\n" + "3,1,2,x\n2,3,1,y\n" * 6: ("0", "1", "2", "label"),
    "0,1,2,3\n" + "3,1,2,0\n2,5,1,1\n" * 6: ("0", "1", "2", "3"),
    "0,1,2,3,4\n7,8,9,7,8\n": ("0", "1", "2", "3", "4"),
    "400,410,420,430,440\n0.5,7,1,2,0\n0.25,0.5,1.5,2,3\n": ("400", "410", "420", "430", "440"),
    "2001,2002,2003\n0.5,7.1,1\n": ("2001", "2002", "2003"),
    "400,410,420,label\n0.5,7.1,1.5,x\n": ("400", "410", "420", "label"),
    "400,410,420\n5,7,1\n": (),
    "400,410,420\n400.5,410,420\n": (),
    "400,410,430\n0.5,7.1,1.5\n": (),
    "3,5,7\n2.5,4.5,6.5\n4.5,5.5,7.5\n": (),
    "RI,Na\n1,2\n": ("RI", "Na"),
    "x,a\n" * 12: (),
    "size,form\n" + "big,round\nsmall,flat\n" * 6: ("size", "form"),
    ",a\n0,5\n1,6\n": ("", "a"),
    '"a" "b"\n"1" 5 6\n"2" 7 8\n': ("", "a", "b"),
}


@pytest.mark.parametrize(("text", "names"), HEADERS.items())
def test_a_header_is_told_from_rows(text, names):
    """Text above numbers, numbers that count above others, texts that occur nowhere below, and R's names of rows."""
    assert read_table(text.encode(), "x.csv").names == names


@pytest.mark.parametrize(
    "text", ["a,b,c\n1,5;2;3\n4;5,5;6\n", "a\tb\tc\n\n1.5,2,3\n4,5.5,6\n", "a;b;c\n1.5\t2\t3\n4\t5.5\t6\n"]
)
def test_a_header_may_have_a_separator_of_its_own(text):
    """That is said; a title with such marks above a header stays one."""
    table = read_table(text.encode(), "x.csv")
    assert (table.names, table.numbers.tolist()) == (("a", "b", "c"), [[1.5, 2, 3], [4, 5.5, 6]])
    assert any("row 1 (a, b, c) read as the header, whose separator is" in note for note in table.notes)
    titled = read_table(b"Berlin, roof, noon\na;b;c\n1;2;3\n4;5;6\n", "x.csv")
    assert titled.names == ("a", "b", "c")


def test_a_column_that_may_be_thousands_or_decimals_is_named():
    """Beside a decimal comma in another column, be it one of texts; a column with plain numbers is no doubt."""
    notes = read_table(b"a;v;n\n1.234;x;1.000\n2.345;1,5;7\n3.456;y;8\n", "x.csv").notes
    found = [note for note in notes if note.startswith("column")]
    assert found == ["column 1: '1.234' read as 1234, points between thousands, not as decimals"]


def test_a_blank_line_below_the_header_keeps_it():
    """Whatever separates."""
    for mark in ",;\t|":
        assert read_table(f"a{mark}b\n\n1{mark}2\n4{mark}5\n".encode(), "x.csv").names == ("a", "b")


def test_a_header_of_numbers_is_said_and_a_doubtful_row_named():
    """Numbers by one step above decimals are said to be the header; numbers far from all below are asked about."""
    below = "0.5,7.1,1.5\n0.25,6.5,2\n" * 3
    assert "row 1 (2001, 2002, 2003) read as the header" in read_table(f"2001,2002,2003\n{below}".encode(), "x").notes
    doubtful = read_table(f"2001,2004,2005\n{below}".encode(), "x")
    assert "row 1 (2001, 2004, 2005) is unlike the others: is it a header? read as a row" in doubtful.notes
    assert len(doubtful.numbers) == 7
    assert read_table(f"0.5,9.5,2005\n{below}".encode(), "x").notes == ()


@pytest.mark.parametrize(
    ("text", "rows"),
    {
        "a,b,c\n1,2,3\n#N/A,1,2\n4,5,6\n": [1, 3],
        "a,b,c\n#N/A,1,2\n4,5,6\n7,8,9\n": [0, 3],
        "#DIV/0!,1,2\n4,5,6\n7,8,9\n": [0, 3],
        "a,b,c\nx,2,3\n#3,1,2\ny,5,6\n": [1, 3],
        "a,b,c\n1,2,3\n# a pause\n4,5,6\n7,8,9\n": [None, 3],
        "a,b,c\n1,2,3\n# 0,1,2\n4,5,6\n7,8,9\n": [None, 3],
        "a b c\nx 2 3\n# a pause\ny 5 6\nx 1 2\n": [None, 3],
        "# n,1,2\na,b,c\n1,2,3\n4,5,6\n7,8,9\n": [None, 3],
    }.items(),
)
def test_a_marked_line_as_wide_as_a_row_is_one(text, rows):
    """Excel's errors and labels such as #3 below the header; notes, rows that are taken out and lines above are not."""
    table = read_table(text.encode(), "x.csv")
    place, count = rows
    assert len(table.numbers) == count
    assert ("1 comment line left out" in table.notes) == (place is None)
    if place is not None:
        assert table.numbers[place, 1:].tolist() == [1, 2]


def test_line_numbers_are_those_of_the_file():
    """Comments, blank lines and lines inside quotes count."""
    table = read_table(b'# c\n\na,b\n"x\ny",2\n\n3,4\n', "x.csv")
    assert table.line_numbers.tolist() == [4, 7]
    assert table.texts == {0: ["x\ny", "3"]}


REFUSED = {
    "1,234\t5\n2,345\t6\n": r"'1,234' is 1.234 with a decimal comma, or 1234 with commas between thousands",
    "1,5;2.5\n": "'1,5' has a decimal comma, '2.5' has not",
    "value\n1,5\n2,5\n": "a decimal comma, or two columns",
    "a,b,c\n1,2,3\n4,5\n": "row 3 has 2 columns, expected 3",
    "a,b\n": "only a header",
    "": "no rows",
    '1,2\n"3,4\n': "row 2: unexpected end of data; close each quote",
    "1\0,2\n": "NUL",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items())
def test_what_cannot_be_read_one_way_is_refused(text, message):
    """Both readings are named where nothing decides; damage is named by its row."""
    with pytest.raises(InputError, match=message):
        read_table(text.encode(), "x.csv")


def test_names_of_tables():
    """The usual suffixes, in any case, plain or packed."""
    assert all(is_table_name(name) for name in ("x.csv", "x.TSV", "iris.data", "a.txt.gz", "b.dat"))
    assert not any(is_table_name(name) for name in ("x.npy", "x.npz", "csv", "x.gz"))


ARFF = """% iris
@RELATION iris
@attribute 'sepal length' NUMERIC
@attribute width REAL
@attribute class {a, b}

@DATA
% rows
5.1,3.5,a
?,3,b
"""


def test_arff_names_its_columns():
    """Names stand in lines of their own, in quotes or not; comments are left out, ? is missing."""
    for content in (ARFF.encode(), ARFF.replace("\n", "\r\n").encode()):
        table = read_table(content, "iris.arff")
        assert table.names == ("sepal length", "width", "class")
        np.testing.assert_array_equal(table.numbers, [[5.1, 3.5, np.nan], [np.nan, 3, np.nan]])
        assert table.texts == {2: ["a", "b"]}
        assert table.line_numbers.tolist() == [9, 10]
    with pytest.raises(InputError, match="sparse rows of ARFF"):
        read_table(b"@relation x\n@attribute a real\n@data\n{0 1}\n", "x.arff")
    with pytest.raises(InputError, match="without an @attribute line"):
        read_table(b"@relation x\n@data\n1\n", "x.arff")
    with pytest.raises(InputError, match="row 9 has 3 columns, expected 2"):
        read_table(ARFF.replace("@attribute width REAL\n", "%\n").encode(), "x.arff")
    with pytest.raises(InputError, match="no rows"):
        read_table(b"@relation x\n@attribute a real\n", "x.arff")


WHAT_IS_NO_TABLE = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n": "a Git LFS pointer.*git lfs pull",
    b"<!DOCTYPE html>\n<html></html>\n": "a web page",
    b"  <html>1,2</html>": "a web page",
    b"PK\x03\x04" + b"\0" * 26 + b"xl/workbook.xml": r"an Excel file \(.xlsx\).*read_excel",
    b"PK\x03\x04" + b"\0" * 26 + b"table.csv": "a zip archive.*unpack it",
    b"PAR1\x15\x04": "a Parquet file.*read_parquet",
    b"\x80\x04\x95\x10\0": "a pickle, which can run code.*read_pickle",
    b"\x89HDF\r\n\x1a\n\0": "an HDF5 file.*read_hdf",
    b"\x89PNG\r\n\x1a\n\0": "a PNG image",
    b"SQLite format 3\0": "an SQLite database.*read_sql",
    b"\x93NUMPY\x01\0": "a NumPy array, expected.*name it .npy",
    b'[{"a": 1}]': "JSON.*read_json",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": r"an old Excel file \(.xls\)",
}


@pytest.mark.parametrize(("content", "message"), WHAT_IS_NO_TABLE.items())
def test_what_is_no_table_is_named_for_what_it_is(content, message):
    """With the line that converts it; packed by gzip too."""
    for given in (content, gzip.compress(content)):
        with pytest.raises(InputError, match=f"x.csv: {message}"):
            read_table(given, "x.csv")


def test_gzip_unpacks_to_the_limit_alone():
    """More is refused before it is held; damage is named."""
    packed = gzip.compress(b"1,2\n" * 1_000_000)
    assert len(read_table(packed, "x.csv.gz").numbers) == 1_000_000
    with traced() as peak:
        with pytest.raises(InputError, match="unpacks to over the limit of 100,000 bytes; raise max_bytes"):
            read_table(packed, "x.csv.gz", max_bytes=100_000)
        assert peak() < 4_000_000
    with pytest.raises(InputError, match="damaged gzip"):
        read_table(packed[:-9], "x.csv.gz")


def test_memory_is_bounded_by_the_file():
    """Numbers of two bytes a cell take five times the file at most; texts that are all different, 25 times."""
    for content, most in (
        (b"1,2,3,4,5,6,7,8\n" * 100_000, 5),
        (b"".join(b"%d;a%d\n" % (n, n) for n in range(100_000)), 25),
        (b"1\n" * 300_000 + b"x\n", 20),
    ):
        with traced() as peak:
            read_table(content, "x.csv")
            assert peak() < most * len(content) + 12_000_000


def test_a_column_of_numbers_that_ends_in_texts_is_text_from_the_start():
    """What was read as numbers blocks ago is given as it is written, for several columns that turn at other rows."""
    lines = [f"{n:05},{n}.50,1" for n in range(60_000)]
    lines[50_000] = "x,1.50,1"
    lines[55_000] = "1,y,1"
    table = read_table("\n".join(lines).encode(), "x.csv")
    assert set(table.texts) == {0, 1}
    assert table.texts[0] == [line.split(",")[0] for line in lines]
    assert table.texts[1] == [line.split(",")[1] for line in lines]
    assert np.isnan(table.numbers[50_000, 0])
    assert table.numbers[49_999].tolist() == [49_999, 49_999.5, 1]


def test_a_number_in_another_spelling_is_refused_by_its_row():
    """Far behind the lines that told the spelling, too."""
    lines = ["1.5;2"] * 40_000
    lines[39_000] = "1,5;2"
    with pytest.raises(
        InputError, match="row 39001, column 1: '1,5' is no number here, where others have a decimal point"
    ):
        read_table("\n".join(lines).encode(), "x.csv")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a,b,c\n,,\n1,2,3\n,,\n4,5,6\n", [2, 3, 4, 5]),
        (",,\n1.5,2,3\n4,5,6\n", [1, 2, 3]),
        ("a\tb\n\t\n# c\n1\t2\n\t\n3\t4\n", [2, 4, 5, 6]),
        ('a,"b\nc"\n\n,\n1,2\n', [4, 5]),
        ("a\n\n1\n", [3]),
    ],
)
def test_a_row_of_empty_cells_is_a_row_wherever_it_stands(text, lines):
    """Below the header as between others, in a file and in a stream; a blank line is none."""
    assert read_table(text.encode(), "x.csv").line_numbers.tolist() == lines
    chunks = iter([*(line.encode() for line in text.splitlines(keepends=True)), b""])
    tables = list(tables_of(lambda: next(chunks), "sensor"))
    assert [line for table in tables for line in table.line_numbers] == lines


def test_rows_of_empty_cells_above_a_header_are_left_out_with_a_note():
    """They stand between a title and the table."""
    table = read_table(b"T,,\n,,\na,b,c\n1,2,3\n4,5,6\n", "x.csv")
    assert (table.names, table.notes) == (("a", "b", "c"), ("2 lines above the table left out",))


@pytest.mark.parametrize("row", ["NA,NA,NA", "ERR,ERR,ERR", "b,7,x"])
def test_a_first_row_with_the_expected_names_is_the_header_whatever_follows(row):
    """In any order and beside others, in a file and in a stream; names that are numbers alone may be values."""
    text = f"b,more,a\n{row}\n"
    table = read_table(text.encode(), "x.csv", expected=("a", "b"))
    assert (table.names, table.line_numbers.tolist()) == (("b", "more", "a"), [2])
    chunks = iter([*(line.encode() for line in text.splitlines(keepends=True)), b""])
    [piece] = tables_of(lambda: next(chunks), "sensor", expected=("a", "b"))
    assert (piece.names, piece.line_numbers.tolist()) == (table.names, [2])
    assert read_table(b"1,0\n0,1\n", "x.csv", expected=("0", "1")).names == ()


@pytest.mark.parametrize("head", ["a,b", "a,Na"])
def test_a_header_in_the_middle_is_refused_by_its_row(head):
    """Logs that were joined: the first header stays one, and the second is no row of texts."""
    for text in (f"{head}\n1,2\n{head}\n3,4\n", f"{head}\n{head}\n3,4\n", f"{head}\n" + "1,2\n" * 9 + f"{head}\n"):
        row = text.rstrip().split("\n").index(head, 1) + 1
        with pytest.raises(InputError, match=rf"row {row}: the header again; take the line out"):
            read_table(text.encode(), "x.csv")


@pytest.mark.parametrize("undefined", [b"", b"\x81\x8d\x8f\x90\x9d"])
def test_what_is_no_utf8_is_windows_1252(undefined):
    """As Excel saves it in the west: the euro sign is one, and its five undefined bytes are those of Latin-1."""
    table = read_table("Preis €,“b” é\n1,2\n".encode("cp1252").replace(b"b", b"b" + undefined), "x.csv")
    assert table.names == ("Preis €", f"“b{undefined.decode('latin-1')}” é")
    assert table.notes == ("not UTF-8, read as Windows-1252",)


def test_points_that_may_stand_between_thousands_are_named():
    """950 and 1.234 in one column between semicolons: decimal, as documented, with a note; decided cells need none."""
    table = read_table(b"n;m\n950;1\n1.234;2\n", "x.csv")
    assert table.numbers[:, 0].tolist() == [950, 1.234]
    assert table.notes == (
        "column 'n': 1.234 read with a decimal point, not as 1234 with a point between thousands; "
        "a decimal comma elsewhere, such as 1,5, decides for thousands",
    )
    for text in (
        "n;m\n950;1\n1.234;2\n2.5;3\n",
        "n;m\n1.950;1\n1.234;2\n",
        "n,m\n950,1\n1.234,2\n",
    ):  # the last holds no 1234,2
        assert read_table(text.encode(), "x.csv").notes == ()


def test_a_header_stands_above_numbers_with_signs_and_units():
    """Percent, currency and degrees: texts, below names."""
    for cell in ("45.1%", '"$1,200.00"', "20.3 °C"):
        assert read_table(f"a,b\n{cell},{cell}\n{cell},{cell}\n".encode(), "x.csv").names == ("a", "b")
