import copy
import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import InputError
from edge_runtime.files.layout import MAX_LINE
from edge_runtime.files.npy import read_npz_bytes
from edge_runtime.files.rows import read_rows as read_noted_rows
from edge_runtime.files.table import read_table
from tests.memory import traced
from tests.work import counted_calls

ROWS = np.array([[1.5, -2.0, 3.0], [0.1, 1e-30, 65504.0]], np.float32)


def read_rows(path, **settings):
    return read_noted_rows(path, **settings).x


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def give_stdin(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


# --- arrays ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "u1", "<i2", ">i4", "<u8", "<f2", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_plain_npy_becomes_native_float32(tmp_path, dtype, order):
    """Every width, byte order and memory order gives C-ordered native float32 of the same values."""
    array = np.array([[0, 1, 1], [1, 0, 1]], dtype, order=order)
    np.save(tmp_path / "x.npy", array)
    rows = read_rows(tmp_path / "x.npy", n_in=3)
    assert rows.dtype == np.float32
    assert rows.dtype.isnative
    assert rows.flags.c_contiguous
    np.testing.assert_array_equal(rows, array)


def test_one_dimension_is_one_row_and_images_are_flattened(tmp_path):
    """(k,) is (1, k), or (k, 1) for a model of one input; (n, h, w) is (n, h * w), in .npz as in .npy."""
    np.save(tmp_path / "x.npy", np.arange(6))
    assert read_rows(tmp_path / "x.npy").shape == (1, 6)
    assert read_rows(tmp_path / "x.npy", n_in=1).shape == (6, 1)
    np.savez_compressed(tmp_path / "x.npz", x=np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    assert read_rows(tmp_path / "x.npz", n_in=12)[1].tolist() == list(range(12, 24))


def test_a_wrong_width_says_what_was_found_expected_and_what_to_do(tmp_path):
    """The message has both widths, and sees a label column and an image that is not flattened."""
    np.save(tmp_path / "x.npy", np.zeros((5, 65)))
    with pytest.raises(InputError, match="65 columns, the model takes 64; is the last one a label"):
        read_rows(tmp_path / "x.npy", n_in=64)
    np.save(tmp_path / "x.npy", np.zeros((8, 8)))
    with pytest.raises(InputError, match=r"8 columns, the model takes 64; for one row, reshape it to \(1, 64\)"):
        read_rows(tmp_path / "x.npy", n_in=64)
    with pytest.raises(InputError, match=r"8 columns, the model takes 5; give shape \(n, 5\)"):
        read_rows(tmp_path / "x.npy", n_in=5)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 0, 4)])
def test_nothing_to_run_is_refused(tmp_path, shape):
    """An array without rows or without columns, or a lone number, is refused by its shape."""
    np.save(tmp_path / "x.npy", np.zeros(shape))
    with pytest.raises(InputError, match="expected at least one row"):
        read_rows(tmp_path / "x.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_values_are_named_unless_allowed(tmp_path, value):
    """NaN and inf are refused by row and column; with allow_nonfinite they pass through."""
    array = np.ones((4, 3))
    array[2, 1] = value
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=r"row 2, column 1 \(counted from 0\): -?(nan|inf) is not a finite number"):
        read_rows(tmp_path / "x.npy")
    np.testing.assert_array_equal(read_rows(tmp_path / "x.npy", allow_nonfinite=True), array.astype(np.float32))


def test_float64_beyond_float32_is_refused_by_row_even_where_inf_is_allowed(tmp_path):
    """1e300 would silently become inf, so it is an error in any case; values too small become 0."""
    np.save(tmp_path / "x.npy", np.array([[1.0], [np.inf], [1e300]]))
    with pytest.raises(InputError, match=r"row 2, column 0 .*1e\+300 is beyond float32's range"):
        read_rows(tmp_path / "x.npy", allow_nonfinite=True)
    np.save(tmp_path / "x.npy", np.array([[1e-300]]))
    assert read_rows(tmp_path / "x.npy").tolist() == [[0.0]]


@pytest.mark.parametrize("array", [np.array(["a"]), np.zeros(2, complex), np.array([None]), np.zeros(2, [("a", "f4")])])
def test_what_is_not_a_number_is_refused(tmp_path, array):
    """Text, complex, objects (pickles) and structures are InputErrors."""
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match="expected"):
        read_rows(tmp_path / "x.npy")


def test_limits_hold_for_the_file_and_for_the_result(tmp_path):
    """max_bytes caps the file's bytes, and the four bytes that each value takes as float32."""
    np.save(tmp_path / "x.npy", np.zeros(1000, np.uint8))
    assert read_rows(tmp_path / "x.npy", max_bytes=4000).shape == (1, 1000)
    with pytest.raises(InputError, match="4,000 bytes as float32, over the limit of 3,999"):
        read_rows(tmp_path / "x.npy", max_bytes=3999)
    with pytest.raises(InputError, match="over the limit of 1,000 bytes"):
        read_rows(tmp_path / "x.npy", max_bytes=1000)


def test_unreadable_files_are_os_errors_and_unknown_kinds_are_input_errors(tmp_path):
    """A missing file and a folder raise OSError; another suffix, or a name that no file can have, InputError."""
    with pytest.raises(FileNotFoundError):
        read_rows(tmp_path / "none.npy")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OSError, match="folder"):
        read_rows(tmp_path / "folder.csv")
    with pytest.raises(InputError, match="unknown kind of file"):
        read_rows(tmp_path / "x.json")
    with pytest.raises(InputError, match="NUL"):
        read_rows("a\0b.npy")


# --- CSV ------------------------------------------------------------------------------------------------------------

GOOD_CSV = {
    "plain": "1,2\n3,4\n",
    "header": "a,b\n1,2\n3,4\n",
    "quoted header": '"a, with comma","b"\n1,2\n3,4',
    "semicolons": "a;b\n1;2\n3;4\n",
    "tabs": "1\t2\n3\t4\n",
    "blank lines and spaces": "\n 1 , 2 \n\n3,4\n\n",
    "carriage returns": "1,2\r\n3,4\r\n",
    "old mac": "1,2\r3,4\r",
    "byte order mark": "\ufeff1,2\n3,4\n",
    "quoted numbers": '"1","2"\n"3", "4"\n',
    "exponents": "1e0,+2\n3.,.4e1\n",
    "index column": ",b\n1,2\n3,4\n",
}


@pytest.mark.parametrize("text", GOOD_CSV.values(), ids=GOOD_CSV)
def test_csv_dialects_read_alike(tmp_path, text):
    """Header or none, three separators, three line ends, quotes, blank lines, a byte order mark: the same rows."""
    rows = read_rows(write(tmp_path / "x.csv", text), n_in=2)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1, 2], [3, 4]]


BAD_CSV = {
    "": "no rows",
    "\n\n \n": "no rows",
    "a,b\n": "only a header",
    "1,2\n3\n": "row 2 has 1 columns, expected 2 as in row 1",
    "a,b\n\n1,2\n\n3,4,5\n": "row 5 has 3 columns, expected 2 as in row 1",
    "1,2\n3,x\n": "row 2, column 2: 'x' is not a number",
    "1,2\n\n3,\n": "row 3, column 2: missing; fill in or drop the row",
    "1,a\n3,4\n": "row 1, column 2: 'a' is not a number",
    "1,2\n3,nan\n": "row 2, column 2: missing",
    "1,2\n-inf,4\n": "row 2, column 1: -inf is not a finite number",
    "1,2\n3,1e300\n": r"row 2, column 2: 1e\+300 is beyond float32's range",
    "1,2\n3,1e999\n": "row 2, column 2: inf is not a finite number",
    "1,2\n3,1_0\n": "row 2, column 2: '1_0' is not a number",
    '1,2\n"3,4\n': "row 2: unexpected end of data; close each quote",
    '1,2\n"a\nb",4\n': r"row 2, column 1: 'a\\nb' is not a number",
    '"': "no rows",
    "1,2\n3,\0\n": "row 2: holds a NUL character",
    "1,\x1b[31m\n": r"row 1, column 2: '\\\\?x1b\[31m' is not a number",
    ",,\n": "no rows",
}


@pytest.mark.parametrize(("text", "message"), BAD_CSV.items())
def test_csv_errors_name_row_and_column(tmp_path, text, message):
    """The row is the line in the file, from 1, blank lines and header counted; the message is one printable line."""
    with pytest.raises(InputError, match=message) as caught:
        read_rows(write(tmp_path / "x.csv", text))
    assert str(caught.value).startswith(str(tmp_path / "x.csv"))
    assert str(caught.value).isprintable()


def test_csv_with_a_label_column_is_recognised(tmp_path):
    """One column too many is guessed to be a label, numbers or text, with or without a header."""
    for text in ("1,2,0\n", "1,2,cat\n", "a,b,label\n1,2,0\n"):
        with pytest.raises(InputError, match=r"3 columns, the model takes 2; is the last one a label\? drop it"):
            read_rows(write(tmp_path / "x.csv", text), n_in=2)
    with pytest.raises(InputError, match="2 columns, the model takes 5; give one column per feature"):
        read_rows(write(tmp_path / "x.csv", "1,2\n"), n_in=5)


def test_other_encodings_are_named(tmp_path):
    """UTF-16 and Windows-1252 text are read, with a note; damaged UTF-16 is refused."""
    for encoding, note in (("utf-16", "UTF-16 text"), ("latin-1", "not UTF-8, read as Windows-1252")):
        rows, notes, _places = read_noted_rows(write(tmp_path / "x.csv", "\xe9,b\n1,2\n".encode(encoding)))
        assert rows.tolist() == [[1, 2]]
        assert notes == (note,)
    with pytest.raises(InputError, match="damaged UTF-16 text"):
        read_rows(write(tmp_path / "x.csv", "1,2\n".encode("utf-16") + b"\0"))


def test_csv_nonfinite_values_pass_where_allowed(tmp_path):
    """allow_nonfinite takes NaN and inf, and still refuses numbers beyond float32."""
    rows = read_rows(write(tmp_path / "x.csv", "1,nan\n-inf,2\n"), allow_nonfinite=True)
    np.testing.assert_array_equal(rows, np.array([[1, np.nan], [-np.inf, 2]], np.float32))
    with pytest.raises(InputError, match="row 1, column 1: 1e\\+39 is beyond"):
        read_rows(write(tmp_path / "x.csv", "1e39\n"), allow_nonfinite=True)


def test_a_million_columns_and_a_line_without_end(tmp_path):
    """A million columns are read; for a model they are a wrong width; a line over 16 MiB is refused unread."""
    wide = b"1," * 999_999 + b"1"
    assert read_table(wide, "x.csv").numbers.shape == (1, 1_000_000)
    with pytest.raises(InputError, match="1,000,000 columns, the model takes 64"):
        read_rows(write(tmp_path / "x.csv", wide), n_in=64)
    with pytest.raises(InputError, match="row 1: over 16,777,216 bytes"):
        read_table(b"1," * MAX_LINE, "x.csv")


def test_a_quoted_field_without_end_costs_no_more_than_its_line():
    """Megabytes of open quote, of doubled quotes, and of empty quoted fields: refused in few calls for each cell."""
    for content in (b'1,"' + b"2," * 1_000_000, b'1,"' + b'""' * 1_000_000 + b"\n", b'"",' * 1_000_000 + b"\n"):
        with traced() as peak, counted_calls() as calls:
            with pytest.raises(InputError) as caught:
                read_table(content, "x.csv")
            assert peak() < 32 * len(content)
        assert calls() < 10 * 1_000_000
        assert len(str(caught.value)) < 300


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are POSIX")
@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz"])
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path, suffix):
    """As is a device that never ends; a name with a NUL is no file's."""
    os.mkfifo(tmp_path / f"pipe{suffix}")
    os.symlink("/dev/zero", tmp_path / f"zero{suffix}")
    for name in ("pipe", "zero"):
        with pytest.raises(InputError, match="expected a regular file"):
            read_rows(tmp_path / f"{name}{suffix}")


def test_two_members_that_share_their_bytes_cannot_exceed_the_limit(tmp_path):
    """A bomb that names one stretch of deflated zeros twice unpacks to no more than max_bytes, counted over both."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(3_000_000))
        twice = copy.copy(archive.infolist()[0])
        twice.filename = twice.orig_filename = "y.npy"
        archive.filelist.append(twice)
    (tmp_path / "bomb.npz").write_bytes(file.getvalue())
    with traced() as peak:
        with pytest.raises(InputError, match=r"unpacks to 3,000,000 bytes, over the limit of 1,000,000"):
            read_rows(tmp_path / "bomb.npz", max_bytes=1_000_000)
        with pytest.raises(InputError, match=r"unpacks to 6,000,000 bytes, over the limit of 4,000,000"):
            read_npz_bytes(file.getvalue(), "bomb.npz", ["x", "y"], max_bytes=4_000_000)
        assert peak() < 2_000_000  # files are read in pieces of a megabyte


def test_errors_are_found_in_every_block(tmp_path):
    """Numbers are checked in blocks; the row named is right after many of them, too."""
    lines = [b"1,2,3"] * 60_000
    assert read_table(b"\n".join(lines), "x.csv").numbers.sum() == 360_000
    lines[54_321] = b"1,inf,3"
    with pytest.raises(InputError, match="row 54322, column 2: inf"):
        read_rows(write(tmp_path / "x.csv", b"\n".join(lines)))


def test_a_number_with_a_million_digits_costs_no_more_than_its_length(tmp_path):
    """Long digits are read in linear time, and messages quote only their beginning."""
    assert read_table(b"0." + b"3" * 1_000_000, "x.csv").numbers[0, 0] == 1 / 3
    with pytest.raises(InputError, match=r"row 2, column 1: inf is not") as caught:
        read_rows(write(tmp_path / "x.csv", b"1\n" + b"9" * 1_000_000))
    assert len(str(caught.value)) < 200
    with pytest.raises(InputError, match="is not a number") as caught:
        read_rows(write(tmp_path / "x.csv", b"1,1\n1," + b"x" * 1_000_000))
    assert len(str(caught.value)) < 200


# --- standard input and hostile bytes -------------------------------------------------------------------------------


def test_standard_input_takes_csv_npy_and_npz(monkeypatch):
    """`-` reads CSV text, or the bytes of a .npy or .npz told by their first bytes."""
    buffers = {name: io.BytesIO() for name in ("npy", "npz")}
    np.save(buffers["npy"], ROWS)
    np.savez(buffers["npz"], x=ROWS)
    for content in (b"a,b,c\n1.5,-2,3\n0.1,1e-30,65504\n", buffers["npy"].getvalue(), buffers["npz"].getvalue()):
        give_stdin(monkeypatch, content)
        np.testing.assert_array_equal(read_rows("-", n_in=3), ROWS)
    give_stdin(monkeypatch, b"")
    with pytest.raises(InputError, match="standard input: no rows"):
        read_rows("-")
    give_stdin(monkeypatch, b"1\n" * 100)
    with pytest.raises(InputError, match="standard input: over the limit of 100 bytes"):
        read_rows("-", max_bytes=100)


def check_any_bytes(folder, content: bytes) -> None:
    for suffix in ("npy", "npz", "csv"):
        rows, message = np.zeros((1, 1), np.float32), ""
        try:
            rows = read_rows(write(folder / f"x.{suffix}", content), max_bytes=1 << 20)
        except InputError as error:
            message = str(error)
        assert not message or message.isprintable()
        assert len(message) < 1000
        assert rows.dtype == np.float32
        assert rows.ndim == 2
        assert np.isfinite(rows).all()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text('019.-+e,;\t\n\r "ax\0\ufeff', max_size=60).map(str.encode))
def test_any_bytes_are_rows_or_one_error(tmp_path_factory, content):
    """Random bytes and CSV-like text give finite float32 rows or one printable InputError, as any kind of file."""
    check_any_bytes(tmp_path_factory.getbasetemp(), content)


def valid_files() -> list[bytes]:
    plain, packed = io.BytesIO(), io.BytesIO()
    np.save(plain, ROWS.astype(np.float64))
    np.savez_compressed(packed, x=ROWS)
    return [plain.getvalue(), packed.getvalue(), b'a,b,"c"\n1.5,2,3\n4,5e2,"6"\n']


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(valid_files()), st.integers(0, 999), st.binary(max_size=8), st.integers(0, 8))
def test_damaged_files_are_rows_or_one_error(tmp_path_factory, content, place, patch, removed):
    """Valid files with a stretch of bytes replaced give rows or one InputError."""
    place %= len(content)
    check_any_bytes(tmp_path_factory.getbasetemp(), content[:place] + patch + content[place + removed :])


def test_reading_rows_stays_light():
    """Importing this module loads neither zipfile nor csv, and edge_runtime does not import it."""
    code = "import sys, edge_runtime; a = 'edge_runtime.files.rows' in sys.modules; import edge_runtime.files.rows; "
    code += "print(a, 'csv' in sys.modules, 'edge_runtime.files.table' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False", "False"]


def test_a_header_that_no_schema_reads_is_said(tmp_path):
    """The columns are taken by their place, in one line; without a header there is nothing to say."""
    (tmp_path / "named.csv").write_text("b,a\n1,2\n")
    (tmp_path / "plain.csv").write_text("1,2\n")
    assert [note for note in read_noted_rows(tmp_path / "named.csv", n_in=2).notes if "by their place" in note] == [
        "the columns were taken by their place, not by the header: the model does not know their names"
    ]
    assert not any("by their place" in note for note in read_noted_rows(tmp_path / "plain.csv", n_in=2).notes)
