"""Networks are compared before their last activation only where that is the same of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, Elementwise, Engine, InputError, Model
from export import diagnose, quantize
from export.diagnosis.endings import ending, ending_as, ending_text, has_same_last_layers
from tests.networks import random_model, random_rows

ROWS = random_rows(200, 6)
LINEAR = Activation("linear")


def ends_in(name, **params):
    """A network whose last layer has this activation."""
    model = random_model([6, 8, 3], ["relu", "linear"])
    activation = Activation(name, tuple(params.items()))
    return replace(model, layers=(model.layers[0], replace(model.layers[1], activation=activation)))


def with_stage(model, activation=LINEAR, **arrays):
    """With a stage behind it, which does nothing but what is said."""
    given = {"scale": np.ones(3, np.float32), "shift": np.zeros(3, np.float32), **arrays}
    return replace(
        model, layers=(*model.layers, Elementwise(f"e{len(model.layers) - 2}", activation=activation, **given))
    )


def thirds(value):
    return np.full(3, value, np.float32)


SPELLINGS = [
    (with_stage(ends_in("linear"), Activation("relu")), ends_in("relu")),
    (with_stage(ends_in("relu")), ends_in("relu")),
    (with_stage(with_stage(ends_in("tanh"))), ends_in("tanh")),
    (with_stage(ends_in("linear"), slope=thirds(0.25)), ends_in("leaky_relu", alpha=0.25)),
    (with_stage(ends_in("linear"), low=thirds(0)), ends_in("relu")),
    (ends_in("threshold", threshold=0, value=0), ends_in("relu")),
    (ends_in("leaky_relu", alpha=1), ends_in("linear")),
    (with_stage(ends_in("linear"), low=thirds(-1), high=thirds(2)), ends_in("clip", min=-1, max=2)),
]


@pytest.mark.parametrize("place", range(len(SPELLINGS)))
def test_a_stage_that_the_last_layer_of_the_small_network_holds_is_taken_in(place):
    """It computes the same, and the small network is judged as one that was made of it."""
    model, plain = SPELLINGS[place]
    assert ending(model) == ending(plain)
    found = ending_as(model, plain)
    np.testing.assert_array_equal(Engine(found).run(ROWS), Engine(model).run(ROWS))
    small = quantize(plain, ROWS, method="minmax", test_vectors=0)
    told, wanted = (diagnose(each, ROWS, small=small, calibration=ROWS) for each in (model, plain))
    assert told.small_answers == wanted.small_answers


OTHERS = [
    (ends_in("sigmoid"), ends_in("linear"), "dense1' with sigmoid, the small model in layer 'dense1' with linear"),
    (ends_in("softmax"), ends_in("linear"), "softmax, .* linear"),
    (ends_in("leaky_relu", alpha=0.1), ends_in("leaky_relu", alpha=0.2), r"\(alpha 0.1\), .* \(alpha 0.2\)"),
    (with_stage(ends_in("tanh"), Activation("relu")), ends_in("tanh"), "e0' with tanh, then relu, .* with tanh"),
    (with_stage(ends_in("relu"), scale=thirds(2)), ends_in("relu"), "e0' with relu, then a scale, .* with relu"),
]


@pytest.mark.parametrize(("model", "other", "text"), OTHERS)
def test_a_small_network_that_ends_otherwise_is_refused(model, other, text):
    """With both layers and their activations, parameters too: values before them say nothing of its outputs."""
    small = quantize(other, ROWS, method="minmax", test_vectors=0)
    with pytest.raises(InputError, match=f"the float model ends in layer '.*{text}: the small model was not made of"):
        diagnose(model, ROWS, small=small, calibration=ROWS)


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic", "float16", "int4", "int8-a16"])
def test_what_quantize_makes_ends_as_the_float_network(precision):
    """Of each precision, stages behind the last weights too."""
    stage = with_stage(ends_in("tanh"), Activation("relu"), scale=thirds(2), slope=thirds(0.5))
    for model in (ends_in("softmax"), stage, with_stage(ends_in("relu"))):
        small = quantize(model, ROWS, precision, method="minmax", test_vectors=0)
        assert ending_as(model, small) is model
        assert has_same_last_layers(model, small)


def test_endings_in_words():
    """No step is linear."""
    limited = with_stage(ends_in("tanh"), low=thirds(-0.5), high=thirds(0.5))
    assert ending_text(limited) == "tanh, then clip (max 0.5, min -0.5)"
    assert ending_text(ends_in("linear")) == "linear"
    single = Model((Dense("d", np.ones((2, 2), np.float32), np.zeros(2, np.float32), Activation("relu")),))
    assert ending(single) == ("relu",)
