"""Whoever exports, imports or verifies is told in one line, with a figure, what the result is not worth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Dense, Engine, Limits, Model, QuantParams, Standardization, save
from export.commands.export_files import ExportOptions
from export.commands.pipeline import export_model
from export.onnx_writer.writer import write_onnx
from export.quantization.doubts import (
    MOST_ROWS,
    _where,
    by_layer,
    calibration_doubts,
    comparison_doubts,
    fidelity_doubts,
    is_classifier,
    measure_fidelity,
    row_doubts,
)
from export.quantization.equalization import equalize
from export.quantization.fidelity import sqnr_db
from export.quantization.quantizer import quantize
from export.quantization.recipe import Switches
from tests.command import run_command
from tests.networks import random_model, random_rows

MODEL = random_model([10, 12, 8, 4], ["relu", "tanh", "softmax"])
ROWS = random_rows(400, 10)
HELD_OUT = random_rows(300, 10, seed=5)


def coarse(model, layer):
    """int8 with one layer's weights rounded to a few steps: what a bad calibration does, at a known place."""
    small = quantize(model, ROWS, method="mse")
    layers = list(small.layers)
    weight = (np.rint(layers[layer].weight / 100.0) * 100).astype(np.int8)
    layers[layer] = replace(layers[layer], weight=weight)
    return replace(small, layers=tuple(layers))


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic"])
def test_what_is_measured_is_what_the_engines_answer(precision):
    """Decibels of the logits and the changed decisions, on all rows in one batch."""
    small = quantize(MODEL, ROWS, precision, "mse")
    found = measure_fidelity(MODEL, small, HELD_OUT)
    engines = [Engine(model, Limits(max_batch=300)) for model in (MODEL, small)]
    assert found.rows == 300
    assert found.sqnr_db == sqnr_db(*(engine.logits(HELD_OUT) for engine in engines))
    assert found.decisions_changed == np.sum(engines[0].predict(HELD_OUT) != engines[1].predict(HELD_OUT))


def test_one_output_decides_by_its_sign():
    """A single sigmoid: the class changes where the logit changes its sign."""
    model = random_model([10, 1], ["sigmoid"])
    flipped = replace(model, layers=(replace(model.layers[0], bias=model.layers[0].bias + np.float32(0.5)),))
    expected = np.sum((Engine(model).run(ROWS) > 0.5) != (Engine(flipped).run(ROWS) > 0.5))
    assert measure_fidelity(model, flipped, ROWS).decisions_changed == expected > 0


@pytest.mark.parametrize("target", ["regression", "autoencoder"])
def test_a_regression_has_no_decisions(target):
    """Its largest output means nothing."""
    model = replace(random_model([10, 4], ["linear"]), metadata={"target": target})
    assert measure_fidelity(model, quantize(model, ROWS), HELD_OUT).decisions_changed is None


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic"])
def test_a_good_export_is_not_doubted(precision):
    """No line where nothing is wrong."""
    small = quantize(MODEL, ROWS, precision, "mse")
    assert fidelity_doubts(MODEL, small, HELD_OUT, measure_fidelity(MODEL, small, HELD_OUT)) == []
    assert row_doubts(small, HELD_OUT) == []
    if precision == "int8":
        assert calibration_doubts(ROWS, HELD_OUT, small, MODEL) == []


def test_inputs_of_16_bits_are_to_give_more():
    """30 dB, which int8 weights alone exceed: here the grids are those of smaller rows, and clip."""
    small = quantize(MODEL, ROWS / 2.3, "int8-a16", "minmax")
    found = measure_fidelity(MODEL, small, HELD_OUT)
    assert 20 < found.sqnr_db < 30
    assert "dB at the outputs, expected at least 30" in fidelity_doubts(MODEL, small, HELD_OUT, found)[0]


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_layer_at_which_it_begins_is_named(layer):
    """With the decibels behind it; those before are fine."""
    small = coarse(MODEL, layer)
    found = measure_fidelity(MODEL, small, HELD_OUT)
    (text,) = fidelity_doubts(MODEL, small, HELD_OUT, found)
    decibels = by_layer(MODEL, small, HELD_OUT)
    assert list(decibels) == ["dense0", "dense1", "dense2"]
    assert all(decibels[f"dense{before}"] > 20 for before in range(layer))
    assert decibels[f"dense{layer}"] < 20
    assert f"{found.decisions_changed} of 300 decisions ({found.decisions_changed / 300:.1%})" in text
    assert f"{found.sqnr_db:.1f} dB at the outputs, expected at least 20" in text
    assert text.endswith(f"on 300 rows; layer 'dense{layer}' has {decibels[f'dense{layer}']:.1f} dB")


def test_each_layer_is_judged_beside_the_equalized_network():
    """Units that were scaled are no noise: with and without it the decibels are high."""
    source = equalize(MODEL, ROWS)
    assert min(by_layer(source, quantize(source, ROWS, method="mse"), HELD_OUT).values()) > 25


def test_layers_of_float16_are_judged_beside_the_moved_network():
    """Powers of two are no noise either."""
    layers = [replace(layer, weight=layer.weight * np.float32(1e-8)) for layer in MODEL.layers[:1]]
    model = replace(MODEL, layers=(*layers, *MODEL.layers[1:]))
    rows = HELD_OUT * np.float32(1e8)
    assert min(by_layer(model, quantize(model, precision="float16"), rows).values()) > 50


def test_float16_is_doubted_below_forty_decibels():
    """It has 11 bits; 30 dB, fine for int8, are a fault there."""
    model = random_model([10, 4], ["linear"])
    half = quantize(model, precision="float16")
    noisy = replace(half, layers=(replace(half.layers[0], bias=half.layers[0].bias + np.float32(0.02)),))
    found = measure_fidelity(model, noisy, HELD_OUT)
    assert 20 < found.sqnr_db < 40
    (text,) = fidelity_doubts(model, noisy, HELD_OUT, found)
    assert "expected at least 40" in text


def test_single_changed_decisions_are_a_figure_and_no_warning():
    """Up to one in a hundred; one row more is warned of."""
    small = quantize(MODEL, ROWS, method="mse")
    found = measure_fidelity(MODEL, small, HELD_OUT)
    assert fidelity_doubts(MODEL, small, HELD_OUT, replace(found, decisions_changed=3)) == []
    (text,) = fidelity_doubts(MODEL, small, HELD_OUT, replace(found, decisions_changed=4))
    assert text.startswith("4 of 300 decisions (1.3%) are not those of float32, on 300 rows")


@pytest.mark.parametrize(
    ("activation", "metadata", "names", "expected"),
    [
        ("softmax", {}, (), True),
        ("sigmoid", {}, (), True),
        ("linear", {}, (), False),
        ("linear", {"target": "class"}, (), True),
        ("linear", {}, ("a", "b"), True),
        ("sigmoid", {"target": "regression"}, (), False),
        ("sigmoid", {"target": "autoencoder"}, ("a", "b"), False),
    ],
)
def test_only_classifiers_are_warned_of_by_their_decisions(activation, metadata, names, expected):
    """A last layer of linear outputs may be a regression: its largest output is no decision."""
    model = replace(random_model([3, 2], [activation]), metadata=metadata, class_names=names)
    assert is_classifier(model) == expected


def test_calibration_rows_that_are_all_the_same_are_named():
    """However many there are."""
    rows = np.repeat(ROWS[:1], 50, axis=0)
    (text,) = calibration_doubts(rows, HELD_OUT, quantize(MODEL, rows), MODEL)
    assert text.startswith("all 50 calibration rows are the same row")


@pytest.mark.parametrize(("columns", "said"), [([3], "a feature is"), ([3, 7], "2 of 10 features are")])
def test_features_that_only_calibration_has_constant_are_named(columns, said):
    """With their number, the first, and what it always was; a feature that hardly ever moves is left out."""
    rows, held_out = ROWS.copy(), HELD_OUT.copy()
    rows[:, [*columns, 9]] = 0.5
    held_out[:, 9] = 0.5
    held_out[:15, 9] = 2.0  # one in twenty: a pixel that is hardly ever lit
    small = quantize(MODEL, rows)
    texts = calibration_doubts(rows, held_out, small, MODEL)
    assert texts[0].startswith(f"{said} constant in the calibration rows and not in the held-out ones (first feature 3")
    assert "always 0.5" in texts[0]


def test_clipped_inputs_and_layers_are_named_with_their_share():
    """Held-out rows four times as large: the inputs' share, and the worst layer's."""
    texts = calibration_doubts(ROWS, HELD_OUT * 4, quantize(MODEL, ROWS, method="minmax"), MODEL)
    assert len(texts) == 2
    assert "of the input values are clipped" in texts[0]
    network = Engine(MODEL).trace(HELD_OUT * 4)
    grid = quantize(MODEL, ROWS, method="minmax").layers[0].final_grid
    share = np.mean(network["dense0.output"] > grid.high + grid.scale)
    assert texts[1] == f"{share:.1%} of the outputs of layer 'dense0' on held-out rows lie outside its calibrated range"


def test_rows_that_prove_nothing_are_named():
    """Outputs that are NaN or inf compare equal; outputs that are all the same say little."""
    model = random_model([10, 4], ["linear"], weight_scale=1e38)
    rows = ROWS.copy()
    rows[5:] *= np.float32(1e-30)
    rows[:5] *= np.float32(1e10)
    assert row_doubts(model, rows)[0].startswith("5 of 400 rows give NaN or inf")
    dead = replace(MODEL, layers=(*MODEL.layers[:2], replace(MODEL.layers[2], weight=MODEL.layers[2].weight * 0)))
    assert row_doubts(dead, ROWS)[0].startswith("all 400 rows give the same output")
    assert row_doubts(dead, np.repeat(ROWS, 3, axis=0))[0].startswith(f"all {MOST_ROWS:,} rows")
    for harmless in (ROWS[:1], ROWS[:0], np.repeat(ROWS[:1], 5, axis=0)):
        assert row_doubts(dead, harmless) == []


def test_a_comparison_on_rows_out_of_range_is_doubted():
    """The share of clipped inputs, as `run` says it."""
    small = quantize(MODEL, ROWS, method="mse")
    assert comparison_doubts(small, HELD_OUT) == []
    (text,) = comparison_doubts(small, HELD_OUT * 100)
    assert "of the input values are clipped" in text


def exported(folder, model, rows, *arguments):
    """`smallnet export` of a model on rows: exit status, JSON and lines of standard error."""
    save(model, folder / "m.npz")
    np.savez(folder / "rows.npz", x=rows)
    result = run_command(
        "export", folder / "m.npz", "--calibrate", folder / "rows.npz", "--out", folder / "b", *arguments, "--json"
    )
    facts = json.loads(result.stdout)
    return result.exit_code, facts, [line for line in result.stderr.splitlines() if line.startswith("warning: ")]


def test_the_command_says_each_warning_once_and_keeps_it(tmp_path):
    """One line on standard error, the same text in the list `warnings` of the whole and of its row."""
    status, facts, lines = exported(tmp_path, MODEL, ROWS[:9])
    assert status == 0
    assert [f"warning: {text}" for text in facts["warnings"]] == lines
    assert facts["warnings"] == facts["exported"][0]["warnings"]
    assert lines[0].startswith("warning: int8: calibrated on 9 rows, expected at least 16")
    status, facts, lines = exported(tmp_path, MODEL, random_rows(400, 10, seed=3) / 2, "--precision", "all")
    assert (status, facts["warnings"], lines) == (0, [], [])


def test_the_command_warns_of_float16_that_is_lost(tmp_path):
    """Between two tanh weights of 1e-9 become 0: the layer, the count and the decibels."""
    model = random_model([10, 12, 8, 4], ["tanh", "tanh", "linear"], bias_scale=0.0)
    faded = replace(model.layers[1], weight=model.layers[1].weight * np.float32(1e-9), bias=np.zeros(8, np.float32))
    model = replace(model, layers=(model.layers[0], faded, model.layers[2]))
    status, facts, lines = exported(tmp_path, model, ROWS, "--precision", "float16")
    assert status == 0
    assert lines[0].startswith("warning: float16: layer 'dense1': 96 of 96 weights become 0")
    assert "dB at the outputs, expected at least 40" in lines[1]
    assert facts["exported"][0]["sqnr_db"] < 1


def test_the_table_and_the_json_have_the_same_figures_without_labels(tmp_path):
    """Decibels and changed decisions beside float32, on rows that nothing was calibrated on."""
    status, facts, _ = exported(tmp_path, MODEL, ROWS)
    row = facts["exported"][0]
    assert (status, facts["score"], row["score"], row["held_out_rows"]) == (0, None, None, 80)
    text = run_command(
        "export", tmp_path / "m.npz", "--calibrate", tmp_path / "rows.npz", "--out", tmp_path / "b", "--wide"
    ).stdout
    header, _, _, line = text.splitlines()[:4]
    names = [name.strip() for name in header.split("  ") if name.strip()]
    assert names == [
        "precision",
        ".npz bytes",
        ".onnx bytes",
        "weights B",
        "sqnr dB",
        "decisions changed",
        "max abs error",
        "verified",
    ]
    values = line.split()
    assert values[4:6] == [f"{row['sqnr_db']:.1f}", str(row["decisions_changed"])]


def test_a_library_export_keeps_its_warnings(tmp_path):
    """`Exported.warnings`; nothing is said by Python's warnings on top of it."""
    (result,) = export_model(MODEL, ["int8"], ROWS[:3], tmp_path, "m", options=ExportOptions(Switches("minmax")))
    assert result.warnings[0].startswith("int8: calibrated on 3 rows")
    (result,) = export_model(MODEL, ["int8"], ROWS, tmp_path, "m", held_out=HELD_OUT * 4)
    assert any("are clipped" in text for text in result.warnings)
    assert result.fidelity.rows == 300


def test_import_and_verify_say_what_their_rows_prove(tmp_path):
    """Constant outputs and clipped inputs, on standard error and in JSON."""
    dead = Model((replace(MODEL.layers[0], weight=MODEL.layers[0].weight * 0), *MODEL.layers[1:]))
    write_onnx(dead, tmp_path / "m.onnx")
    result = run_command("import", tmp_path / "m.onnx", "--out", tmp_path / "m.npz", "--json")
    (text,) = json.loads(result.stdout)["warnings"]
    assert text.endswith("rows give the same output: a comparison on them says little")
    assert f"warning: {text}" in result.stderr
    small = quantize(replace(MODEL, preprocessing=Standardization(np.zeros(1, "f4"), np.ones(1, "f4"))), ROWS)
    save(small, tmp_path / "s.npz")
    write_onnx(small, tmp_path / "s.onnx")
    np.savez(tmp_path / "far.npz", x=ROWS * 100)
    result = run_command("verify", tmp_path / "s.npz", tmp_path / "s.onnx", "--data", tmp_path / "far.npz", "--json")
    (text,) = json.loads(result.stdout)["warnings"]
    assert "of the input values are clipped" in text
    assert result.stderr.count(text) == 1


def overflowing():
    """A network whose second layer overflows float32 on large rows."""
    model = random_model([10, 6, 4], ["relu", "linear"])
    return replace(
        model, layers=tuple(replace(layer, weight=layer.weight * np.float32(1e20)) for layer in model.layers)
    )


def test_an_overflow_is_a_doubt_and_no_warning_of_numpy():
    """inf on one side, or NaN, is -inf dB; where both sides overflow the other rows are judged."""
    model = overflowing()
    half = replace(model, layers=(replace(model.layers[0], weight=model.layers[0].weight / 2), model.layers[1]))
    found = measure_fidelity(model, half, ROWS)
    assert found.sqnr_db == -np.inf
    (text,) = fidelity_doubts(model, half, ROWS, found)
    assert "-inf dB at the outputs" in text
    with np.errstate(over="ignore", invalid="ignore"):
        bad = ~np.isfinite(Engine(model).run(ROWS)).all(axis=1)
    assert bad.sum() > 100
    assert row_doubts(model, ROWS)[0].startswith(f"{bad.sum()} of 400 rows give NaN or inf")
    assert row_doubts(model, ROWS[bad][:1])[0].startswith("1 of 1 rows give NaN or inf")


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_layers_are_judged_beside_a_network_of_the_same_units(precision):
    """float16 moves hidden units by powers of two, int8 does not: either way each layer is near."""
    model = random_model([10, 12, 8, 4], ["relu", "relu", "linear"], bias_scale=0.0)
    layers = (model.layers[0], replace(model.layers[1], weight=model.layers[1].weight * np.float32(1e-8)))
    model = replace(model, layers=(*layers, model.layers[2]))
    small = quantize(model, ROWS, precision, "minmax")
    assert min(by_layer(model, small, HELD_OUT).values()) > (50 if precision == "float16" else 25)


def test_two_rows_with_one_output_are_named():
    """Two are enough to wonder."""
    dead = replace(MODEL, layers=(*MODEL.layers[:2], replace(MODEL.layers[2], weight=MODEL.layers[2].weight * 0)))
    assert row_doubts(dead, ROWS[:2]) == ["all 2 rows give the same output: a comparison on them says little"]


def test_the_least_layer_is_named_where_only_decisions_change():
    """None is below the limit then: the one with the least decibels is where to look."""
    small = quantize(MODEL, ROWS, method="mse")
    found = replace(measure_fidelity(MODEL, small, HELD_OUT), decisions_changed=200)
    decibels = by_layer(MODEL, small, HELD_OUT)
    worst = min(decibels, key=decibels.get)
    (text,) = fidelity_doubts(MODEL, small, HELD_OUT, found)
    assert text == (
        "200 of 300 decisions (66.7%) are not those of float32, on 300 rows; "
        f"layer '{worst}' has {decibels[worst]:.1f} dB"
    )
    assert _where({"a": 30.0, "b": 25.0, "c": 40.0}, 20.0) == ("b", 25.0)
    assert _where({"a": 30.0, "b": 15.0, "c": 10.0}, 20.0) == ("b", 15.0)


def test_the_layer_that_is_clipped_most_is_named():
    """Of several hidden ones; a network of a single layer has none."""
    model = random_model([10, 12, 8, 4], ["linear", "relu", "linear"])
    small = quantize(model, ROWS, method="minmax")
    grid = QuantParams(small.layers[1].output.scale / np.float32(8), 0)
    squeezed = replace(small.layers[1], output=grid)
    last = replace(small.layers[2], input=grid)
    texts = calibration_doubts(ROWS, HELD_OUT, replace(small, layers=(small.layers[0], squeezed, last)), model)
    assert len(texts) == 1
    assert "of the outputs of layer 'dense1' on held-out rows lie outside" in texts[0]
    single = random_model([10, 4], ["linear"])
    assert calibration_doubts(ROWS, HELD_OUT, quantize(single, ROWS), single) == []


def test_a_logit_of_0_is_no_decision_for():
    """As `Engine.predict` has it: only above 0 is class 1."""
    model = random_model([10, 1], ["sigmoid"])
    zero = replace(model, layers=(replace(model.layers[0], weight=model.layers[0].weight * 0, bias=np.zeros(1, "f4")),))
    above = replace(zero, layers=(replace(zero.layers[0], bias=np.float32([1e-6])),))
    below = replace(zero, layers=(replace(zero.layers[0], bias=np.float32([-1e-6])),))
    assert (
        measure_fidelity(zero, above, ROWS).decisions_changed,
        measure_fidelity(zero, below, ROWS).decisions_changed,
    ) == (400, 0)


def loud_and_quiet(metadata):
    """Two outputs, one a thousand times as large as the other; int8 has one grid for both before the last layer."""
    weights = np.float32([[1000.0, 0], [0, 1.0], [0, 0]])
    first = Dense("a", weights, np.zeros(2, np.float32), Activation.of("softplus"))
    last = Dense("b", np.eye(2, dtype=np.float32), np.zeros(2, np.float32), Activation.of("linear"))
    return Model((first, last), metadata=metadata)


def test_an_output_that_a_loud_one_hides_is_named():
    """44 dB together, and the quiet output is a constant: its own decibels are said, with its number."""
    rows = np.random.default_rng(0).uniform(0.1, 1, (500, 3)).astype(np.float32)
    model = loud_and_quiet({"target": "regression"})
    small = quantize(model, rows)
    found = measure_fidelity(model, small, rows)
    assert found.sqnr_db > 40
    assert found.worst_output == 1
    assert found.worst_output_db == sqnr_db(*(Engine(net).run(rows)[:, [1]] for net in (model, small))) < 3
    (text,) = fidelity_doubts(model, small, rows, found)
    assert text.startswith(f"output 1 by itself has {found.worst_output_db:.1f} dB, expected at least 20, on 500 rows")


@pytest.mark.parametrize("metadata", [{"target": "autoencoder"}, {"target": "class"}])
def test_parts_of_one_signal_and_classes_are_not_judged_one_by_one(metadata):
    """A pixel that hardly varies, or the score of one class, says little by itself."""
    rows = np.random.default_rng(0).uniform(0.1, 1, (500, 3)).astype(np.float32)
    model = loud_and_quiet(metadata)
    found = measure_fidelity(model, quantize(model, rows), rows)
    assert (found.worst_output, found.worst_output_db) == (None, None)


def test_an_output_that_never_varies_is_not_the_worst():
    """What is always the same has no decibels."""
    model = loud_and_quiet({"target": "regression"})
    rows = np.float32([[0.5, 1, 0], [0.25, 1, 0], [0.75, 1, 0]])
    assert measure_fidelity(model, model, rows).worst_output == 0


def test_a_single_row_has_no_decibels():
    """No output varies in it: that is said, and not that the answers are bad."""
    small = quantize(MODEL, ROWS, method="mse")
    row = HELD_OUT[:1]
    found = measure_fidelity(MODEL, small, row)
    assert (found.rows, found.sqnr_db) == (1, -np.inf)
    (text,) = fidelity_doubts(MODEL, small, row, found)
    assert text.startswith("judged on a single row")
