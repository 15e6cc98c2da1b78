"""The check of an imported model takes memory in a stated bound, however wide its file is."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import onnx
import pytest

from edge_runtime.errors import ArtifactError
from edge_runtime.reference.trace import trace
from export.commands.data import rows_for_export
from export.onnx_reader.reader import import_onnx, read_onnx
from export.verification.import_check import random_rows, verify_import
from export.verification.row_count import RANDOM_ROWS
from tests.command import run_command
from tests.export.foreign import graph
from tests.networks import random_rows as normal_rows


def wide(path, n_in: int, rows: str = "N", nodes: str = "y = MatMul(x, V)"):
    """A file of one product with n_in weights, and what was read of it. s: its shape of 40 rows."""
    proto = graph(
        nodes,
        source=f"float[{rows},{n_in}] x",
        target=f"float[{rows},1] y",
        V=np.ones((n_in, 1), np.float32),
        s=np.array([40, n_in]),
    )
    onnx.save(proto, path)
    return import_onnx(path)


@pytest.mark.parametrize(("n_in", "rows"), [(6, RANDOM_ROWS), (16_000, RANDOM_ROWS), (100_000, 41), (1_000_000, 4)])
def test_random_rows_are_fewer_the_wider_they_are(tmp_path, n_in, rows):
    """All of the check stays within 256 MiB, the weights aside; at most 256. An export without data draws as many."""
    source = wide(tmp_path / "m.onnx", n_in)
    assert random_rows(source).shape == (rows, n_in)
    assert rows_for_export(source.model, None).compared.shape == (rows, n_in)


def test_a_check_takes_as_much_memory_as_is_stated(tmp_path):
    """Random rows of 200,000 features: 256 MiB, beside the weights."""
    source = wide(tmp_path / "m.onnx", 200_000)
    tracemalloc.start()
    report = verify_import(source.model, tmp_path / "m.onnx", imported=source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.ok
    assert peak < (1 << 28) + 8 * 4 * 200_000


def test_a_file_that_takes_too_many_rows_at_once_is_run_on_fewer(tmp_path):
    """Which changes nothing about a row, and is said; one whose nodes need so many rows is refused by onnxruntime."""
    source = wide(tmp_path / "m.onnx", 1_000_000, "40")
    tracemalloc.start()
    report = verify_import(source.model, tmp_path / "m.onnx", imported=source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.ok
    assert "the file takes 40 rows at once, which would fill the memory: it was run on fewer" in report.notes
    assert peak < (1 << 28) + 8 * 4 * 1_000_000
    layer = replace(source.model.layers[0], bias=source.model.layers[0].bias + 1e4)
    assert not verify_import(replace(source.model, layers=(layer,)), tmp_path / "m.onnx", imported=source).ok
    source = wide(tmp_path / "m.onnx", 1_000_000, "40", "h = Reshape(x, s) y = MatMul(h, V)")
    with pytest.raises(ArtifactError, match="onnxruntime cannot run the model on 4 rows"):
        verify_import(source.model, tmp_path / "m.onnx", imported=source)


@pytest.fixture(scope="module")
def tanh_files(tmp_path_factory):
    """tanh networks as onnxruntime's quantizer writes them."""
    tools = pytest.importorskip("onnxruntime.quantization")
    folder = tmp_path_factory.mktemp("tanh")

    class Rows(tools.CalibrationDataReader):
        def __init__(self, rows):
            self.batches = iter([{"x": rows}])

        def get_next(self):
            return next(self.batches, None)

    paths = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        weights = {"W": rng.normal(size=(6, 12)), "V": rng.normal(size=(12, 3))}
        proto = graph(
            "h = MatMul(x, W) t = Tanh(h) y = MatMul(t, V)", 17, **{k: v.astype(np.float32) for k, v in weights.items()}
        )
        onnx.save(proto, folder / "f.onnx")
        paths.append(folder / f"{seed}.onnx")
        options = {"activation_type": tools.QuantType.QInt8, "quant_format": tools.QuantFormat.QDQ}
        options |= {"weight_type": tools.QuantType.QInt8, "extra_options": {"WeightSymmetric": True}}
        rows = rng.normal(size=(300, 6)).astype(np.float32)
        tools.quantize_static(folder / "f.onnx", paths[-1], Rows(rows), **options)
    return paths


@pytest.mark.filterwarnings("ignore")
def test_quantized_tanh_networks_are_read(tanh_files):
    """onnxruntime's tanh is some units in the last place off: an entry beside a tie may be a step off, and is named."""
    noted = 0
    for path in tanh_files:
        found = import_onnx(path)
        report = verify_import(found.model, path, normal_rows(4000, 6), imported=found)
        assert report.ok, (path, found.ties)
        noted += bool(report.notes)
        assert all("it stands beside a tie" in note for note in report.notes)
        assert len(report.notes) <= len(found.ties)
    assert noted < len(tanh_files)  # which ones stand beside a tie is a matter of the processor


@pytest.mark.filterwarnings("ignore")
def test_a_table_that_is_off_anywhere_else_fails(tanh_files):
    """Some steps in any entry that rows reach and no tie explains: the file rounds its outputs, and they differ."""
    found = import_onnx(tanh_files[0])
    rows = normal_rows(4000, 6)
    layer = found.model.layers[0]
    reached = np.unique(trace(found.model, rows)[f"{layer.name}.codes"])
    beside = {code for _name, code, _value in found.ties}
    for code in [code for code in reached if code not in beside][::40]:
        table = layer.table.copy()
        table[code] = table[code] + 60 if table[code] < 128 else table[code] - 60
        model = replace(found.model, layers=(replace(layer, table=table), *found.model.layers[1:]))
        assert not verify_import(model, tanh_files[0], rows, imported=found).ok


@pytest.mark.filterwarnings("ignore")
def test_many_entries_beside_ties_are_explained_whatever_else_helps_by_chance(tmp_path, tanh_files):
    """Twelve entries a step off, which nearly every row meets several of, among twelve that are right as they are."""
    found = import_onnx(tanh_files[0])
    rows = normal_rows(600, 6)
    layer = found.model.layers[0]
    codes, counts = np.unique(trace(found.model, rows)[f"{layer.name}.codes"], return_counts=True)
    met = codes[np.argsort(-counts)][:24].tolist()
    table, right = layer.table.copy(), layer.table
    table[met[:12]] -= 1
    ties = [(layer.name, code, int(right[code])) for code in met[:12]]
    ties += [(layer.name, code, int(right[code]) - 1) for code in met[12:]]
    model = replace(found.model, layers=(replace(layer, table=table), *found.model.layers[1:]))
    report = verify_import(model, tanh_files[0], rows, imported=replace(found, ties=tuple(sorted(ties))))
    assert report.ok
    assert sorted(report.notes) == sorted(
        f"entry {code} of the table of '{layer.name}' is {right[code]} in onnxruntime: it stands beside a tie"
        for code in met[:12]
    )


def test_outputs_that_are_nan_in_the_file_are_named(tmp_path):
    """exp(z) / sum exp(z) overflows in the file; softmax, which it is read as, does not: no difference shows that."""
    nodes = "h = Gemm(x, W2) e = Exp(h) s = ReduceSum<axes=[1]>(e) y = Div(e, s)"
    onnx.save(graph(nodes, 11, source="float[N,5] x"), tmp_path / "m.onnx")
    rows = normal_rows(40, 5) * 1000
    found = import_onnx(tmp_path / "m.onnx")
    report = verify_import(found.model, tmp_path / "m.onnx", rows, imported=found)
    alone = report.checks[0].lone_nans
    assert alone == report.checks[0].differing > 0
    assert f"{alone} of 120 outputs 'y' are NaN on one side alone, {alone} in the file: there a sum" in report.notes[0]
    assert not verify_import(found.model, tmp_path / "m.onnx", rows / 1e4, imported=found).notes


def test_outputs_that_may_differ_by_any_amount_are_said_to(tmp_path):
    """Values around 10,000 that vary by 1, normalized: the bound is infinite, so that other weights would agree too.

    Without the offset there is a bound, shuffled weights break it, and nothing is said.
    """
    for offset in (1e4, 0.0):
        nodes = "h = Gemm(x, W1, O) n = LayerNormalization<axis=-1>(h, G) y = Gemm(n, V)"
        constants = {"O": np.full(5, offset, np.float32), "G": np.ones(5, np.float32), "V": normal_rows(5, 1)}
        onnx.save(graph(nodes, 17, target="float[N,1] y", **constants), tmp_path / "m.onnx")
        found = import_onnx(tmp_path / "m.onnx")
        *first, last = found.model.layers
        shuffled = replace(found.model, layers=(*first, replace(last, weight=last.weight[::-1].copy())))
        for model in (found.model, shuffled):
            report = verify_import(model, tmp_path / "m.onnx", imported=found)
            assert offset > 0 or report.ok == (model is found.model)
            assert bool(report.notes) == (offset > 0)
            said = [note for note in report.notes if "of 256 outputs may differ by any amount here" in note]
            assert len(said) == (offset > 0)


def far_off(dtype):
    """One layer on timestamps, whose mean is taken off by the bias: of doubles that float32 cannot hold."""
    weight = np.random.default_rng(0).normal(size=(6, 3))
    proto = graph(
        "y = Gemm(x, W, b)",
        source=f"{dtype}[N,6] x",
        target=f"{dtype}[N,3] y",
        W=weight.astype(np.float64 if dtype == "double" else np.float32),
        b=(-1.7e9 * weight.sum(axis=0)).astype(np.float64 if dtype == "double" else np.float32),
    )
    return proto


def test_an_agreement_that_says_nothing_is_said_to(tmp_path):
    """Sums that cancel: what float32 may differ by is more than what the outputs vary by."""
    onnx.save(far_off("double"), tmp_path / "m.onnx")
    model = read_onnx(tmp_path / "m.onnx")
    rows = 1.7e9 + np.random.default_rng(1).normal(size=(50, 6))
    report = verify_import(model, tmp_path / "m.onnx", rows)
    assert report.ok
    assert [text for text in report.notes if "that they agree says little; double inputs become float32" in text]
    assert f"{report.decisions_changed} of 50 decisions are not those of the file" in report.notes
    result = run_command("import", tmp_path / "m.onnx", "--out", tmp_path / "m.npz", "--json")
    assert any("says little" in text for text in json.loads(result.stdout)["warnings"])


def test_an_agreement_that_says_something_needs_no_word(tmp_path):
    """A network of common sizes, on random rows."""
    onnx.save(graph("h = Gemm(x, W1, B1) t = Tanh(h) y = Gemm(t, W2, B2)"), tmp_path / "m.onnx")
    assert verify_import(read_onnx(tmp_path / "m.onnx"), tmp_path / "m.onnx").notes == ()
