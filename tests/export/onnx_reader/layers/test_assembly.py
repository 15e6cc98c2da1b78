"""From steps to layers: what is folded, what is carried, what needs a layer of its own, and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.engine.engine import Engine
from edge_runtime.layers import Elementwise
from edge_runtime.model import Model
from edge_runtime.numerics.activations import Activation
from export.onnx_reader.layers.assembly import Assembly, integer_weights, standardization, with_positive_scale
from export.onnx_reader.layers.build import build_layers
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.steps import Affine, Bend, Chain, DynamicQuantize, DynamicScale, Function, Linear, RowFunction
from tests.export.foreign import normal

NODE = Node("n", "Relu", "", 13, (), ("o",))
X = normal(20, 3)


def affine(scale, shift):
    """x * scale + shift."""
    return Affine(np.asarray(scale, np.float64), np.asarray(shift, np.float64))


def act(name, **params):
    """An activation."""
    function = Activation.of(name, params)
    return Function(function, function, NODE)


def assembled(*steps, width=3, budget=1 << 24) -> Assembly:
    """Layers out of steps."""
    chain = Chain(None, None, width)
    for step in steps:
        chain = chain.then(step, step.weight.shape[1] if isinstance(step, Linear) else None)
    chain.made_by(NODE)
    found = Assembly(chain, width, Budget(budget))
    build_layers(found)
    return found


def bent(step, x):
    """A bend, spelled out."""
    y = x if step.slope is None else np.where(x < 0, step.slope * x, x)
    y = y if step.low is None else np.maximum(y, step.low)
    return y if step.high is None else np.minimum(y, step.high)


def plainly(steps, x):
    """The steps one after another, in float64."""
    x = x.astype(np.float64)
    for step in steps:
        x = (
            x @ step.weight.astype(np.float64)
            if isinstance(step, Linear)
            else step(x)
            if isinstance(step, Affine)
            else bent(step, x)
            if isinstance(step, Bend)
            else step.call(x)
        )
    return x


W, V = Linear(normal(3, 4)), Linear(normal(4, 2))
CHAINS = {
    "maps on all sides": (
        affine([1, 2, 3], 1), W, affine(2, normal(4)), act("relu"), affine(3, normal(4)), V, affine(1, 5)
    ),
    "a shift alone before": (affine(1, [1, 2, 3]), W, act("tanh"), affine(1, 0.5), V, affine(normal(2), 0)),
    "a scale of 0 before": (affine([1, 0, 2], [0.5, 1, 0]), W, affine(3, 1), act("sigmoid"), V),
    "one minus a sigmoid": (W, act("sigmoid"), affine(-1, 1)),
    "half of a sigmoid": (W, act("sigmoid"), affine(0.5, 0)),
    "one minus a tanh": (W, act("tanh"), affine(-1, 1)),
    "a map after a product": (W, affine(2, 1), V, affine(3, 4)),
    "two functions": (W, act("relu"), affine(-1, 0.2), act("sigmoid"), affine(2, 3), act("tanh"), V),
    "a function of the input": (act("relu"), affine(2, 1), W),
    "a map of a function of the input": (affine(2, [1, 0, -1]), act("abs"), W, act("relu")),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_layers_compute_what_the_steps_do(name):
    """In whatever way maps and functions stand around the products."""
    steps = CHAINS[name]
    found = assembled(*steps)
    model = Model(tuple(found.layers), found.preprocessing)
    np.testing.assert_allclose(Engine(model).run(X), plainly(steps, X), rtol=2e-5, atol=2e-5)


def test_maps_need_no_layer_of_their_own():
    """Two products are two layers, also if one ends in p or 1 - p of a sigmoid; half of it is a third."""
    assert len(assembled(*CHAINS["maps on all sides"]).layers) == 2
    assert len(assembled(*CHAINS["one minus a sigmoid"]).layers) == 1
    assert len(assembled(W, act("sigmoid"), affine([-1, 1, -1, 1], [1, 0, 1, 0])).layers) == 1
    for last in (affine(0.5, 0), affine(-1, 0), affine(1, 1), affine([-1, 1, -1, 1], [1, 0, 1, 1])):
        assert len(assembled(W, act("sigmoid"), last).layers) == 2


def test_float16_weights_stay_if_nothing_is_folded_into_them():
    """A factor makes them float32."""
    half = Linear(W.weight.astype(np.float16))
    assert assembled(half, affine(1, 0.5)).layers[0].weight.dtype == np.float16
    assert assembled(half, affine(2, 0)).layers[0].weight.dtype == np.float32


@pytest.mark.filterwarnings("ignore:overflow")  # the reader turns it off for a whole file
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_one_value_that_is_not_finite_is_too_many(value):
    """Of the weights or of the bias; float32 has to hold it."""
    weight = W.weight.astype(np.float64)
    weight[0, 0] = value
    for steps in ((Linear(weight),), (W, affine(1, [0, 0, 0, value]))):
        with pytest.raises(Unsupported, match="hold 1 values that are NaN, inf or beyond float32"):
            assembled(*steps)


def test_a_function_of_the_input_has_no_weights():
    """A stage of as many numbers as there are features, however many there are."""
    found = assembled(act("relu"), Linear(np.ones((50_000, 1), np.float32)), width=50_000)
    assert [layer.n_in for layer in found.layers] == [50_000, 50_000]
    assert sum(array.nbytes for array in found.layers[0].arrays().values()) == 8 * 50_000


BENDS = {
    "slopes": (W, Bend(slope=normal(4)), V),
    "slopes, limits and a map": (W, Bend(slope=normal(4)), Bend(low=normal(4)), Bend(high=normal(4)), affine(2, 1), V),
    "limits that cross": (Bend(low=normal(3)), Bend(high=normal(3) - 1), act("tanh"), W),
    "limits before slopes": (W, Bend(high=normal(4)), Bend(slope=normal(4)), act("relu")),
    "all sides": (affine(2, normal(3)), Bend(normal(3), normal(3), normal(3) + 2), affine(normal(3), 1), W),
}


@pytest.mark.parametrize("name", BENDS)
def test_bends_become_stages(name):
    """As few as their order allows, with NumPy's own numbers."""
    steps = BENDS[name]
    found = assembled(*steps)
    model = Model(tuple(found.layers), found.preprocessing)
    np.testing.assert_allclose(Engine(model).run(X), plainly(steps, X), rtol=2e-5, atol=2e-5)
    stages = sum(isinstance(layer, Elementwise) for layer in found.layers)
    assert stages == (2 if name == "limits before slopes" else 1)


def test_a_standardization_has_a_mean_and_a_scale():
    """Finite in float32, 0 only where nothing is added; the same arithmetic is one subtraction and one multiplication.

    A scale of 0 is that of a feature that did not vary.
    """
    found = standardization(affine([2, 4], [1, 0]))
    np.testing.assert_array_equal(found.mean, [-0.5, 0])
    assert not np.signbit(found.mean[1])
    np.testing.assert_array_equal(found.inv_std, [2, 4])
    off = standardization(affine([2, 0], 0))
    assert (off.mean.tolist(), off.inv_std.tolist()) == ([0, 0], [2, 0])
    for wrong in (affine([2, 0], 1), affine([2, 1e-50], 0), affine(1e39, 0), affine(1, np.inf)):
        assert standardization(wrong) is None
    minus, times = affine(1, [1, 2, 3]), affine([2, 3, 4], 0)
    assert assembled(minus, times, W).same_standardization
    assert not assembled(minus, act("relu"), times, W).same_standardization
    for steps in ((times, minus, W), (minus, times, times, W), (minus, minus, W), (times, times, W), (minus, W)):
        assert not assembled(*steps).same_standardization


def test_signs_of_scales_move_into_integers():
    """A scale of 0 is one in which the constant value is a whole number, and its weights are 0."""
    codes, scale = with_positive_scale(np.array([[1, 2, 3]]), np.float32([0.5, -0.25, 0]), np.array([0, 0, 3.0]))
    np.testing.assert_array_equal(codes, [[1, -2, 0]])
    np.testing.assert_array_equal(scale, np.float32([0.5, 0.25, 3 * 2.0**-20]))


def test_integer_weights_are_int8_or_int16():
    """As the runtime stores them: int8 leaves -128 out; what 8 bits hold around no zero point is refused."""
    for codes, dtype in (([-127, 127], np.int8), ([-128, 0], np.int16), ([255, 0], np.int16), ([-255, 0], np.int16)):
        found = integer_weights(np.array([codes]).T)
        np.testing.assert_array_equal(found, np.array([codes]).T)
        assert found.dtype == dtype
    for codes in ([-256, -1], [256, 1], [-128, 128]):
        with pytest.raises(Unsupported, match=f"run from {min(codes)} to {max(codes)} around .*, expected 8 bits"):
            integer_weights(np.array([codes]).T)


def test_dynamic_products_are_scaled_before_anything_is_added():
    """By the scale that was found; a bias in its steps, or none of it, is another function."""
    product = Linear(np.ones((3, 2), np.float32), np.ones((3, 2), np.int32), np.float32([0.5, 0.25]))
    layer = assembled(DynamicQuantize(), product, affine(2, 0), DynamicScale(), affine(3, 1)).layers[0]
    np.testing.assert_array_equal(layer.weight_scale if hasattr(layer, "weight_scale") else layer.scale, [3, 1.5])
    np.testing.assert_array_equal(layer.bias, [1, 1])
    for steps in ((affine(2, 1), DynamicScale()), (affine(2, 0),)):
        with pytest.raises(Unsupported, match="not multiplied by their scale"):
            assembled(DynamicQuantize(), product, *steps)
    with pytest.raises(Unsupported, match="no product with integer weights"):
        assembled(DynamicQuantize(), W)


def test_softmax_is_the_end():
    """Nothing follows it, and a model has a layer."""
    softmax = RowFunction(Activation.of("softmax"))
    assert assembled(W, softmax).layers[0].activation.name == "softmax"
    for last in (V, affine(2, 0), act("relu")):
        with pytest.raises(Unsupported, match="something follows softmax"):
            assembled(W, softmax, last)
    with pytest.raises(Unsupported, match="no layer with weights"):
        assembled()
