import collections
import re

import numpy as np
import pytest

from edge_runtime import Dense, InputError, Model, ModelError
from edge_runtime.files.results import write_rows
from edge_runtime.numerics.checks import (
    BLOCK_VALUES,
    as_array,
    as_numbers,
    first_not_finite,
    first_place,
    require_finite,
)
from tests.memory import traced

MASKED = np.ma.array([[1.0, 999.0], [2.0, 3.0]], mask=[[False, True], [False, False]])


class Column(np.ma.MaskedArray):
    """A subclass, as packages for tables of measurements have."""


class Frame:
    """Something that becomes an array when it is asked to, as a data frame or a tensor does."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.array, Exception):
            raise self.array
        return self.array


class Sparse:
    """What SciPy's matrices look like."""

    nnz, shape, ndim = 1, (1, 2), 2

    def toarray(self):
        """The dense array."""
        return np.ones((1, 2))


def object_rows():
    rows = np.empty(2, object)
    rows[0], rows[1] = MASKED[1], MASKED[0]
    return rows


MASKS = {
    "array": (MASKED, (0, 1)),
    "subclass": (MASKED.view(Column), (0, 1)),
    "list of rows": ([MASKED[1], MASKED[0]], (1, 1)),
    "tuple of rows": ((MASKED[0],), (0, 1)),
    "nested lists": ([[MASKED[1]], [MASKED[0]]], (1, 0, 1)),
    "list of subclass rows": ([MASKED.view(Column)[0]], (0, 1)),
    "records": (np.ma.array([[(1.0, 2)], [(3.0, 4)]], [("a", "f4"), ("b", "i4")], mask=[[(0, 0)], [(0, 1)]]), (1, 0)),
    "deque": (collections.deque([MASKED[1], MASKED[0]]), (1, 1)),
    "array of objects": (object_rows(), (1, 1)),
    "data frame": (Frame(MASKED), (0, 1)),
    "list of series": ([Frame(MASKED[1]), Frame(MASKED[0])], (1, 1)),
    "array behind plain rows": ([[1.0, 2.0], MASKED[0]], (1, 1)),
}
TENSORS = {
    "needs grad": (Frame(RuntimeError("Can't call numpy() on Tensor that requires grad")), "requires grad"),
    "bfloat16": (Frame(TypeError("Got unsupported ScalarType BFloat16")), "BFloat16"),
    "list of tensors": ([Frame(RuntimeError("requires grad"))], "requires grad"),
    "sparse": (Sparse(), r"is a sparse .*Sparse, expected a dense array; give x.toarray\(\)"),
    "list of sparse": ([Sparse()], "object"),
    "object": (object(), "dtype object, expected real numbers"),
    "text": ([["a", "b"]], "expected real numbers"),
    "complex": ([[1j, 2]], "dtype complex128, expected real numbers"),
    "ragged": ([[1, 2], [3]], "rows of one length"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_is_found_wherever_it_stands(kind):
    """Subclasses, rows in lists, tuples and arrays of objects, and what turns into a masked array: by its place."""
    x, place = MASKS[kind]
    with pytest.raises(InputError, match=rf"x is masked at \({', '.join(map(str, place))}\), expected a number"):
        as_array(x, "x")


@pytest.mark.filterwarnings("ignore:Warning. converting a masked element")
def test_the_masked_constant_is_found_in_a_row_of_numbers():
    """`numpy.ma.masked` would become NaN."""
    with pytest.raises(InputError, match=r"masked at \(1, 0\)"):
        as_numbers([[1.0, 2.0], [np.ma.masked, 3.0]])


@pytest.mark.parametrize("kind", TENSORS)
def test_what_is_no_array_of_numbers_is_named(kind):
    """Its type or dtype, what its library says, and what to give instead."""
    x, message = TENSORS[kind]
    with pytest.raises(InputError, match=message):
        as_numbers(x)


def test_masked_weights_and_results_are_refused_too():
    """A mask in a layer, and in what is written to a file."""
    with pytest.raises(InputError, match="results is masked at"):
        write_rows("-", MASKED.view(Column))
    with pytest.raises(ModelError, match="weight' is masked at"):
        Dense("a", MASKED.astype(np.float32), np.zeros(2, np.float32), "linear")


@pytest.mark.parametrize(
    "x",
    [
        np.ma.array([[1.0, 2.0]]),
        np.ma.array([[1.0, 2.0]], mask=[[False, False]]),
        [np.ma.array([1.0, 2.0])],
        Frame(np.array([[1.0, 2.0]])),
        ((1, 2),),
        [np.array([1, 2])],
    ],
)
def test_rows_without_a_masked_value_are_taken(x):
    """A mask that hides nothing loses nothing; the result is a plain array."""
    found = as_numbers(x)
    assert type(found) is np.ndarray
    assert found.tolist() == [[1, 2]]


def test_an_array_of_numbers_is_taken_as_it_is():
    """Nothing is copied."""
    x = np.arange(6).reshape(2, 3)[:, ::-1]
    assert as_numbers(x) is x


def test_tensors_of_torch_are_refused_with_what_to_do():
    """The library's own: gradients, bfloat16 and both sparse layouts; plain ones are taken."""
    torch = pytest.importorskip("torch")
    dense = torch.eye(2)
    assert as_numbers(dense).tolist() == [[1, 0], [0, 1]]
    for tensor in (dense.clone().requires_grad_(), dense.to(torch.bfloat16)):
        with pytest.raises(InputError, match=r"torch.Tensor .*; give x.detach\(\).cpu\(\).float\(\).numpy\(\)"):
            as_numbers(tensor)
    with pytest.raises(InputError, match=r"give x.detach\(\).cpu\(\).to_dense\(\).float\(\).numpy\(\)"):
        as_numbers(dense.to_sparse())


def test_matrices_of_scipy_are_refused_with_what_to_do():
    """The library's own: matrices and arrays."""
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.csr_matrix(np.eye(2)), sparse.coo_array(np.eye(2))):
        with pytest.raises(InputError, match=r"sparse scipy.*, expected a dense array; give x.toarray\(\)"):
            as_numbers(matrix)


@pytest.mark.parametrize("columns", [1, 3, BLOCK_VALUES + 1])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_the_first_value_that_is_not_finite_is_named_in_any_block(columns, bad):
    """By row and column of the whole, whichever block of rows it is in."""
    rows = np.zeros((3 if columns > 3 else BLOCK_VALUES + 5, columns))
    require_finite(rows)
    row = len(rows) - 2
    rows[row, columns - 1] = rows[row + 1, 0] = bad
    problem = "is beyond float32's range" if bad == 1e39 else "is not a finite number"
    with pytest.raises(InputError, match=rf"input row {row}, column {columns - 1} \(counted from 0\): .* {problem}"):
        require_finite(rows)


def test_the_first_bad_value_is_found_along_any_number_of_axes():
    """By its index along each axis, in the order of rows; an infinity that was given is not beyond the range."""
    given = np.zeros((2, 3, 2))
    given[1, 0, 1], given[1, 2, 0] = np.inf, 1e39
    with np.errstate(over="ignore"):
        values = given.astype(np.float32)
    assert first_not_finite(given[0]) is first_place(np.zeros((0, 2), bool)) is None
    infinite = first_not_finite(values, given)
    assert (infinite.place, infinite.found, infinite.problem) == ((1, 0, 1), np.inf, "is not a finite number")
    beyond = first_not_finite(values, given, allow_nonfinite=True)
    assert (beyond.place, beyond.found, beyond.problem) == ((1, 2, 0), 1e39, "is beyond float32's range")
    assert first_not_finite(given, allow_nonfinite=True) is None
    expected = r"^rows: row 8, column 2, column 0 \(counted from 0\): 1e\+39 is beyond float32's range; mend or drop"
    assert re.match(expected, str(beyond.error("rows:", first_row=7)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_the_check_of_many_rows_needs_little_memory(dtype):
    """A block at a time: 1 MB of rows is looked at within 32 KiB."""
    rows = np.ones((8000, 32), dtype)
    require_finite(rows)
    with traced() as peak:
        require_finite(rows)
        assert peak() < 32 << 10


def test_a_model_of_one_masked_row_is_none():
    """Fake data would make a network whose bias nobody meant."""
    with pytest.raises(ModelError, match="masked"):
        Model((Dense("a", np.eye(2, dtype=np.float32), MASKED[0].astype(np.float32), "linear"),))
