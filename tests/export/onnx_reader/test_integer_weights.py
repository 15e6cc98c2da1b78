"""8-bit weights around any zero point, as onnxruntime's and PyTorch's quantizers write them: every bit comes over."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from edge_runtime import Engine, Limits, load, save
from edge_runtime.errors import NativeUnavailable
from export import read_onnx, verify, write_onnx
from export.onnx_writer.pair_saturation import PRECISE, may_saturate, saturating_layers
from export.verification.onnx_session import make_session
from tests.export.foreign import checked, graph, imported
from tests.networks import random_model, random_rows

pytestmark = pytest.mark.filterwarnings("ignore")  # onnxruntime's quantizer uses onnx functions that are going away

UINT8, INT8 = QuantType.QUInt8, QuantType.QInt8
# weights and activations; of uint8 weights and int8 activations onnxruntime makes no file
TYPES = {"u8u8": (UINT8, UINT8), "s8u8": (INT8, UINT8), "s8s8": (INT8, INT8)}
FORMATS = {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}
FLAGS = list(itertools.product([False, True], repeat=3))  # per_channel, reduce_range, WeightSymmetric
ROWS = random_rows(300, 16)


class Rows(CalibrationDataReader):
    """Calibration rows for onnxruntime's quantizer."""

    def __init__(self) -> None:
        self.batches = iter([{"input": random_rows(8, 16, seed)} for seed in range(6)])

    def get_next(self):
        """The next batch, or None."""
        return next(self.batches, None)


@pytest.fixture(scope="module")
def float_file(tmp_path_factory):
    """16-12-9-3 as ONNX."""
    path = tmp_path_factory.mktemp("float") / "float.onnx"
    write_onnx(random_model([16, 12, 9, 3], ["relu", "relu", "linear"]), path)
    return path


def outputs_of(path, found, rows):
    """onnxruntime's, with the option that keeps int8 weights from saturating where the file needs it."""
    config = [PRECISE] if saturating_layers(found.int8_products) else []
    return make_session(str(path), config=config).run(None, {"input": rows})[0]


def taken_whole(folder, form_bound=0.0):
    """The file `q.onnx` of a folder, all the way: import, save, load, engine, verify, and ONNX again."""
    found = checked(folder / "q.onnx", ("default",))
    save(found.model, folder / "m.npz")
    model = load(folder / "m.npz")
    theirs = outputs_of(folder / "q.onnx", found, ROWS[:200])
    np.testing.assert_allclose(Engine(model).run(ROWS[:200]), theirs, rtol=0, atol=form_bound)
    report = verify(model, folder / "q.onnx", ROWS)
    assert report.ok
    assert report.max_abs_error <= form_bound
    for form in ("integer", "qgemm", "qdq") if model.precision == "int8" else ("integer",):
        write_onnx(model, folder / "again.onnx", form)
        again = verify(model, folder / "again.onnx", ROWS)
        assert again.ok, (form, [check for check in again.checks if check.differing])
        read = read_onnx(folder / "again.onnx")
        for before, after in zip(model.layers, read.layers, strict=True):
            np.testing.assert_array_equal(before.weight, after.weight)
            assert before.weight.dtype == after.weight.dtype
    return model


@pytest.mark.parametrize(("per_channel", "reduce_range", "symmetric"), FLAGS)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("types", TYPES)
def test_every_variant_of_static_quantization(tmp_path, float_file, types, form, per_channel, reduce_range, symmetric):
    """Read, saved, run, verified and written again: not one of the outputs differs from onnxruntime's."""
    weights, activations = TYPES[types]
    options = {"WeightSymmetric": symmetric, "ActivationSymmetric": per_channel != reduce_range}
    quantize_static(
        float_file, tmp_path / "q.onnx", Rows(), quant_format=FORMATS[form], per_channel=per_channel,
        reduce_range=reduce_range, weight_type=weights, activation_type=activations, extra_options=options,
    )  # fmt: skip
    model = taken_whole(tmp_path)
    assert model.precision == "int8"
    if weights is UINT8 and not (symmetric or reduce_range or per_channel):  # older versions: symmetric per channel
        assert any(layer.weight.dtype == np.int16 for layer in model.layers)


@pytest.mark.parametrize(("per_channel", "reduce_range", "symmetric"), FLAGS)
@pytest.mark.parametrize("weights", [UINT8, INT8], ids=["uint8", "int8"])
def test_every_variant_of_dynamic_quantization(tmp_path, float_file, weights, per_channel, reduce_range, symmetric):
    """MatMulInteger with weights of any zero point, one for each output or one for all: the same up to roundings."""
    quantize_dynamic(
        float_file, tmp_path / "q.onnx", per_channel=per_channel, reduce_range=reduce_range, weight_type=weights,
        extra_options={"WeightSymmetric": symmetric},
    )  # fmt: skip
    assert taken_whole(tmp_path, form_bound=1e-6).precision == "int8-dynamic"


def spread(kind, zero_points, n_in=6, seed=0):
    """8-bit weights (n_in, 3) with both ends in every column, and their zero points."""
    ends = np.iinfo(kind)
    weight = np.random.default_rng(seed).integers(ends.min, ends.max, (n_in, 3), endpoint=True).astype(kind)
    weight[0], weight[1] = ends.min, ends.max
    return {"Q": weight, "wz": np.array(zero_points, kind), "ws": np.float32([0.01, 0.02, 0.03])}


QDQ = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear<axis=1>(Q, ws, wz) "
QDQ += "m = MatMul(d, w) p = QuantizeLinear(m, os, oz) y = DequantizeLinear(p, os, oz)"
GRIDS = {"s": np.float32(0.05), "z": np.uint8(100), "os": np.float32(0.1), "oz": np.uint8(120)}


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("shifts", [(0, 0, 0), (-128, -128, -128), (127, 127, 127), (-128, 0, 127), (5, -77, 126)])
def test_zero_points_anywhere(tmp_path, kind, shifts):
    """At the ends of 8 bits, around their middle and different for each output; written again, as uint8, and exact."""
    zero_points = np.array(shifts) + (128 if kind is np.uint8 else 0)
    constants = spread(kind, zero_points)
    found = imported(graph(QDQ, **constants, **GRIDS), tmp_path, ("default",))
    layer = found.model.layers[0]
    np.testing.assert_array_equal(layer.weight, constants["Q"].astype(int) - zero_points)
    rows = random_rows(500, 6, seed=3) * 4
    for form in ("integer", "qgemm", "qdq"):
        write_onnx(found.model, tmp_path / "again.onnx", form)
        report = verify(found.model, tmp_path / "again.onnx", rows)
        assert (report.ok, report.max_abs_error) == (True, 0.0)


def test_a_sign_that_turns_the_lowest_weight(tmp_path):
    """-128 times a negative scale is 128 times a positive one."""
    nodes = (
        "q, s, z = DynamicQuantizeLinear(x) a = MatMulInteger(q, Q, z) f = Cast<to=1>(a) g = Mul(f, s) y = Mul(g, C)"
    )
    constants = {"Q": np.full((6, 3), -128, np.int8), "C": np.float32([-0.1, 0.1, 0.1])}
    layer = imported(graph(nodes, **constants), tmp_path, ("default",)).model.layers[0]
    assert layer.weight[0].tolist() == [128, -128, -128]


@pytest.mark.parametrize("n_in", [100, 300, 1024])
def test_wide_layers_are_exact_in_float64(tmp_path, n_in):
    """Sums of products up to 255 x 255 leave what float32 adds exactly; lean and in tiles too."""
    constants = spread(np.uint8, (0, 255, 128), n_in)
    proto = graph(QDQ, source=f"float[N,{n_in}] input", **constants, **{**GRIDS, "os": np.float32(8)})
    proto.graph.node[0].input[0] = "input"
    onnx.save(proto, tmp_path / "q.onnx")
    found = checked(tmp_path / "q.onnx", ("default",))
    rows = random_rows(70, n_in, seed=5) * 5
    theirs = outputs_of(tmp_path / "q.onnx", found, rows)
    assert (found.model.layers[0].certificate > (1 << 24)) == (n_in == 1024)
    for limits in (None, Limits(lean=True), Limits(ram_bytes=8_000 + 30 * n_in)):
        np.testing.assert_array_equal(Engine(found.model, limits).run(rows), theirs)


def test_weights_that_become_uint8_need_no_option_of_the_session(tmp_path):
    """uint8 x uint8 saturates nowhere; int8 weights beside them are judged by themselves."""
    wide = imported(graph(QDQ, **spread(np.uint8, (100, 0, 255)), **GRIDS), tmp_path, ("default",))
    assert not saturating_layers(wide.int8_products)
    assert not may_saturate(wide.model)
    narrow = imported(graph(QDQ, **spread(np.uint8, (128, 128, 128)), **GRIDS), tmp_path, ("default",))
    write_onnx(narrow.model, tmp_path / "again.onnx", "qdq")
    assert narrow.model.layers[0].weight.dtype == np.int16
    stored = {tensor.name: tensor.data_type for tensor in onnx.load(tmp_path / "again.onnx").graph.initializer}
    assert stored[f"{narrow.model.layers[0].name}.weight"] == onnx.TensorProto.UINT8


def torch_file(folder, activation_bits):
    """A network that PyTorch trained for int8, as its exporter writes it: weights per output from -128 to 127."""
    import torch
    from torch.ao import quantization as tools

    torch.manual_seed(0)
    activation = tools.FakeQuantize.with_args(
        observer=tools.MovingAverageMinMaxObserver, quant_min=0, quant_max=2**activation_bits - 1
    )
    net = torch.nn.Sequential(
        tools.QuantStub(), torch.nn.Linear(16, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3), tools.DeQuantStub()
    )
    net.qconfig = tools.QConfig(activation=activation, weight=tools.default_per_channel_weight_fake_quant)
    net = tools.prepare_qat(net.train())
    for seed in range(4):
        net(torch.from_numpy(random_rows(64, 16, seed)))
    names = {"input_names": ["input"], "dynamic_axes": {"input": {0: "n"}}}
    converted = tools.convert(net.eval())
    torch.onnx.export(converted, (torch.zeros(1, 16),), str(folder / "q.onnx"), dynamo=False, opset_version=13, **names)


def test_networks_that_pytorch_quantized(tmp_path):
    """-128 among the weights, biases on the accumulator's grid: the outputs are onnxruntime's."""
    pytest.importorskip("torch")
    torch_file(tmp_path, 8)
    model = taken_whole(tmp_path)
    assert min(int(layer.weight.min()) for layer in model.layers) == -128


def test_compiled_kernels_say_that_they_have_int8_weights_alone(tmp_path):
    """ "native" is refused by name, "auto" runs by NumPy."""
    model = imported(graph(QDQ, **spread(np.uint8, (100, 0, 255)), **GRIDS), tmp_path, ("default",)).model
    with pytest.raises(NativeUnavailable, match="int8 weights, those of layer 'dense0' are int16; take the numpy"):
        Engine(model, backend="native")
    assert Engine(model, backend="auto").backend == "numpy"
