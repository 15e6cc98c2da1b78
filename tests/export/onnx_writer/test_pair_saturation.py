import itertools
import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edge_runtime.errors import ArtifactError
from export import read_onnx
from export.commands.reports import report_table
from export.onnx_reader import import_onnx
from export.onnx_writer.pair_saturation import (
    PRECISE_KEY,
    is_pair_safe,
    may_saturate,
    saturating_layers,
    saturation_doubts,
    session_config,
)
from export.onnx_writer.writer import to_onnx, write_onnx
from export.quantization.quantizer import quantize
from export.verification.import_check import verify_import
from export.verification.verify import verify
from tests.command import run_command
from tests.export.foreign import graph
from tests.networks import random_model, random_rows

RELEASE = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])


def avx2_sums(q: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """VPMADDUBSW: neighbouring uint8 x int8 products added with int16 saturation; then summed exactly."""
    n_in, n_out = weight.shape
    padded = np.zeros((n_in + n_in % 2, n_out), np.int64)
    padded[:n_in] = weight
    values = np.zeros(len(padded), np.int64)
    values[:n_in] = q
    pairs = (padded * values[:, None]).reshape(-1, 2, n_out).sum(axis=1)
    return np.clip(pairs, -32768, 32767).sum(axis=0)


@pytest.mark.parametrize(
    "pair", [(64, 64), (127, 1), (127, 2), (65, 63), (65, 64), (-64, -64), (-64, -65), (-127, 127)]
)
def test_the_rule_is_tight(pair):
    """A pair is called safe exactly when no two uint8 inputs make the 16-bit sum saturate."""
    weight = np.array(pair, np.int8)[:, None]
    extremes = [np.array(q) for q in itertools.product((0, 255), repeat=2)]
    exact = all((avx2_sums(q, weight) == q @ weight.astype(np.int64)).all() for q in extremes)
    assert is_pair_safe(weight) == exact


@pytest.mark.parametrize("seed", range(20))
def test_safe_weights_never_saturate_on_any_input(seed):
    """Random inputs on random safe matrices: the 16-bit sums are the exact ones."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-64, 65, (int(rng.integers(1, 40)), 3)).astype(np.int8)
    assert is_pair_safe(weight)
    for _ in range(20):
        q = rng.integers(0, 256, len(weight))
        assert (avx2_sums(q, weight) == q @ weight.astype(np.int64)).all()


def test_a_last_weight_without_a_neighbour_is_safe():
    """An odd row pairs with nothing."""
    assert is_pair_safe(np.array([[0], [0], [127]], np.int8))


def networks():
    """A network whose weights can saturate, and the same with weights that cannot."""
    unsafe = quantize(random_model([13, 11, 5], ["relu", "softmax"]), random_rows(200, 13))
    layers = tuple(replace(layer, weight=np.clip(layer.weight, -64, 64)) for layer in unsafe.layers)
    return unsafe, replace(unsafe, layers=layers)


def weights(proto):
    return [numpy_helper.to_array(tensor) for tensor in proto.graph.initializer if tensor.name.endswith(".weight")]


@pytest.mark.parametrize("form", ["integer", "qgemm", "qdq"])
def test_a_file_states_the_option_that_its_weights_need(form):
    """Only the qdq form, only where a pair can saturate, and not where it was written to be portable."""
    unsafe, safe = networks()
    assert (may_saturate(unsafe), may_saturate(safe)) == (True, False)
    assert session_config(to_onnx(safe, form)) == ()
    stated = (("session.x64quantprecision", "1"),) if form == "qdq" else ()
    assert session_config(to_onnx(unsafe, form)) == stated
    assert len(saturation_doubts(to_onnx(unsafe, form))) == len(stated)
    assert all("session.x64quantprecision=1" in text for text in saturation_doubts(to_onnx(unsafe, form)))


def test_only_the_option_of_this_project_is_taken_from_a_file():
    """A file cannot set other options of a session."""
    proto = to_onnx(networks()[0], "qdq")
    entry = next(entry for entry in proto.metadata_props if entry.key == PRECISE_KEY)
    entry.value = "session.load_model_format=ORT"
    assert session_config(proto) == ()


def test_portable_weights_are_the_same_integers_and_need_no_option(tmp_path):
    """uint8 with zero point 128 for a layer that can saturate, int8 for one that cannot; without the option."""
    unsafe, safe = networks()
    mixed = replace(unsafe, layers=(unsafe.layers[0], safe.layers[1]))
    first, second = weights(to_onnx(mixed, "qdq", portable=True))
    assert (first.dtype, second.dtype) == (np.uint8, np.int8)
    assert (first.astype(int) - 128 == unsafe.layers[0].weight).all()
    write_onnx(mixed, tmp_path / "m.onnx", "qdq", portable=True)
    report = verify(mixed, tmp_path / "m.onnx", random_rows(300, 13) * 2)
    assert report.ok
    assert report.session_config == ()


def test_verify_says_which_option_it_ran_with(tmp_path):
    """In the report, in JSON and in text, on every kind of processor alike."""
    unsafe, safe = networks()
    for model, expected in ((unsafe, {"session.x64quantprecision": "1"}), (safe, {})):
        write_onnx(model, tmp_path / "m.onnx", "qdq")
        report = verify(model, tmp_path / "m.onnx", random_rows(300, 13) * 2)
        assert report.ok
        assert report.as_dict()["session_config"] == expected
        assert ("ran with session.x64quantprecision=1" in report_table(report)) == bool(expected)


FORMATS = ["QDQ", "QOperator", "dynamic"]


@pytest.fixture(scope="module")
def quantized_files(tmp_path_factory):
    """Files of onnxruntime's own tools with int8 weights, most pairs of which may saturate."""
    tools = pytest.importorskip("onnxruntime.quantization")
    folder = tmp_path_factory.mktemp("quantized")
    rng = np.random.default_rng(0)
    shapes = {"w0": (24, 16), "w1": (16, 5)}
    values = {name: (rng.choice([-1, 1], shape) * rng.uniform(0.7, 1, shape)) for name, shape in shapes.items()}
    nodes = "h0 = MatMul(x, w0) h = Relu(h0) y = MatMul(h, w1)"
    constants = {name: value.astype(np.float32) for name, value in values.items()}
    onnx.save(graph(nodes, 17, "float[N,24] x", "float[N,5] y", **constants), folder / "float.onnx")
    rows = rng.uniform(0.5, 1, (200, 24)).astype(np.float32)

    class Reader(tools.CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"x": rows[:100]}, {"x": rows[100:]}])

        def get_next(self):
            return next(self.batches, None)

    paths = {"float": folder / "float.onnx"}
    for name in FORMATS:
        paths[name] = folder / f"{name}.onnx"
        if name == "dynamic":
            tools.quantize_dynamic(folder / "float.onnx", paths[name])
        else:
            # onnxruntime makes int8 inputs of dequantized products uint8; older tools give both one type
            kind = tools.QuantType.QInt8 if name == "QDQ" else tools.QuantType.QUInt8
            options = {"quant_format": tools.QuantFormat[name], "activation_type": kind}
            options |= {"weight_type": tools.QuantType.QInt8, "extra_options": {"WeightSymmetric": True}}
            tools.quantize_static(folder / "float.onnx", paths[name], Reader(), **options)
    return paths, rows


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_files_of_onnxruntime_s_own_tools_are_read_on_every_processor(quantized_files, name):
    """The check runs with the option that no processor saturates with; the weights that may saturate are named."""
    paths, rows = quantized_files
    found = saturating_layers(import_onnx(paths[name]).int8_products)
    assert found == dict.fromkeys(["dense0", "dense1"], name != "QDQ")
    model = read_onnx(paths[name])
    report = verify_import(model, paths[name], rows, levels=("default", "extended", "basic", "disabled"))
    assert report.ok
    assert report.session_config == (("session.x64quantprecision", "1"),)
    levels = {check.level for check in report.checks}
    assert levels == ({"default", "extended", "basic", "disabled"} if name == "QDQ" else {"default", "extended"})
    assert report.skipped == (() if name == "QDQ" else ("basic", "disabled"))
    assert verify(model, paths[name], rows).ok


def stored_outside(proto, path):
    onnx.save(proto, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)


def in_constant_nodes(proto, path):
    constants = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in proto.graph.initializer]
    rebuilt(proto, path, constants, proto.graph.node, keep=False)


def behind_identity(proto, path):
    passed = [helper.make_node("Identity", [name], [f"{name}_passed"]) for name in matrices(proto)]
    nodes = list(proto.graph.node)
    for node in nodes:
        node.input[:] = [f"{name}_passed" if name in matrices(proto) else name for name in node.input]
    rebuilt(proto, path, passed, nodes)


def transposed_afterwards(proto, path):
    """Codes or dequantized values, whatever stands first behind the weights, are turned."""
    nodes = []
    for tensor in proto.graph.initializer:
        if tensor.name in matrices(proto):
            turned = np.ascontiguousarray(numpy_helper.to_array(tensor).T)
            tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))
    for node in proto.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in matrices(proto):
            for attribute in node.attribute:
                attribute.i = 0 if attribute.name == "axis" else attribute.i
            (name,) = node.output
            node.output[:] = [f"{name}_turned"]
            nodes += [node, helper.make_node("Transpose", [f"{name}_turned"], [name], perm=[1, 0])]
            continue
        for name in set(node.input) & matrices(proto):
            nodes.append(helper.make_node("Transpose", [name], [f"{name}_turned"], perm=[1, 0]))
            node.input[:] = [f"{name}_turned" if other == name else other for other in node.input]
        nodes.append(node)
    rebuilt(proto, path, [], nodes)


def matrices(proto):
    int8 = onnx.TensorProto.INT8
    return {tensor.name for tensor in proto.graph.initializer if tensor.data_type == int8 and len(tensor.dims) == 2}


def rebuilt(proto, path, first, nodes, keep=True):
    nodes = [*first, *nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    if not keep:
        del proto.graph.initializer[:]
    onnx.save(proto, path)


SPELLINGS = [stored_outside, in_constant_nodes, behind_identity, transposed_afterwards]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("spelled", SPELLINGS, ids=[function.__name__ for function in SPELLINGS])
def test_weights_that_may_saturate_are_found_however_they_are_stored(quantized_files, spelled, name, tmp_path):
    """In a file of their own, in nodes, under another name, turned: the layers are those of the plain file.

    Where no processor saturates, the answers agree; so the option that this needs is known for each spelling.
    """
    paths, rows = quantized_files
    path = tmp_path / "m.onnx"
    spelled(onnx.load(paths[name]), path)
    source = import_onnx(path)
    assert saturating_layers(source.int8_products) == dict.fromkeys(["dense0", "dense1"], name != "QDQ")
    if spelled is stored_outside and RELEASE < (1, 24):  # see test_unused_nodes
        with pytest.raises(ArtifactError, match=r"onnxruntime .* refuses the model"):
            verify_import(source.model, path, rows, imported=source)
        return
    report = verify_import(source.model, path, rows, imported=source)
    assert report.ok
    assert report.session_config == (("session.x64quantprecision", "1"),)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("levels", [("disabled",), ("basic", "disabled"), ()])
def test_a_check_that_compared_nothing_is_not_ok(quantized_files, levels):
    """Integer operators saturate where no option helps: what was left out is said, and that is no proof."""
    paths, rows = quantized_files
    model = read_onnx(paths["dynamic"])
    for report in (
        verify_import(model, paths["dynamic"], rows, levels=levels),
        verify(model, paths["dynamic"], rows, levels=levels),
    ):
        assert not report.ok
        assert report.as_dict()["skipped_levels"] == list(levels)
        assert sum("not compared with onnxruntime at" in note for note in report.notes) == bool(levels)
        assert "FAILED, nothing of the file was compared" in report_table(report)


@pytest.mark.filterwarnings("ignore")
def test_the_command_says_which_of_its_two_levels_it_did_not_run(quantized_files, tmp_path):
    """In one line on standard error, and in JSON."""
    path = quantized_files[0]["dynamic"]
    assert run_command("import", path, "--out", tmp_path / "m.npz").exit_code == 0
    result = run_command("verify", tmp_path / "m.npz", path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["skipped_levels"] == ["disabled"]
    (line,) = [line for line in result.stderr.splitlines() if "not compared" in line]
    assert "at 'disabled': integer operators" in line


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_not_what_the_model_was_read_from_runs_with_the_option(quantized_files, name):
    """As one does that it was read from: the weights of the file count, not those of the model."""
    paths, rows = quantized_files
    other = read_onnx(paths[name])
    last = other.layers[-1]
    other = replace(other, layers=(*other.layers[:-1], replace(last, name="renamed")))
    report = verify(other, paths[name], rows)
    assert report.session_config == (("session.x64quantprecision", "1"),)
    assert report.skipped == (() if name == "QDQ" else ("disabled",))
    assert len(report.notes) == len(report.skipped)
    plain = verify(read_onnx(paths["float"]), paths["float"], rows)
    assert (plain.session_config, plain.skipped, plain.notes) == ((), (), ())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_the_import_says_which_weights_may_saturate(quantized_files, name, tmp_path):
    """By layer, as a warning on standard error and in JSON."""
    path = quantized_files[0][name]
    result = run_command("import", path, "--out", tmp_path / "m.npz", "--json")
    assert result.exit_code == 0
    warnings = [text for text in json.loads(result.stdout)["warnings"] if "VNNI" in text]
    assert len(warnings) == 1
    assert "the products of 'dense0', 'dense1' may saturate" in warnings[0]
    assert f"warning: {warnings[0]}" in result.stderr


@pytest.mark.parametrize("turned", [0, 1])
def test_pairs_are_those_of_one_output(turned, tmp_path):
    """Along the inputs, whichever way the weights lie: neighbours of one output add up, those of one input do not."""
    along_rows = np.array([[120, 120], [1, 1]], np.int8)  # 240 along a row, 121 along a column
    for weight, expected in ((along_rows, turned == 1), (along_rows.T, turned == 0)):
        nodes = "q = QuantizeLinear(x, s) e = DequantizeLinear(q, s) d = DequantizeLinear(w, s) "
        nodes += f"y = Gemm<transB={turned}>(e, d)"
        proto = graph(nodes, 17, "float[N,2] x", "float[N,2] y", w=weight, s=np.float32(0.1))
        onnx.save(proto, tmp_path / "m.onnx")
        assert bool(saturating_layers(import_onnx(tmp_path / "m.onnx").int8_products)) == expected


def test_pairs_are_those_of_the_file_where_the_model_has_its_inputs_in_another_order(tmp_path):
    """Rows 0 and 2 of the file's weights are neighbours in the model alone."""
    nodes = "q = QuantizeLinear(x, s) e = DequantizeLinear(q, s) r = Reshape(e, k) t = Transpose<perm=[0, 2, 1]>(r) "
    nodes += "f = Reshape(t, n) d = DequantizeLinear(w, s) y = MatMul(f, d)"
    constants = {"s": np.float32(0.1), "k": np.array([-1, 2, 2]), "n": np.array([-1, 4])}
    for places, expected in (((0, 2), False), ((0, 1), True)):
        weight = np.zeros((4, 1), np.int8)
        weight[list(places)] = 120
        onnx.save(graph(nodes, 17, "float[N,4] x", "float[N,1] y", w=weight, **constants), tmp_path / "m.onnx")
        assert bool(saturating_layers(import_onnx(tmp_path / "m.onnx").int8_products)) == expected


@pytest.mark.parametrize(("kind", "weights", "expected"), [
    (np.uint8, np.int8, True), (np.int8, np.int8, False), (np.uint8, np.uint8, False),
])  # fmt: skip
def test_only_unsigned_values_times_signed_weights_saturate_by_themselves(kind, weights, expected, tmp_path):
    """Of an operator on integers; weights stored as uint8, and int8 values, are computed exactly everywhere."""
    zero = 128 if weights is np.uint8 else 0
    constants = {"w": np.full((2, 3), 120 + zero, weights), "o": np.array(zero, weights)}
    constants |= {"s": np.float32(0.1), "z": np.array(0, kind)}
    nodes = "q = QuantizeLinear(x, s, z) p = QLinearMatMul(q, s, z, w, s, o, s, z) y = DequantizeLinear(p, s, z)"
    onnx.save(graph(nodes, 17, "float[N,2] x", "float[N,3] y", **constants), tmp_path / "m.onnx")
    assert bool(saturating_layers(import_onnx(tmp_path / "m.onnx").int8_products)) == expected
