"""Every activation, in float32 and int8, against onnxruntime."""

import math

import numpy as np
import pytest

from edge_runtime import Activation, Model
from edge_runtime.layers import Dense
from edge_runtime.numerics.activations import DEFINITIONS
from edge_runtime.reference.bounds import agree, implementation_error, steepness
from export.onnx_writer.writer import to_onnx, write_onnx
from export.quantization.quantizer import quantize
from export.verification.onnx_session import make_session
from export.verification.verify import verify
from tests.networks import random_model, random_rows
from tests.opsets import newest_opset

OTHER_PARAMETERS = {
    "leaky_relu": {"alpha": 1.7},
    "elu": {"alpha": 0.3},
    "selu": {"alpha": 0.5, "gamma": 2.0},
    "celu": {"alpha": 2.5},
    "swish": {"alpha": 1.702},
    "hard_sigmoid": {"alpha": 1 / 6, "beta": 0.4},
    "clip": {"min": -0.5, "max": 0.25},
    "thresholded_relu": {"alpha": 0.375},
    "threshold": {"threshold": 0.375, "value": 20.0},
    "shrink": {"bias": 0.375, "lambd": 0.375},
}
CASES = [Activation.of(name) for name in DEFINITIONS]
CASES += [Activation.of(name, params) for name, params in OTHER_PARAMETERS.items()]


def network(activation):
    """Its activation in the middle and at the end; at the end alone where it works on whole rows."""
    middle = "tanh" if activation.definition.is_over_row else activation
    scale = 0.25 if np.isinf(steepness(activation)) else 2.0  # exp of exp leaves float32 soon
    return random_model([12, 9, 5], [middle, activation], seed=3, weight_scale=scale)


@pytest.mark.parametrize("activation", CASES, ids=str)
def test_float32_keeps_the_bound_of_every_layer(tmp_path, activation):
    """The operator, or the nodes it is composed of at opset 13, give what the runtime computes."""
    model = network(activation)
    write_onnx(model, tmp_path / "m.onnx")
    report = verify(model, tmp_path / "m.onnx", random_rows(300, 12, seed=5) * 3)
    assert report.ok, report.first_diverging_layer


def everywhere():
    """Numbers of every size, dense from -20 to 20, where functions are computed in different ways."""
    far = np.geomspace(1e-30, 1e4, 20_001)
    return np.concatenate([np.linspace(-20, 20, 200_001), np.linspace(-1, 1, 20_001), far, -far]).astype(np.float32)


@pytest.mark.parametrize("opset", ["13", "newest"])
@pytest.mark.parametrize("activation", [case for case in CASES if not case.definition.is_over_row], ids=str)
def test_onnxruntime_is_as_close_as_two_implementations_may_be(activation, opset):
    """Its operator, or the nodes of opset 13, beside ours and beside float64, on 260,003 numbers.

    What this holds is what decides which entries of a table stand beside a tie, and how far outputs may differ:
    sigmoid alone is off by up to 1.7e-7 where its value is 1e-8, tanh by up to 4.6 times 2^-24 of its value.
    """
    x = everywhere()[:, None]
    layer = Dense("dense0", np.ones((1, 1), np.float32), np.zeros(1, np.float32), activation)
    session = make_session(to_onnx(Model((layer,)), opset=13 if opset == "13" else newest_opset()))
    theirs = session.run(None, {session.get_inputs()[0].name: x})[0].astype(np.float64)
    allowed = implementation_error(activation, x) + 2.0**-22 * np.abs(theirs) + 1e-37
    assert agree(activation(x), theirs, allowed).all()
    with np.errstate(over="ignore"):
        assert agree(activation(x.astype(np.float64)).astype(np.float32), theirs, allowed).all()


@pytest.mark.parametrize("activation", CASES, ids=str)
@pytest.mark.parametrize("form", ["integer", "qgemm"])
def test_int8_has_no_differing_value(tmp_path, activation, form):
    """Between int8 layers it is a stored table: every integer and every logit has the same bits."""
    model = quantize(network(activation), random_rows(200, 12), "int8", "minmax")
    write_onnx(model, tmp_path / "m.onnx", form)
    report = verify(model, tmp_path / "m.onnx", random_rows(300, 12, seed=5) * 3)
    assert report.ok, report.first_diverging_layer
    assert report.exact_compared > 0
    assert report.exact_differing == 0


def test_the_two_lists_name_every_parameter():
    """An activation with parameters is tested with others than its defaults too."""
    assert OTHER_PARAMETERS.keys() == {name for name, known in DEFINITIONS.items() if known.defaults}


def test_gelu_is_as_close_to_erf_as_its_docstring_says():
    """2e-9 in float64 and 2e-7 * max(1, |x|) in float32, from -40 to 40, beside Python's own erfc."""
    x = np.concatenate([np.linspace(-40, 40, 20_001), np.linspace(-6, 6, 20_001)])
    exact = np.array([value * 0.5 * math.erfc(-value / math.sqrt(2)) for value in x])
    assert np.abs(Activation.of("gelu")(x) - exact).max() < 2e-9
    single = x.astype(np.float32)
    exact = np.array([value * 0.5 * math.erfc(-value / math.sqrt(2)) for value in single.astype(np.float64)])
    assert (np.abs(Activation.of("gelu")(single) - exact) <= 2e-7 * np.maximum(1, np.abs(x))).all()


JUMPS = [case for case in CASES if case.name in ("thresholded_relu", "threshold") or case == Activation.of("shrink")]


@pytest.mark.parametrize("activation", [case for case in CASES if case not in JUMPS], ids=str)
def test_no_activation_is_steeper_than_stated(activation):
    """Its slope anywhere, in float64, is at most the factor by which a bound is widened; those that jump apart."""
    step = 2.0**-12
    x = np.arange(-12, 12, step)
    if activation.definition.is_over_row:
        x = np.stack([x, -x[::-1] / 3], axis=1)
        change = np.abs(activation(x + np.array([step, -step])) - activation(x)).max(axis=-1)
    else:
        change = np.abs(activation(x + step) - activation(x))
    assert change.max() / step <= steepness(activation) * (1 + 1e-9)


@pytest.mark.parametrize("activation", CASES, ids=str)
def test_float32_is_as_close_to_float64_as_two_implementations_may_be(activation):
    """The stated error of each activation covers this one, up to 1e4 on either side of zero, without an overflow."""
    x = np.concatenate([np.linspace(-20, 20, 4001), np.geomspace(1, 1e4, 500), -np.geomspace(1, 1e4, 500)])
    single = x.astype(np.float32)[:, None] + np.float32([0, 0.5, -0.25])
    exact = activation(single.astype(np.float64))
    with np.errstate(all="raise", under="ignore"):
        found = activation(single)
    with np.errstate(over="ignore", invalid="ignore"):
        exact = exact.astype(np.float32)
        rounding = np.nan_to_num(np.spacing(np.abs(exact))) * 2 + 1e-37
    assert agree(found, exact, implementation_error(activation, single) + rounding).all()
