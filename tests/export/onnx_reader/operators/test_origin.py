"""No constant that was computed from the number of rows is read as if it stood in the file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_runtime import Engine
from edge_runtime.errors import ArtifactError
from export import read_onnx
from export.onnx_reader.operators.table import FOLDED
from tests.export.foreign import graph, normal

FLOATS = {
    "W": normal(6, 3), "B": normal(3), "one": np.float32([1.5]), "pair": np.float32([0.3, -2]), "square": normal(2, 2),
    "scale": np.float32(0.25), "row": normal(1, 6), "low": np.float32(-1), "high": np.float32(2),
    "few_f": np.float32(4), "column": normal(9), "one3": np.ones(3, np.float32), "w1": normal(6, 1),
}  # fmt: skip
WHOLE = {
    "i0": np.array(0), "i1": np.array([1]), "m": np.array([-1]), "three": np.array([3]), "zero": np.uint8(3),
    "big": np.array([1 << 33]), "few": np.array([4]), "o": np.array(1), "i00": np.array([0]), "two": np.array([2]),
    "thousand": np.array([1000]), "t12": np.array([1, 2]), "last": np.array([-1]), "t0": np.array([], int),
    "billionth": np.array([1e-9]), "halves": np.array([0.5]),
}  # fmt: skip
# From the sizes s, int64 (2,): its name, or v, float (2,), or e, float (rows, 6), to a vector or a matrix of floats.
STEPS = {
    **{f"{name} of v": f"r = {name}(v)" for name in ("Sin", "Cos", "Tan", "Sinh", "Cosh", "Tanh", "Atan", "Round")},
    **{name: f"r = {name}(v)" for name in ("Erf", "Neg", "Abs", "Exp", "Log", "Sqrt", "Reciprocal", "Sign", "Floor")},
    **{name: f"q = Reciprocal(v) r = {name}(q)" for name in ("Asin", "Acos", "Ceil")},
    **{name: f"r = {name}(v)" for name in ("Relu", "LeakyRelu", "Elu", "Sigmoid", "Softplus", "Softsign")},
    **{name: f"r = {name}(v, pair)" for name in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean")},
    **{f"{name} reversed": f"r = {name}(pair, v)" for name in ("Sub", "Div", "Pow")},
    **{
        name: f"c = {name}(v, high) r = Cast<to=1>(c)"
        for name in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")
    },
    **{
        f"{name} over {axes}": f"r = Reduce{name}<axes=[{axes}], keepdims=1>({value})"
        for name in ("Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
        for axes, value in (("0", "v"), ("0, 1", "e"))
    },
    "HardSigmoid": "r = HardSigmoid<alpha=0.01>(v)",
    "ReduceSum": "r = ReduceSum(e)",
    "And": "c = Greater(v, high) d = And(c, c) r = Cast<to=1>(d)",
    "Or": "c = Greater(v, high) d = Or(c, c) r = Cast<to=1>(d)",
    "Not": "c = Greater(v, high) d = Not(c) r = Cast<to=1>(d)",
    "Where as the condition": "c = Greater(v, high) r = Where(c, pair, one)",
    "Where as a value": "c = Greater(pair, high) r = Where(c, pair, v)",
    "Clip of it": "q = Neg(v) r = Clip(q, low, high)",
    "Clip by it": "k = Gather(v, i0) r = Clip(pair, low, k)",
    "Tile": "r = Tile(v, three)",
    "Tile by it": "t = Gather(s, i0) t1 = Reshape(t, i1) q = Tile(pair, t1) r = ReduceSum(q)",
    "Split": "r, rest = Split<axis=0>(v)",
    "Split by it": "r, rest = Split<axis=0>(e)",
    "Softmax": "q = Div(v, few_f) r = Softmax<axis=0>(q)",
    "LogSoftmax": "r = LogSoftmax<axis=0>(v)",
    "QuantizeLinear": "q = QuantizeLinear(v, scale, zero) r = DequantizeLinear(q, scale, zero)",
    "QuantizeLinear by it": "k = Gather(v, i0) q = QuantizeLinear(pair, k, zero) r = Cast<to=1>(q)",
    "DequantizeLinear by it": (
        "k = Gather(v, i0) q = QuantizeLinear(pair, scale, zero) r = DequantizeLinear(q, k, zero)"
    ),
    "MatMul": "r = MatMul(v, square)",
    "MatMul from the left": "r = MatMul(square, v)",
    "MatMul of rows": "r = MatMul(e, W)",
    "Gemm": "w = Reshape(v, t12) r = Gemm(w, square)",
    "Gemm as C": "r = Gemm<beta=0.5>(square, square, v)",
    "Mod": "r = Mod<fmod=1>(v, high)",
    "Mod by it": "r = Mod<fmod=1>(pair, v)",
    "Range": "k = Gather(s, i0) q = Range(i0, k, o) r = Cast<to=1>(q)",
    "Size": "q = Size(e) r = Cast<to=1>(q)",
    "Size of sizes": "q = Size(s) r = Cast<to=1>(q)",
    "Shape of a Range": "k = Gather(s, i0) g = Range(i0, k, o) q = Shape(g) r = Cast<to=1>(q)",
    "the number of features": "q = Slice(s, i1, three) r = Cast<to=1>(q)",
    "the number of rows": "q = Gather(s, i0) r = Cast<to=1>(q)",
    "rows through int8": "q = Cast<to=3>(s) r = Cast<to=1>(q)",
    "rows through float16": "q = Cast<to=10>(s) r = Cast<to=1>(q)",
    "rows through bool": "q = Cast<to=9>(s) r = Cast<to=1>(q)",
    "rows times a part": "d = Cast<to=11>(s) k = Mul(d, billionth) r = Cast<to=1>(k)",
    "rows times a part, compared": "d = Cast<to=11>(s) k = Mul(d, billionth) c = Less(k, halves) r = Cast<to=1>(c)",
    "rows times a negative": "k = Mul(s, m) r = Cast<to=1>(k)",
    "rows times what wraps": "n0 = Slice(s, i00, i1) k = Mul(n0, big) r = Cast<to=1>(k)",
    "rows compared with rows": "c = Equal(s, s) r = Cast<to=1>(c)",
    "rows compared with four": "c = Equal(s, few) r = Cast<to=1>(c)",
    "rows compared with minus one": "c = Equal(s, m) r = Cast<to=1>(c)",
    "the larger of rows and four": "k = Max(s, few) r = Cast<to=1>(k)",
    "a slice that ends at the rows": "k = Slice(s, i00, i1) r = Slice(column, i00, k)",
    "a slice that starts at the rows": "k = Slice(s, i00, i1) r = Slice(column, k, thousand)",
    "picked by whether there are many": "c = Greater(s, few) k = Cast<to=7>(c) r = Gather(pair, k)",
    "a shape that depends on it": "c = Greater(s, few) k = Cast<to=7>(c) p = Add(k, i1) r = ConstantOfShape(p)",
    "an expansion by two of it": "k = Mul(s, i1) a = Cast<to=1>(k) g = Gather(a, i0) r = Expand(g, s)",
    "a concatenation": "k = Gather(s, i0) t = Reshape(k, i1) q = Concat<axis=0>(three, t, s) r = Cast<to=1>(q)",
    "moved about": (
        "a = Unsqueeze(s, i00) b = Transpose(a) c = Flatten(b) d = Squeeze(c) q = Identity(d) r = Cast<to=1>(q)"
    ),
    "filled with it": "r = ConstantOfShape(s)",
    "one row, repeated": "r = Expand(row, s)",
}  # fmt: skip
ENDS = {
    "weight": "w = Mul(W, n) y = MatMul(x, w)",
    "bias": "y = Gemm(x, W, n1)",
    "added": "h = MatMul(x, W) y = Add(h, n)",
    "factor": "h = MatMul(x, W) y = Mul(n, h)",
    "divisor": "h = MatMul(x, W) y = Div(h, n)",
    "batch normalization": "n3 = Expand(n1, three) h = MatMul(x, W) y = BatchNormalization(h, n3, B, B, one3)",
    "clip": "h = MatMul(x, W) y = Clip(h, low, n)",
    "alpha": "h = MatMul(x, W) y = PRelu(h, n1)",
    "scale": "q = QuantizeLinear(x, n, zero) d = DequantizeLinear(q, n, zero) y = MatMul(d, W)",
    "zero point": (
        "z = Cast<to=2>(n) q = QuantizeLinear(x, scale, z) d = DequantizeLinear(q, scale, z) y = MatMul(d, W)"
    ),
    "as it is": "h = MatMul(x, W) h2 = Concat<axis=1>(h, h) y = Add(h2, r)",
}
FREE_OF_ROWS = ("the number of features", "rows compared with minus one")
START = "s = Shape(x) v = Cast<to=1>(s) e = Expand(row, s)"
LAST = "flat = Reshape(r, last) n1 = ReduceMax<axes=[0], keepdims=1>(flat) n = Reshape(n1, t0)"
X = normal(7, 6, scale=2)


def sub_graph(nodes: str) -> onnx.ModelProto:
    """A graph of the constants that its nodes name."""
    words = set(re.findall(r"\w+", nodes))
    return graph(nodes, opset=14, **{name: value for name, value in {**FLOATS, **WHOLE}.items() if name in words})


def after(first: str, second: str) -> str:
    """The second step, on what the first one ends with."""
    made = set(re.findall(r"(\w+)(?:, \w+)? =", first))
    apart = re.sub(r"\w+", lambda word: f"f_{word[0]}" if word[0] in made else word[0], first)
    joint = "f_flat = Reshape(f_r, last) f_max = ReduceMax<axes=[0], keepdims=1>(f_flat) f_v = Expand(f_max, two)"
    on_it = re.sub(r"\bv\b", "f_v", second)
    return f"{apart} {joint} {on_it}"


def outputs(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray | None:
    """What onnxruntime computes, if it does."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(["y"], {"x": x})[0]
    except Exception:  # its exception types are private to its compiled module
        return None


def verdict(nodes: str, folder: Path) -> str:
    """ "refused" with a node's name; "right" at every number of rows; "idle" if onnxruntime cannot run it either."""
    proto = sub_graph(nodes)
    (folder / "f.onnx").write_bytes(proto.SerializeToString())
    expected = {rows: outputs(proto, X[:rows]) for rows in (1, 2, 3, 7)}
    try:
        model = read_onnx(folder / "f.onnx")
    except ArtifactError as error:
        is_named = re.search(r"node '\w+' \(\w+, output", str(error))
        return "idle" if all(found is None for found in expected.values()) else "refused" if is_named else str(error)
    for rows, theirs in expected.items():
        if theirs is not None and np.isfinite(theirs).all():
            ours = Engine(model).run(X[:rows])
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4, err_msg=f"{nodes}: {rows} rows")
    return "right"


@pytest.mark.parametrize("step", STEPS)
def test_what_is_computed_from_the_rows_is_read_right_or_refused(tmp_path, step):
    """In every place of a layer that takes a constant: at 1, 2, 3 and 7 rows the model gives what onnxruntime gives."""
    found = {end: verdict(f"{START} {STEPS[step]} {LAST} {nodes}", tmp_path) for end, nodes in ENDS.items()}
    assert "refused" in found.values() or step in FREE_OF_ROWS, found
    assert set(found.values()) <= {"refused", "right", "idle"}, found
    assert ("right" in found.values()) == (step in (*FREE_OF_ROWS, "filled with it", "one row, repeated")), found


@pytest.mark.parametrize("seed", range(40))
def test_two_operators_after_one_another_lose_no_origin(tmp_path, seed):
    """Any two steps, in any place: the second takes what the first ends with, which is never read as a number."""
    rng = np.random.default_rng(seed)
    first, second = (list(STEPS)[rng.integers(len(STEPS))] for _ in range(2))
    end = list(ENDS)[rng.integers(len(ENDS))]
    nodes = f"{START} {after(STEPS[first], STEPS[second])} {LAST} {ENDS[end]}"
    assert verdict(nodes, tmp_path) in ("refused", "right", "idle")


def test_every_operator_that_is_folded_is_tried():
    """A new one has to be added to the steps."""
    named = set(re.findall(r"= (\w+)", " ".join(STEPS.values())))
    assert {operator for _, operator in FOLDED} <= named


ASKEW = {
    "a vector as long as there are rows": "k = Slice(s, i00, i1) c = Expand(one, k) h = MatMul(x, W) y = Add(h, c)",
    "a column beside a turned row": (
        "k = Slice(s, i00, i1) k1 = Concat<axis=0>(k, i1) c = Expand(one, k1) h = MatMul(x, w1) t = Transpose(h) "
        "g = Add(t, c) y = Transpose(g)"
    ),
    "rows in front of rows": "k = Slice(s, i00, three) c = ConstantOfShape(k) h = Unsqueeze(x, i1) y = Add(h, c)",
}


@pytest.mark.parametrize("name", ASKEW)
def test_constants_for_every_row_stand_beside_the_rows(tmp_path, name):
    """Along another axis they would make a square of rows, or fit one number of rows alone."""
    proto = sub_graph(f"s = Shape(x) {ASKEW[name]}")
    onnx.save(proto, tmp_path / "f.onnx")
    with pytest.raises(ArtifactError, match="repeated along another axis than that of the rows"):
        read_onnx(tmp_path / "f.onnx")


@pytest.mark.parametrize(
    "nodes",
    [
        "c = ConstantOfShape(s) d = Add(c, one) y = Add(x, d)",
        "c = ConstantOfShape(s) y = PRelu(x, c)",
        "c = Expand(row, s) y = Identity(c)",
        "c = Expand(row, s) t = Transpose(c) y = MatMul(x, t)",
    ],
)
def test_constants_for_every_row_go_into_arithmetic_with_a_flow_alone(tmp_path, nodes):
    """They stand here once, so that their shape, their sum or a product with them is not that of the file."""
    onnx.save(sub_graph(f"s = Shape(x) {nodes}"), tmp_path / "f.onnx")
    with pytest.raises(ArtifactError, match="repeated for every row; only arithmetic with a flow may"):
        read_onnx(tmp_path / "f.onnx")
