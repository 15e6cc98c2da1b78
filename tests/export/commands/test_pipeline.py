"""From a float32 model to verified files, and what is measured on the way."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, OutputRefused, QuantizationError, load
from export.commands import verified_pair
from export.commands.export_files import ExportOptions
from export.commands.pipeline import LabeledRows, check_export, export_model
from export.quantization.quantizer import quantize, quantize_beside
from export.quantization.recipe import QuantizationWarning, Switches
from tests.networks import random_model, random_rows

MODEL = random_model([6, 8, 3], ["relu", "softmax"])
ROWS, TEST = random_rows(100, 6), random_rows(40, 6, seed=3)
CLASSES = Engine(MODEL).predict(TEST)
EVERYTHING = ["float32", "float16", "int8", "int8-dynamic"]


def test_each_precision_is_written_verified_and_measured(tmp_path):
    """Files by their names and sizes, the report of the very file, the score and the fidelity on the test rows."""
    wrong = np.where(np.arange(40) < 4, (CLASSES + 1) % 3, CLASSES)
    results = export_model(MODEL, EVERYTHING, ROWS, tmp_path, "m", evaluation=LabeledRows(TEST, wrong))
    assert [result.precision for result in results] == EVERYTHING
    for result in results:
        assert result.artifact == tmp_path / f"m.{result.precision}.npz"
        assert result.onnx == tmp_path / f"m.{result.precision}.onnx"
        assert (result.artifact_bytes, result.onnx_bytes) == (
            result.artifact.stat().st_size,
            result.onnx.stat().st_size,
        )
        assert result.report.ok
        assert result.report.rows == 100
        stored = load(result.artifact)
        assert stored.precision == result.precision
        assert len(stored.test_vectors.inputs) == 8
        assert result.fidelity.rows == 40
        assert result.decisions_changed == result.fidelity.decisions_changed
        assert abs(result.score - 0.9) <= result.decisions_changed / 40
        assert result.warnings == ()
    assert results[0].fidelity.sqnr_db == np.inf
    assert results[0].score == 0.9


@pytest.mark.parametrize("given", ["held out", "evaluation", "compared", "calibration"])
def test_precisions_are_judged_on_the_best_rows_there_are(tmp_path, given):
    """Those held out; else those of the evaluation, those to compare on, those to calibrate on."""
    options = {"held out": {"held_out": random_rows(30, 6), "evaluation": LabeledRows(TEST, CLASSES)}}
    options |= {"evaluation": {"evaluation": LabeledRows(TEST, CLASSES), "verify_rows": random_rows(50, 6)}}
    options |= {"compared": {"verify_rows": random_rows(50, 6)}, "calibration": {}}
    (result,) = export_model(MODEL, ["int8"], ROWS, tmp_path, "m", **options[given])
    assert result.fidelity.rows == {"held out": 30, "evaluation": 40, "compared": 50, "calibration": 100}[given]
    assert (result.score is None) == (given in ("compared", "calibration"))


@pytest.mark.parametrize("is_on", [True, False])
def test_int8_is_equalized_unless_that_is_off(tmp_path, is_on):
    """The options reach what they are for: equalization, method, scales, form."""
    factor = np.float32([1, 1 / 16, 1 / 64, 1, 1, 1 / 256, 1, 1])
    first = replace(MODEL.layers[0], weight=MODEL.layers[0].weight * factor, bias=MODEL.layers[0].bias * factor)
    model = replace(MODEL, layers=(first, MODEL.layers[1]))
    options = ExportOptions(Switches("mse", is_on, per_channel=is_on), form="qgemm" if is_on else "integer")
    results = export_model(model, ["int8", "float32"], ROWS, tmp_path, "m", options=options)
    plain = quantize(model, ROWS, method="mse", per_channel=is_on)
    is_same = all(
        np.array_equal(a.weight, b.weight) for a, b in zip(plain.layers, results[0].model.layers, strict=True)
    )
    assert is_same != is_on
    assert results[0].report.form == options.form
    assert results[0].model.metadata["calibration"] == f"mse{', equalized' if is_on else ''}, 100 rows"
    np.testing.assert_array_equal(results[1].model.layers[0].weight, first.weight)


def test_the_score_is_accuracy_or_r2():
    """By the kind of the labels."""
    model = random_model([6, 2], ["linear"])
    targets = Engine(model).run(TEST) + np.float32(0.5)
    scores = LabeledRows(TEST, targets).scores(model)
    assert scores.rmse == pytest.approx((0.5, 0.5), rel=1e-5)
    assert LabeledRows(TEST, targets).score(model) == scores.value == scores.r2
    assert LabeledRows(TEST, targets).score_name == scores.name == "R^2"
    assert LabeledRows(TEST, CLASSES).score(MODEL) == 1.0
    assert LabeledRows(TEST, CLASSES).score_name == "accuracy"
    dynamic = quantize(MODEL, precision="int8-dynamic")
    assert LabeledRows(TEST, CLASSES).score(dynamic) > 0.8


def test_everybody_is_told_what_happens(tmp_path):
    """Each file as it is written, the choice of the method, the rows that are done."""
    files, choices, rows = [], [], []
    export_model(
        MODEL,
        ["int8", "float32"],
        ROWS,
        tmp_path,
        "m",
        on_file=files.append,
        on_choice=choices.append,
        on_rows=lambda done, total: rows.append((done, total)),
    )
    assert files == [str(tmp_path / f"m.{name}") for name in ("int8.onnx", "int8.npz", "float32.onnx", "float32.npz")]
    assert len(choices) == 1
    assert rows == [(100, 100)] * 2


def test_warnings_of_others_are_passed_on(tmp_path, monkeypatch):
    """Those of the quantizer become texts, once; another one is raised as it was."""

    def noisy(*args, **kwargs):
        warnings.warn("look at this", QuantizationWarning, stacklevel=2)
        warnings.warn("look elsewhere", DeprecationWarning, stacklevel=2)
        return quantize_beside(*args, **kwargs)

    monkeypatch.setattr(verified_pair, "quantize_beside", noisy)
    with pytest.warns(DeprecationWarning, match="look elsewhere") as caught:
        (result,) = export_model(MODEL, ["int8"], ROWS, tmp_path, "m")
    assert result.warnings == ("int8: look at this",)
    assert len(caught) == 1


@pytest.mark.parametrize("keep", [{}, {"dense0": "int8-a16"}])
def test_codes_of_more_than_8_bits_need_the_integer_form_and_no_c(tmp_path, keep):
    """Said before any work, of a layer that is kept in them too."""
    precisions, switches = (["int8"] if keep else ["int8-a16"]), Switches(keep=keep)
    check_export(tmp_path, "m", precisions, ExportOptions(switches))
    with pytest.raises(QuantizationError, match="int8-a16 has codes of more than 8 bits, and form 'qdq' has 8"):
        check_export(tmp_path, "m", precisions, ExportOptions(switches, form="qdq"))
    with pytest.raises(QuantizationError, match="int8-a16 is not written as C"):
        check_export(tmp_path, "m", precisions, ExportOptions(switches, formats=("c",)))


def test_what_cannot_be_written_is_said_before_any_work(tmp_path):
    """A file of another kind in the way, an opset that is too old, a folder that is a file."""
    (tmp_path / "m.int8.onnx").write_text("mine")
    with pytest.raises(OutputRefused, match=r"m\.int8\.onnx"):
        check_export(tmp_path, "m", ["float32", "int8"], ExportOptions())
    check_export(tmp_path, "m", ["float32"], ExportOptions())
    check_export(tmp_path, "m", ["float32", "int8"], ExportOptions(), force=True)
    with pytest.raises(QuantizationError, match="opset"):
        check_export(tmp_path, "m", ["int8"], ExportOptions(opset=12), force=True)
    with pytest.raises((OutputRefused, OSError)):
        check_export(tmp_path / "m.int8.onnx", "m", ["int8"], ExportOptions())
    check_export(tmp_path / "new" / "folder", "m", ["int8"], ExportOptions())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.int8.onnx"]


def test_a_refused_form_writes_nothing(tmp_path):
    """The writer's refusal comes before the first file."""
    with pytest.raises(QuantizationError):
        export_model(MODEL, ["int8"], ROWS, tmp_path / "out", "m", options=ExportOptions(form="else"))
    assert not (tmp_path / "out").exists()


def test_a_score_that_shrinking_lost_is_the_first_warning(tmp_path):
    """With the score before and what to keep; a model that was worth nothing before is not blamed on it."""
    weight, bias = MODEL.layers[1].weight * np.float32(0.02), MODEL.layers[1].bias + np.float32(101_325)
    last = replace(MODEL.layers[1], activation="linear", weight=weight, bias=bias)
    model = replace(MODEL, layers=(MODEL.layers[0], last))
    truth = Engine(model).run(TEST)
    (result,) = export_model(model, ["int8"], ROWS, tmp_path, "m", evaluation=LabeledRows(TEST, truth))
    assert result.score <= 0
    assert "int8: R^2" in result.warnings[0]
    assert "the model before has 1.0000: shrinking lost it; do not use this file" in result.warnings[0]
    (result,) = export_model(model, ["int8"], ROWS, tmp_path, "m", evaluation=LabeledRows(TEST, truth + 900))
    assert "is no better than" in result.warnings[0]
    assert not any("shrinking lost it" in text for text in result.warnings)
