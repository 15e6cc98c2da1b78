"""Networks of all kinds of layers, drawn at random: what the engine, float64, the file and onnxruntime make of them."""

from __future__ import annotations

import copy
import pickle
import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from edge_runtime import Dense, Engine, Limits, Model, selftest
from edge_runtime.artifact import load_bytes, save_bytes
from edge_runtime.reference import stage_values, tensor_bounds
from export.onnx_writer.writer import to_onnx
from export.quantization.quantizer import QuantizationWarning, quantize
from export.verification.verify import verify
from tests.networks import random_elementwise, random_layer_norm, random_model, random_rows
from tests.opsets import newest_opset

PARTS = ["scale", "scale shift", "low high", "slope", "scale shift slope low high", "high", ""]
ACTIVATIONS = ["linear", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "abs", "clip"]
LAST = ["linear", "softmax", "log_softmax", "relu", "sigmoid"]
PRECISIONS = ["float32", "float16", "int8", "int8-dynamic"]


@st.composite
def chains(draw):
    """1 to 6 layers of any kinds, at least one with weights, 1 to 24 values wide, with or without standardization."""
    kinds = draw(st.lists(st.sampled_from(["dense", "map", "norm", "rms"]), max_size=5))
    kinds.insert(draw(st.integers(0, len(kinds))), "dense")
    seed = draw(st.integers(0, 10_000))
    n = first = draw(st.integers(1, 24))
    layers = []
    for index, kind in enumerate(kinds):
        activation = draw(st.sampled_from(LAST if index == len(kinds) - 1 else ACTIVATIONS))
        name = f"layer{index}"
        if kind == "dense":
            width = draw(st.integers(1, 24))
            (made,) = random_model([n, width], [activation], seed + index).layers
            layers.append(replace(made, name=name))
            n = width
        elif kind == "map":
            parts = draw(st.sampled_from(PARTS))
            layers.append(random_elementwise(n, seed + index, activation, name, parts))
        else:
            layers.append(random_layer_norm(n, seed + index, activation, name, 1e-3, centered=kind == "norm"))
    standardized = random_model([first, 1], ["linear"], seed, standardize=True).preprocessing
    return Model(tuple(layers), draw(st.sampled_from([None, standardized])))


def in_float64(model, rows):
    """Every layer's output in float64."""
    value = rows.astype(np.float64)
    if model.preprocessing is not None:
        value = model.preprocessing(rows).astype(np.float64)
    for layer in model.layers:
        if isinstance(layer, Dense):
            value = layer.activation(value @ layer.weight.astype(np.float64) + layer.bias)
        else:
            value = layer.activation(stage_values(layer, value))
    return value


def small_of(model, rows, precision):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)
        return quantize(model, rows, precision, "minmax", test_vectors=4)


@given(chains(), st.sampled_from([None, Limits(lean=True), Limits(max_batch=3, over="split")]))
@settings(max_examples=150, deadline=None)
def test_any_chain_is_within_its_bound_of_float64(model, limits):
    """One row and many, whole or in small blocks."""
    rows = random_rows(40, model.n_in)
    expected = in_float64(model, rows)
    bound = tensor_bounds(model, rows)[f"{model.layers[-1].name}.output"]
    engine = Engine(model, limits)
    found = engine.run(rows)
    assert (np.abs(found - expected) <= bound).all()
    assert (np.abs(engine.run(rows[0]) - expected[0]) <= bound[0]).all()


@given(chains(), st.sampled_from(PRECISIONS))
@settings(max_examples=60, deadline=None)
def test_any_chain_is_the_same_after_it_is_saved_copied_and_pickled(model, precision):
    """In every precision: the same bits, and its stored vectors agree."""
    small = small_of(model, random_rows(60, model.n_in), precision)
    rows = random_rows(9, model.n_in, seed=3)
    expected = Engine(small).run(rows)
    for other in (load_bytes(save_bytes(small)), copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        np.testing.assert_array_equal(Engine(other).run(rows), expected)
        assert repr(other) == repr(small)
        assert selftest(other).ok
    assert small.precision == precision
    assert save_bytes(load_bytes(save_bytes(small))) == save_bytes(small)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("stages") / "model.onnx"


@given(
    chains(), st.sampled_from(PRECISIONS), st.sampled_from(["integer", "qgemm", "qdq"]), st.integers(13, newest_opset())
)
@settings(max_examples=25, deadline=None)
def test_onnxruntime_gives_the_values_of_any_chain(path, model, precision, form, opset):
    """By the rules of verify: integers bit for bit, floats within their bound."""
    rows = random_rows(60, model.n_in)
    small = small_of(model, rows, precision)
    path.write_bytes(to_onnx(small, form, opset=opset).SerializeToString())
    report = verify(small, path, rows)
    assert report.ok, (report, report.first_diverging_layer)
    if precision == "int8" and form != "qdq":
        assert report.exact_compared > 0


def changed(proto, name, change):
    """The graph with one constant changed."""
    other = onnx.ModelProto.FromString(proto.SerializeToString())
    for tensor in other.graph.initializer:
        if tensor.name == name:
            values = np.array(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(change(values), name))
    return other


CHANGES = {
    "map.scale": lambda values: values * np.float32(1.001),
    "map.shift": lambda values: np.roll(values, 1),
    "map.slope": lambda values: values + np.float32(0.01),
    "map.low": np.zeros_like,
    "map.high": lambda values: np.nextafter(values, np.float32(0)),
    "norm.gamma": lambda values: np.roll(values, 1),
    "norm.beta": lambda values: values + np.float32(0.001),
    "norm.epsilon": lambda values: (values * 30).astype(np.float32),
}


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_number_of_a_stage_is_found_at_that_stage(tmp_path, name, precision):
    """Not only as another constant in the file: the values are seen to differ, where they first do."""
    layers = random_model([6, 8, 8, 4], ["relu", "tanh", "linear"]).layers
    model = Model((layers[0], random_elementwise(8), layers[1], random_layer_norm(8), layers[2]))
    rows = random_rows(80, 6)
    small, path = small_of(model, rows, precision), tmp_path / "changed.onnx"
    path.write_bytes(changed(to_onnx(small), name, CHANGES[name]).SerializeToString())
    report = verify(small, path, rows)
    assert not report.ok
    stage = name.split(".")[0]
    seen = [check.tensor for check in report.checks if check.differing and check.level == "default"]
    assert seen[0] == f"{stage}.preactivation"
