"""The layer that is damaged is named first, of each kind of damage; where none is, there is nothing to mend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, InputError, Limits, Model, QuantizationError, Standardization
from edge_runtime.schema import Column, Schema
from export import diagnose, quantize
from export.quantization import PRECISIONS
from tests.export.diagnosis.damage import (
    random_case,
    with_dead_layer,
    with_layer,
    with_outlier,
    with_saturating_range,
)
from tests.networks import random_model, random_rows, staged_model
from trainer import NeuralNetwork

MODEL = random_model([12, 24, 16, 5], ["relu", "tanh", "softmax"])
ROWS, CALIBRATION = random_rows(300, 12, 5), random_rows(400, 12, 6)
DAMAGE = {"outlier": with_outlier, "dead": with_dead_layer, "saturation": with_saturating_range}


@pytest.mark.parametrize("seed", range(50))
def test_the_damaged_layer_is_named_first(seed):
    """One of each kind in turn, in any layer of a random network: first in the table, and in the sentence."""
    kind, rng = list(DAMAGE)[seed % 3], np.random.default_rng(seed)
    whole = random_case(seed)
    count = len(whole.model.layers)
    place = int(rng.integers(count if kind == "outlier" else count - 1))
    case = DAMAGE[kind](whole, place, rng)
    found = diagnose(case.model, case.rows, case.labels, small=case.small, calibration=case.calibration, method="mse")
    name = case.model.layers[place].name
    assert found.layers[0].name == found.worst == name
    assert found.verdict.startswith(f"layer '{name}'")
    assert kind in [finding.kind for finding in found.findings if finding.layer == name]


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_to_mend_where_nothing_is_damaged(seed):
    """Trained networks and random ones, classifiers and regressions, with labels and without."""
    case = random_case(seed)
    found = diagnose(case.model, case.rows, case.labels, calibration=case.calibration, method="mse")
    assert found.ok
    assert found.worst is None
    assert found.findings == found.remedies == ()
    assert found.verdict.startswith("nothing to mend: int8 ")


@pytest.mark.parametrize("precision", PRECISIONS[1:])
@pytest.mark.parametrize("staged", [False, True])
def test_every_precision_and_stages_between_layers_are_looked_at(precision, staged):
    """Each layer with weights has its line, with figures that are numbers."""
    model = staged_model([12, 24, 16, 5]) if staged else MODEL
    found = diagnose(model, ROWS, precision=precision, calibration=CALIBRATION, method="mse")
    assert {layer.name for layer in found.layers} == {"dense0", "dense1", "dense2"}
    assert found.precision == precision
    for layer in found.layers:
        assert layer.weights_db > 5
        assert 0.9 < layer.cosine <= 1.000001
        assert layer.alone.rows == found.rows == 300


def test_float32_has_no_errors():
    """Nothing differs from itself."""
    found = diagnose(MODEL, ROWS, precision="float32", calibration=CALIBRATION)
    assert all(layer.behind_db == layer.here_db == layer.weights_db == np.inf for layer in found.layers)
    assert found.verdict == "nothing to mend: float32 loses 0 decisions of 300, no error at the outputs"


def test_a_network_that_was_dead_before_is_said_to_be():
    """Nothing is lost by int8, and the model is worth nothing."""
    dead = with_layer(MODEL, 0, bias=MODEL.layers[0].bias - np.float32(1e4))
    found = diagnose(dead, ROWS, calibration=CALIBRATION, method="minmax")
    assert found.worst == "dense0"
    assert found.verdict.startswith("layer 'dense0': it is dead in the float model: it gives 0 for all 300 rows")
    assert "int8 loses 0 decisions of 300" in found.verdict
    assert found.remedies == ()


def test_weights_beyond_float16_are_named_and_what_holds_them():
    """quantize refuses such a network; here the layer and the remedy are said."""
    model = random_model([12, 24, 16, 5], ["tanh", "tanh", "softmax"])
    weight = model.layers[1].weight.copy()
    weight[3, 4] = 1e9
    bound = with_layer(model, 1, weight=weight)
    with pytest.raises(QuantizationError, match="beyond float16's largest number"):
        quantize(bound, precision="float16")
    found = diagnose(bound, ROWS, precision="float16", calibration=CALIBRATION)
    assert found.worst == "dense1"
    (finding,) = found.findings
    assert finding.kind == "overflow"
    assert finding.text == "float16 overflows: 1 weights are beyond its largest number 65504, up to 1e+09"


def test_weights_that_float16_takes_as_0_are_named():
    """Behind a tanh, which no power of two passes."""
    weight = MODEL.layers[2].weight * np.float32(1e-9)
    faint = with_layer(MODEL, 2, weight=weight)
    faint = replace(faint, layers=(*faint.layers[:2], replace(faint.layers[2], bias=faint.layers[2].bias * 0)))
    found = diagnose(faint, ROWS, precision="float16", calibration=CALIBRATION)
    assert found.worst == "dense2"
    assert found.findings[0].kind == "underflow"
    assert f"{weight.size:,} of {weight.size:,} weights become 0" in found.verdict


def test_rows_on_which_float32_overflows_are_left_out_and_counted():
    """With the first layer that does; where all do, nothing can be compared."""
    loud = random_model([12, 24, 16, 5], ["linear"] * 3, weight_scale=1e15)
    rows = ROWS.copy()
    rows[1:] *= np.float32(1e-20)
    found = diagnose(loud, rows, calibration=rows[1:], method="minmax")
    assert found.rows == 299
    assert found.findings[0].layer == "dense2"
    assert "NaN or inf on 1 of 300 rows, which were left out" in found.verdict
    with pytest.raises(InputError, match="layer 'dense2' of the float model gives NaN or inf on all 300 rows"):
        diagnose(loud, ROWS, calibration=ROWS)


def test_rows_without_others_to_calibrate_with_are_cut():
    """Each fifth is looked at; of few rows all are."""
    assert diagnose(MODEL, ROWS, method="minmax").rows == 60
    assert diagnose(MODEL, ROWS[:19], method="minmax").rows == 19


def test_a_trained_network_and_a_frame_of_labels_will_do():
    """Whatever has `to_model`, and labels as a list."""
    network = NeuralNetwork([12, 8, 3], ["relu", "softmax"])
    network.fit(ROWS, (ROWS[:, 0] > 0) + (ROWS[:, 1] > 0), epochs=20)
    found = diagnose(
        network, ROWS, [int(row[0] > 0) + int(row[1] > 0) for row in ROWS], calibration=CALIBRATION, method="minmax"
    )
    assert found.small_answers.right is not None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"rows": ROWS[:, :5]}, r"rows have shape \(300, 5\), expected \(n, 12\)"),
        ({"rows": ROWS[:0]}, "at least one row"),
        ({"rows": np.where(ROWS > 2, np.nan, ROWS)}, "rows row .* nan is not a finite number"),
        ({"labels": np.arange(300)}, "labels run from 0 to 299, the model has classes 0..4"),
        ({"labels": np.zeros(7, int)}, r"labels have dtype int64 and shape \(7,\)"),
        ({"small": quantize(random_model([12, 5], ["softmax"]), ROWS)}, "the small model has the layers dense0 12-5"),
        ({"precision": "int3"}, "precision is 'int3', expected one of"),
        ({"calibration": ROWS[:, :3]}, "calibration have shape"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, text):
    """With what was found and what was expected."""
    with pytest.raises((InputError, QuantizationError), match=text):
        diagnose(MODEL, **{"rows": ROWS, **arguments})


def test_figures_are_those_of_the_networks_themselves():
    """Of the small model that is given: its decisions, right answers and decibels are the engines' own."""
    small = quantize(MODEL, CALIBRATION, method="minmax", test_vectors=0)
    labels = np.where(np.arange(300) % 5, Engine(MODEL, Limits(max_batch=300)).predict(ROWS), 0)
    found = diagnose(MODEL, ROWS, labels, small=small, calibration=CALIBRATION)
    assert found.small_answers.right == _right(small, labels)
    assert found.float_answers.right == _right(MODEL, labels)


def test_other_steps_are_tried_for_a_small_model_of_values_that_somebody_made():
    """They cost nothing; what gives no more than there is has no line, and decisions that stay need none."""
    case, classes = random_case(3), random_case(5)
    for each, per_channel, tried in ((case, False, ["--method auto"]), (case, True, []), (classes, False, [])):
        small = quantize(each.model, each.calibration, "int8", per_channel=per_channel, method="minmax", test_vectors=0)
        found = diagnose(each.model, each.rows, small=small, calibration=each.calibration)
        assert found.ok
        assert [remedy.option for remedy in found.remedies] == tried
    assert diagnose(case.model, case.rows, calibration=case.calibration).remedies == ()


def _right(model: Model, labels: np.ndarray) -> int:
    return int(np.sum(Engine(model, Limits(max_batch=300)).predict(ROWS) == labels))


def targets_of_other_sizes():
    """Power, strain and temperature: outputs of 1000, 0.01 and 20, of which int8 with one scale loses the strain."""
    model = random_model([12, 24, 16, 3], ["relu", "relu", "linear"], 3)
    sizes = np.float32([1000, 0.01, 20])
    last = model.layers[2]
    model = with_layer(model, 2, weight=last.weight * sizes, bias=last.bias * sizes)
    columns = tuple(Column(f"x{at}") for at in range(12))
    text = Schema(columns, targets=("power", "strain", "temp")).text()
    model = replace(model, metadata={"target": "regression", "schema": text})
    return model, quantize(model, CALIBRATION, "int8", "minmax", per_channel=False, test_vectors=0)


@pytest.mark.parametrize("is_labelled", [True, False])
def test_the_layer_that_loses_a_small_target_is_named_and_the_target(is_labelled):
    """Each target counts alike: in the order of layers, in what is won back, in what helps, and in the figures."""
    model, small = targets_of_other_sizes()
    labels = Engine(model, Limits(max_batch=300)).run(ROWS) if is_labelled else None
    found = diagnose(model, ROWS, labels, small=small, calibration=CALIBRATION)
    assert found.small_answers.sqnr_db > 30
    assert found.small_answers.even_db < 6
    assert found.worst == found.layers[0].name == "dense2"
    kept = {layer.name: layer.kept["float16"].judged_db - found.small_answers.judged_db for layer in found.layers}
    assert kept["dense2"] > 15 > 3 > max(kept["dense0"], kept["dense1"])
    assert "at output 1 'strain' (" in found.verdict
    assert found.verdict.startswith("layer 'dense2': ")
    assert ("R^2 1.0000 -> " in found.verdict) == is_labelled
    assert "each target counting alike" in " ".join(str(found).split())
    assert not found.ok


def test_the_layer_that_loses_quiet_columns_of_an_autoencoder_is_named():
    """Sensors in units of their own: one scale for all weights of the last layer takes the quiet ones."""
    sizes = np.float32(10.0 ** np.linspace(-2, 2, 12))
    model = random_model([12, 24, 16, 12], ["relu", "relu", "linear"], 3)
    last = model.layers[2]
    model = with_layer(model, 2, weight=last.weight * sizes, bias=last.bias * sizes)
    preprocessing = Standardization(np.zeros(12, np.float32), 1 / sizes)
    model = replace(model, preprocessing=preprocessing, metadata={"target": "autoencoder"})
    rows, calibration = ROWS * sizes, CALIBRATION * sizes
    small = quantize(model, calibration, "int8", "minmax", per_channel=False, test_vectors=0)
    targets = Engine(model, Limits(max_batch=300)).run(rows)
    found = diagnose(model, rows, targets, small=small, calibration=calibration)
    assert found.small_answers.sqnr_db > 30
    assert found.worst == found.layers[0].name == "dense2"
    assert found.layers[0].here_db < 20 < min(layer.here_db for layer in found.layers[1:])
    kept = {layer.name: layer.kept["float16"].r2 for layer in found.layers}
    assert max(kept, key=kept.get) == "dense2"
    assert "each target counting alike" in " ".join(str(found).split())


def broken_and_labels():
    """A small network whose middle layer has its rows in another order, and what the float one decides."""
    small = quantize(MODEL, CALIBRATION, method="minmax", test_vectors=0)
    other = np.random.default_rng(0).permutation(24)
    labels = Engine(MODEL, Limits(max_batch=300)).predict(ROWS)
    return with_layer(small, 1, weight=small.layers[1].weight[other]), labels


@pytest.mark.parametrize("change", [lambda y: np.random.default_rng(1).permutation(y), lambda y: (y + 1) % 5])
def test_a_broken_network_is_named_whatever_labels_of_other_rows_say(change):
    """The float network has none of them right, and so has the small one: decisions that change are counted then."""
    small, labels = broken_and_labels()
    found = diagnose(MODEL, ROWS, change(labels), small=small, calibration=CALIBRATION)
    assert found.worst == "dense1"
    assert "nothing to mend" not in found.verdict
    assert "the float model itself is right on " in found.verdict
    assert "these labels say nothing of it and were left out" in found.verdict
    assert found.small_answers.right is None
    assert "labels" not in diagnose(MODEL, ROWS, labels, small=small, calibration=CALIBRATION).verdict


def test_targets_of_other_rows_hide_nothing():
    """R^2 below 0 of the float network says nothing of the small one; decibels do."""
    model = replace(random_model([12, 24, 1], ["relu", "linear"]), metadata={"target": "regression"})
    targets = np.roll(Engine(model, Limits(max_batch=300)).run(ROWS), 7, axis=0).astype(float)
    small = quantize(model, CALIBRATION, method="minmax", test_vectors=0)
    small = with_layer(small, 0, weight=small.layers[0].weight[::-1])
    found = diagnose(model, ROWS, targets, small=small, calibration=CALIBRATION)
    assert found.worst == "dense0"
    assert "the float model itself has R^2 -" in found.verdict


def test_a_class_that_is_lost_whole_is_named():
    """Two rows of hundreds are less than half a point, and are all that there is of the class."""
    small, labels = quantize(MODEL, CALIBRATION, method="minmax", test_vectors=0), broken_and_labels()[1]
    rows = np.concatenate([np.flatnonzero(labels != 3), np.flatnonzero(labels == 3)[:2]])
    weight, bias = small.layers[2].weight.copy(), small.layers[2].bias.copy()
    weight[:, 3], bias[3] = 0, -(2**20)
    small = with_layer(small, 2, weight=weight, bias=bias)
    for known in (labels[rows], None):
        found = diagnose(MODEL, ROWS[rows], known, small=small, calibration=CALIBRATION)
        assert found.worst == "dense2"
        assert "lost whole: class 3 (all 2 rows), output 3 (the same for all rows)" in found.verdict


@pytest.mark.parametrize("factor", [0, -1])
def test_a_single_output_of_many_is_named(factor):
    """Its part in a sum over 150 is small: of targets, and of parts of one signal."""
    for n_in in (10, 150):
        model = random_model([n_in, 20, 150], ["relu", "linear"])
        rows = random_rows(200, n_in, 3)
        small = quantize(model, rows, method="minmax", test_vectors=0)
        weight = small.layers[1].weight.copy()
        weight[:, 7] *= factor
        bias = np.where(np.arange(150) == 7, factor * small.layers[1].bias, small.layers[1].bias).astype(np.int32)
        found = diagnose(model, rows, small=with_layer(small, 1, weight=weight, bias=bias), calibration=rows)
        assert found.worst == "dense1"
        assert "lost whole: output 7 (" in found.verdict
        assert "--method auto" in [remedy.option for remedy in found.remedies]


STANDARDIZED = random_model([12, 24, 16, 5], ["relu", "relu", "softmax"], standardize=True)


@pytest.mark.parametrize("is_small_without", [True, False])
def test_a_small_model_that_is_standardized_otherwise_is_said_before_any_layer(is_small_without):
    """Nothing a layer does makes good for it: both standardizations are said, and that making it anew helps."""
    plain = replace(STANDARDIZED, preprocessing=None)
    of, other = (STANDARDIZED, plain) if is_small_without else (plain, STANDARDIZED)
    rows, calibration = ROWS * 3 + 5, CALIBRATION * 3 + 5
    small = replace(quantize(of, calibration, method="minmax", test_vectors=0), preprocessing=other.preprocessing)
    found = diagnose(of, rows, small=small, calibration=calibration)
    assert found.worst == "input"
    assert found.verdict.startswith("the small model standardizes input ")
    assert "not at all" in found.verdict.split(";")[0]
    assert " as (x - " in found.verdict.split(";")[0]
    assert next(remedy.option for remedy in found.remedies if remedy.is_tried) == "--method auto"
    assert "--keep" not in found.verdict


def test_the_feature_that_is_standardized_otherwise_is_named():
    """One factor of twelve."""
    factors = STANDARDIZED.preprocessing.inv_std * np.where(np.arange(12) == 4, np.float32(40), np.float32(1))
    small = quantize(STANDARDIZED, CALIBRATION, method="minmax", test_vectors=0)
    small = replace(small, preprocessing=replace(small.preprocessing, inv_std=factors))
    found = diagnose(STANDARDIZED, ROWS, small=small, calibration=CALIBRATION)
    assert found.verdict.startswith("the small model standardizes input 4 as (x - ")


def test_a_rare_value_far_beyond_all_others_is_no_alarm():
    """One of thousands at 90 spreads is most of the sum of squares; that it is clipped harms nothing."""
    rows = random_rows(600, 12, 5)
    rows[7, 3] = 90
    found = diagnose(MODEL, rows, calibration=CALIBRATION, method="minmax")
    assert found.findings == ()
    assert found.ok


def test_weights_that_decayed_to_nothing_are_no_alarm_in_float16():
    """They are below its smallest number, and the layer misses none of them."""
    weight = MODEL.layers[0].weight.copy()
    weight[:4] = 1e-12
    found = diagnose(with_layer(MODEL, 0, weight=weight), ROWS, precision="float16", calibration=CALIBRATION)
    assert found.findings == ()
    assert found.ok


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e200])
def test_targets_that_are_no_numbers_are_refused_with_their_row(wrong):
    """No R^2 can be told of them."""
    targets = np.zeros((300, 5))
    targets[33, 2] = wrong
    with pytest.raises(InputError, match="labels row 33"):
        diagnose(replace(MODEL, metadata={"target": "regression"}), ROWS, targets, calibration=CALIBRATION)
