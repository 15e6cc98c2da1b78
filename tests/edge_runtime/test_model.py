import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, Model, ModelError, QuantizedDense, QuantParams, Standardization, TestVectors
from edge_runtime.artifact.artifact import save_bytes
from tests.networks import random_model

RELU = Activation.of("relu")


def dense(n_in=3, n_out=2, name="dense0", activation=RELU):
    return Dense(name, np.ones((n_in, n_out), np.float32), np.zeros(n_out, np.float32), activation)


def quantized(n_in=3, n_out=2, name="dense0", **changes):
    parts = {
        "name": name,
        "weight": np.ones((n_in, n_out), np.int8),
        "bias": np.zeros(n_out, np.int32),
        "multiplier": np.full(n_out, 0.5, np.float32),
        "input": QuantParams(1.0, 0),
        "output": None,
        "activation": RELU,
    }
    return QuantizedDense(**{**parts, **changes})


def test_arrays_of_a_model_cannot_be_changed():
    """A model is a value: what was tested is what runs."""
    model = random_model([3, 2], ["relu"])
    with pytest.raises(ValueError, match="read-only"):
        model.layers[0].weight[0, 0] = 1.0


def test_a_caller_changing_its_own_array_does_not_change_the_model():
    """The model keeps a copy of a writable array."""
    weight = np.ones((3, 2), np.float32)
    layer = Dense("a", weight, np.zeros(2, np.float32), RELU)
    weight[:] = 7
    assert layer.weight.max() == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Model(()), "at least one layer"),
        (lambda: Model((dense(3, 2), dense(3, 2, "dense1"))), "gives 2 values, layer 'dense1' takes 3"),
        (lambda: Model((dense(3, 3), dense(3, 2))), "names must be different"),
        (lambda: Model((dense(),), class_names=("a",)), "1 class names for 2 outputs"),
        (lambda: Model((dense(3, 3, activation=Activation.of("softmax")), dense(3, 2, "b"))), "only the last layer"),
        (lambda: Dense("a", np.ones((3, 2)), np.zeros(2, np.float32), RELU), "'a.weight' has dtype float64"),
        (
            lambda: Dense("a", np.ones((3, 2), np.float32), np.zeros(3, np.float32), RELU),
            r"shape \(3,\), expected \(2,\)",
        ),
        (lambda: Dense("a", np.ones((0, 2), np.float32), np.zeros(2, np.float32), RELU), "both at least 1"),
        (
            lambda: Dense("a", np.full((3, 2), np.nan, np.float32), np.zeros(2, np.float32), RELU),
            "6 values that are NaN",
        ),
        (lambda: quantized(weight=np.full((3, 2), -128, np.int8)), "holds -128"),
        (lambda: quantized(multiplier=np.zeros(2, np.float32)), "'dense0.multiplier' holds 0.0"),
        (lambda: quantized(output=QuantParams(1.0, 0), activation=Activation.of("tanh")), "needs a table"),
        (lambda: quantized(table=np.zeros(256, np.uint8)), "belong together"),
        (
            lambda: quantized(
                table=np.zeros(256, np.uint8), table_output=QuantParams(1.0, 0), output=QuantParams(1.0, 0)
            ),
            "computed by arithmetic",
        ),
        (lambda: Model((dense(),), metadata={"a": "\ud800"}), "must be Unicode text"),
        (lambda: quantized(bias=np.full(2, 2**31 - 1, np.int32)), "can reach 2,147,484,412"),
        (lambda: Model((quantized(output=QuantParams(1.0, 0)),)), "last layer 'dense0' has an output grid"),
        (
            lambda: Model(
                (quantized(3, 3, output=QuantParams(1.0, 0)), quantized(3, 2, "dense1", input=QuantParams(2.0, 0)))
            ),
            "gives values on",
        ),
        (
            lambda: Model((dense(),), Standardization(np.zeros(2, np.float32), np.ones(2, np.float32))),
            "expected 1 or 3",
        ),
        (
            lambda: Model(
                (dense(),), test_vectors=TestVectors(np.zeros((1, 4), np.float32), np.zeros((1, 2), np.float32))
            ),
            "test vectors have 4 inputs",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name_and_number(make, message):
    """Whoever holds a Model can trust it."""
    with pytest.raises(ModelError, match=message):
        make()


def test_precision_names_what_is_stored():
    """float32, float16 and int8 where all layers agree, otherwise mixed."""
    full = dense(3, 3)
    half = replace(dense(3, 3, "half"), weight=np.ones((3, 3), np.float16))
    assert Model((full,)).precision == "float32"
    assert Model((half,)).precision == "float16"
    assert Model((quantized(),)).precision == "int8"
    assert Model((full, half, quantized(name="q"))).precision == "mixed"


def test_sizes_and_macs_count_what_the_layers_hold():
    """MACs are the products of neighbouring sizes, summed."""
    model = random_model([64, 32, 10], ["relu", "softmax"])
    assert (model.layer_sizes, model.macs) == ((64, 32, 10), 64 * 32 + 32 * 10)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_and_pickles_are_as_read_only_as_the_first(duplicate):
    """Whoever holds one can trust it: no array of it can be written to, and its artifact has the same bytes."""
    vectors = TestVectors(np.ones((2, 3), np.float32), np.ones((2, 2), np.float32))
    scaling = Standardization(np.zeros(3, np.float32), np.ones(3, np.float32))
    model = Model((dense(),), scaling, ("a", "b"), {"made": "here"}, vectors)
    other = duplicate(model)
    parts = (*other.layers[0].arrays().values(), other.preprocessing.mean, other.test_vectors.inputs)
    assert not any(array.flags.writeable for array in parts)
    assert save_bytes(other) == save_bytes(model)


def vectors(n_in=3, n_out=2, rows=2):
    return TestVectors(np.ones((rows, n_in), np.float32), np.ones((rows, n_out), np.float32))


WRONG_PARTS = {
    "mean of no values": (
        lambda: Standardization(np.zeros(0, np.float32), np.zeros(0, np.float32)),
        r"'input.mean' has shape \(0,\)",
    ),
    "mean of two axes": (
        lambda: Standardization(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)),
        r"'input.mean' has shape \(1, 3\), expected \(n_in,\) or \(1,\)",
    ),
    "another number of deviations": (
        lambda: Standardization(np.zeros(3, np.float32), np.ones(1, np.float32)),
        r"'input.inv_std' has shape \(1,\), expected \(3,\)",
    ),
    "doubles": (lambda: Standardization(np.zeros(3), np.ones(3, np.float32)), "'input.mean' has dtype float64"),
    "NaN in a deviation": (
        lambda: Standardization(np.zeros(1, np.float32), np.float32([np.nan])),
        "'input.inv_std' holds 1 values",
    ),
    "more inputs than outputs": (
        lambda: TestVectors(np.ones((2, 3), np.float32), np.ones((1, 2), np.float32)),
        r"shapes \(2, 3\) and \(1, 2\), expected \(n, n_in\) and \(n, n_out\)",
    ),
    "one row without an axis for it": (
        lambda: TestVectors(np.ones(3, np.float32), np.ones((3, 2), np.float32)),
        "test vectors have shapes",
    ),
    "outputs without an axis for rows": (
        lambda: TestVectors(np.ones((2, 3), np.float32), np.ones(2, np.float32)),
        "test vectors have shapes",
    ),
    "inf in an output": (
        lambda: TestVectors(np.ones((1, 3), np.float32), np.full((1, 2), np.inf, np.float32)),
        "'test.outputs' holds 2 values",
    ),
    "vectors of another network's outputs": (
        lambda: Model((dense(),), test_vectors=vectors(n_out=1)),
        "test vectors have 3 inputs and 1 outputs, expected 3 and 2",
    ),
    "log_softmax between layers": (
        lambda: Model((dense(3, 3, activation=Activation.of("log_softmax")), dense(3, 2, "b"))),
        "'dense0' has log_softmax; only the last layer may",
    ),
    "a grid before a float layer": (
        lambda: Model((quantized(3, 3, output=QuantParams(1.0, 0)), dense(3, 2, "b"))),
        "layer 'dense0' gives values on .*, layer 'b' takes None",
    ),
    "the grid before a table and not the one behind it": (
        lambda: Model(
            (
                quantized(
                    3,
                    3,
                    output=QuantParams(1.0, 0),
                    activation=Activation.of("tanh"),
                    table=np.zeros(256, np.uint8),
                    table_output=QuantParams(0.5, 9),
                ),
                quantized(3, 2, "b", input=QuantParams(1.0, 0)),
            )
        ),
        "gives values on",
    ),
    "a layer without a name": (lambda: Model((dense(name=""),)), r"different and not empty, found \[''\]"),
    "a class name that is a number": (lambda: Model((dense(),), class_names=("a", 5)), "Unicode text, found 5"),
    "metadata under a number": (lambda: Model((dense(),), metadata={5: "a"}), "Unicode text, found 5"),
    "a mean for two of three features": (
        lambda: Model((dense(),), Standardization(np.zeros(2, np.float32), np.ones(2, np.float32))),
        "'input.mean' has 2 values, expected 1 or 3",
    ),
}


@pytest.mark.parametrize(("make", "message"), WRONG_PARTS.values(), ids=list(WRONG_PARTS))
def test_what_stands_beside_the_layers_is_checked_too(make, message):
    """Standardization, test vectors, grids of neighbours, names and metadata."""
    with pytest.raises(ModelError, match=message):
        make()


def test_what_fits_is_taken():
    """An empty set of vectors, one pair for all features, a float layer between int8 ones, no class names."""
    grid = QuantParams(0.5, 9)
    Model((dense(),), Standardization(np.zeros(1, np.float32), np.ones(1, np.float32)), test_vectors=vectors(rows=0))
    table = {"output": QuantParams(1.0, 0), "table": np.zeros(256, np.uint8), "table_output": grid}
    first = quantized(3, 3, activation=Activation.of("tanh"), **table)
    model = Model((first, quantized(3, 3, "b", input=grid), dense(3, 3, "c"), quantized(3, 2, "d")))
    assert model.layer_sizes == (3, 3, 3, 3, 2)
    assert model.final_activation == RELU
    assert model.class_names == ()


def test_standardizing_is_a_subtraction_and_then_a_multiplication():
    """In float32, in this order: x * a + b has other bits; in place it gives the same."""
    scaling = Standardization(np.float32([1000.1]), np.float32([0.3]))
    x = np.float32([[1000.3, 999.7, 0.1]])
    expected = (x - np.float32(1000.1)) * np.float32(0.3)
    assert (expected != x * np.float32(0.3) - np.float32(1000.1) * np.float32(0.3)).any()
    np.testing.assert_array_equal(scaling(x), expected)
    assert scaling(x, out=x) is x
    np.testing.assert_array_equal(x, expected)


def test_a_models_own_mappings_do_not_follow_the_callers():
    """Metadata, names and layers are copied when it is made."""
    metadata, names, layers = {"a": "b"}, ["x", "y"], [dense()]
    model = Model(layers, metadata=metadata, class_names=names)
    metadata["c"], names[0] = "d", "z"
    layers.clear()
    assert (model.metadata, model.class_names, len(model.layers)) == ({"a": "b"}, ("x", "y"), 1)


def test_a_model_is_printed_in_one_line():
    """Sizes, precision, activations, parameters (weights and biases) and test vectors."""
    model = Model((dense(3, 4), dense(4, 2, "b")), test_vectors=vectors(rows=5))
    assert repr(model) == "Model(3-4-2, float32, relu relu, 26 parameters, 5 test vectors)"
    assert repr(Model((dense(),))) == "Model(3-2, float32, relu, 8 parameters, 0 test vectors)"


def test_other_test_vectors_make_another_model():
    """The first keeps its own, and everything else is the same."""
    model = Model((dense(),), class_names=("a", "b"), test_vectors=vectors())
    bare = model.with_test_vectors(None)
    assert bare.test_vectors is None
    assert model.test_vectors is not None
    assert (bare.layers, bare.class_names) == (model.layers, model.class_names)


def test_two_kinds_are_mixed_and_one_is_not():
    """However many layers there are of each."""
    assert Model((dense(3, 3), dense(3, 3, "b"), dense(3, 2, "c"))).precision == "float32"
    assert Model((dense(3, 3), quantized(name="q"))).precision == "mixed"
