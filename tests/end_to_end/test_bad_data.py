"""Data as they come, and what each part of the project makes of them. A cell is "ok", or a part of the refusal."""

import re
import warnings

import numpy as np
import pytest

from edge_runtime import Engine, SmallnetError, save
from edge_runtime.files.rows import read_rows
from export.onnx_writer.writer import write_onnx
from export.quantization.quantizer import quantize
from export.verification.verify import verify
from tests.command import run_command
from tests.networks import random_model
from trainer import NeuralNetworkModel

ROWS = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
LABELS = (ROWS[:, 0] > 0).astype(np.int64)


def with_value(value, dtype=np.float32):
    rows = ROWS.astype(dtype)
    rows[7, 2] = value
    return rows


def read_only():
    rows = ROWS.copy()
    rows.setflags(write=False)
    return rows


def memory_mapped(folder):
    np.save(folder / "mapped.npy", ROWS)
    return np.load(folder / "mapped.npy", mmap_mode="r")


DATA = {
    "float32": lambda folder: ROWS,
    "float64": lambda folder: ROWS.astype(np.float64),
    "float16": lambda folder: ROWS.astype(np.float16),
    "long double": lambda folder: ROWS.astype(np.longdouble),
    "int64": lambda folder: (ROWS * 9).astype(np.int64),
    "uint8": lambda folder: (ROWS * 9 + 99).astype(np.uint8),
    "bool": lambda folder: ROWS > 0,
    "list": lambda folder: ROWS.tolist(),
    "big-endian": lambda folder: ROWS.astype(">f4"),
    "Fortran order": lambda folder: np.asfortranarray(ROWS),
    "strided": lambda folder: np.repeat(ROWS, 2, axis=1)[:, ::2],
    "reversed": lambda folder: ROWS[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": lambda folder: read_only(),
    "memory-mapped": memory_mapped,
    "constant features": lambda folder: np.ones_like(ROWS),
    "NaN": lambda folder: with_value(np.nan),
    "inf": lambda folder: with_value(np.inf),
    "-inf": lambda folder: with_value(-np.inf),
    "beyond float32": lambda folder: with_value(1e300, np.float64),
    "masked": lambda folder: np.ma.masked_array(ROWS, mask=ROWS[7, 2] == ROWS),
    "no rows": lambda folder: ROWS[:0],
    "too narrow": lambda folder: ROWS[:, :3],
    "a million columns": lambda folder: np.zeros((60, 1_000_000), np.uint8),
    "images": lambda folder: ROWS.reshape(60, 2, 2),
    "ragged": lambda folder: [[1.0, 2.0, 3.0, 4.0], [1.0]] * 30,
    "text": lambda folder: ROWS.astype(str),
    "complex": lambda folder: ROWS.astype(complex),
    "objects": lambda folder: ROWS.astype(object),
    "dates": lambda folder: ROWS.astype("M8[s]"),
    "None": lambda folder: None,
}

OK = "ok"
# "same": with the very bits that a float32 copy of the data gives
TABLE = [
    # data                fit                          quantize                       Engine.run            verify
    ("float32", OK, OK, "same", OK),
    ("float64", "same", "same", "same", OK),
    ("float16", OK, OK, "same", OK),
    ("long double", "same", "same", "same", OK),
    ("int64", OK, OK, "same", OK),
    ("uint8", OK, OK, "same", OK),
    ("bool", OK, OK, "same", OK),
    ("list", "same", "same", "same", OK),
    ("big-endian", "same", "same", "same", OK),
    ("Fortran order", "same", "same", "same", OK),
    ("strided", "same", "same", "same", OK),
    ("reversed", "same", "same", "same", OK),
    ("read-only", "same", "same", "same", OK),
    ("memory-mapped", "same", "same", "same", OK),
    ("constant features", OK, OK, "same", OK),
    ("NaN", r"row 7, column 2 .*: nan is not", "row 7, feature 2 is nan", OK, OK),
    ("inf", r"row 7, column 2 .*: inf is not", "row 7, feature 2 is inf", OK, OK),
    ("-inf", r"row 7, column 2 .*: -inf is not", "row 7, feature 2 is -inf", OK, OK),
    (
        "beyond float32",
        r"row 7, column 2 .*: 1e\+300 is beyond float32",
        r"feature 2 is 1e\+300; 1 .*beyond float32",
        OK,
        OK,
    ),
    ("masked", r"masked at \(7, 2\)", r"masked at \(7, 2\)", r"masked at \(7, 2\)", r"masked at \(7, 2\)"),
    ("no rows", "no rows", "set is empty", OK, r"n >= 1"),
    ("too narrow", r"\(60, 3\), expected \(rows, 4\)", r"\(60, 3\)", r"\(60, 3\), expected", r"\(60, 3\)"),
    ("a million columns", r"\(60, 1000000\)", r"\(60, 1000000\)", r"\(60, 1000000\)", r"\(60, 1000000\)"),
    ("images", r"\(60, 2, 2\)", r"\(60, 2, 2\)", r"\(60, 2, 2\)", r"\(60, 2, 2\)"),
    ("ragged", "rows of one length", "rows of one length", "rows of one length", "rows of one length"),
    ("text", "dtype <U", "dtype <U", "dtype <U", "dtype <U"),
    ("complex", "dtype complex128", "dtype complex128", "dtype complex128", "dtype complex128"),
    ("objects", "dtype object", "dtype object", "dtype object", "dtype object"),
    ("dates", "dtype datetime64", "dtype datetime64", "dtype datetime64", "dtype datetime64"),
    ("None", "dtype object", "needs calibration rows", "dtype object", "no test vectors"),
]
NETWORK = random_model([4, 5, 2], ["relu", "softmax"])
# The precision that the rows are quantized to, or run in
MODELS = {
    precision: quantize(NETWORK, ROWS, precision, test_vectors=0)
    for precision in ("float32", "float16", "int8", "int8-dynamic")
}


def outcome(call) -> object:
    """What a call returns, or the text of its refusal. Any other exception is a failure of the test."""
    try:
        return call()
    except SmallnetError as error:
        return f"refused: {error}"


def check(expected, found, reference) -> None:
    """A cell of the table."""
    if expected in (OK, "same"):
        assert not (isinstance(found, str) and found.startswith("refused")), found
    else:
        assert isinstance(found, str), found
        assert re.search(expected, found), found
        assert len(found.splitlines()) == 1
    if expected == "same":
        np.testing.assert_array_equal(found, reference())


def fitted(rows, labels=LABELS):
    network = NeuralNetworkModel([4, 5, 2], ["relu", "softmax"])
    network.fit(rows, labels, epochs=1, standardize="per-feature")
    return network.parameters.values


def as_float32(rows):
    return np.array(rows, np.float32)


@pytest.mark.parametrize(("name", "expected"), [(row[0], row[1]) for row in TABLE])
def test_fit(tmp_path, name, expected):
    """The trainer trains, to the bits of a float32 copy where the values are the same, or names the value."""
    rows = DATA[name](tmp_path)
    check(expected, outcome(lambda: fitted(rows)), lambda: fitted(as_float32(rows)))


@pytest.mark.parametrize(("name", "expected"), [(row[0], row[2]) for row in TABLE])
def test_quantize(tmp_path, name, expected):
    """Grids are chosen, the same as from a float32 copy, or the row and the feature are named."""

    def weights(x):
        return quantize(random_model([4, 5, 2], ["relu", "softmax"]), x, "int8").layers[0].bias

    rows = DATA[name](tmp_path)
    check(expected, outcome(lambda: weights(rows)), lambda: weights(as_float32(rows)))


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize(("name", "expected"), [(row[0], row[3]) for row in TABLE])
def test_run(tmp_path, name, expected, precision):
    """The engine runs what converts to float32 and refuses the rest. NumPy may warn of infinities, and of no others."""
    engine, rows = Engine(MODELS[precision]), DATA[name](tmp_path)
    with warnings.catch_warnings():
        if name in ("inf", "-inf", "beyond float32"):
            warnings.simplefilter("ignore", RuntimeWarning)
        check(expected, outcome(lambda: engine.run(rows)), lambda: engine.run(as_float32(rows)))


@pytest.mark.parametrize(("name", "expected"), [(row[0], row[4]) for row in TABLE])
def test_verify(tmp_path, name, expected):
    """Both engines give the same for NaN and the infinities too; what is no matrix of numbers is refused."""
    write_onnx(MODELS["int8"], tmp_path / "m.onnx")
    rows = DATA[name](tmp_path)
    with warnings.catch_warnings():
        if name == "beyond float32":
            warnings.simplefilter("ignore", RuntimeWarning)
        found = outcome(lambda: verify(MODELS["int8"], tmp_path / "m.onnx", rows))
    check(expected, found, None)
    assert expected != OK or found.ok


NOT_FINITE = {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf, "beyond float32": 1e300}


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("precision", MODELS)
def test_run_with_check_finite_names_the_first_row_and_column(precision, value):
    """In every precision, for a matrix and for one row; finite rows pass unchanged."""
    engine, rows = Engine(MODELS[precision]), with_value(NOT_FINITE[value], np.float64)
    rows[9, 1] = np.nan
    for x, place in ((rows, "row 7, column 2"), (rows[7], "row 0, column 2")):
        found = outcome(lambda x=x: engine.run(x, check_finite=True))
        assert f"input {place} (counted from 0): {NOT_FINITE[value]}" in found
        assert ("beyond float32's range" in found) == (value == "beyond float32")
    np.testing.assert_array_equal(engine.run(ROWS, check_finite=True), engine.run(ROWS))


# precision: what NaN, inf and -inf in a row give without the check
WITHOUT_THE_CHECK = {
    "float32": "NaN or inf in this row",
    "float16": "NaN or inf in this row",
    "int8": "the ends of the input's grid",
    "int8-dynamic": "refused",
}


@pytest.mark.parametrize("value", ["NaN", "inf", "-inf"])
@pytest.mark.parametrize("precision", WITHOUT_THE_CHECK)
def test_run_without_the_check_does_what_it_documents(precision, value):
    """No other row is touched; float rows carry it on, int8 saturates, int8-dynamic has no range and refuses."""
    engine, rows = Engine(MODELS[precision]), with_value(NOT_FINITE[value])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = outcome(lambda: engine.logits(rows))
    if precision == "int8-dynamic":
        assert "finite values only" in found
        return
    others = np.arange(60) != 7
    np.testing.assert_array_equal(found[others], engine.logits(ROWS)[others])
    if precision == "int8":
        end = 1e30 if value == "inf" else -1e30  # NaN counts as the lowest
        np.testing.assert_array_equal(found, engine.logits(with_value(end)))
    else:
        assert not np.isfinite(found[7]).all()


LABEL_TABLE = [
    # labels            values                                  fit                                 smallnet train
    ("as they should be", LABELS, OK, OK),
    ("one class only", LABELS * 0, OK, "every row has the same label"),
    ("out of range", LABELS + 1, "labels from 1 to 2, expected 0 to 1", OK),  # the command finds the classes itself
    ("negative", LABELS - 1, "labels from -1 to 0", OK),
    ("fractions", LABELS + 0.5, "whole numbers", OK),  # decimal numbers are regression, as the README says
    ("NaN", np.where(np.arange(60) == 3, np.nan, LABELS), "nan", "row 3"),
    ("inf", np.where(np.arange(60) == 3, np.inf, LABELS), "inf", "row 3"),
    ("too few", LABELS[:-1], r"y has shape \(59,\), expected 60 rows", "59"),
    ("none", LABELS[:0], r"y has shape \(0,\)", "60 rows|0 labels|shape"),
    ("text", LABELS.astype(str), "<U", OK),
    ("complex", LABELS.astype(complex), "complex", "c16"),
]


@pytest.mark.parametrize(("name", "labels", "expected"), [(row[0], row[1], row[2]) for row in LABEL_TABLE])
def test_labels_to_fit(name, labels, expected):
    """Class indices of the network's outputs are wanted; what else is found is said."""
    check(expected, outcome(lambda: fitted(ROWS, labels)), None)


@pytest.mark.parametrize(("name", "labels", "expected"), [(row[0], row[1], row[3]) for row in LABEL_TABLE])
def test_labels_to_the_command(tmp_path, name, labels, expected):
    """The command finds out what the labels are; it trains, or names the row in one line."""
    np.savez(tmp_path / "d.npz", x=ROWS, y=labels)
    command(expected, "train", "--epochs", 1, "--data", tmp_path / "d.npz", "--out", tmp_path / "m.npz")
    assert (tmp_path / "m.npz").exists() == (expected == OK)


def command(expected, *arguments):
    result = run_command(*arguments)
    if expected == OK:
        assert result.exit_code == 0, result.stderr
        return
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    check(expected, "refused: " + result.stderr.strip(), None)


COMMANDS = [
    # data             smallnet train                smallnet run
    ("float64", OK, OK),
    ("big-endian", OK, OK),
    ("Fortran order", OK, OK),
    ("bool", OK, OK),
    ("constant features", OK, OK),
    ("images", OK, OK),
    ("NaN", "row 7, column 2", "row 7, column 2"),
    ("inf", "row 7, column 2", "row 7, column 2"),
    ("-inf", "row 7, column 2", "row 7, column 2"),
    ("beyond float32", "row 7, column 2.*beyond float32", "row 7, column 2.*beyond float32"),
    ("no rows", r"expected at least one row", r"expected at least one row"),
    ("too narrow", OK, "3 columns, the model takes 4"),
    ("a million columns", OK, "1,000,000 columns, the model takes 4"),
    ("text", "<U", "<U"),
    ("complex", "c16", "c16"),
    ("objects", "object", "object"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An int8 artifact that takes four numbers."""
    path = tmp_path_factory.mktemp("model") / "m.npz"
    save(MODELS["int8"], path)
    return path


@pytest.mark.parametrize(("name", "trains", "runs"), COMMANDS)
def test_files_to_the_commands(tmp_path, model, name, trains, runs):
    """Files of these arrays: trained on and run, or refused in one line that names the row."""
    rows = DATA[name](tmp_path)
    np.savez(tmp_path / "d.npz", x=rows, y=LABELS[: len(rows)])
    np.save(tmp_path / "x.npy", rows, allow_pickle=True)
    command(trains, "train", "--epochs", 1, "--hidden", 2, "--data", tmp_path / "d.npz", "--out", tmp_path / "o.npz")
    command(runs, "run", model, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_empty_files_to_the_commands(tmp_path, model, suffix):
    """A file of no bytes is refused by its name."""
    path = tmp_path / f"empty{suffix}"
    path.write_bytes(b"")
    command(f"empty{suffix}", "run", model, "--input", path, "--output", tmp_path / "y.npy")
    if suffix != ".npy":
        command(f"empty{suffix}", "train", "--data", path, "--out", tmp_path / "m.npz")


def test_a_row_of_a_million_numbers_is_read_and_run(tmp_path):
    """A million columns are no special case, in memory and as one line of CSV."""
    wide = random_model([1_000_000, 2], ["linear"])
    rows = np.arange(1_000_000, dtype=np.float32)[None] % 7
    (tmp_path / "wide.csv").write_text(",".join(str(int(value)) for value in rows[0]) + "\n")
    found = read_rows(tmp_path / "wide.csv", n_in=1_000_000).x
    np.testing.assert_array_equal(found, rows)
    assert Engine(wide).run(found).shape == (1, 2)
