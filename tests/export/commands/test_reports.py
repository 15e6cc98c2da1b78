"""What the commands print has the figures of the JSON under the names of the JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from edge_runtime import Engine
from edge_runtime.console import typed_program
from export.commands.pipeline import LabeledRows, export_model
from export.commands.reports import (
    demo_files,
    demo_table,
    export_facts,
    export_table,
    import_facts,
    import_table,
    method_text,
    report_table,
)
from export.verification.comparison import SAME_BITS, WITHIN_BOUND, TensorCheck
from export.verification.report import Report
from tests.networks import random_model, random_rows


def source(model, *dropped):
    """What tables are told of an import."""
    return SimpleNamespace(model=model, output="y", dropped=dropped)


MODEL = random_model([6, 8, 3], ["relu", "softmax"], standardize=True)
ROWS = random_rows(100, 6)
BEFORE = {"file": "m.npz", "precision": "float32", "bytes": 12345, "weight_bytes": 9876, "score": 0.975}
FAILED = Report(
    "integer",
    1200,
    (
        TensorCheck("default", "input.standardized", SAME_BITS, 7200, 0, 0.0, 0.0),
        TensorCheck("default", "dense0.output", SAME_BITS, 9600, 3, 2.0, 0.0, step=0.25),
        TensorCheck("disabled", "dense1.output", WITHIN_BOUND, 3600, 1, 0.125, 0.01),
    ),
    17,
    0.125,
)


def cells(table):
    """The rows of a printed table, split at two blanks or more."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


@pytest.fixture
def results(tmp_path):
    """Two precisions of one model, exported."""
    evaluation = LabeledRows(ROWS, Engine(MODEL).predict(ROWS))
    return export_model(MODEL, ["float16", "int8"], ROWS, tmp_path, "m", evaluation=evaluation)


def test_every_figure_of_an_export_is_in_the_json(results):
    """As measured, in plain data that JSON takes."""
    facts = json.loads(json.dumps(export_facts(BEFORE, "accuracy", results, "a note"), allow_nan=False))
    assert (facts["before"], facts["score"], facts["note"], facts["warnings"]) == (BEFORE, "accuracy", "a note", [])
    for row, result in zip(facts["exported"], results, strict=True):
        assert row == {
            "precision": result.precision,
            "layers": {"dense0": result.precision, "dense1": result.precision},
            "artifact": str(result.artifact),
            "onnx": str(result.onnx),
            "c": [],
            "artifact_bytes": result.artifact_bytes,
            "weight_bytes": sum(a.nbytes for layer in result.model.layers for a in layer.arrays().values())
            + 2 * result.model.preprocessing.mean.nbytes,
            "onnx_bytes": result.onnx_bytes,
            "score": result.score,
            "scores": result.scores.as_dict(),
            "held_out_rows": 100,
            "sqnr_db": result.fidelity.sqnr_db,
            "worst_output": None,  # of a classifier
            "worst_output_db": None,
            "decisions_changed": result.fidelity.decisions_changed,
            "verified": True,
            "values_compared": sum(check.compared for check in result.report.checks),
            "values_differing": 0,
            "max_abs_error": result.report.max_abs_error,
            "session_config": {},
            "choice": None,
            "check": None,
            "warnings": [],
        }


def test_the_export_table_shows_them(results):
    """The model before in the first row; a dash where it has no figure."""
    facts = export_facts(BEFORE, "accuracy", results)
    heading, _, before, *rows = cells(export_table(facts))
    assert heading == [
        "precision",
        ".npz bytes",
        ".onnx bytes",
        "weights B",
        "accuracy",
        "sqnr dB",
        "decisions changed",
        "max abs error",
        "verified",
    ]
    assert before == ["float32 (before)", "12,345", "-", "9,876", "0.9750", "-", "-", "-", "-"]
    for row, shown in zip(facts["exported"], rows, strict=True):
        assert shown == [
            row["precision"],
            f"{row['artifact_bytes']:,}",
            f"{row['onnx_bytes']:,}",
            f"{row['weight_bytes']:,}",
            f"{row['score']:.4f}",
            f"{row['sqnr_db']:.1f}",
            f"{row['decisions_changed']:,}",
            f"{row['max_abs_error']:.1e}",
            "yes",
        ]


def test_a_hundred_letters_have_room_for_the_bytes_of_weights(results):
    """And fewer leave them out first."""
    facts = export_facts(BEFORE, "accuracy", results)
    for width, is_shown in ((100, True), (80, False)):
        table = export_table(facts, width)
        assert ("weights B" in table) is is_shown
        assert max(map(len, table.splitlines())) <= width


def test_what_is_not_known_is_a_dash(results):
    """No labels, no decisions, no noise, nothing but noise, a failed verification."""
    plain = replace(results[0], scores=None, fidelity=replace(results[0].fidelity, decisions_changed=None))
    same = replace(plain, fidelity=replace(plain.fidelity, sqnr_db=np.inf))
    lost = replace(plain, fidelity=replace(plain.fidelity, sqnr_db=-np.inf), warnings=("float16: -inf dB",))
    failed = replace(plain, report=FAILED)
    facts = export_facts({**BEFORE, "score": None}, None, [plain, same, lost, failed])
    assert facts["warnings"] == ["float16: -inf dB"]
    assert [row["sqnr_db"] for row in facts["exported"]][1:3] == [None, None]
    assert [row["verified"] for row in facts["exported"]] == [True, True, True, False]
    assert facts["exported"][3]["values_differing"] == 4
    heading, _, before, *rows = cells(export_table(facts))
    assert "accuracy" not in heading
    assert "score" not in heading
    assert len(before) == len(heading) == 8
    assert [row[5] for row in rows] == ["-"] * 4
    assert [row[4] for row in rows] == [f"{plain.fidelity.sqnr_db:.1f}", "same", "-", f"{plain.fidelity.sqnr_db:.1f}"]
    assert [row[-1] for row in rows] == ["yes", "yes", "yes", "NO"]


@pytest.mark.parametrize("out", ["m.npz", None])
def test_an_import_shows_layers_checks_and_file(out):
    """Each check by the name of its rows, and its verdict; nothing is written where one fails."""
    good = Report("foreign", 64, (TensorCheck("default", "y", "within bound", 192, 0, 1e-7, 1e-6),), 0, 1e-7)
    reports = {"random": good, "mine.csv": good if out else FAILED}
    facts = import_facts(source(replace(MODEL, class_names=("a", "b", "c")), "aux"), reports, out)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["ok"], facts["file"], facts["standardized"], facts["class_names"]) == (
        out is not None,
        out,
        True,
        ["a", "b", "c"],
    )
    assert (facts["output"], facts["dropped_outputs"]) == ("y", ["aux"])
    assert "output 'y' was taken, and not 'aux'" in import_table(facts)
    assert facts["layers"][0] == {"name": "dense0", "shape": [6, 8], "precision": "float32", "activation": "relu"}
    assert facts["checks"] == {name: report.as_dict() for name, report in reports.items()}
    lines = import_table(facts).splitlines()
    assert cells(lines[0])[0] == ["layer", "shape", "weights", "activation"]
    assert cells(lines[2])[0] == ["dense0", "6-8", "float32", "relu"]
    assert lines[-3] == "64 rows (random): agree with onnxruntime, largest difference 1e-07"
    if out:
        assert lines[-2] == "64 rows (mine.csv): agree with onnxruntime, largest difference 1e-07"
        assert lines[-1] == "wrote m.npz"
    else:
        assert lines[-2] == "1,200 rows (mine.csv): 4 OUTPUTS DIFFER from onnxruntime, largest difference 0.12"
        assert lines[-1] == "nothing was written"
    assert not import_facts(source(random_model([2, 2], ["linear"])), reports, out)["standardized"]


def test_the_choice_of_a_method_names_the_best():
    """And what the plainest would have given."""
    text = method_text({"minmax": 31.25, "mse": 35.04, "entropy": -1.0})
    assert text == "calibration: mse: 35.0 dB, the best of 3 ways on held-out rows; minmax alone gives 31.2 dB"
    assert method_text({"entropy": 40.0, "minmax": 31.0}).startswith("calibration: entropy: 40.0 dB")


def test_a_verification_shows_every_tensor_and_the_verdict():
    """Integer tensors in steps and in real units; the first that breaks its rule."""
    lines = report_table(FAILED).splitlines()
    assert cells(lines[0])[0] == [
        "level",
        "tensor",
        "rule",
        "compared",
        "differing",
        "largest difference",
        "allowed",
    ]
    assert cells(lines[2])[0] == ["default", "input.standardized", "same bits", "7,200", "0", "0", "0"]
    assert cells(lines[3])[0] == ["default", "dense0.output", "same bits", "9,600", "3", "2 steps = 0.5", "0"]
    assert cells(lines[4])[0] == ["disabled", "dense1.output", "within bound", "3,600", "1", "0.12", "0.01"]
    assert lines[-1] == ("FAILED, first at dense0.output: 1,200 rows, 4 values break their rule, 17 decisions changed")
    good = replace(FAILED, checks=FAILED.checks[:1], decisions_changed=0)
    assert report_table(good).endswith("\n\nok: 1,200 rows, 0 values break their rule, 0 decisions changed")


def test_the_demo_lists_its_figures_and_files(tmp_path):
    """A line for each precision; sizes of all files; what to try next."""
    row = {
        "precision": "int8",
        "artifact": str(tmp_path / "digits.int8.npz"),
        "onnx": str(tmp_path / "digits.int8.onnx"),
        "artifact_bytes": 8450,
        "onnx_bytes": 4724,
        "test_accuracy": 0.97214,
        "max_abs_error": 2.4e-7,
        "int8_values_compared": 664890,
        "int8_values_differing": 2,
        "numpy_us": 9.44,
        "onnxruntime_us": 10.96,
    }
    plain = {**row, "precision": "float32", "int8_values_compared": 0}
    heading, _, first, second = cells(demo_table([plain, row]))
    assert heading == [
        "precision",
        ".npz bytes",
        ".onnx bytes",
        "test accuracy",
        "max abs error",
        "int8 layers differing",
        "NumPy us",
        "onnxruntime us",
    ]
    assert first == ["float32", "8,450", "4,724", "0.9721", "2.4e-07", "-", "9.4", "11.0"]
    assert second == ["int8", "8,450", "4,724", "0.9721", "2.4e-07", "2 of 664,890", "9.4", "11.0"]
    for size, name in enumerate(("digits.npz", "digits.int8.npz", "digits.int8.onnx"), 1000):
        (tmp_path / name).write_bytes(bytes(size))
    text = demo_files([row], str(tmp_path))
    assert text.splitlines() == [
        "files:",
        f"  {tmp_path / 'digits.npz'}  1,000 bytes",
        f"  {tmp_path / 'digits.int8.npz'}  1,001 bytes",
        f"  {tmp_path / 'digits.int8.onnx'}  1,002 bytes",
        "",
        f"next: {typed_program()} inspect {tmp_path / 'digits.int8.npz'}",
    ]
