"""Files that are quantized already: the integers come over, and the outputs are onnxruntime's own."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from edge_runtime.errors import ArtifactError
from export import quantize, read_onnx
from export.onnx_writer import write_onnx
from tests.export.foreign import checked, graph, imported, normal
from tests.networks import random_model, random_rows

pytestmark = pytest.mark.filterwarnings("ignore")  # onnxruntime's quantizer uses onnx functions that are going away


class Rows(CalibrationDataReader):
    """Calibration rows for onnxruntime's quantizer."""

    def __init__(self) -> None:
        self.batches = iter([{"input": random_rows(8, 16, seed)} for seed in range(6)])

    def get_next(self):
        """The next batch, or None."""
        return next(self.batches, None)


def float_file(folder, activations=("relu", "relu", "linear"), standardize=False, seed=0):
    model = random_model([16, 12, 9, 3], activations, standardize=standardize, seed=seed)
    write_onnx(model, folder / "float.onnx")
    return folder / "float.onnx"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("type_", [QuantType.QInt8, QuantType.QUInt8], ids=["int8", "uint8"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
def test_static_quantization_gives_the_same_bits(tmp_path, form, per_channel, type_, seed):
    """QDQ and QGemm files, either activation type, per tensor and per channel: not one output differs."""
    source = float_file(tmp_path, seed=seed)
    quantize_static(
        source, tmp_path / "q.onnx", Rows(), quant_format=form, per_channel=per_channel, activation_type=type_
    )
    found = checked(tmp_path / "q.onnx", ("default",))
    assert found.model.precision == "int8"
    from export.import_check import verify_import

    check = verify_import(found.model, tmp_path / "q.onnx", imported=found).checks[0]
    assert (check.max_abs_error, check.largest_bound) == (0.0, 0.0)


@pytest.mark.parametrize(
    "activations", [("relu", "sigmoid", "softmax"), ("leaky_relu", "sigmoid", "linear")], ids="-".join
)
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
def test_tables_and_rounded_probabilities(tmp_path, activations, form):
    """A sigmoid between two grids becomes a table; probabilities that the file rounds stay within that step."""
    quantize_static(float_file(tmp_path, activations), tmp_path / "q.onnx", Rows(), quant_format=form)
    model = checked(tmp_path / "q.onnx", ("default",)).model
    assert any(getattr(layer, "table", None) is not None for layer in model.layers)


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
def test_quantized_standardization(tmp_path, form):
    """Its multiplication stands between two grids: a layer of its own, with exact integers."""
    quantize_static(float_file(tmp_path, standardize=True), tmp_path / "q.onnx", Rows(), quant_format=form)
    assert checked(tmp_path / "q.onnx", ("default",)).model.precision == "int8"


@pytest.mark.parametrize("per_channel", [False, True])
def test_dynamic_quantization(tmp_path, per_channel):
    """MatMulInteger with DynamicQuantizeLinear becomes an int8-dynamic model."""
    quantize_dynamic(float_file(tmp_path), tmp_path / "q.onnx", per_channel=per_channel)
    found = checked(tmp_path / "q.onnx")
    assert found.model.precision == "int8-dynamic"


@pytest.mark.parametrize("form", ["integer", "qgemm", "qdq"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "gelu", "leaky_relu"])
def test_this_projects_own_int8_files_come_back_bit_by_bit(tmp_path, form, activation):
    """All three forms, tables included: the same int8 weights, and no output differs."""
    rows = random_rows(100, 16)
    model = quantize(random_model([16, 12, 9, 3], [activation, "relu", "linear"]), rows, "int8", "minmax")
    write_onnx(model, tmp_path / "q.onnx", form)
    if form != "integer" and activation == "leaky_relu":
        form = "loose"  # a float activation between two grids
    found = checked(tmp_path / "q.onnx", ("default",))
    for before, after in zip(model.layers, found.model.layers, strict=True):
        np.testing.assert_array_equal(before.weight, after.weight)
        np.testing.assert_array_equal(before.bias, after.bias)


def test_float16_weights_stay_float16(tmp_path):
    """Stored as halves and widened: the halves are stored here too."""
    write_onnx(quantize(random_model([16, 12, 3], ["relu", "softmax"]), None, "float16"), tmp_path / "h.onnx")
    assert checked(tmp_path / "h.onnx").model.precision == "float16"


def test_a_file_that_computes_in_float16(tmp_path):
    """Every tensor a half: the model keeps the weights, and agrees as far as halves can."""
    nodes = "c = Cast<to=10>(x) h = Gemm(c, V, C) r = Relu(h) g = Gemm(r, U) y = Cast<to=1>(g)"
    halves = {"V": normal(6, 5), "C": normal(5), "U": normal(5, 3)}
    found = imported(graph(nodes, **{key: value.astype(np.float16) for key, value in halves.items()}), tmp_path)
    assert found.model.precision == "float16"
    assert found.computes_in_half


def test_weights_alone_quantized_give_a_float_model(tmp_path):
    """DequantizeLinear of constants, by axis, transposed on the way: the real weights."""
    nodes = "w = DequantizeLinear<axis=0>(Q, s, z) t = Transpose(w) y = MatMul(x, t)"
    codes = np.arange(18, dtype=np.uint8).reshape(3, 6)
    zero = np.array([1, 2, 3], np.uint8)
    # at its default level, onnxruntime before 1.24 ends the whole process on this graph (an assertion in its optimizer)
    levels = ("default", "disabled") if _release(onnxruntime.__version__) >= (1, 24) else ("disabled",)
    found = imported(graph(nodes, Q=codes, s=np.float32([0.1, 0.2, 0.3]), z=zero), tmp_path, levels)
    assert found.model.precision == "float32"


def _release(version):
    return tuple(int(part) for part in version.split(".")[:2])


REFUSED = {
    "asymmetric weights": (
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(Q, s, z) y = MatMul(d, w)",
        {"s": np.float32(0.1), "z": np.uint8(3), "Q": np.full((6, 3), 250, np.uint8)},
        "integer weights run from",
    ),
    "float weights": (
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = MatMul(d, Q)",
        {"s": np.float32(0.1), "z": np.uint8(3), "Q": normal(6, 3)},
        "weights that are not integers",
    ),
    "another zero point": (
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, o) w = DequantizeLinear(Q, s) y = MatMul(d, w)",
        {"s": np.float32(0.1), "z": np.uint8(3), "o": np.uint8(4), "Q": np.ones((6, 3), np.int8)},
        "zero point 3 are read as if",
    ),
    "int16 codes": (
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(Q, s) y = MatMul(d, w)",
        {"s": np.float32(0.1), "z": np.int16(3), "Q": np.ones((6, 3), np.int8)},
        "quantizes to int16",
    ),
    "a bias between the steps": (
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(Q, s) "
        "m = MatMul(d, w) y = Add(m, C)",
        {"s": np.float32(0.1), "z": np.uint8(3), "Q": np.ones((6, 3), np.int8), "C": np.float32([0.013, 0.2, 0.3])},
        "expected whole int32 numbers",
    ),
    "scale of zero": (
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(Q, s) y = MatMul(d, w)",
        {"s": np.float32(0), "z": np.uint8(3), "Q": np.ones((6, 3), np.int8)},
        "scale is 0.0",
    ),
    "codes as numbers": (
        "q = QuantizeLinear(x, s, z) c = Cast<to=1>(q) y = MatMul(c, V)",
        {"s": np.float32(0.1), "z": np.uint8(3), "V": normal(6, 3)},
        "codes of a quantized tensor",
    ),
}


@pytest.mark.parametrize(("nodes", "constants", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_integers_that_this_runtime_has_not_are_refused_with_the_reason(tmp_path, nodes, constants, expected):
    """Rather than rounded into something that would give other numbers."""
    onnx.save(graph(nodes, **constants), tmp_path / "q.onnx")
    with pytest.raises(ArtifactError, match=expected):
        read_onnx(tmp_path / "q.onnx")
