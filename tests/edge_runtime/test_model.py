import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, Model, ModelError, QuantizedDense, QuantParams, Standardization, TestVectors
from edge_runtime.artifact import save_bytes
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
