import math
import re
import tracemalloc

import numpy as np
import pytest

from edge_runtime import Activation, ModelError
from edge_runtime.numerics.activations import DEFINITIONS

OVER_ROW = [name for name, known in DEFINITIONS.items() if known.is_over_row]
ZERO_OF_NAN = ("thresholded_relu", "shrink")  # as onnxruntime's operators: NaN is on no side of a threshold
X = np.array([[-200.0, -3.0, -0.5, 0.0, 0.5, 3.0, 200.0]])


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_shape_stay_and_in_place_gives_the_same(name, dtype):
    """A function never widens float32, and writing over its input changes nothing."""
    x = X.astype(dtype)
    y = Activation.of(name)(x.copy())
    assert (y.dtype, y.shape) == (dtype, x.shape)
    out = x.copy()
    assert Activation.of(name)(out, out=out) is out
    np.testing.assert_array_equal(out, y)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", np.where(X > 0, X, 0)),
        ("leaky_relu", np.where(X >= 0, X, 0.01 * X)),
        ("tanh", np.tanh(X)),
        ("linear", X),
        ("softmax", np.exp(X - 200) / np.exp(X - 200).sum()),
    ],
)
def test_values_are_those_of_the_definition(name, expected):
    """Each function is its textbook formula."""
    np.testing.assert_allclose(Activation.of(name)(X.copy()), expected, rtol=1e-12)


def test_sigmoid_neither_overflows_nor_loses_small_values():
    """At -60 the answer is exp(-60) to full precision, at -200 a number near 0, without a warning."""
    y = Activation.of("sigmoid")(np.array([-200.0, -60.0, 0.0, 200.0]))
    np.testing.assert_allclose(y, [np.exp(-200.0), np.exp(-60.0), 0.5, 1.0], rtol=1e-12)
    assert Activation.of("sigmoid")(np.float32([-200.0])) < 2e-38


def test_what_leaves_the_range_is_infinite_without_a_warning():
    """exp and square overflow where float32 ends; sin of an infinity is NaN; erf and log_sigmoid have limits."""
    x = np.float32([-np.inf, -1e30, 88.7, 88.8, 1.8e19, 1.9e19, np.inf])
    with np.errstate(all="raise", under="ignore"):
        found = {name: Activation.of(name)(x) for name in ("exp", "square", "sin", "erf", "log_sigmoid")}
    assert np.isinf(found["exp"]).tolist() == [False, False, False, True, True, True, True]
    assert np.isinf(found["square"]).tolist() == [True, True, False, False, False, True, True]
    assert np.isnan(found["sin"]).tolist() == [True, False, False, False, False, False, True]
    np.testing.assert_array_equal(found["erf"], [-1, -1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(found["log_sigmoid"], [-np.inf, -1e30, 0, 0, 0, 0, 0], rtol=1e-6, atol=1e-38)


def test_erf_is_within_two_units_in_the_last_place():
    """Of float32, beside math.erf, from the smallest normal number to where it is 1; doubles within 2e-9."""
    x = np.concatenate([np.linspace(-5, 5, 20_001), np.linspace(0.9, 1.1, 20_001), np.geomspace(2e-38, 1, 2001)])
    x = x.astype(np.float32)
    exact = np.array([math.erf(value) for value in x.tolist()])
    unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert (np.abs(Activation.of("erf")(x) - exact) <= 2 * unit).all()
    assert np.abs(Activation.of("erf")(x.astype(np.float64)) - exact).max() < 2e-9


def test_softmax_of_huge_logits_stays_finite():
    """The maximum is subtracted first."""
    np.testing.assert_allclose(Activation.of("softmax")(np.float32([[1e30, 1e30, -1e30]])), [[0.5, 0.5, 0.0]])


def test_unknown_names_and_parameters_are_refused():
    """The message lists what there is."""
    with pytest.raises(ModelError, match=r"expected one of.*relu"):
        Activation.of("relou")
    with pytest.raises(ModelError, match="no parameter 'beta'"):
        Activation.of("leaky_relu", {"beta": 1.0})
    with pytest.raises(ModelError, match="finite"):
        Activation.of("leaky_relu", {"alpha": float("nan")})


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
@pytest.mark.parametrize("size", [60_000, 200_000], ids=["no temporaries reused", "temporaries reused"])
def test_what_an_activation_allocates_is_what_the_planner_counts(name, size):
    """The peak beside the output is what the definition says, whether NumPy reuses temporaries (from 256 KiB) or not.

    The arrays dwarf NumPy's own buffers.
    """
    activation = Activation.of(name)
    y = np.linspace(-3, 3, size, dtype=np.float32).reshape(10, -1)
    activation(y, out=y)
    tracemalloc.start()
    activation(y, out=y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (known := DEFINITIONS[name].temporaries) * y.nbytes <= peak <= known * y.nbytes + 100_000


def by_definition(name, x):
    """Textbook formulas in Python's own doubles, from `math`."""
    exp, tanh = math.exp, math.tanh
    sigmoid = 1 / (1 + exp(-x)) if x > -700 else 0.0
    softplus = max(x, 0) + math.log1p(exp(-abs(x)))
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return {
        "linear": x,
        "relu": max(x, 0.0),
        "leaky_relu": x if x >= 0 else 0.01 * x,
        "sigmoid": sigmoid,
        "tanh": tanh(x),
        "elu": x if x > 0 else math.expm1(x),
        "selu": 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
        "celu": x if x > 0 else math.expm1(x),
        "gelu": x * 0.5 * math.erfc(-x / math.sqrt(2)),
        "gelu_tanh": 0.5 * x * (1 + tanh(inner)),
        "softplus": softplus,
        "softsign": x / (1 + abs(x)),
        "swish": x * sigmoid,
        "mish": x * tanh(softplus),
        "hard_sigmoid": min(max(0.2 * x + 0.5, 0), 1),
        "hard_swish": x * min(max(x / 6 + 0.5, 0), 1),
        "clip": min(max(x, 0.0), 6.0),
        "thresholded_relu": x if x > 1 else 0.0,
        "abs": abs(x),
        "threshold": max(x, 0.0),
        "shrink": x if abs(x) > 0.5 else 0.0,
        "log_sigmoid": min(x, 0) - math.log1p(exp(-abs(x))),
        "exp": exp(x),
        "square": x * x,
        "erf": math.erf(x),
        "sin": math.sin(x),
    }[name]


POINTS = [-600.0, -90.0, -40.0, -7.0, -3.0, -1.0, -0.3, -1e-6, 0.0, 1e-6, 0.3, 0.5, 1.0, 2.5, 3.0, 7.0, 40.0, 90.0]


@pytest.mark.parametrize("name", sorted(set(DEFINITIONS) - {"softmax", "log_softmax"}))
def test_every_function_is_its_textbook_formula(name):
    """Of doubles to 1e-8 of the larger of 1, |x| and |y|, at thresholds, far out and near zero; of floats to 2e-6.

    Only exp and square overflow, to infinity and without a warning.
    """
    expected = np.array([by_definition(name, x) for x in POINTS])
    allowed = np.maximum(np.maximum(1, np.abs(POINTS)), np.abs(expected))
    with np.errstate(over="raise", invalid="raise"):
        doubles = Activation.of(name)(np.array(POINTS))
        floats = Activation.of(name)(np.array(POINTS, np.float32))
    assert (np.abs(doubles - expected) <= 1e-8 * allowed).all()
    held = np.abs(expected) < np.finfo(np.float32).max
    assert (np.abs(floats - expected) <= 2e-6 * allowed)[held].all()
    assert np.isposinf(floats[~held]).all()


PARAMETERS = [
    ("leaky_relu", {"alpha": 0.25}, lambda x: x if x >= 0 else 0.25 * x),
    ("leaky_relu", {"alpha": 3.0}, lambda x: x if x >= 0 else 3 * x),
    ("elu", {"alpha": 0.5}, lambda x: x if x > 0 else 0.5 * math.expm1(x)),
    ("selu", {"alpha": 0.5, "gamma": 3.0}, lambda x: 3 * (x if x > 0 else 0.5 * math.expm1(x))),
    ("celu", {"alpha": 0.5}, lambda x: x if x > 0 else 0.5 * math.expm1(x / 0.5)),
    ("swish", {"alpha": 2.0}, lambda x: x / (1 + math.exp(-2 * x))),
    ("hard_sigmoid", {"alpha": 0.1, "beta": 0.7}, lambda x: min(max(0.1 * x + 0.7, 0), 1)),
    ("clip", {"min": -2.0, "max": 0.5}, lambda x: min(max(x, -2), 0.5)),
    ("thresholded_relu", {"alpha": -0.3}, lambda x: x if x > -0.3 else 0.0),
    ("threshold", {"threshold": 0.4, "value": 20.0}, lambda x: x if x > 0.4 else 20.0),
    ("threshold", {"threshold": 0.5, "value": -1.0}, lambda x: x if x > 0.5 else -1.0),
    ("shrink", {"bias": 0.0, "lambd": 0.5}, lambda x: x if abs(x) > 0.5 else 0.0),
    ("shrink", {"bias": 0.25, "lambd": 2.5}, lambda x: x - math.copysign(0.25, x) if abs(x) > 2.5 else 0.0),
    ("shrink", {"bias": 1.0, "lambd": -0.3}, lambda x: x + 1 if x < 0.3 else x - 1),
]


@pytest.mark.parametrize(("name", "params", "formula"), PARAMETERS)
def test_parameters_stand_where_the_formula_has_them(name, params, formula):
    """None is another's, and none is passed over."""
    points = np.array([x for x in POINTS if abs(x) < 50 and x != -0.3])
    expected = np.array([formula(x) for x in points])
    np.testing.assert_allclose(Activation.of(name, params)(points), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_nan_stays_nan(name, dtype):
    """In a new array and in place: `relu` and `clip` must not make a number of it; a comparison with it is false."""
    x = np.array([[np.nan, 1.0]], dtype)
    for found in (Activation.of(name)(x.copy()), Activation.of(name)(y := x.copy(), out=y)):
        assert np.isnan(found[0, 0]) == (name not in ZERO_OF_NAN)
        assert np.isfinite(found[0, 1]) == (name not in OVER_ROW)


@pytest.mark.parametrize("name", OVER_ROW)
def test_functions_over_the_row_sum_to_one(name):
    """Along the last axis, each row by itself, whatever the size of its logits."""
    rows = np.array([[1.0, 2.0, 3.0], [1000.0, 999.0, -1000.0], [-5000.0, -5000.0, -5000.0]])
    found = Activation.of(name)(rows.copy())
    shifted = rows - rows.max(axis=1, keepdims=True)
    expected = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, expected if name == "log_softmax" else np.exp(expected), rtol=1e-12, atol=1e-12)


def test_a_sigmoid_is_exact_down_to_where_its_exponential_leaves_the_range():
    """In float32 to -87, in doubles to -708; below, the last normal value stays, without a warning."""
    with np.errstate(all="raise"):
        floats = Activation.of("sigmoid")(np.float32([-86.9, -87, -88, -1000]))
        doubles = Activation.of("sigmoid")(np.array([-707.0, -708, -709, -1e6]))
    np.testing.assert_allclose(floats, np.exp([-86.9, -87, -87, -87]), rtol=1e-5)
    np.testing.assert_allclose(doubles, np.exp([-707.0, -708, -708, -708]), rtol=1e-9)


@pytest.mark.parametrize("value", [1e39, -1e39, float("inf"), float("nan")])
def test_a_parameter_is_finite_as_float32(value):
    """1e39 is a double and no float32: an engine would compute with an infinity."""
    with pytest.raises(
        ModelError, match=rf"'leaky_relu': parameter 'alpha' is {re.escape(str(value))}, expected a finite"
    ):
        Activation.of("leaky_relu", {"alpha": value})


def test_an_activation_is_a_value_with_its_parameters_in_order():
    """Defaults are filled in, one is taken as it is, two alike are equal, and one is printed as people write it."""
    found = Activation.of("hard_sigmoid", {"beta": 0.25})
    assert found == Activation("hard_sigmoid", (("alpha", 0.2), ("beta", 0.25)))
    assert Activation.of(found) is found
    assert str(found) == "hard_sigmoid(alpha=0.2, beta=0.25)"
    assert str(Activation.of("relu")) == "relu"
    assert Activation.of("clip").params == (("max", 6.0), ("min", 0.0))
    with pytest.raises(ModelError, match=r"no parameter 'alpha'; it takes none"):
        Activation.of("relu", {"alpha": 1.0})


def test_nothing_is_written_to_what_is_not_the_output():
    """The input stays, and a linear function hands it on without a copy."""
    x = np.float32([-1.5, 2.5])
    for name in sorted(set(DEFINITIONS) - set(OVER_ROW)):
        kept, out = x.copy(), np.empty_like(x)
        found = Activation.of(name)(x, out=out)
        np.testing.assert_array_equal(x, kept)
        assert found is out or name == "linear"
        np.testing.assert_array_equal(out, Activation.of(name)(x))
    assert Activation.of("linear")(x) is x
