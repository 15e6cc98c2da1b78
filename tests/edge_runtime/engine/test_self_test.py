from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Dense, Engine, InputError, Limits, Model, QuantizedDense, QuantParams, TestVectors, selftest
from edge_runtime.console.reports import selftest_text
from edge_runtime.engine.self_test import require_stored_batch
from edge_runtime.reference.bounds import output_bound
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from tests.networks import random_layer_norm, random_model, random_rows


def model(precision):
    rows = random_rows(100, 12)
    return with_test_vectors(quantize(random_model([12, 9, 4], ["relu", "softmax"]), rows, precision), rows)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int4"])
def test_an_artifact_proves_itself(precision):
    """The stored outputs come out again, under limits too; integers are compared bit for bit."""
    for limits in (None, Limits(max_batch=3), Limits(max_batch=3, over="split")):
        result = selftest(model(precision), limits)
        assert result.ok
        assert (result.rows, result.values) == (8, 32)
        assert result.exact == (precision in ("int8", "int4"))


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int4"])
def test_a_wrong_weight_is_found(precision):
    """One step in one integer weight, or a hundredth in a float one, fails the test."""
    good = model(precision)
    weight = good.layers[0].weight.copy()
    step = 1 if weight[3, 2] < 7 else -1
    weight[3, 2] = weight[3, 2] + step if weight.dtype == np.int8 else weight[3, 2] * 1.01 + 0.01
    bad = replace(good, layers=(replace(good.layers[0], weight=weight), *good.layers[1:]))
    assert not selftest(bad).ok


def test_a_wrong_weight_behind_a_normalization_of_pressures_is_found():
    """Values around 1,000 that vary by 1: what onnxruntime's kernel may lose there is no excuse for this engine."""
    rows = random_rows(50, 64) + np.float32(1013)
    dense = random_model([64, 3], ["linear"]).layers[0]
    good = with_test_vectors(Model((random_layer_norm(64), dense)), rows)
    shuffled = replace(dense, weight=dense.weight[::-1].copy())
    assert selftest(good).ok
    assert not selftest(replace(good, layers=(good.layers[0], shuffled))).ok


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


def line(weight=2.0, outputs=((2.0, -2.0),), inputs=((1.0,),), activation="softmax"):
    """One input, two logits: weight and -weight; with these stored vectors."""
    layer = Dense("a", np.float32([[weight, -weight]]), np.zeros(2, np.float32), activation)
    return Model((layer,), test_vectors=TestVectors(np.float32(inputs), np.float32(outputs)))


def test_logits_are_compared_and_not_what_the_last_activation_makes_of_them():
    """The stored outputs stand before it, and so do the largest difference and its bound."""
    assert selftest(line()).ok
    found = selftest(line(outputs=((2.5, -2.0),)))
    assert (found.ok, found.differing, found.max_abs_error, found.decisions_changed) == (False, 1, 0.5, 0)
    assert found.bound == output_bound(line(), np.float32([[1]]), activated=False)[0, 0]
    assert found.bound != output_bound(line(), np.float32([[1]]), activated=True)[0, 0]
    assert (found.rows, found.values, found.exact) == (1, 2, False)


def test_changed_decisions_are_counted_by_rows():
    """Those whose largest output is another one; the rest are not."""
    inputs, outputs = ((1.0,), (1.0,), (-1.0,)), ((-2.0, 2.0), (2.0, -2.0), (2.0, -2.0))
    found = selftest(line(inputs=inputs, outputs=outputs))
    assert (found.decisions_changed, found.differing, found.max_abs_error) == (2, 4, 4.0)


def test_the_sign_of_zero_is_a_bit_of_int8_and_none_of_floats():
    """int8 is held to the bits; a float zero is as large as its negative."""
    grid = QuantParams(1.0, 0)
    arrays = (np.zeros((1, 2), np.int8), np.zeros(2, np.int32), np.ones(2, np.float32))
    vectors = TestVectors(np.zeros((1, 1), np.float32), np.float32([[0.0, -0.0]]))
    int8 = Model((QuantizedDense("a", *arrays, grid, None, "linear"),), test_vectors=vectors)
    assert selftest(int8).differing == 1
    assert selftest(line(0.0, ((-0.0, 0.0),))).ok


def test_one_float_layer_makes_the_bound_the_rule():
    """int8 in part is not exact: its floats are summed in any order."""
    first = random_model([12, 12], ["linear"]).layers[0]
    mixed = Model((replace(first, name="first"), *model("int8").layers))
    rows = random_rows(8, 12)
    outputs = Engine(mixed).logits(rows)
    found = selftest(mixed.with_test_vectors(TestVectors(rows, outputs)))
    assert found.ok
    assert not found.exact


def test_an_empty_set_of_vectors_is_no_proof():
    """Nothing compared is an error as no vectors are."""
    empty = TestVectors(np.zeros((0, 12), np.float32), np.zeros((0, 4), np.float32))
    with pytest.raises(InputError, match="no test vectors"):
        selftest(model("int8").with_test_vectors(empty))


def test_the_vectors_of_a_dynamic_model_are_one_batch():
    """All at once, or not at all; exactly as many as the limit are taken."""
    rows = random_rows(100, 12)
    dynamic = with_test_vectors(quantize(random_model([12, 9, 4], ["relu", "softmax"]), rows, "int8-dynamic"), rows)
    assert selftest(dynamic).ok
    assert selftest(dynamic, Limits(max_batch=8)).ok
    with pytest.raises(InputError, match="the 8 test vectors of an int8-dynamic model are one batch, the limit"):
        selftest(dynamic, Limits(max_batch=7, over="split"))


def test_commands_refuse_more_vectors_than_are_allowed_at_once():
    """Where the limit refuses; where it splits, and for a model without any, they do not."""
    with pytest.raises(InputError, match="8 rows, the limit max_batch is 7"):
        require_stored_batch(model("int8"), Limits(max_batch=7))
    require_stored_batch(model("int8"), Limits(max_batch=7, over="split"))
    require_stored_batch(model("int8"), Limits(max_batch=8))
    require_stored_batch(model("int8").with_test_vectors(None), Limits(max_batch=1))
