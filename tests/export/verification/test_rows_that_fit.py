"""Rows for a file whose input is not float32: what it cannot hold is refused, and nothing wraps around."""

import numpy as np
import pytest

from edge_runtime import InputError
from export.onnx_reader.reader import import_onnx
from export.verification.import_check import verify_import
from export.verification.verify import verify
from tests.export.foreign import graph, normal

ROWS = np.ones((3, 6))


def with_value(value):
    rows = ROWS.copy()
    rows[1, 4] = value
    return rows


@pytest.fixture(scope="module", params=["uint8", "int64", "int8", "float16"])
def file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / f"{request.param}.onnx"
    content = graph(
        "f = Cast<to=1>(x) y = Gemm(f, V, B)",
        source=f"{request.param}[N,6] x",
        target="float[N,3] y",
        V=normal(6, 3),
        B=normal(3),
    )
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path, request.param


def test_rows_beyond_the_type_of_a_files_input_are_refused(file):
    """By row, column, value and type; `verify` says the same, and rows at the ends of the range are taken."""
    path, kind = file
    model = import_onnx(path).model
    bad = {
        "uint8": (-1, 256, 300, 0.5, np.nan, np.inf),
        "int8": (-129, 128, 1.5),
        "int64": (2.0**63, -(2.0**64), 0.25, np.nan),
        "float16": (1e6, -70000),
    }[kind]
    good = {"uint8": (0, 255), "int8": (-127, 127), "int64": (2.0**40, -(2.0**40)), "float16": (65504, 0.5)}[kind]
    for value in bad:
        for check in (verify_import, verify):
            with pytest.raises(InputError, match=rf"row 1, column 4 .* the file's input 'x' is {kind}, expected"):
                check(model, path, with_value(value))
    for value in good:
        report = verify_import(model, path, with_value(value))
        assert report.ok
        assert report.notes == ()


@pytest.mark.parametrize("value", [0.1, 1e-9, 2049.0, -65519.0])
def test_both_sides_get_what_a_float16_input_makes_of_a_row(value, tmp_path):
    """It keeps 11 bits of a number: that is no difference between a model and its file, and is said."""
    content = graph("f = Cast<to=1>(x) y = Gemm(f, V, B)", source="float16[N,6] x", V=normal(6, 3), B=normal(3))
    path = tmp_path / "half.onnx"
    path.write_bytes(content.SerializeToString())
    model = import_onnx(path).model
    for check in (verify_import, verify):
        report = check(model, path, with_value(value))
        assert report.ok
        assert [note.partition(" of the rows")[0] for note in report.notes] == [
            "the file's input 'x' is float16: 1 of 18 values"
        ]
    assert verify_import(model, path, with_value(np.nan)).notes == ()
