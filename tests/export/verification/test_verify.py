from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_runtime import Activation, ArtifactError, BudgetExceeded, Dense, Engine, InputError, Limits, Model
from export.onnx_writer.writer import to_onnx, write_onnx
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from export.verification.foreign_session import ForeignSession
from export.verification.verify import _Sessions, verify
from tests.export.foreign import graph
from tests.networks import random_model, random_rows

PRECISIONS = ["float32", "float16", "int8"]
ACTIVATIONS = [
    ["relu", "softmax"],
    ["sigmoid", "tanh", "linear"],
    ["leaky_relu", "linear", "sigmoid"],
    ["softmax"],
    ["relu"] * 19 + ["tanh"],
]


def small(precision, activations, seed=0, n_in=13, n_out=5):
    sizes = [n_in, *([11] * (len(activations) - 1)), n_out]
    model = random_model(sizes, activations, seed=seed, standardize=True, weight_scale=1.4)
    return quantize(model, random_rows(200, n_in), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("activations", ACTIVATIONS, ids=lambda names: "-".join(names[:3]))
def test_what_is_written_computes_what_was_meant(tmp_path, precision, activations):
    """Every tensor keeps its rule at both levels; for int8 not one bit of a hidden tensor or a logit differs."""
    model = small(precision, activations)
    write_onnx(model, tmp_path / "m.onnx")
    report = verify(model, tmp_path / "m.onnx", random_rows(300, 13, seed=3) * 2)
    assert report.ok, report.first_diverging_layer
    assert report.rows == 300
    assert {check.level for check in report.checks} == {"default", "disabled", "engine"}
    if precision == "int8":
        assert report.decisions_changed == 0
        assert report.exact_compared > 0
        assert report.exact_differing == 0


@pytest.mark.parametrize("rows", [np.full((1, 13), np.inf), np.full((1, 13), -np.inf), np.full((2, 13), np.nan)])
def test_infinities_and_nan_give_the_same_int8_bits(tmp_path, rows):
    """Saturation and NaN follow one rule in both engines."""
    model = small("int8", ["relu", "softmax"])
    model = replace(model, preprocessing=None)
    write_onnx(model, tmp_path / "m.onnx")
    assert verify(model, tmp_path / "m.onnx", rows).ok


@pytest.mark.parametrize("activation", ["gelu", "swish", "mish", "softplus", "elu"])
def test_infinities_before_a_layer_in_floats_are_no_difference(tmp_path, activation):
    """gelu of an infinity is NaN in one spelling and an infinity in the other: the next grid takes either."""
    model, rows = random_model([13, 11, 7, 5], [activation, "relu", "softmax"]), random_rows(40, 13)
    mixed = quantize(model, rows, "int8", keep={"dense0": "float32"})
    rows[::2, 3], rows[::3, 5] = np.inf, -np.inf
    for each in (model, mixed):
        write_onnx(each, tmp_path / "m.onnx")
        report = verify(each, tmp_path / "m.onnx", rows)
        assert report.ok, report.first_diverging_layer


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_answers_are_the_same_under_limits(tmp_path, precision):
    """The engine that runs on the device is compared too, in blocks, lean, or within a budget."""
    model = small(precision, ["relu", "tanh", "softmax"])
    write_onnx(model, tmp_path / "m.onnx")
    for limits in (Limits(max_batch=3), Limits(lean=True), Limits(ram_bytes=6000)):
        assert verify(model, tmp_path / "m.onnx", random_rows(40, 13), limits=limits).ok
    with pytest.raises(BudgetExceeded, match="budget is 100 B"):
        verify(model, tmp_path / "m.onnx", random_rows(40, 13), limits=Limits(ram_bytes=100))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_first_wrong_layer_is_named(tmp_path, precision):
    """A weight of the second layer changed in the ONNX file: that layer is reported, and nothing before it."""
    model = small(precision, ["relu", "relu", "softmax"])
    proto = to_onnx(model)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense1.weight")
    weight = numpy_helper.to_array(tensor).copy()
    weight[0, 0] = weight[0, 0] + 3 if weight[0, 0] < 100 else weight[0, 0] - 3
    tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    onnx.save(proto, tmp_path / "m.onnx")
    report = verify(model, tmp_path / "m.onnx", random_rows(50, 13))
    assert not report.ok
    assert report.first_diverging_layer.startswith("dense1.")


def test_one_bit_of_one_multiplier_is_found(tmp_path):
    """The smallest possible change of a stored float32 multiplier breaks the comparison."""
    model = small("int8", ["relu", "linear"])
    multiplier = np.nextafter(model.layers[1].multiplier, np.float32(1))
    write_onnx(
        replace(model, layers=(model.layers[0], replace(model.layers[1], multiplier=multiplier))), tmp_path / "m"
    )
    report = verify(model, tmp_path / "m", random_rows(50, 13))
    assert report.first_diverging_layer == "dense1.multiplier"  # in the file, and what comes of it
    assert "dense1.scaled" in {check.tensor for check in report.checks if check.differing}


def test_the_stored_test_vectors_serve_where_no_rows_are_given(tmp_path):
    """Eight real rows are in the artifact already."""
    model = with_test_vectors(small("int8", ["relu", "softmax"]), random_rows(100, 13))
    write_onnx(model, tmp_path / "m.onnx")
    assert verify(model, tmp_path / "m.onnx").rows == 8
    with pytest.raises(InputError, match="no test vectors"):
        verify(model.with_test_vectors(None), tmp_path / "m.onnx")


def test_another_models_file_is_refused(tmp_path):
    """A file of another shape or another precision, a damaged one and one that is no ONNX are named."""
    model = small("int8", ["relu", "softmax"])
    write_onnx(small("int8", ["relu", "softmax"], n_in=12), tmp_path / "narrow.onnx")
    write_onnx(small("float32", ["relu", "softmax"]), tmp_path / "float.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    rows = random_rows(5, 13)
    with pytest.raises(ArtifactError, match=r"shape \[None, 12\], the artifact's is \(batch, 13\)"):
        verify(model, tmp_path / "narrow.onnx", rows)
    with pytest.raises(ArtifactError, match="is not in the graph"):
        verify(model, tmp_path / "float.onnx", rows)
    with pytest.raises(ArtifactError, match=r"text\.onnx"):
        verify(model, tmp_path / "text.onnx", rows)
    with pytest.raises(FileNotFoundError):
        verify(model, tmp_path / "missing.onnx", rows)


@pytest.mark.parametrize("rows", [np.zeros((0, 13)), np.zeros((2, 12)), np.zeros(13), np.array([["a"] * 13])])
def test_rows_that_do_not_fit_are_refused(tmp_path, rows):
    """The message has the shape that was found and the one expected."""
    model = small("int8", ["relu", "softmax"])
    write_onnx(model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"expected numbers \(n, 13\)|expected real numbers"):
        verify(model, tmp_path / "m.onnx", rows)


def test_a_file_of_another_make_is_judged_by_its_outputs(tmp_path):
    """The same graph under another producer's name passes; with reversed weights it fails; loops are refused."""
    model = small("int8", ["relu", "softmax"])
    proto = to_onnx(model)
    proto.producer_name = "somebody else"
    (tmp_path / "same.onnx").write_bytes(proto.SerializeToString())
    report = verify(model, tmp_path / "same.onnx", random_rows(50, 13))
    assert (report.form, report.ok) == ("foreign", True)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense0.weight")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), tensor.name))
    (tmp_path / "other.onnx").write_bytes(proto.SerializeToString())
    assert not verify(model, tmp_path / "other.onnx", random_rows(50, 13)).ok
    proto.graph.node.append(onnx.helper.make_node("Loop", ["a"], ["b"]))
    (tmp_path / "loop.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ArtifactError, match="may never end"):
        verify(model, tmp_path / "loop.onnx", random_rows(5, 13))


def test_an_overflow_in_float32_is_no_breach(tmp_path):
    """Where a partial sum leaves float32, the order of summation decides: no bound holds there."""
    layer = Dense("a", np.float32([[3], [-3], [1]]), np.zeros(1, np.float32), Activation.of("linear"))
    model = Model((layer,))
    write_onnx(model, tmp_path / "m.onnx")
    assert verify(model, tmp_path / "m.onnx", np.float32([[2e38, 2e38, 1]])).ok


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_an_overflow_beside_a_file_of_other_weights_is_a_breach(tmp_path):
    """An infinity is not within an infinite bound of a number, nor of the opposite infinity."""

    def model(value):
        weight = np.full((4, 3), value, np.float32)
        return Model((Dense("a", weight, np.zeros(3, np.float32), Activation.of("linear")),))

    rows = np.full((2, 4), 2, np.float32)
    for value, is_same in ((1.0, False), (-1e38, False), (1e38, True)):
        write_onnx(model(value), tmp_path / "m.onnx")
        assert verify(model(1e38), tmp_path / "m.onnx", rows).ok == is_same


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_engine_that_is_off_is_found(tmp_path, monkeypatch, precision):
    """One logit off by a part of a step, computed by the fast path alone."""
    model = small(precision, ["relu", "softmax"])
    write_onnx(model, tmp_path / "m.onnx")
    right = Engine.logits

    def off(engine, x):
        values = right(engine, x).copy()
        values[0, 1] += np.float32(1e-3)
        return values

    monkeypatch.setattr(Engine, "logits", off)
    report = verify(model, tmp_path / "m.onnx", random_rows(20, 13))
    assert [(check.level, check.differing) for check in report.checks if check.differing] == [("engine", 1)]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_output_that_only_the_file_as_it_is_gets_wrong_is_found(tmp_path, monkeypatch, precision):
    """An engine may fuse what it does not expose: the plain session's output is compared, not the exposed one."""
    model = small(precision, ["relu", "softmax"])
    write_onnx(model, tmp_path / "m.onnx")
    right = _Sessions.run

    def fused(sessions, part):
        plain, exposed = right(sessions, part)
        return plain + np.float32(1e-3), exposed

    monkeypatch.setattr(_Sessions, "run", fused)
    report = verify(model, tmp_path / "m.onnx", random_rows(20, 13))
    assert {check.tensor for check in report.checks if check.differing} == {"output"}


UNREAD = {
    "OneHot": ("h = MatMul(x, W) i = ArgMax<axis=1, keepdims=0>(h) y = OneHot(i, k, v)", {"k": 3, "v": [0.0, 1.0]}),
    "Tile": ("h = MatMul(x, W) t = Tile(h, k) y = ReduceMean<axes=[1], keepdims=1>(t)", {"k": [1, 1 << 20]}),
    "Pad": ("h = MatMul(x, W) y = Pad(h, k)", {"k": [0, 0, 0, 1 << 20]}),
    "Expand": ("h = MatMul(x, W) y = Expand(h, k)", {"k": [1 << 20, 1]}),
}


@pytest.mark.parametrize("operator", UNREAD)
def test_a_foreign_file_is_run_only_after_the_reader_has_read_it(tmp_path, operator, monkeypatch):
    """What an operator unknown to the reader asks for is not bounded: refused in one line, with node and reason."""
    nodes, values = UNREAD[operator]
    constants = {name: np.array(value, np.float32 if name == "v" else np.int64) for name, value in values.items()}
    path = tmp_path / "m.onnx"
    onnx.save(graph(nodes, 13, "float[N,4] x", "float[N,3] y", W=np.ones((4, 3), np.float32), **constants), path)
    monkeypatch.setattr(ForeignSession, "_open", lambda session: pytest.fail("it was run"))
    with pytest.raises(ArtifactError, match=rf"m\.onnx: node '.*' \({operator}, output .*only if import reads it$"):
        verify(random_model([4, 3], ["linear"]), path, random_rows(5, 4))


@pytest.mark.parametrize("name", ["n" * 3000, "a name " * 400], ids=["one word", "words"])
def test_a_long_name_does_not_hide_the_reason(tmp_path, name):
    """Nodes, tensors and loops of a file: the name is shortened, the reason stands."""
    model, rows, path = random_model([4, 3], ["linear"]), random_rows(5, 4), tmp_path / "m.onnx"
    proto = graph("h = MatMul(x, W) s = Tan(h) y = Neg(s)", 13, "float[N,4] x", W=np.ones((4, 3), np.float32))
    proto.graph.node[1].name = proto.graph.node[1].output[0] = proto.graph.node[2].input[0] = name
    onnx.save(proto, path)
    with pytest.raises(ArtifactError, match=r"\.\..*\(Tan, output '.*'\): not supported; supported are"):
        verify(model, path, rows)
    proto.graph.node[1].op_type = "Loop"
    onnx.save(proto, path)
    with pytest.raises(ArtifactError, match="is a Loop, which may never end; expected a dense network"):
        verify(model, path, rows)
