"""LayerNorm, RMSNorm and L2 normalization, by operator and in every spelling, float, quantized here and by others."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantFormat, quantize_static

from edge_runtime import ArtifactError, Engine, LayerNorm, Model
from export import read_onnx, write_onnx
from export.onnx_reader.operators.row_values import TINIEST, normalization
from tests.export.foreign import checked, graph, imported, normal
from tests.export.onnx_reader.test_exporters import int8_without_a_difference
from tests.export.onnx_reader.test_spelled_out import NUMBERS as SPELLED_NUMBERS
from tests.export.onnx_reader.test_spelled_out import SPELLED, Rows
from tests.networks import random_model, random_rows

pytestmark = pytest.mark.filterwarnings("ignore")  # exporters and onnxruntime's quantizer warn about themselves

MEAN, VARIANCE = "m = ReduceMean<axes=[-1]>(h) d = Sub(h, m)", "p = Mul(d, d) v = ReduceMean<axes=[-1]>(p)"
ROOT = "e = Add(v, EPS) s = Sqrt(e) i = Reciprocal(s)"
LAYER_NORMS = {
    "operator": "n = LayerNormalization<axis=-1, epsilon=0.001>(h, G, B)",
    "operator without a bias": "n = LayerNormalization<axis=1>(h, G)",
    "torch, wake words": f"{MEAN} p = Pow(d, TWO) v = ReduceMean<axes=[-1]>(p) e = Add(v, EPS) s = Sqrt(e) "
    "q = Div(d, s) g = Mul(q, G) n = Add(g, B)",
    "by the reciprocal": f"{MEAN} {VARIANCE} {ROOT} q = Mul(i, d) g = Mul(q, G) n = Add(g, B)",
    "Keras": f"{MEAN} {VARIANCE} {ROOT} j = Mul(i, G) c = Neg(m) a = Mul(c, j) b = Add(a, B) k = Mul(h, j) "
    "n = Add(k, b)",
    "TensorFlow": f"{MEAN} {VARIANCE} {ROOT} j = Mul(i, G) a = Mul(m, j) b = Sub(B, a) k = Mul(h, j) n = Add(k, b)",
    "JAX": f"{MEAN} p = Mul(h, h) o = ReduceMean<axes=[-1]>(p) t = Mul(m, m) u = Sub(o, t) v = Max(u, ZERO) {ROOT} "
    "j = Mul(i, G) k = Mul(d, j) n = Add(k, B)",
    "by sums": "z = ReduceSum<keepdims=1>(h, LAST) m = Div(z, FIVE) d = Sub(h, m) p = Mul(d, d) "
    "o = ReduceSum<keepdims=1>(p, LAST) v = Mul(o, FIFTH) e = Add(v, EPS) s = Sqrt(e) n = Div(d, s)",
    "without keepdims": "m = ReduceMean<axes=[1], keepdims=0>(h) w = Unsqueeze(m, LAST) d = Sub(h, w) p = Mul(d, d) "
    "o = ReduceMean<axes=[1], keepdims=0>(p) v = Unsqueeze(o, LAST) e = Add(v, EPS) s = Sqrt(e) n = Div(d, s)",
}
OTHERS = {
    "RMSNorm": "p = Pow(h, TWO) v = ReduceMean<axes=[-1]>(p) e = Add(v, EPS) s = Sqrt(e) i = Div(ONE, s) q = Mul(h, i) "
    "n = Mul(q, G)",
    "torch's normalize": "o = ReduceL2<axes=[1], keepdims=1>(h) c = Clip(o, TINY) z = Shape(h) w = Expand(c, z) "
    "n = Div(h, w)",
    "TensorFlow's l2_normalize": "p = Mul(h, h) o = ReduceSum<keepdims=1>(p, LAST) c = Max(o, TINY) s = Sqrt(c) "
    "i = Reciprocal(s) n = Mul(h, i)",
    "LpNormalization": "n = LpNormalization<axis=-1, p=2>(h)",
    "scikit-learn's Normalizer": 'n = ai.onnx.ml.Normalizer<norm="L2">(h)',
    "by ReduceSumSquare": "o = ReduceSumSquare<axes=[1]>(h) e = Add(o, EPS) s = Sqrt(e) n = Div(h, s)",
}
NUMBERS = {name: np.float32(value) for name, value in {"TWO": 2, "ONE": 1, "ZERO": 0, "FIVE": 5, "FIFTH": 0.2}.items()}
NUMBERS |= {
    "EPS": np.float32(1e-5),
    "TINY": np.float32(1e-12),
    "LAST": np.array([1]),
    "G": normal(5) + 1,
    "B": normal(5),
}
PLACES = {
    "behind a product": ("h = Gemm(x, W1, B1)", "r = Relu(n) y = Gemm(r, W2, B2)", ["Dense", "LayerNorm", "Dense"]),
    "behind a function": ("f = Gemm(x, W1, B1) h = Tanh(f)", "y = Gemm(n, W2, B2)", ["Dense", "LayerNorm", "Dense"]),
    "at the end": ("h = Gemm(x, W1, B1)", "y = Identity(n)", ["Dense", "LayerNorm"]),
}


def normalized(nodes, head, tail, **more):
    """A graph of 6 features, 5 of which are normalized."""
    text = f"{head} {nodes} {tail}"
    used = {name: value for name, value in NUMBERS.items() if f"{name}," in text or f"{name})" in text}
    return graph(text, 17 if "LayerN" in nodes else 13, **used, **more)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", [*LAYER_NORMS, *OTHERS])
def test_a_normalization_is_one_layer_however_it_is_spelled(tmp_path, name, place):
    """With onnxruntime's outputs within the bound of the layer; a mean is taken off where the file does."""
    head, tail, kinds = PLACES[place]
    found = imported(normalized({**LAYER_NORMS, **OTHERS}[name], head, tail), tmp_path)
    assert [type(layer).__name__ for layer in found.model.layers] == kinds
    norm = found.model.layers[1]
    assert norm.centered == (name in LAYER_NORMS)
    expected = 0.001 if name == "operator" else 2e-6 if "Square" in name else 1e-5
    assert norm.epsilon == pytest.approx(expected if "ize" not in name and "Lp" not in name else TINIEST, rel=1e-6)


def test_a_normalization_of_the_input(tmp_path):
    """The first layer of a model, with a select of its values behind it."""
    nodes = "n = LayerNormalization(x, G6) c = Gather<axis=1>(n, FEW) y = Gemm(c, W2)"
    found = imported(graph(nodes, 17, G6=normal(6) + 1, FEW=np.array([4, 0, 1, 3, 2])), tmp_path)
    assert isinstance(found.model.layers[0], LayerNorm)


@pytest.mark.parametrize("name", ["operator", "torch, wake words", "RMSNorm"])
def test_int8_of_a_normalized_network_has_no_value_that_differs(tmp_path, name):
    """But for those beside a tie, which the check bounds."""
    nodes = {**LAYER_NORMS, **OTHERS}[name]
    imported(normalized(nodes, "h = Gemm(x, W1, B1)", "r = Relu(n) y = Gemm(r, W2, B2)"), tmp_path)
    int8_without_a_difference(tmp_path / "foreign.onnx", tmp_path, random_rows(64, 6))


QUANTIZED = [("operator", None), ("operator", ["Gemm"]), ("torch, wake words", ["Gemm", "Relu"])]


@pytest.mark.parametrize(("name", "kinds"), QUANTIZED)
def test_a_file_that_onnxruntime_quantized_around_its_normalization(tmp_path, name, kinds):
    """It stays between real values, as in the file: those of the codes before it, and those that become codes after."""
    rng = np.random.default_rng(4)
    arrays = {
        key: rng.normal(size=size).astype(np.float32) / 2 for key, size in (("V", (6, 5)), ("C", 5), ("U", (5, 3)))
    }
    arrays |= {"G": rng.normal(size=5).astype(np.float32) + 1, "B": rng.normal(size=5).astype(np.float32)}
    text = f"h = Gemm(x, V, C) {LAYER_NORMS[name]} r = Relu(n) y = Gemm(r, U, B2)"
    used = {key: value for key, value in NUMBERS.items() if f"{key}," in text or f"{key})" in text}
    onnx.save(graph(text, 17 if name == "operator" else 13, **{**used, **arrays}), tmp_path / "f.onnx")
    quantize_static(tmp_path / "f.onnx", tmp_path / "q.onnx", Rows(), QuantFormat.QDQ, op_types_to_quantize=kinds)
    found = checked(tmp_path / "q.onnx", ("default",))
    assert found.model.precision == "int8"
    assert sum(isinstance(layer, LayerNorm) for layer in found.model.layers) == 1


@pytest.mark.parametrize("name", ["silu", "mish", "gelu"])
def test_a_function_between_grids_right_behind_a_normalization_is_a_table(tmp_path, name):
    """It has no product before it whose codes it could take: a layer of ones keeps its table."""
    text = f"k = Gemm(x, V, C) h = LayerNormalization<axis=-1>(k, G, B) {SPELLED[name]} y = Gemm(a, U, B2)"
    rng = np.random.default_rng(4)
    sizes = {"V": (6, 5), "C": 5, "U": (5, 3), "G": 5, "B": 5}
    arrays = {key: rng.normal(size=size).astype(np.float32) for key, size in sizes.items()}
    more = {key: value for key, value in SPELLED_NUMBERS.items() if f"{key}," in text or f"{key})" in text}
    onnx.save(graph(text, 17, **arrays, **more), tmp_path / "f.onnx")
    quantize_static(tmp_path / "f.onnx", tmp_path / "q.onnx", Rows(), QuantFormat.QDQ)
    found = checked(tmp_path / "q.onnx", ("default",))
    (norm,) = (place for place, layer in enumerate(found.model.layers) if isinstance(layer, LayerNorm))
    ones = found.model.layers[norm + 1]
    np.testing.assert_array_equal(ones.weight, np.eye(5))
    assert (ones.table is not None, ones.input) == (True, ones.output)


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("opset", [13, 17, 18])
def test_pytorch_normalizations_come_out_of_its_exporters(tmp_path, dynamo, opset):
    """LayerNorm, RMSNorm and normalize, as either exporter writes them in old and new opsets."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if dynamo and opset < 18:
        opset += 5
    torch.manual_seed(0)

    class RMSNorm(torch.nn.RMSNorm):
        """As it is written out where an exporter does not know it."""

        def forward(self, x):
            """x / sqrt(mean of squares + epsilon) * weight."""
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight

    class Net(torch.nn.Module):
        """A wake word's head in small, with an embedding of length 1."""

        def __init__(self):
            super().__init__()
            rms = (torch.nn.RMSNorm if dynamo else RMSNorm)(16)
            self.body = torch.nn.Sequential(
                torch.nn.Flatten(), torch.nn.Linear(24, 16), torch.nn.LayerNorm(16), torch.nn.ReLU(),
                torch.nn.Linear(16, 16), rms, torch.nn.GELU(), torch.nn.Linear(16, 6),
            )  # fmt: skip

        def forward(self, x):
            """Rows (n, 4, 6) to rows of length 1."""
            return torch.nn.functional.normalize(self.body(x), dim=1)

    path = tmp_path / "torch.onnx"
    torch.onnx.export(Net().eval(), (torch.zeros(1, 4, 6),), str(path), dynamo=dynamo, opset_version=opset)
    layers = checked(path).model.layers
    assert [type(layer).__name__ for layer in layers] == ["Dense", "LayerNorm"] * 3


REFUSED = {
    "by a deviation": (f"{MEAN} {VARIANCE} s = Sqrt(v) e = Add(s, EPS) n = Div(d, e)", "a number of their row"),
    "by the largest": ("p = Abs(h) m = ReduceMax<axes=[1]>(p) n = Div(h, m)", "divides by what is no part of softmax"),
    "of absolute values": ("p = Abs(h) v = ReduceMean<axes=[1]>(p) n = Div(h, v)", "a number of their row"),
    "of L1": ("n = LpNormalization<p=1>(h)", "expected p = 2"),
    "over the rows": ("n = LayerNormalization<axis=0>(h, G)", "whole rows"),
    "with an epsilon that is a limit": (
        "o = ReduceL2<axes=[1], keepdims=1>(h) c = Clip(o, ONE) n = Div(h, c)", "a number of their row"
    ),
    "by groups": ("n = GroupNormalization<num_groups=1>(h, G, B)", "GroupNormalization"),
    "left as it is": (f"{MEAN} {VARIANCE} {ROOT} n = Mul(h, i)", "a number of their row"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_almost_a_normalization_is_refused(tmp_path, name):
    """By its node, with what would be read."""
    nodes, words = REFUSED[name]
    path = tmp_path / "f.onnx"
    proto = normalized(nodes, "h = Gemm(x, W1, B1)", "y = Gemm(n, W2, B2)")
    proto.opset_import[0].version = 18 if "Group" in nodes else proto.opset_import[0].version
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ArtifactError, match=words):
        read_onnx(path)


@pytest.mark.parametrize("epsilon", [0.0, 1e-12, 1e-5, 0.5])
@pytest.mark.parametrize("centered", [True, False])
def test_parameters_are_read_off_the_function(epsilon, centered):
    """gamma, beta and epsilon to a millionth, whatever computes the values; rows of zeros stay what they become."""
    rng = np.random.default_rng(1)
    gamma, beta = rng.normal(size=7), rng.normal(size=7)

    def call(x):
        d = x - x.mean(axis=1, keepdims=True) if centered else x
        return d / np.sqrt(np.square(d).mean(axis=1, keepdims=True) + epsilon) * gamma + beta

    *center, normalize, after = normalization(call, 7)
    assert len(center) == centered
    assert normalize.epsilon == pytest.approx(epsilon, rel=1e-6)
    np.testing.assert_allclose(after.scale, gamma, rtol=1e-6)
    np.testing.assert_allclose(after.shift, beta, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("activation", ["linear", "tanh"])
@pytest.mark.parametrize("centered", [True, False])
def test_rows_of_one_feature_are_normalized_too(tmp_path, centered, activation):
    """Our own file of such a layer is read back, with its bits."""
    first, second = random_model([3, 1, 2], ["relu", "linear"]).layers
    norm = LayerNorm("norm", np.float32([2.5]), np.float32([0.75]), 2.0**-17, activation, centered=centered)
    model = Model((first, norm, second))
    write_onnx(model, tmp_path / "m.onnx")
    again = read_onnx(tmp_path / "m.onnx")
    assert len(again.layers) == 3
    rows = random_rows(50, 3)
    np.testing.assert_array_equal(Engine(again).run(rows), Engine(model).run(rows))
