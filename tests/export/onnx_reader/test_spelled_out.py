"""Activations in several nodes, as exporters spell them, in files that were quantized or halved afterwards."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edge_runtime.errors import ArtifactError
from export import read_onnx
from tests.export.foreign import activations, checked, graph, imported, normal
from tests.networks import random_rows

pytestmark = pytest.mark.filterwarnings("ignore")  # onnxruntime's quantizer uses onnx functions that are going away

SPELLED = {
    "silu": "s = Sigmoid(h) a = Mul(h, s)",
    "gelu": "d = Div(h, ROOT2) e = Erf(d) o = Add(e, ONE) p = Mul(h, o) a = Mul(p, HALF)",
    "mish": "s = Softplus(h) t = Tanh(s) a = Mul(h, t)",
    "hard_swish": "s = HardSigmoid<alpha = 0.1666667>(h) a = Mul(h, s)",
}
NUMBERS = {"ROOT2": np.float32(2**0.5), "ONE": np.float32(1), "HALF": np.float32(0.5), "ZERO": np.float32(0)}


class Rows(CalibrationDataReader):
    """Calibration rows for onnxruntime's quantizer."""

    def __init__(self) -> None:
        self.batches = iter([{"x": random_rows(8, 6, seed)} for seed in range(6)])

    def get_next(self):
        """The next batch, or None."""
        return next(self.batches, None)


def network(name, tail="y = Gemm(a, V2, B2)", dtype=np.float32):
    """6 -> 5, a function in several nodes, and what follows it; constants of `dtype`."""
    constants = {"V1": normal(6, 5), "C1": normal(5), "V2": normal(5, 3), **NUMBERS}
    nodes = f"h = Gemm(x, V1, C1) {SPELLED[name]} {tail}"
    return nodes, {key: np.asarray(value, dtype) for key, value in constants.items()}


@pytest.mark.parametrize("type_", [QuantType.QInt8, QuantType.QUInt8], ids=["int8", "uint8"])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
@pytest.mark.parametrize("name", SPELLED)
def test_a_function_that_was_quantized_piece_by_piece_is_one_table(tmp_path, name, form, type_):
    """Of the 256 codes that the layer before gives: with all the roundings on the way, not one output differs."""
    nodes, constants = network(name)
    rng = np.random.default_rng(1)  # where a value stands beside a tie, engines may differ: the weights are the same
    constants |= {key: rng.normal(size=constants[key].shape).astype(np.float32) / 2 for key in ("V1", "C1", "V2")}
    onnx.save(graph(nodes, **constants), tmp_path / "f.onnx")
    quantize_static(tmp_path / "f.onnx", tmp_path / "q.onnx", Rows(), quant_format=form, activation_type=type_)
    found = checked(tmp_path / "q.onnx", ("default",))
    assert found.model.precision == "int8"
    assert any(layer.table is not None for layer in found.model.layers)


@pytest.mark.parametrize("base", [10.0, 2.0, 0.5])
def test_powers_of_a_number_are_exp_of_a_multiple(tmp_path, base):
    """The way back from log10 of a target is as good as that from its natural logarithm."""
    proto = graph("h = Gemm(x, W1, B1) r = Relu(h) z = Gemm(r, W2, B2) y = Pow(TEN, z)", TEN=np.float32(base))
    model = imported(proto, tmp_path).model
    assert [layer.activation.name for layer in model.layers] == ["relu", "exp"]


def test_such_a_function_at_the_end_is_refused_with_the_reason(tmp_path):
    """Real values that were rounded on the way are no activation and no table of codes."""
    nodes = "q = QuantizeLinear(h, u, z) d = DequantizeLinear(q, u, z) s = Sigmoid(d) "
    nodes += "t = QuantizeLinear(s, u, z) r = DequantizeLinear(t, u, z) a = Mul(d, r) y = Identity(a)"
    proto = graph(f"h = Gemm(x, W, C) {nodes}", W=normal(6, 3), C=normal(3), u=np.float32(0.1), z=np.uint8(128))
    onnx.save(proto, tmp_path / "f.onnx")
    with pytest.raises(ArtifactError, match=r"\(Mul, output 'a'\): it is part of a function whose values are rounded"):
        read_onnx(tmp_path / "f.onnx")


@pytest.mark.parametrize("name", SPELLED)
def test_the_constants_of_an_activation_are_known_in_float16_too(tmp_path, name):
    """sqrt(2) is 1.4141 there; the activation is still the one that was meant."""
    nodes, constants = network(name, dtype=np.float16)
    constants["B2"] = normal(3).astype(np.float16)
    proto = graph(nodes, source="float16[N,6] x", target="float16[N,3] y", **constants)
    found = imported(proto, tmp_path)
    assert found.model.layers[0].activation.name == {"silu": "swish"}.get(name, name)


@pytest.mark.parametrize("number", [1.702, 0.5**0.5, 0.044715])
@pytest.mark.parametrize("after", ["y = MatMul(m, B2)", "s = Sigmoid(m) y = MatMul(s, B2)"])
def test_a_number_of_float16_in_a_plain_product_is_what_stands_there(tmp_path, number, after):
    """An activation's constant is one within the activation: elsewhere 1.7021484375 stays what it is."""
    nodes = f"c = Cast<to = 1>(HALF) h = Gemm(x, V1, C1) m = Mul(h, c) {after}"
    constants = {"V1": normal(6, 5), "C1": normal(5), "B2": normal(5, 3), "HALF": np.float16(number)}
    found = imported(graph(nodes, **constants), tmp_path)
    expected = constants["V1"].astype(np.float64) * float(np.float16(number))
    if "Sigmoid" in after:
        np.testing.assert_allclose(found.model.layers[0].weight, expected, rtol=1e-6)


def test_a_hesitant_softmax_is_not_held_against_a_file_that_rounds_it(tmp_path):
    """onnxruntime's softmax on codes is off by a step and rounds by half of one: sure classes show it."""
    nodes = "h = Gemm(x, V1, C1) r = Relu(h) l = Gemm(r, V2, B2) y = Softmax<axis = -1>(l)"
    constants = {"V1": normal(6, 5, scale=2), "C1": normal(5), "V2": normal(5, 3, scale=8)}
    onnx.save(graph(nodes, **constants), tmp_path / "f.onnx")
    quantize_static(tmp_path / "f.onnx", tmp_path / "q.onnx", Rows())
    found = checked(tmp_path / "q.onnx", ("default",))
    assert len(found.output_grids) == 1


FILLED = {
    "zeros of the batch's shape": "s = Shape(h) o = ConstantOfShape(s) a = Max(h, o)",
    "a number expanded to it": "s = Shape(h) o = Expand(ZERO, s) a = Max(h, o)",
}


@pytest.mark.parametrize("name", FILLED)
def test_a_constant_that_is_repeated_for_every_row_stands_once(tmp_path, name):
    """However many rows there are; max(h, zeros) is relu."""
    constants = {"V1": normal(6, 5), "C1": normal(5), "V2": normal(5, 3), "ZERO": np.float32(0)}
    found = imported(graph(f"h = Gemm(x, V1, C1) {FILLED[name]} y = Gemm(a, V2, B2)", **constants), tmp_path)
    assert found.model.layers[0].activation.name == "relu"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("o = ConstantOfShape(s) t = Shape(o) f = Cast<to = 1>(t) y = Add(h, f)", "constants that are repeated"),
        ("o = ConstantOfShape(s) p = Add(o, ONE) y = Add(h, p)", "constants that are repeated"),
        ("t = Gather(s, I) o = ConstantOfShape(t) y = Add(h, o)", "the number of rows in it"),
    ],
)
def test_what_else_is_made_of_it_is_refused(tmp_path, nodes, message):
    """Its shape has one row here and all of them there, so only arithmetic with a flow may use it."""
    constants = {"W": normal(6, 3), "C": normal(3), "ONE": np.float32(1), "I": np.array([1, 0])}
    proto = graph(f"h = Gemm(x, W, C) s = Shape(h) {nodes}", **constants)
    onnx.save(proto, tmp_path / "f.onnx")
    with pytest.raises(ArtifactError, match=message):
        read_onnx(tmp_path / "f.onnx")


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
def test_a_channel_that_normalization_switches_off_keeps_its_constant(tmp_path, form):
    """Its factor is 0, or so small that quantization makes it 0: the other channels' integers are as they were."""
    factors = np.float32([1, 0, 0.5, 1e-9, 2])
    constants = {"V1": normal(6, 5), "C1": normal(5), "V2": normal(5, 3), "G": factors, "S": normal(5)}
    nodes = "h = Gemm(x, V1, C1) r = Relu(h) m = Mul(r, G) a = Add(m, S) y = Gemm(a, V2, B2)"
    onnx.save(graph(nodes, **constants), tmp_path / "f.onnx")
    quantize_static(tmp_path / "f.onnx", tmp_path / "q.onnx", Rows(), quant_format=form)
    assert checked(tmp_path / "q.onnx", ("default",)).model.precision == "int8"


def test_probabilities_by_number_beside_labels_of_other_names(tmp_path):
    """skl2onnx without class labels in the ZipMap: its keys are positions, the labels are 7, 2 and 5."""
    nodes = "h = Gemm(x, W, C) p = Softmax(h) z = ai.onnx.ml.ZipMap<classlabels_int64s = [0, 1, 2]>(p) "
    nodes += "i = ArgMax<axis = 1, keepdims = 0>(p) l = ai.onnx.ml.ArrayFeatureExtractor(L, i) label = Cast<to = 7>(l)"
    proto = graph(
        nodes, target="int64[N] label, seq(map(int64, float)) z", W=normal(6, 3), C=normal(3), L=np.array([7, 2, 5])
    )
    found = imported(proto, tmp_path)
    assert found.model.class_names == ("7", "2", "5")


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
def test_the_largest_code_is_the_largest_value(tmp_path, form):
    """ArgMax straight after a quantized product: the class is onnxruntime's."""
    nodes = "h = Gemm(x, V1, C1) r = Relu(h) l = Gemm(r, V2, B2) y = ArgMax<axis = 1, keepdims = 0>(l)"
    constants = {"V1": normal(6, 5), "C1": normal(5), "V2": normal(5, 3)}
    onnx.save(graph(nodes, target="int64[N] y", **constants), tmp_path / "f.onnx")
    quantize_static(tmp_path / "f.onnx", tmp_path / "q.onnx", Rows(), quant_format=form)
    found = checked(tmp_path / "q.onnx", ("default",))
    assert found.output_kind == "label"
    assert found.model.precision == "int8"


def test_columns_that_scikit_learn_selects(tmp_path):
    """ArrayFeatureExtractor on the rows themselves: some of them, in another order, one twice."""
    nodes = "c = ai.onnx.ml.ArrayFeatureExtractor(x, I) y = Gemm(c, W, C)"
    found = imported(graph(nodes, I=np.array([[4, 0, 4]]), W=normal(3, 3), C=normal(3)), tmp_path)
    assert (found.model.n_in, found.model.n_out) == (6, 3)


def test_columns_that_are_not_there_are_refused_with_what_to_do(tmp_path):
    """skl2onnx selects among the columns of a DataFrame as if the first held them all, which no engine runs."""
    nodes = "c = ai.onnx.ml.ArrayFeatureExtractor(x, I) y = Gemm(c, W, C)"
    onnx.save(graph(nodes, I=np.array([[0, 6]]), W=normal(2, 3), C=normal(3)), tmp_path / "f.onnx")
    with pytest.raises(ArtifactError, match=r"it takes column 7 of 6, .*; export the pipeline with an array of rows"):
        read_onnx(tmp_path / "f.onnx")


@pytest.mark.parametrize(
    ("step", "advice"),
    [
        ("Imputer<imputed_value_floats=[1.0]>", "fill in missing values before the model, and export the pipeline wi"),
        ("OneHotEncoder<cats_int64s=[0, 1]>", "export the pipeline without this step; its columns of zeros and ones"),
    ],
)
def test_what_prepares_a_table_is_refused_with_what_to_do(tmp_path, step, advice):
    """Chains of products are no help to who has missing cells or categories."""
    onnx.save(graph(f"c = ai.onnx.ml.{step}(x) y = Gemm(c, W1, B1)", target="float[N,5] y"), tmp_path / "f.onnx")
    with pytest.raises(ArtifactError, match=rf"\(ai.onnx.ml.\w+, output 'c'\): not supported; {advice}"):
        read_onnx(tmp_path / "f.onnx")


CODES = "h = Gemm(x, W, C) q = QuantizeLinear(h, u, z) d = DequantizeLinear(q, u, z) "


@pytest.mark.parametrize("zero", [np.uint8(120), np.int8(-8)], ids=["uint8", "int8"])
@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("s = Sigmoid(d) t = QuantizeLinear(s, u, z) f = Cast<to = 1>(t) y = Mul(d, f)", "codes of a quantized"),
        ("t = QuantizeLinear(d, u, z) f = Cast<to = 1>(t) y = Mul(d, f)", "codes of a quantized"),
        ("f = Cast<to = 1>(q) y = Mul(d, f)", "codes of a quantized|expected real values"),
        (
            "s = Sigmoid(d) t = QuantizeLinear(s, u, z) r = DequantizeLinear(t, u, o) y = Mul(d, r)",
            "another zero point",
        ),
    ],
)
def test_codes_are_never_taken_for_numbers(tmp_path, nodes, message, zero):
    """In a branch as little as in a chain: what a code is worth depends on how the file stores it."""
    constants = {"W": normal(6, 3), "C": normal(3), "u": np.float32(0.1), "z": zero, "o": zero + zero.dtype.type(1)}
    onnx.save(graph(CODES + nodes + " ", **constants), tmp_path / "f.onnx")
    with pytest.raises(ArtifactError, match=message):
        read_onnx(tmp_path / "f.onnx")


GATES = {
    "swish": "g = Sigmoid(b)",
    "mish": "p = Softplus(b) g = Tanh(p)",
    "hard_swish": "p = Add(b, THREE) g = Clip(p, ZERO, SIX)",
}
FACTORS = {
    "in the gate": "f = Mul(g, S) m = Mul(b, f) a = Add(m, T)",
    "first in the gate": "f = Mul(S, g) m = Mul(f, b) a = Add(m, T)",
    "beside the input": "f = Mul(b, S) m = Mul(f, g) a = Add(m, T)",
    "on both sides": "f = Mul(b, S) e = Div(g, T) a = Mul(f, e)",
    "twice": "f = Mul(g, S) e = Mul(f, T) m = Mul(b, e) a = Add(m, T)",
    "the same for all": "f = Mul(g, SIX) m = Mul(b, f) a = Add(m, THREE)",
    "after it": "f = Mul(b, g) m = Mul(f, S) a = Add(m, T)",
    "one that is switched off": "f = Mul(g, Z) m = Mul(b, f) a = Add(m, T)",
}


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", GATES)
def test_a_normalization_that_an_optimizer_moved_into_an_activation_is_taken_out(tmp_path, name, factor):
    """As tf2onnx writes Keras' Dense with a BatchNormalization behind it: x * (sigmoid(x) * v) is swish, times v."""
    constants = {
        "S": normal(5) + 1, "T": normal(5) - 2, "Z": np.float32([0, 1, -2, 3, 4]), "THREE": np.float32(3),
        "SIX": np.float32(6), "ZERO": np.float32(0),
    }  # fmt: skip
    nodes = f"h = MatMul(x, W1) n = Mul(h, S) b = Add(n, B1) {GATES[name]} {FACTORS[factor]} y = Gemm(a, W2, B2)"
    used = {key: value for key, value in constants.items() if f"{key}," in nodes or f"{key})" in nodes}
    assert activations(imported(graph(nodes, **used), tmp_path)) == [name, "linear"]


def test_factors_before_the_branches_part_stay_there(tmp_path):
    """They belong to the input of the activation: (b * v) * sigmoid(b * v)."""
    nodes = "h = MatMul(x, W1) b = Add(h, B1) f = Mul(b, S) g = Sigmoid(f) a = Mul(f, g) y = Gemm(a, W2, B2)"
    assert activations(imported(graph(nodes, S=normal(5) + 1), tmp_path)) == ["swish", "linear"]


@pytest.mark.parametrize("nodes", ["f = Mul(b, S) a = Div(f, d)", "f = Mul(d, S) a = Div(b, f)"])
def test_factors_are_taken_out_of_fractions(tmp_path, nodes):
    """b / (1 + exp(-b)), its numerator or its denominator times a number for each feature."""
    nodes = f"h = MatMul(x, W1) b = Add(h, B1) n = Neg(b) e = Exp(n) d = Add(e, ONE) {nodes} y = Gemm(a, W2, B2)"
    found = imported(graph(nodes, S=np.abs(normal(5)) + 1, ONE=np.float32(1)), tmp_path)
    assert activations(found) == ["swish", "linear"]


@pytest.mark.parametrize(
    "nodes",
    [
        "f = Add(g, S) a = Mul(b, f)",
        "f = Mul(g, S) e = Add(f, S) a = Mul(b, e)",
        "n = Neg(b) e = Exp(n) d = Add(e, ONE) f = Mul(d, Z) a = Div(b, f)",
        "e = Mul(b, S) c = Sigmoid(e) a = Mul(b, c)",
        "f = Mul(b, S) c = Mul(f, f) a = Mul(c, b)",
        "f = Mul(g, S) a = Add(b, f)",
    ],
)
def test_factors_that_are_not_the_last_step_of_a_branch_stay_refused(tmp_path, nodes):
    """They have a value of their own for each feature, and no activation has."""
    constants = {"S": normal(5) + 1, "Z": np.float32([0, 1, 2, 3, 4]), "ONE": np.float32(1)}
    nodes = f"h = MatMul(x, W1) b = Add(h, B1) g = Sigmoid(b) {nodes} y = Gemm(a, W2, B2)"
    used = {key: value for key, value in constants.items() if f"{key}," in nodes or f"{key})" in nodes}
    onnx.save(graph(nodes, **used), tmp_path / "f.onnx")
    with pytest.raises(ArtifactError, match=r"residual|no activation of this runtime"):
        read_onnx(tmp_path / "f.onnx")
