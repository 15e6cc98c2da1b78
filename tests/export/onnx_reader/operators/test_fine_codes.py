"""Codes of 9 to 16 bits come back as they were written, and what only looks like them is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_runtime import Engine, QuantizedDense
from edge_runtime.errors import ArtifactError
from edge_runtime.reference import trace
from export import quantize, read_onnx
from export.onnx_writer import to_onnx
from tests.adversarial import adversarial_rows, fine_adversarial_model, in_int4
from tests.export.foreign import checked, graph, imported
from tests.networks import random_model, random_rows
from tests.opsets import newest_opset


def read_again(proto, folder):
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return read_onnx(path)


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_file_of_ours_is_read_as_what_it_was_written_of(tmp_path, seed):
    """Integers, multipliers, tables, zero points and bits of every layer, whatever the opset; every tensor's codes."""
    model = fine_adversarial_model(seed)
    model = in_int4(model) if seed % 6 == 5 else model
    found = read_again(to_onnx(model, opset=13 + seed % (newest_opset() - 12)), tmp_path)
    rows = adversarial_rows(model, seed)
    for layer, same in zip(model.layers, found.layers, strict=True):
        np.testing.assert_array_equal(same.weight, layer.weight)
        for key, array in layer.arrays().items():
            if key != "weight":
                np.testing.assert_array_equal(same.arrays()[key], array)
        assert (same.input.zero_point, same.input.bits) == (layer.input.zero_point, layer.input.bits)
    assert found.layers[0].input == model.layers[0].input
    expected, tensors = trace(model, rows), trace(found, rows)
    for name in expected:
        if name != "input.standardized":
            np.testing.assert_array_equal(tensors[name], expected[name])


@pytest.mark.parametrize("activations", [["relu", "linear"], ["tanh", "softmax"], ["leaky_relu", "gelu", "sigmoid"]])
@pytest.mark.parametrize("standardize", [False, True])
def test_it_agrees_with_its_file_in_onnxruntime(tmp_path, activations, standardize):
    """By the import's own check, with tables and without."""
    sizes = [13, *[11] * (len(activations) - 1), 5]
    model = quantize(random_model(sizes, activations, standardize=standardize), random_rows(200, 13), "int8-a16")
    (tmp_path / "m.onnx").write_bytes(to_onnx(model).SerializeToString())
    found = checked(tmp_path / "m.onnx").model
    assert found.precision == "int8-a16"
    rows = random_rows(64, 13)
    np.testing.assert_array_equal(Engine(found).logits(rows), Engine(model).logits(rows))


def test_another_spelling_of_the_same_grid_is_read(tmp_path):
    """Clip in place of Where and Min, and the low byte first."""
    weight = np.random.default_rng(0).integers(-90, 90, (6, 3)).astype(np.int8)
    found = imported(
        graph(
            """steps = Div (x, scale) cut = Clip (steps, low, high) whole = Round (cut) plus = Add (whole, zero)
            codes = Cast <to = 4> (plus) wide = Cast <to = 6> (codes) rest = Mod (wide, base) part = Div (wide, base)
            l = Cast <to = 2> (rest) h = Cast <to = 2> (part) lp = MatMulInteger (l, W, zl)
            hp = MatMulInteger (h, W, zh) hb = Mul (base, hp) total = Add (lp, hb)
            real = Cast <to = 1> (total) y = Mul (real, unit)""",
            scale=np.float32(0.001), low=np.float32(-2100), high=np.float32(4095 - 2100), zero=np.float32(2100),
            base=np.int32(256), W=weight, zl=np.uint8(2100 % 256), zh=np.uint8(2100 // 256), unit=np.float32(0.001),
        ),
        tmp_path,
    )  # fmt: skip
    (layer,) = found.model.layers
    assert isinstance(layer, QuantizedDense)
    assert (layer.input.bits, layer.input.zero_point, layer.input.scale) == (12, 2100, np.float32(0.001))
    np.testing.assert_array_equal(layer.weight, weight)


def with_constant(proto, name, change):
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.array(change(numpy_helper.to_array(tensor))), name))


def small():
    return quantize(random_model([13, 11, 5], ["tanh", "linear"]), random_rows(200, 13), "int8-a16", "minmax")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("dense0.256", lambda base: base + 1),  # no byte
        ("dense0.quantized_input.high", lambda high: high - 1),  # no 2^bits - 1
        ("dense0.quantized_input.low", lambda low: low + 1),  # not where codes begin
        ("dense0.quantized_input.zero_point", lambda zero: zero + np.float32(0.5)),  # no whole number
        ("dense0.high_zero_point", lambda zero: zero ^ 1),  # another zero point than codes were put on
        ("dense0.table", lambda table: table[:-1]),  # not as many entries as codes
    ],
)
def test_what_only_looks_like_codes_is_refused(tmp_path, name, change):
    """With the node; nothing is read as if it were something near."""
    proto = to_onnx(small())
    with_constant(proto, name, change)
    with pytest.raises(ArtifactError):
        read_again(proto, tmp_path)


def test_bytes_times_other_weights_are_refused(tmp_path):
    """Both products must be of the same integers."""
    proto = to_onnx(small())
    other = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense0.weight")
    copied = onnx.TensorProto()
    copied.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(other)[::-1].copy(), "other"))
    proto.graph.initializer.append(copied)
    next(node for node in proto.graph.node if node.name == "dense0.low_product").input[1] = "other"
    with pytest.raises(ArtifactError):
        read_again(proto, tmp_path)


def test_rounding_that_no_code_comes_of_is_refused(tmp_path):
    """Round alone is no activation of this runtime."""
    path = tmp_path / "m.onnx"
    path.write_bytes(graph("a = MatMul (x, W1) b = Round (a) y = MatMul (b, W2)").SerializeToString())
    with pytest.raises(ArtifactError, match="rounded on the way"):
        read_onnx(path)
