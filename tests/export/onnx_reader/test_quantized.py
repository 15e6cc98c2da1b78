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

from edge_runtime import Engine, load, save
from edge_runtime.errors import ArtifactError
from export import quantize, read_onnx, verify, verify_import
from export.onnx_writer.pair_saturation import PRECISE, saturating_layers
from export.onnx_writer.writer import write_onnx
from export.verification.onnx_session import make_session
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
    from export.verification.import_check import verify_import

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


NET = "m = MatMul(x, P) h = Add(m, p) r = Relu(h) n = MatMul(r, S) i = Add(n, s) q = Relu(i) o = MatMul(q, T) "
NET += "y = Add(o, t)"


def net_with_biases(folder, seed):
    """MatMul and Add, as Keras and scikit-learn spell it."""
    rng = np.random.default_rng(seed)
    shapes = {"P": (16, 20), "p": (20,), "S": (20, 9), "s": (9,), "T": (9, 3), "t": (3,)}
    constants = {name: (rng.normal(size=shape) / 2).astype(np.float32) for name, shape in shapes.items()}
    proto = graph(NET.replace("(x,", "(input,"), source="float[N,16] input", **constants)
    onnx.save(proto, folder / "float.onnx")
    return folder / "float.onnx"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("operators", [None, ["MatMul"]], ids=["all", "matmul"])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
def test_a_bias_that_is_added_to_codes_or_to_real_values(tmp_path, form, operators, seed):
    """Within a step where a code lies on a tie, and nearly all rows with the very same outputs."""
    source, path = net_with_biases(tmp_path, seed), tmp_path / "q.onnx"
    quantize_static(source, path, Rows(), quant_format=form, op_types_to_quantize=operators)
    found = checked(path, ("default",))
    assert found.model.precision == "int8"
    rows = random_rows(400, 16)
    config = [PRECISE] if saturating_layers(found.int8_products) else []
    theirs = make_session(str(path), config=config).run(None, {"input": rows})[0]
    ours = Engine(found.model).run(rows)
    step = np.ptp(theirs) / 255
    assert (np.abs(ours - theirs) > 0.01 * step).mean() < 0.02
    assert np.abs(ours - theirs).max() < 2 * step


def test_a_bias_right_after_a_product_is_put_on_its_grid(tmp_path):
    """Half a step of the accumulator, which the comparison allows for."""
    nodes = "q = QuantizeLinear(x, u, z) d = DequantizeLinear(q, u, z) w = DequantizeLinear(Q, u) "
    nodes += "m = MatMul(d, w) y = Add(m, C)"
    constants = {"u": np.float32(0.1), "z": np.uint8(3), "Q": np.ones((6, 3), np.int8)}
    found = imported(graph(nodes, C=np.float32([0.013, 0.2, 0.3]), **constants), tmp_path, ("default",))
    np.testing.assert_array_equal(found.model.layers[0].bias, [1, 20, 30])
    np.testing.assert_allclose(found.slack["dense0"], [0.003, 0, 0], atol=2e-4)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("level", ["default", "disabled"])
def test_float_outputs_agree_whether_or_not_the_engine_adds_integers(tmp_path, level, per_channel):
    """Unfused, the last product adds dequantized values and rounds each time: within the bound for float32 sums."""
    quantize_static(
        float_file(tmp_path),
        tmp_path / "q.onnx",
        Rows(),
        per_channel=per_channel,
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
    )
    found = checked(tmp_path / "q.onnx", (level,))
    last = found.model.layers[-1]
    assert last.precision == "int8"
    assert last.output is None
    assert 0 < found.slack[last.name].max() < 1e-4 * np.abs(Engine(found.model).run(random_rows(50, 16))).max()


@pytest.mark.parametrize("per_channel", [False, True])
def test_batch_normalization_that_turns_signs_after_dynamic_quantization(tmp_path, per_channel):
    """A negative factor turns the column's integers, and one of zero leaves its constant."""
    nodes = "m = MatMul(input, V) h = BatchNormalization(m, G, C, M, K) r = Relu(h) y = MatMul(r, U)"
    constants = {"V": normal(16, 5), "C": normal(5), "M": normal(5), "K": np.abs(normal(5)) + 0.1, "U": normal(5, 3)}
    factors = np.float32([1, -1, 0.5, -2, 0])
    onnx.save(graph(nodes, source="float[N,16] input", G=factors, **constants), tmp_path / "f.onnx")
    quantize_dynamic(tmp_path / "f.onnx", tmp_path / "q.onnx", per_channel=per_channel)
    assert checked(tmp_path / "q.onnx").model.precision == "int8-dynamic"


REFUSED = {
    "weights of more than 8 bits": (
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(Q, s, z) y = MatMul(d, w)",
        {"s": np.float32(0.1), "z": np.uint8(3), "Q": np.full((6, 3), 300, np.int16)},
        r"node 'y' \(MatMul, output 'y'\): its integer weights run from 297 to 297 around their zero point, expected 8",
    ),
    "float weights": (
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = MatMul(d, Q)",
        {"s": np.float32(0.1), "z": np.uint8(3), "Q": normal(6, 3)},
        "expected integers, one scale per output",
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
    "a bias beyond int32": (
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) w = DequantizeLinear(Q, s) "
        "m = MatMul(d, w) y = Add(m, C)",
        {"s": np.float32(1e-5), "z": np.uint8(3), "Q": np.ones((6, 3), np.int8), "C": np.float32([1, 0.2, 0.3])},
        r"node 'm' \(MatMul, .*the bias of output 0 is 1e\+10 steps of its products, expected int32 numbers",
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


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
def test_verify_knows_what_the_import_could_not_say_in_integers(tmp_path, form, seed):
    """`verify` of the saved artifact holds the file it was read from to the import's bound, and no other file."""
    path = tmp_path / "q.onnx"
    quantize_static(net_with_biases(tmp_path, seed), path, Rows(), quant_format=form, op_types_to_quantize=["MatMul"])
    save(read_onnx(path), tmp_path / "m.npz")
    report = verify(load(tmp_path / "m.npz"), path, random_rows(600, 16))
    assert (report.form, report.ok, report.rows) == ("foreign", True, 600)
    assert {check.level for check in report.checks} == {"default", "disabled", "engine"}
    assert not verify(load(tmp_path / "m.npz"), net_with_biases(tmp_path, seed), random_rows(600, 16)).ok


def test_dynamic_grids_are_compared_batch_by_batch(tmp_path):
    """More rows than the file is fed at once: both sides find their grids in the same batches."""
    quantize_dynamic(float_file(tmp_path), tmp_path / "q.onnx")
    report = verify_import(read_onnx(tmp_path / "q.onnx"), tmp_path / "q.onnx", random_rows(600, 16))
    assert report.ok
    assert report.max_abs_error < 1e-6
