import os
import subprocess
import sys

import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.files.results import write_rows
from edge_runtime.files.rows import read_rows as read_noted_rows

ROWS = np.array([[1.5, -2.0, 3.0], [0.1, 1e-30, 65504.0]], np.float32)


def read_rows(path, **settings):
    return read_noted_rows(path, **settings).x


@pytest.mark.parametrize("suffix", ["npy", "csv", "tsv"])
def test_what_is_written_reads_back_exactly(tmp_path, suffix):
    """float32 values survive .npy, .csv and .tsv bit for bit, and nothing else is left in the folder."""
    rows = np.random.default_rng(3).standard_normal((5000, 3)).astype(np.float32) * np.float32(1e-20)
    rows[0] = [np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal, -0.0]
    write_rows(tmp_path / f"y.{suffix}", rows, class_names=["a", "b; or c", 'd "e"'])
    np.testing.assert_array_equal(read_rows(tmp_path / f"y.{suffix}").view(np.uint32), rows.view(np.uint32))
    assert os.listdir(tmp_path) == [f"y.{suffix}"]


def test_npy_results_keep_dtype_and_shape(tmp_path):
    """A .npy holds the results as they are, little-endian, for numpy.load; class indices stay integers."""
    for array in (np.arange(5), ROWS[:, ::2], np.zeros((0, 3), np.float32), ROWS.astype(">f8")):
        write_rows(tmp_path / "y.npy", array)
        loaded = np.load(tmp_path / "y.npy", allow_pickle=False)
        assert loaded.dtype == array.dtype.newbyteorder("<")
        np.testing.assert_array_equal(loaded, array)


def test_class_names_head_the_columns_or_replace_the_indices(tmp_path):
    """(n, k) gets a header that is seen to be one even for digits; indices (n,) are written as names."""
    write_rows(tmp_path / "y.csv", np.array([[0.25, 0.75]], np.float32), class_names=["0", "one, two"])
    assert (tmp_path / "y.csv").read_text() == 'class_0,"one, two"\n0.25,0.75\n'
    write_rows(tmp_path / "y.csv", np.array([1, 0]), class_names=["no", "yes"])
    assert (tmp_path / "y.csv").read_text() == "yes\nno\n"
    write_rows(tmp_path / "y.csv", np.array([1, 0]))
    assert (tmp_path / "y.csv").read_text() == "1\n0\n"


def test_names_that_do_not_fit_leave_the_old_file(tmp_path):
    """Too few names, or an index without one, is an InputError, and the file stays as it was."""
    path = tmp_path / "y.csv"
    path.write_text("old")
    for array in (ROWS, np.array([0, 2]), np.array([-1]), np.array([0.5])):
        with pytest.raises(InputError, match="class names do not fit"):
            write_rows(path, array, class_names=["a", "b"])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["y.csv"]


def test_what_cannot_be_written_is_refused(tmp_path):
    """Text, objects, more than two axes and unknown kinds of files are InputErrors; a missing folder is an OSError."""
    for array in (np.array(["a"]), np.array([None]), np.zeros((1, 1, 1)), np.zeros(()), np.zeros(2, complex)):
        with pytest.raises(InputError, match="cannot write"):
            write_rows(tmp_path / "y.npy", array)
    with pytest.raises(InputError, match="unknown kind of file"):
        write_rows(tmp_path / "y.txt", ROWS)
    with pytest.raises(OSError, match="none"):
        write_rows(tmp_path / "none" / "y.npy", ROWS)
    assert os.listdir(tmp_path) == []


def test_standard_output_gets_csv(capfdbinary):
    """`-` writes CSV in UTF-8, whatever the terminal's encoding is."""
    code = (
        "import numpy as np; from edge_runtime.files.results import write_rows; write_rows('-', np.eye(2), ['ä', 'b'])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert capfdbinary.readouterr().out == "ä,b\n1.0,0.0\n0.0,1.0\n".encode()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    """A named pipe (or a device) stays what it is; its reader gets the rows."""
    pipe = tmp_path / "y.csv"
    os.mkfifo(pipe)
    reader = subprocess.Popen([sys.executable, "-c", f"print(open({str(pipe)!r}).read())"], stdout=subprocess.PIPE)
    write_rows(pipe, np.array([1, 2]))
    assert reader.communicate()[0].split() == [b"1", b"2"]
    assert not pipe.is_file()
