"""Several inputs that are one vector, and branches that are linear between two activations."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

from edge_runtime import ArtifactError, Dense, Elementwise, Engine, load
from edge_runtime.schema import Schema
from export.onnx_reader.reader import import_onnx
from export.onnx_writer import write_onnx
from export.quantization import quantize
from export.verification import verify, verify_import
from tests.command import run_command
from tests.export.foreign import activations, graph, imported
from tests.networks import random_rows

TWO = "float[N,4] obs_0, float[N,2] obs_1"
COLUMNS = "float[N,1] age, float[N,1] height, int64[N,1] rooms"
OBSERVED = ("obs_0_0", "obs_0_1", "obs_0_2", "obs_0_3", "obs_1_0", "obs_1_1")
END = "r = Relu(h) y = Gemm(r, W2, B2)"
JOINED = {
    "at once": (TWO, "j = Concat<axis=1>(obs_0, obs_1) h = Gemm(j, W1, B1)"),
    "in another order": (TWO, "j = Concat<axis=1>(obs_1, obs_0) h = Gemm(j, W1, B1)"),
    "scaled each": (TWO, "a = Sub(obs_0, f4) b = Mul(obs_1, f2) j = Concat<axis=1>(a, b) h = Gemm(j, W1, B1)"),
    "cut": (TWO, "a = Gather<axis=1>(obs_0, few) j = Concat<axis=1>(a, obs_1, a) h = Gemm(j, W1, B1)"),
    "by a product each": (TWO, "a = MatMul(obs_0, w4) b = MatMul(obs_1, w2) h = Add(a, b)"),
    "columns": (COLUMNS, "r0 = Cast<to=1>(rooms) j = Concat<axis=1>(r0, age, height) h = MatMul(j, w3)"),
    "clipped each": (
        TWO,
        "a = Clip(obs_0, lo, hi) b = Clip(obs_1, lo, mid) j = Concat<axis=1>(a, b) h = Gemm(j, W1, B1)",
    ),
    "clipped alike": (
        TWO,
        "a = Mul(obs_0, f4) c = Clip(a, lo, hi) b = Clip(obs_1, lo, hi) j = Concat<axis=1>(b, c) h = Gemm(j, W1, B1)",
    ),
    "one of them clipped": (TWO, "a = Clip(obs_0, lo, hi) j = Concat<axis=1>(obs_1, a) h = Gemm(j, W1, B1)"),
    "one of them bent": (TWO, "a = Relu(obs_0) b = Max(obs_1, f2) j = Concat<axis=1>(a, b) h = Gemm(j, W1, B1)"),
    "one after another": (TWO, "a = Concat<axis=1>(obs_0) j = Concat<axis=1>(a, obs_1) h = Gemm(j, W1, B1)"),
}
LINEAR = {
    "dueling": "a = Gemm(t, V, C) m = ReduceMean<axes=[1], keepdims=1>(a) d = Sub(a, m) v = Gemm(t, U) y = Add(v, d)",
    "heads side by side": "a = Gemm(t, V, C) v = Gemm(t, U) y = Concat<axis=1>(a, v)",
    "scaled copies": "a = Gemm(t, V, C) b = Mul(a, s) e = Mul(a, q) y = Sub(b, e)",
    "an average": "a = Gemm(t, V, C) b = Gemm(t, W2) y = Mean(a, b)",
    "a sum of three": "a = Gemm(t, V, C) b = Gemm(t, W2) e = MatMul(t, W3) y = Sum(a, b, e)",
    "a product plus another": "a = Gemm(t, V, C) y = Gemm(t, W2, a)",
    "a mean without its axis": "a = Gemm(t, V, C) y = ReduceMean<axes=[1], keepdims=0>(a)",
    "a plain mean": "y = ReduceMean<axes=[1], keepdims=1>(t)",
}


def constants(nodes: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    made = {"w4": (4, 5), "w2": (2, 5), "w3": (3, 5), "f4": 4, "f2": 2, "V": (5, 3), "C": 3, "U": (5, 1), "W3": (5, 3)}
    made |= {"s": 3, "q": 3}
    arrays = {name: rng.normal(size=size).astype(np.float32) for name, size in made.items()}
    arrays["few"] = np.array([2, 0])
    arrays |= {"lo": np.float32(-1.5), "hi": np.float32(2.25), "mid": np.float32(0.5)}
    return {name: array for name, array in arrays.items() if re.search(rf"\b{name}\b", nodes)}


def test_one_row_beside_any_number_is_one_row(tmp_path):
    """A file whose parts were exported with and without a free axis can be run on one row; five rows fit no one."""
    nodes = f"j = Concat<axis=1>(obs_0, obs_1) h = Gemm(j, W1, B1) {END}"
    found = imported(graph(nodes, 13, "float[N,4] obs_0, float[1,2] obs_1", "float[N,3] y"), tmp_path)
    assert ([part.rows for part in found.inputs], found.model.n_in) == ([1, 1], 6)
    with pytest.raises(ArtifactError, match=r"different numbers of rows \('obs_0' any number, 'obs_1' 5\)"):
        imported(graph(nodes, 13, "float[N,4] obs_0, float[5,2] obs_1"), tmp_path)


@pytest.mark.parametrize("case", JOINED)
def test_inputs_that_are_joined_become_one_vector(tmp_path, case):
    """In the order of the inputs, whatever is done to each of them before; named after them; int8 to the last bit."""
    source, nodes = JOINED[case]
    found = imported(graph(f"{nodes} {END}", 13, source, **constants(nodes)), tmp_path)
    names = (
        ("age", "height", "rooms") if source is COLUMNS else (*(f"obs_0_{i}" for i in range(4)), "obs_1_0", "obs_1_1")
    )
    assert Schema.of(found.model).feature_names == names
    rows = np.rint(random_rows(300, len(names)) * 4)
    assert verify_import(found.model, tmp_path / "foreign.onnx", rows, imported=found).ok
    int8 = quantize(found.model, rows, "int8")
    write_onnx(int8, tmp_path / "int8.onnx")
    report = verify(int8, tmp_path / "int8.onnx", rows)
    assert report.ok
    assert report.differing == 0
    assert len(onnx.load(tmp_path / "int8.onnx").graph.input) == 1


def test_a_table_is_read_by_the_names_of_the_inputs(tmp_path):
    """import, then run with a CSV whose columns stand in another order, beside one that the model does not know."""
    nodes = f"j = Concat<axis=1>(obs_0, obs_1) h = Gemm(j, W1, B1) {END}"
    onnx.save(graph(nodes, 13, TWO), tmp_path / "m.onnx")
    assert run_command("import", tmp_path / "m.onnx", "--out", tmp_path / "m.npz").exit_code == 0
    x = random_rows(5, 6)
    order = [5, 0, 1, 2, 3, 4]
    lines = [",".join([*(OBSERVED[i] for i in order), "more"])]
    lines += [",".join([*(repr(float(row[i])) for i in order), "7"]) for row in x]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "y.npy"
    assert run_command("run", tmp_path / "m.npz", "--input", tmp_path / "rows.csv", "--output", out).exit_code == 0
    np.testing.assert_array_equal(np.load(out), Engine(load(tmp_path / "m.npz")).run(x))


def test_heads_that_are_clipped_each_are_one_layer_and_limits(tmp_path):
    """A tensor beside its relu, and two heads of which each has its range."""
    for nodes, kinds in (
        ("h = Gemm(x, W1, B1) r = Relu(h) j = Concat<axis=1>(r, h) y = MatMul(j, W10)", [Dense, Elementwise, Dense]),
        ("h = Gemm(x, W1, B1) t = Tanh(h) a = Gemm(t, V, C) b = Gemm(t, U) c = Clip(a, lo, hi) d = Clip(b, lo, mid) "
         "y = Concat<axis=1>(c, d)", [Dense, Dense, Elementwise]),
    ):  # fmt: skip
        more = {"W10": random_rows(10, 3)} if "W10" in nodes else {}
        found = imported(graph(nodes, 13, target="float[N,M] y", **constants(nodes), **more), tmp_path)
        assert [type(layer) for layer in found.model.layers] == kinds


@pytest.mark.parametrize("case", LINEAR)
def test_what_is_linear_between_two_activations_is_one_layer(tmp_path, case):
    """However it is branched: no layer more than the activation asks for, and within the bounds of the file."""
    nodes = f"h = Gemm(x, W1, B1) t = Tanh(h) {LINEAR[case]}"
    found = imported(graph(nodes, 13, target="float[N,M] y", **constants(nodes)), tmp_path)
    assert activations(found) == ["tanh", "linear"]
    rows = random_rows(300, 6)
    int8 = quantize(found.model, rows, "int8")
    write_onnx(int8, tmp_path / "int8.onnx")
    assert verify(int8, tmp_path / "int8.onnx", rows).differing == 0


def test_inputs_of_different_rows_and_branches_that_are_not_linear_are_refused(tmp_path):
    """By what they are."""
    for source, nodes, said in (
        ("float[N,4] obs_0, float[3,2] obs_1", "y = Concat<axis=1>(obs_0, obs_1)", "'obs_0' any number, 'obs_1' 3"),
        (TWO, "r = Tanh(obs_0) y = Concat<axis=1>(r, obs_1)", "branches of which one is not linear"),
        ("float[N,6] x", "h = Gemm(x, W1, B1) r = Relu(h) y = Concat<axis=1>(r, x)", "a product with what none was"),
    ):
        onnx.save(graph(nodes, 13, source, "float[N,6] y"), tmp_path / "m.onnx")
        with pytest.raises(ArtifactError, match=said):
            import_onnx(tmp_path / "m.onnx")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("whole", [False, True], ids=["floats", "whole numbers too"])
@pytest.mark.parametrize("by_column", [False, True], ids=["one scaler", "scalers by column"])
def test_pipelines_of_frames_are_read_with_the_names_of_their_columns(tmp_path, by_column, whole):
    """skl2onnx gives each column of a DataFrame an input of its own, of the column's type."""
    pandas, skl2onnx = pytest.importorskip("pandas"), pytest.importorskip("skl2onnx")
    names = ("compose", "neural_network", "preprocessing")
    compose, neural, pre = (pytest.importorskip(f"sklearn.{name}") for name in names)
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"age": rng.normal(40, 9, 300), "height": rng.normal(170, 9, 300)}).astype(np.float32)
    frame["rooms"] = rng.integers(1, 6, 300).astype(np.int64 if whole else np.float32)
    parts = [("a", pre.StandardScaler(), ["age", "rooms"]), ("b", pre.MinMaxScaler(), ["height"])]
    scaler = compose.ColumnTransformer(parts) if by_column else pre.StandardScaler()
    network = neural.MLPRegressor(hidden_layer_sizes=(8,), max_iter=20, random_state=0)
    pipeline = pytest.importorskip("sklearn.pipeline").make_pipeline(scaler, network).fit(frame, frame["age"])
    (tmp_path / "m.onnx").write_bytes(skl2onnx.to_onnx(pipeline, frame[:1]).SerializeToString())
    found = import_onnx(tmp_path / "m.onnx")
    assert Schema.of(found.model).feature_names == ("age", "height", "rooms")
    assert verify_import(found.model, tmp_path / "m.onnx", frame.to_numpy(np.float32), imported=found).ok
