from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Dense, InputError, Limits, Model, TestVectors, selftest
from edge_runtime.tables import selftest_text
from export.quantizer import quantize
from export.test_vectors import with_test_vectors
from tests.networks import random_model, random_rows


def model(precision):
    rows = random_rows(100, 12)
    return with_test_vectors(quantize(random_model([12, 9, 4], ["relu", "softmax"]), rows, precision), rows)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_an_artifact_proves_itself(precision):
    """The stored outputs come out again, under limits too; int8 is compared bit for bit."""
    for limits in (None, Limits(max_batch=3), Limits(max_batch=3, over="split")):
        result = selftest(model(precision), limits)
        assert result.ok
        assert (result.rows, result.values) == (8, 32)
        assert result.exact == (precision == "int8")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_a_wrong_weight_is_found(precision):
    """One step in one int8 weight, or a hundredth in a float one, fails the test."""
    good = model(precision)
    weight = good.layers[0].weight.copy()
    weight[3, 2] = (
        weight[3, 2] + (1 if weight[3, 2] < 100 else -1) if precision == "int8" else weight[3, 2] * 1.01 + 0.01
    )
    bad = replace(good, layers=(replace(good.layers[0], weight=weight), *good.layers[1:]))
    assert not selftest(bad).ok


def test_a_changed_bit_of_an_int8_output_is_found():
    """Bit for bit means that the last bit of one float counts."""
    good = model("int8")
    outputs = good.test_vectors.outputs.copy()
    outputs.view(np.uint32)[5, 1] ^= 1
    assert selftest(good.with_test_vectors(TestVectors(good.test_vectors.inputs, outputs))).differing == 1


def test_a_model_without_vectors_says_so():
    """No vectors is an error, not a pass."""
    with pytest.raises(InputError, match="no test vectors"):
        selftest(model("int8").with_test_vectors(None))


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_nan_is_named_as_nan():
    """Two values of four are NaN: counted and said, beside the largest difference between numbers."""
    first = Dense("a", np.float32([[3e38, 3e38], [1, 1]]), np.zeros(2, np.float32), "linear")
    last = Dense("b", np.float32([[1, 1], [-1, 0]]), np.zeros(2, np.float32), "linear")
    vectors = TestVectors(np.float32([[0, 1], [2, 0]]), np.float32([[0.5, 1], [7, 4.5]]))
    result = selftest(Model((first, last), test_vectors=vectors))
    assert (result.nans, result.differing, result.max_abs_error) == (2, 3, 0.5)
    assert "3 differ (2 came out as NaN), largest difference 0.5" in selftest_text(result)
    assert "NaN" not in selftest_text(selftest(model("int8")))
