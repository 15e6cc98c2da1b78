import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Elementwise, LayerNorm, Model, ModelError
from tests.networks import random_model

ONES, ZEROS = np.ones(3, np.float32), np.zeros(3, np.float32)
INF = np.float32(np.inf)


def elementwise(**changes):
    return Elementwise(**{"name": "e", "scale": ONES, "shift": ZEROS, "activation": "relu", **changes})


def layer_norm(**changes):
    parts = {"name": "n", "gamma": ONES, "beta": ZEROS, "epsilon": 0.0, "activation": "relu"}
    return LayerNorm(**{**parts, **changes})


@pytest.mark.parametrize("make", [elementwise, layer_norm])
def test_a_stage_keeps_the_width_and_has_no_weights(make):
    """n values in and out, float32, no multiply-accumulates; no array is printed."""
    stage = make()
    assert (stage.n_in, stage.n_out, stage.precision, stage.macs, stage.n_parameters) == (3, 3, "float32", 0, 6)
    assert repr(stage) == f"{type(stage).__name__}('{stage.name}', 3 -> 3, relu)"
    assert stage.activation == Activation.of("relu")


def test_the_arrays_are_those_that_are_there_in_file_order():
    """scale and shift, then slope, low, high if they are given; gamma and beta."""
    assert list(elementwise().arrays()) == ["scale", "shift"]
    assert list(elementwise(high=ONES, low=ZEROS, slope=ONES).arrays()) == ["scale", "shift", "slope", "low", "high"]
    assert list(layer_norm().arrays()) == ["gamma", "beta"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: elementwise(name=3), "a layer's name is 3, expected Unicode text"),
        (lambda: elementwise(scale=np.ones(3)), "'e.scale' has dtype float64, expected float32"),
        (lambda: elementwise(scale=np.ones((3, 1), np.float32)), r"'e.scale' has shape \(3, 1\), expected \(n,\), at"),
        (lambda: elementwise(scale=ONES[:0]), r"'e.scale' has shape \(0,\), expected \(n,\), at least one value"),
        (lambda: elementwise(scale=ONES * INF), "'e.scale' holds 3 values that are NaN or inf"),
        (lambda: elementwise(scale=None), "'e.scale'"),
        (lambda: elementwise(shift=None), "'e.shift'"),
        (lambda: elementwise(shift=ONES[:2]), r"'e.shift' has shape \(2,\), expected \(3,\)"),
        (lambda: elementwise(slope=ONES[:2]), r"'e.slope' has shape \(2,\), expected \(3,\)"),
        (lambda: elementwise(slope="no"), "'e.slope'"),
        (lambda: elementwise(low=ONES * INF), r"'e.low' holds 3 values that are neither numbers nor -inf"),
        (lambda: elementwise(high=-ONES * INF), r"'e.high' holds 3 values that are neither numbers nor \+inf"),
        (lambda: elementwise(high=ONES * np.nan), r"'e.high' holds 3 values that are neither numbers nor \+inf"),
        (lambda: elementwise(high=np.ones(3)), r"'e.high' is float64 \(3,\), expected float32 \(3,\)"),
        (lambda: elementwise(low=ONES[:2]), r"'e.low' is float32 \(2,\), expected float32 \(3,\)"),
        (
            lambda: elementwise(low=np.float32([0, 2, 0]), high=ONES),
            r"layer 'e' keeps value 1 within 2.0..1.0, expected a lower limit that is at most the upper one",
        ),
        (lambda: elementwise(activation="none"), "activation 'none' is not known"),
        (lambda: layer_norm(name=None), "a layer's name is None"),
        (lambda: layer_norm(gamma=ONES.astype(np.float16)), "'n.gamma' has dtype float16, expected float32"),
        (lambda: layer_norm(beta=ONES[:1]), r"'n.beta' has shape \(1,\), expected \(3,\)"),
        (lambda: layer_norm(epsilon=-1.0), "'n.epsilon' is -1.0, expected a finite number at least 0"),
        (lambda: layer_norm(epsilon="1"), "'n.epsilon' is '1', expected a finite number at least 0"),
        (lambda: layer_norm(epsilon=1e-5), "'n.epsilon' is 1e-05, expected a number that float32 holds"),
        (lambda: layer_norm(epsilon=1e300), r"'n.epsilon' is 1e\+300, expected a number that float32 holds"),
        (lambda: layer_norm(centered=1), "'n.centered' is 1, expected True or False"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make, message):
    """Names, dtypes, shapes, values: what was found and what was expected."""
    with pytest.raises(ModelError, match=message):
        make()


def test_limits_may_be_infinite_and_may_meet():
    """-inf and inf are no limits; a lower limit may be the upper one."""
    stage = elementwise(low=np.float32([-np.inf, 1, 2]), high=np.float32([np.inf, 1, np.inf]))
    assert np.isneginf(stage.low[0])
    assert np.isposinf(stage.high[2])


@pytest.mark.parametrize("stage", [elementwise(low=-ONES * INF, high=ONES, slope=ONES), layer_norm(centered=False)])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda stage: pickle.loads(pickle.dumps(stage)), replace])
def test_copies_are_checked_and_frozen(stage, duplicate):
    """Copies and pickles hold the same values in arrays that nobody can write to."""
    other = duplicate(stage)
    assert other.arrays().keys() == stage.arrays().keys()
    for name, array in other.arrays().items():
        np.testing.assert_array_equal(array, getattr(stage, name))
        assert not array.flags.writeable
    assert repr(other) == repr(stage)
    assert [getattr(other, key, None) for key in ("epsilon", "centered")] == [
        getattr(stage, key, None) for key in ("epsilon", "centered")
    ]


def test_a_model_takes_stages_anywhere_and_counts_them():
    """Widths chain; the precision is that of the layers with weights, and float32 if there are none."""
    dense = random_model([3, 3, 2], ["relu", "softmax"])
    model = replace(dense, layers=(elementwise(), dense.layers[0], layer_norm(), dense.layers[1]))
    assert repr(model) == "Model(3-3-3-3-2, float32, relu relu relu softmax, 32 parameters, 0 test vectors)"
    assert (model.macs, model.precision, model.layer_sizes) == (15, "float32", (3, 3, 3, 3, 2))
    half = replace(dense.layers[0], weight=dense.layers[0].weight.astype(np.float16))
    assert Model((elementwise(), half, layer_norm())).precision == "float16"
    assert Model((layer_norm(activation="softmax"),)).precision == "float32"
    with pytest.raises(ModelError, match="layer 'n' gives 3 values, layer 'd' takes 2"):
        Model((layer_norm(), replace(random_model([2, 3], ["relu"]).layers[0], name="d")))
    with pytest.raises(ModelError, match="layer 'e' has softmax; only the last layer may"):
        Model((elementwise(activation="softmax"), layer_norm()))
    with pytest.raises(ModelError, match="expected Dense, QuantizedDense, DynamicQuantizedDense, Elementwise or Lay"):
        Model((ONES,))
