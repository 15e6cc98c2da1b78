"""What is done to each value by itself, or over the row, becomes a stage without weights, exact where it can be."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from edge_runtime import Elementwise, Engine, Model, save
from export import quantize, read_onnx, write_onnx
from tests.export.foreign import graph, imported, normal
from tests.export.onnx_reader.test_exporters import int8_without_a_difference
from tests.networks import random_model, random_rows

LOW, HIGH = np.sort(normal(2, 6), axis=0)
MAPS = {
    "observations clipped": "h = Clip(x, LESS, MORE)",
    "scaled, then clipped": "z = Mul(x, S) h = Clip(z, LESS, MORE)",
    "standardized, then clipped": "d = Sub(x, C) z = Div(d, S) h = Clip(z, LESS, MORE)",
    "limits of their own": "l = Max(x, LOW) h = Min(l, HIGH)",
    "one limit of its own": "l = Max(LOW, x) h = Relu(l)",
    "slopes of their own": "h = PRelu(x, S)",
    "clipped twice": "z = Clip(x, LESS, MORE) m = Mul(z, S) u = Add(m, C) h = Clip(u, LESS, MORE)",
}
NUMBERS = {"LESS": np.float32(-1.5), "MORE": np.float32(1.25), "S": np.abs(normal(6)) + 0.1, "C": normal(6)}
NUMBERS |= {"LOW": LOW, "HIGH": HIGH}


def with_maps(nodes, tail="r = Gemm(h, W1, B1) t = Tanh(r) y = Gemm(t, W2, B2)", **more):
    """A graph of 6 features that begins with maps."""
    used = {name: value for name, value in NUMBERS.items() if f"{name})" in nodes + tail or f"{name}," in nodes + tail}
    return graph(f"{nodes} {tail}", **used, **more)


@pytest.mark.parametrize("case", MAPS)
def test_maps_of_the_input_stay_what_they_are(tmp_path, case):
    """Stages of n values before the first product, with onnxruntime's numbers; int8 of it differs in none."""
    found = imported(with_maps(MAPS[case]), tmp_path)
    *stages, _, _ = found.model.layers
    assert len(stages) == (2 if case == "clipped twice" else 1)
    assert all(isinstance(layer, Elementwise) for layer in stages)
    int8_without_a_difference(tmp_path / "foreign.onnx", tmp_path, random_rows(64, 6))


@pytest.mark.parametrize("case", ["observations clipped", "limits of their own", "one limit of its own"])
def test_a_file_that_only_limits_is_read_to_the_last_bit(tmp_path, case):
    """No rounding, so no bound: a network of no weights at all."""
    found = imported(with_maps(MAPS[case], tail="y = Identity(h)"), tmp_path)
    x = random_rows(64, 6)
    y = ReferenceEvaluator(str(tmp_path / "foreign.onnx")).run(None, {"x": x})[0]
    np.testing.assert_array_equal(Engine(found.model).run(x), y)


@pytest.mark.parametrize(
    "tail",
    [
        "y = Clip(r, LESS, MORE)",
        "u = Tanh(r) y = Mul(u, S3)",
        "l = Max(r, L3) y = Min(l, H3)",
        "u = Max(L3, r) y = Tanh(u)",
    ],
)
def test_maps_of_the_actions_stay_what_they_are(tmp_path, tail):
    """After the last product: in its activation where that can be, else a stage."""
    more = {"S3": normal(3), "L3": np.full(3, -0.25, np.float32) + normal(3) / 16, "H3": np.abs(normal(3))}
    used = {name: value for name, value in more.items() if f"{name}" in tail}
    nodes = "h = Gemm(x, W1, B1) t = Tanh(h) r = Gemm(t, W2, B2)"
    found = imported(with_maps(nodes, tail, **used), tmp_path)
    assert sum(isinstance(layer, Elementwise) for layer in found.model.layers) == ("LESS" not in tail)
    int8_without_a_difference(tmp_path / "foreign.onnx", tmp_path, random_rows(64, 6))


def test_wide_clipped_observations_stay_small(tmp_path):
    """4,096 features: a file of 288 kB once became 64 MB of ones and zeros."""
    wide = {"V": normal(4096, 16), "C": normal(4096), "S": np.abs(normal(4096)) + 0.1, "D": normal(16)}
    nodes = "d = Sub(x, C) z = Div(d, S) h = Clip(z, LESS, MORE) y = Gemm(h, V, D)"
    limits = {name: NUMBERS[name] for name in ("LESS", "MORE")}
    path = tmp_path / "wide.onnx"
    path.write_bytes(
        graph(nodes, source="float[N,4096] x", target="float[N,16] y", **limits, **wide).SerializeToString()
    )
    save(read_onnx(path), tmp_path / "wide.npz")
    assert path.stat().st_size < 310_000
    assert (tmp_path / "wide.npz").stat().st_size < path.stat().st_size + 8 * 4096 + 4096


@pytest.mark.parametrize(
    ("nodes", "kinds"),
    [
        ("a = PRelu(x, U) y = PRelu(a, V)", ["leaky_relu"]),
        ("a = PRelu(x, U) b = PRelu(a, V) y = Mul(b, S)", ["leaky_relu", "linear"]),
        ("a = PRelu(x, U) b = PRelu(a, V) y = Mean(a, b)", ["leaky_relu"]),
    ],
)
def test_slopes_of_several_nodes_may_be_rounded_several_times(tmp_path, nodes, kinds):
    """Where one slope takes their place nothing else follows whose bound would cover that."""
    slopes = {"U": np.float32([0.4126535]), "V": np.float32([-0.6091394])}
    found = imported(with_maps(nodes, tail="", target="float[N,6] y", **slopes), tmp_path)
    assert [layer.activation.name for layer in found.model.layers] == kinds


@pytest.mark.parametrize("precision", ["int8", "int8-a16", "int4"])
def test_a_shift_beyond_int32_stays_a_stage(tmp_path, precision):
    """In steps of the products before it no integer bias could hold it: our own file is read back, with its bits."""
    (dense,) = random_model([3, 4], ["linear"]).layers
    stage = Elementwise("map", np.ones(4, np.float32), np.float32([9e4, -1, 0, 1]), "linear")
    rows = random_rows(40, 3) * np.float32(1e-6)
    model = quantize(Model((dense, stage)), rows, precision)
    write_onnx(model, tmp_path / "m.onnx")
    again = read_onnx(tmp_path / "m.onnx")
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
    np.testing.assert_array_equal(Engine(again).run(rows), Engine(model).run(rows))
