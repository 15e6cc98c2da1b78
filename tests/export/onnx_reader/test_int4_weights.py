"""Somebody's files with 4-bit weights: per channel, around any zero point, in blocks, in the file or beside it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime import ArtifactError, Elementwise, Engine, Model
from edge_runtime.layers import Dense, Int4Dense, QuantizedDense
from export import quantize, read_onnx, write_onnx
from export.onnx_reader import take_in_external
from tests.networks import random_model, random_rows

N_IN, N_OUT = 7, 5
RNG = np.random.default_rng(0)
KINDS = {"int4": (TensorProto.INT4, -8, 7), "uint4": (TensorProto.UINT4, 0, 15)}


def packed(name, values, kind, *, in_fields=False):
    """A tensor of 4-bit integers, as bytes or in int32_data, a byte in each."""
    codes = np.append(values.ravel() & 0x0F, [0] * (values.size % 2)).astype(np.uint8)
    pairs = codes[0::2] | codes[1::2] << 4
    fields = {"int32_data": pairs.tolist()} if in_fields else {"raw_data": pairs.tobytes()}
    return TensorProto(name=name, data_type=KINDS[kind][0], dims=values.shape, **fields)


def file(path, tensors, nodes, *, quantized=True):
    """x -> the nodes -> y, with the input on a grid of 8 bits."""
    head = ["QuantizeLinear", "DequantizeLinear"] if quantized else []
    names = ["x", "q", "r"]
    given = [helper.make_node(op, [names[i], "s", "z"], [names[i + 1]]) for i, op in enumerate(head)]
    grid = [numpy_helper.from_array(np.float32(0.05), "s"), numpy_helper.from_array(np.uint8(120), "z")]
    graph = helper.make_graph(
        [*given, *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", N_IN])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", N_OUT])],
        initializer=[*grid, *tensors],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(proto.SerializeToString())
    return proto


def weights(kind, low=None, high=None):
    _, least, most = KINDS[kind]
    return RNG.integers(least if low is None else low, (most if high is None else high) + 1, (N_IN, N_OUT))


def product(value="r", **attributes):
    """The nodes behind a weight w4 of 4 bits with scales ws and zero points wz."""
    return [
        helper.make_node("DequantizeLinear", ["w4", "ws", "wz"], ["w"], **{"axis": 1, **attributes}),
        helper.make_node("MatMul", [value, "w"], ["y"]),
    ]


@pytest.mark.parametrize("in_fields", [False, True])
@pytest.mark.parametrize(("kind", "zero"), [("int4", 0), ("int4", -3), ("uint4", 8), ("uint4", 0)])
def test_weights_with_a_scale_for_each_channel_become_integers(tmp_path, kind, zero, in_fields):
    """4-bit ones where they are -8..7 around their zero point, int8 ones where they are more."""
    values, scales = weights(kind), RNG.uniform(0.01, 0.1, N_OUT).astype(np.float32)
    tensors = [packed("w4", values, kind, in_fields=in_fields), numpy_helper.from_array(scales, "ws")]
    tensors.append(packed("wz", np.full(N_OUT, zero), kind, in_fields=in_fields))
    file(tmp_path / "m.onnx", tensors, product())
    (layer,) = read_onnx(tmp_path / "m.onnx").layers
    wanted = values - zero
    assert np.array_equal(layer.weight, wanted)
    assert type(layer) is (Int4Dense if wanted.min() >= -8 and wanted.max() <= 7 else QuantizedDense)
    np.testing.assert_allclose(layer.multiplier, scales * np.float32(0.05), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_read_as_float_numbers(tmp_path, kind):
    """A scale and a zero point for every three inputs of an output, the last block being shorter: a float32 layer."""
    values, scales = weights(kind), RNG.uniform(0.01, 0.1, (3, N_OUT)).astype(np.float32)
    zeros = RNG.integers(0, 5, (3, N_OUT))
    tensors = [packed("w4", values, kind), numpy_helper.from_array(scales, "ws"), packed("wz", zeros, kind)]
    file(tmp_path / "m.onnx", tensors, product("x", axis=0, block_size=3), quantized=False)
    (layer,) = read_onnx(tmp_path / "m.onnx").layers
    assert isinstance(layer, Dense)
    block = np.arange(N_IN) // 3
    assert np.array_equal(layer.weight, (values - zeros[block]).astype(np.float32) * scales[block])


def test_blocks_that_do_not_fit_are_refused(tmp_path):
    """With the shape that was found and the one expected; a block of 2^62 places takes no memory."""
    tensors = [packed("w4", weights("int4"), "int4"), numpy_helper.from_array(np.ones((2, N_OUT), np.float32), "ws")]
    tensors.append(packed("wz", np.zeros((2, N_OUT), np.int8), "int4"))
    for size, blocks in ((3, 3), (1 << 62, 1), (-1, -7)):
        file(tmp_path / "m.onnx", tensors, product("x", axis=0, block_size=size), quantized=False)
        with pytest.raises(ArtifactError, match=rf"its scales have shape \(2, 5\), expected \({blocks}, 5\): one for"):
            read_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", KINDS)
def test_activations_on_a_grid_of_4_bits_are_refused(tmp_path, kind):
    """A file that saturates them at 16 codes is not read as one that saturates at 256."""
    tensors = [packed("four", np.array([0]), kind), numpy_helper.from_array(np.ones((N_IN, N_OUT), np.float32), "w")]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "four"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "s", "four"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    file(tmp_path / "m.onnx", tensors, nodes, quantized=False)
    with pytest.raises(ArtifactError, match=f"it quantizes to {kind}, expected uint8 or int8"):
        read_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize("form", ["raw", "fields"])
@pytest.mark.parametrize("wrong", [-1, 1])
def test_too_few_or_too_many_bytes_are_refused(tmp_path, form, wrong):
    """18 bytes hold 35 weights: with 17 or 19 the tensor is named."""
    tensor = packed("w4", weights("int4"), "int4", in_fields=form == "fields")
    if form == "raw":
        tensor.raw_data = tensor.raw_data[:-1] if wrong < 0 else tensor.raw_data + b"0"
    elif wrong < 0:
        tensor.int32_data.pop()
    else:
        tensor.int32_data.append(0)
    tensors = [tensor, numpy_helper.from_array(np.ones(N_OUT, np.float32), "ws")]
    tensors.append(packed("wz", np.zeros(N_OUT, np.int8), "int4"))
    file(tmp_path / "m.onnx", tensors, product())
    with pytest.raises(ArtifactError, match=rf"tensor 'w4' has {18 + wrong} bytes, expected 18"):
        read_onnx(tmp_path / "m.onnx")


def test_weights_beside_the_file_are_read_and_taken_in(tmp_path):
    """External data of 18 bytes for 35 weights; a copy with the data in it has the same 4-bit tensor."""
    values = weights("int4")
    tensor = packed("w4", values, "int4")
    (tmp_path / "w.bin").write_bytes(b"..." + tensor.raw_data)
    outside = TensorProto(name="w4", data_type=TensorProto.INT4, dims=values.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", "3"), ("length", "18")):
        outside.external_data.add(key=key, value=value)
    tensors = [outside, numpy_helper.from_array(np.ones(N_OUT, np.float32), "ws")]
    tensors.append(packed("wz", np.zeros(N_OUT, np.int8), "int4"))
    proto = file(tmp_path / "m.onnx", tensors, product())
    (layer,) = read_onnx(tmp_path / "m.onnx").layers
    assert np.array_equal(layer.weight, values)
    take_in_external(proto, tmp_path, 1 << 20)
    inside = next(each for each in proto.graph.initializer if each.name == "w4")
    assert inside == tensor


def test_a_layer_wider_than_the_file_has_bytes_is_read(tmp_path):
    """10,000 inputs of one output are 5,000 bytes."""
    values = RNG.integers(-8, 8, (10_000, 1))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("Cast", ["w4"], ["w8"], to=TensorProto.INT8),
        helper.make_node("MatMulInteger", ["q", "w8", "z"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["y"], to=TensorProto.FLOAT),
    ]
    grid = [numpy_helper.from_array(np.float32(0.05), "s"), numpy_helper.from_array(np.uint8(120), "z")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 10_000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        initializer=[*grid, packed("w4", values, "int4")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(proto, tmp_path / "m.onnx")
    model = read_onnx(tmp_path / "m.onnx")
    assert isinstance(model.layers[0], Int4Dense)
    assert np.array_equal(model.layers[0].weight, values)
    assert model.n_in == random_rows(1, 10_000).shape[1]


@pytest.mark.parametrize(("form", "opset"), [("integer", 21), ("integer", 13), ("qgemm", 17)])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_a_map_that_turns_signs_stays_behind_weights_of_4_bits(tmp_path, activation, form, opset):
    """Taken into a layer with a weight of -8 it would make 8 of it, and int8 of the layer; all bits are the model's."""
    first, second = random_model([6, 4, 3], [activation, "linear"]).layers
    maps = [
        Elementwise(
            f"map{layer.n_out}", np.float32([-1, 2, -0.5, 1][: layer.n_out]), np.ones(layer.n_out, np.float32), "linear"
        )
        for layer in (first, second)
    ]
    rows = random_rows(60, 6)
    model = quantize(Model((first, maps[0], second, maps[1])), rows, "int4")
    assert model.layers[2].weight.min() == -8
    write_onnx(model, tmp_path / "m.onnx", form, opset=opset)
    again = read_onnx(tmp_path / "m.onnx")
    assert [type(layer) for layer in again.layers] == [Int4Dense, Elementwise] * 2
    np.testing.assert_array_equal(Engine(again).run(rows), Engine(model).run(rows))
