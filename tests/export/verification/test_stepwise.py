"""No shuffled weights pass: what outputs cannot show at depth, the file's own tensors show layer by layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from edge_runtime import save
from export import read_onnx, verify, verify_import, write_onnx
from export.onnx_reader import import_onnx
from export.verification.stepwise import is_loose, tensors_between
from tests.command import run_command
from tests.export.foreign import graph, imported, normal
from tests.networks import random_model

pytestmark = pytest.mark.filterwarnings("ignore")  # onnxruntime's quantizer uses onnx functions that are going away

SIZES = ([16, 64, 64, 3], [48, 256, 256, 256, 10], [64, 1024, 1024, 8], [32] * 9)


def half_file(path, sizes, activation="Relu"):
    """A network whose every tensor is a half, but for its input and its output."""
    model = random_model(sizes, [activation.lower()] * (len(sizes) - 2) + ["linear"])
    nodes, constants, value = [helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16)], [], "h"
    for index, layer in enumerate(model.layers):
        for name, array in (("w", layer.weight), ("b", layer.bias)):
            constants.append(numpy_helper.from_array(array.astype(np.float16), f"{name}{index}"))
        nodes.append(helper.make_node("Gemm", [value, f"w{index}", f"b{index}"], [f"z{index}"]))
        value = f"z{index}"
        if layer is not model.layers[-1]:
            nodes.append(helper.make_node(activation, [value], [f"a{index}"]))
            value = f"a{index}"
    nodes.append(helper.make_node("Cast", [value], ["y"], to=TensorProto.FLOAT))
    ends = [helper.make_tensor_value_info(*end) for end in (("x", 1, ["N", sizes[0]]), ("y", 1, ["N", sizes[-1]]))]
    net = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    proto = helper.make_model(net, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, path)


def dynamic_file(path, sizes, weight_type=QuantType.QUInt8, activation="tanh"):
    """A network that onnxruntime quantized dynamically."""
    write_onnx(random_model(sizes, [activation] * (len(sizes) - 2) + ["linear"]), path.with_name("float.onnx"))
    quantize_dynamic(path.with_name("float.onnx"), path, weight_type=weight_type, per_channel=True)


MAKERS = {
    "float16": half_file,
    "float16-tanh": lambda path, sizes: half_file(path, sizes, "Tanh"),
    "uint8": dynamic_file,
    "int8-relu": lambda path, sizes: dynamic_file(path, sizes, QuantType.QInt8, "relu"),
}


def shuffled(path, which, axis, seed=0):
    """The file beside another one in which the columns or rows of one matrix stand in another order."""
    proto = onnx.load(path)
    tensor = [tensor for tensor in proto.graph.initializer if len(tensor.dims) == 2][which]
    values = numpy_helper.to_array(tensor)
    order = np.random.default_rng(seed).permutation(values.shape[axis])
    tensor.CopyFrom(numpy_helper.from_array(np.take(values, order, axis), tensor.name))
    onnx.save(proto, path.with_name("shuffled.onnx"))
    return path.with_name("shuffled.onnx")


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: "-".join(map(str, sizes)))
@pytest.mark.parametrize("kind", MAKERS)
def test_shuffled_weights_never_pass(tmp_path, kind, sizes):
    """Of the first matrix, one in the middle and the last, rows and columns; the file itself passes."""
    MAKERS[kind](tmp_path / "m.onnx", sizes)
    found = import_onnx(tmp_path / "m.onnx")
    report = verify_import(found.model, tmp_path / "m.onnx", imported=found)
    assert report.ok
    assert not any("says little" in note for note in report.notes)
    rows = normal(64, sizes[0], scale=1)
    for which in (0, len(sizes) // 2 - 1, len(sizes) - 2):
        for axis in (0, 1):
            other = shuffled(tmp_path / "m.onnx", which, axis)
            assert not verify_import(found.model, other, rows).ok, (which, axis)
    assert not verify(found.model, other, rows).ok


@pytest.mark.parametrize("kind", ["float16", "uint8"])
def test_a_reader_that_mixed_up_weights_would_be_noticed(tmp_path, kind):
    """The file as it is beside a model with its own weights in another order, which the import believes to be right."""
    sizes = [32, 300, 300, 300, 300, 5]
    MAKERS[kind](tmp_path / "m.onnx", sizes)
    found = import_onnx(tmp_path / "m.onnx")
    for index, layer in enumerate(found.model.layers):
        layers = list(found.model.layers)
        layers[index] = replace(layer, weight=layer.weight[np.random.default_rng(0).permutation(layer.n_in)])
        wrong = replace(found.model, layers=tuple(layers))
        assert not verify_import(wrong, tmp_path / "m.onnx", imported=replace(found, model=wrong)).ok


def test_the_command_says_that_outputs_differ(tmp_path):
    """`smallnet verify` of an artifact beside a file whose weights were shuffled since: exit status 1."""
    dynamic_file(tmp_path / "m.onnx", [64, 512, 512, 512, 512, 4])
    save(read_onnx(tmp_path / "m.onnx"), tmp_path / "m.npz")
    np.savez(tmp_path / "rows.npz", x=normal(300, 64))
    rows = ("--data", tmp_path / "rows.npz")
    assert run_command("verify", tmp_path / "m.npz", tmp_path / "m.onnx", *rows).exit_code == 0
    other = shuffled(tmp_path / "m.onnx", 2, 1)
    assert run_command("verify", tmp_path / "m.npz", other, *rows).exit_code == 1


def test_tensors_that_layers_take_are_seen_where_places_are_features(tmp_path):
    """Not behind a map that was folded into the product, and not where features stand in another order."""
    found = imported(graph("h = Gemm(x, W1, B1) r = Relu(h) y = Gemm(r, W2, B2)"), tmp_path)
    assert [(seen.layer, seen.tensor, seen.batch) for seen in found.seen] == [("dense0", "x", 0), ("dense1", "r", 0)]
    assert [seen.layer for seen in tensors_between(found.model, found)] == ["dense1"]
    scaled = "h = Gemm(x, W1, B1) r = Relu(h) s = Mul(r, C) y = Gemm(s, W2, B2)"
    found = imported(graph(scaled, C=np.float32([1, 2, 3, 4, 5])), tmp_path)
    assert [seen.layer for seen in found.seen] == ["dense0"]
    other = read_onnx(tmp_path / "foreign.onnx")
    assert tensors_between(replace(other, layers=other.layers[:1]), found) == ()


def test_a_bound_is_loose_beside_what_outputs_vary_by():
    """From a hundredth of it on; NaN counts as nothing."""
    theirs = np.float32([[0.0, 5.0], [2.0, 5.0], [np.nan, 5.0], [2.0, 5.0]])
    assert is_loose(0.02, theirs)
    assert not is_loose(0.005, theirs)


def test_constants_that_cancel_are_allowed_their_roundings(tmp_path):
    """A bias of 3,000 that batch normalization takes off again: the file rounds at 3,000, the model does not."""
    nodes = "m = MatMul(x, V) a = Add(m, B) h = BatchNormalization(a, G, C, M, K) r = Relu(h) y = MatMul(r, U)"
    constants = {"V": normal(6, 5), "B": normal(5) + 3000, "G": np.ones(5, np.float32), "C": normal(5),
                 "M": np.full(5, 3000, np.float32), "K": np.ones(5, np.float32), "U": normal(5, 3)}  # fmt: skip
    onnx.save(graph(nodes, **constants), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "m.onnx")
    found = import_onnx(tmp_path / "m.onnx")
    assert found.slack["dense0"].max() > 1e-4
    assert verify_import(found.model, tmp_path / "m.onnx", imported=found).ok
