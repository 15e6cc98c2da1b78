"""The fewest bytes within a drop: what is tried, what is taken, and that it is what was measured."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Engine, InputError, QuantizationError, Standardization
from edge_runtime.artifact import save_bytes
from edge_runtime.errors import CalibrationError
from edge_runtime.model import weight_bytes
from export import quantize_within
from export.quantization import automatic
from export.quantization.automatic import MOST_CHOSEN_ON, choose_within, mix_text
from export.quantization.drops import AllowedDrop, DropJudge
from export.quantization.mixes import LADDER, Mixes
from export.quantization.recipe import INTEGERS, QuantizationWarning, Switches
from tests.networks import random_model, random_rows, staged_model

MODEL = random_model([8, 24, 16, 3], ["relu", "tanh", "softmax"], standardize=True)
ROWS, TEST = random_rows(300, 8), random_rows(400, 8, seed=5)
LABELS = Engine(MODEL).predict(TEST)


def chosen(model=MODEL, drop=1.0, metric="accuracy", labels=LABELS, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)
        return choose_within(model, ROWS, TEST, labels, AllowedDrop(metric, drop), Switches("minmax"), **options)


def precisions(model):
    return {layer.name: layer.precision for layer in model.layers if hasattr(layer, "weight")}


@pytest.mark.parametrize("drop", [0, 1, 5, 20, 35, 60])
def test_what_is_chosen_is_within_and_is_what_was_measured(drop):
    """The model's own outputs have the drop that its trial states, and its layers and bytes are the trial's."""
    choice = chosen(drop=drop, metric="sqnr", labels=None)
    small = choice.quantized.model
    judge = choice.judge_on(TEST, None)
    assert judge.drop(Engine(small).run(TEST)) == pytest.approx(choice.chosen.drop, abs=1e-6)
    assert choice.chosen.is_within
    assert choice.chosen.drop <= drop
    assert precisions(small) == choice.chosen.layers
    assert choice.chosen.bytes == weight_bytes(small)
    assert small.metadata["precision_ladder"] == choice.ladder()


def test_less_drop_takes_no_fewer_bytes():
    """From all in 4 bits, where everything is allowed, to floats where nothing is."""
    sizes = [chosen(drop=drop, metric="sqnr", labels=None).chosen.bytes for drop in (100, 40, 30, 20, 0)]
    assert sizes == sorted(sizes)
    assert set(chosen(drop=100, metric="sqnr").chosen.layers.values()) == {LADDER[0]}
    assert not set(chosen(drop=0, metric="sqnr").chosen.layers.values()) & {*INTEGERS}


def test_no_mix_of_all_is_smaller_than_the_choice_by_much():
    """Beside all mixes of a small network, each made and measured, the greedy one takes at most a tenth more bytes."""
    model = random_model([8, 12, 3], ["relu", "linear"])
    levels = [name for name in LADDER if name != "float32"]
    for drop in (10, 20, 30):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", QuantizationWarning)
            mixes = Mixes(model, ROWS, Switches("minmax"))
            exact = Engine(model).run(TEST)
            half = Engine(mixes.uniform("float16").model).run(TEST)
            judge = DropJudge(model, exact, None, AllowedDrop("sqnr", drop), half)
            sizes = []
            for pair in itertools.product(levels, repeat=2):
                small = mixes.made(tuple(zip(("dense0", "dense1"), pair, strict=True))).model
                if judge.is_within(Engine(small).run(TEST)):
                    sizes.append(sum(array.nbytes for layer in small.layers for array in layer.arrays().values()))
        assert chosen(model, drop, "sqnr", None).chosen.bytes <= 1.1 * min(sizes)


def test_one_layer_that_integers_break_is_the_one_that_is_kept():
    """A weight a thousand times as large as the others of its unit costs them their bits: that layer gets more."""
    first, second, last = random_model([8, 24, 24, 3], ["relu", "relu", "linear"]).layers
    weight = second.weight.copy()
    weight[0] *= 3000
    broken = replace(MODEL, layers=(first, replace(second, weight=weight), last), preprocessing=None)
    quiet = first.weight.copy()
    quiet[:, 0] /= 3000
    broken = replace(broken, layers=(replace(first, weight=quiet), *broken.layers[1:]))
    layers = chosen(broken, 30, "sqnr", None).chosen.layers
    assert layers["dense1"] not in ("int4", "int8")
    assert min(LADDER.index(layers[name]) for name in ("dense0", "dense2")) < LADDER.index(layers["dense1"])


def test_the_same_rows_give_the_same_bytes():
    """Twice, and whether labels are lists or arrays."""
    one, other = (quantize_within(MODEL, ROWS, TEST, labels, max_drop=1) for labels in (LABELS, LABELS.tolist()))
    assert save_bytes(one) == save_bytes(other)
    assert len(one.test_vectors.inputs) == 8


def test_stages_stand_between_layers_of_any_precision():
    """They are no layer that is chosen for."""
    model = staged_model([8, 16, 12, 3], final="linear")
    choice = chosen(model, 40, "sqnr", None)
    assert set(choice.chosen.layers) == {"dense0", "dense1", "dense2"}
    assert choice.chosen.is_within


def test_trials_are_told_and_bounded(monkeypatch):
    """Each once, in their order; no more mixes than a number that is stated, and then what was found so far."""
    told = []
    choice = chosen(drop=20, metric="sqnr", labels=None, on_trial=told.append)
    assert tuple(told) == choice.trials
    assert len({tuple(trial.layers.items()) for trial in told}) == len(told)
    monkeypatch.setattr(automatic, "MOST_TRIALS", 2)
    few = chosen(drop=20, metric="sqnr", labels=None)
    uniform = [trial for trial in few.trials if len(set(trial.layers.values())) == 1]
    assert len(few.trials) <= len(uniform) + 2
    assert few.chosen.is_within


def test_a_precision_that_cannot_be_made_is_passed_over(monkeypatch):
    """It says why, and the next is tried."""
    huge = random_model([8, 4, 4, 3], ["tanh", "tanh", "linear"])
    large = replace(huge.layers[1], weight=np.full((4, 4), 7e4, np.float32))
    huge = replace(huge, layers=(huge.layers[0], large, huge.layers[2]))
    trials = {trial.text: trial for trial in chosen(huge, 0, "rmse", Engine(huge).run(TEST)).trials}
    assert trials["float16"].drop is None
    assert "beyond float16's largest number" in trials["float16"].refused
    assert trials["float32"].is_within


def test_many_rows_are_thinned_out_with_their_labels():
    """Evenly, so that the choice takes seconds."""
    rows = random_rows(MOST_CHOSEN_ON + 500, 8, seed=9)
    choice = choose_within(MODEL, ROWS, rows, Engine(MODEL).predict(rows), 50.0, Switches("minmax"))
    assert choice.judge.rows == MOST_CHOSEN_ON
    assert (
        choice.judge.drop(Engine(MODEL).run(rows[np.unique(np.linspace(0, len(rows) - 1, MOST_CHOSEN_ON).astype(int))]))
        == 0
    )


def test_arguments_are_checked():
    """Rows that come once, rows and labels of other shapes, drops and metrics that make no sense."""
    with pytest.raises(CalibrationError, match="calibration is an iterator, which gives its rows once"):
        quantize_within(MODEL, iter([ROWS]), TEST, max_drop=1)
    with pytest.raises(InputError, match=r"rows to choose on have shape \(0, 8\), expected \(n, 8\), at least one"):
        quantize_within(MODEL, ROWS, TEST[:0], max_drop=1)
    with pytest.raises(InputError, match=r"labels run from 0 to 7, the model has classes 0\.\.2"):
        quantize_within(MODEL, ROWS, TEST[:8], np.arange(8), max_drop=1)
    with pytest.raises(QuantizationError, match="max_drop is -1, expected a finite number at least 0"):
        quantize_within(MODEL, ROWS, TEST, LABELS, max_drop=-1)
    with pytest.raises(QuantizationError, match="metric 'rmse' found classes"):
        quantize_within(MODEL, ROWS, TEST, LABELS, max_drop=1, metric="rmse")
    with pytest.raises(QuantizationError, match="test_vectors"):
        quantize_within(MODEL, ROWS, TEST, LABELS, max_drop=1, test_vectors=-1)


def test_a_mix_is_named_by_what_most_layers_are():
    """And by those that are something else."""
    assert mix_text({"a": "int8", "b": "int8"}) == "int8"
    assert mix_text({"a": "int4", "b": "int8", "c": "int8"}) == "int8 with a int4"
    assert mix_text({"a": "int4", "b": "int8", "c": "float16", "d": "int8"}) == "int8 with a int4, c float16"


def test_layers_that_are_kept_are_not_chosen_for():
    """They have their precision in every trial; the others go as low as ever. Keeping what no file holds is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)
        switches = Switches("minmax", keep={"dense0": "int8-a16"})
        choice = choose_within(MODEL, ROWS, TEST, None, AllowedDrop("sqnr", 100.0), switches)
        assert choice.chosen.layers == {"dense0": "int8-a16", "dense1": "int4", "dense2": "int4"}
        assert {trial.layers["dense0"] for trial in choice.trials} == {"int8-a16"}
        assert precisions(choice.quantized.model) == choice.chosen.layers
        with pytest.raises(QuantizationError, match="'int8-a16', which these files do not hold, expected one of int8,"):
            choose_within(MODEL, ROWS, TEST, None, 9.0, switches, among=("int8", "float16", "float32"))
        with pytest.raises(QuantizationError, match="with dense0 int4 kept, the best of the other layers' precisions"):
            choose_within(
                MODEL, ROWS, TEST, None, AllowedDrop("sqnr", 0.0), Switches("minmax", keep={"dense0": "int4"})
            )


def test_the_next_choice_needs_less_and_ends_in_floats():
    """Each by what the one before lost too much, the ladder says which were refused; at last there is none."""
    choice = chosen(drop=40, metric="sqnr", labels=None)
    first = choice
    following = [choice]
    while (choice := choice.further(5.0)) is not None:
        assert precisions(choice.quantized.model) == choice.chosen.layers
        assert choice.quantized.model.metadata["precision_ladder"].count("(more on other rows)") == len(following)
        following.append(choice)
    assert following[1].chosen.most <= first.chosen.most - 5.0
    assert following[1].chosen.bytes >= first.chosen.bytes
    assert set(following[-1].chosen.layers.values()) == {"float32"}


def test_decisions_are_those_that_predict_takes():
    """Behind an activation that saturates all classes answer 1: what is lost is told by the values before it."""
    last = replace(MODEL.layers[-1], activation=Activation("sigmoid"), bias=MODEL.layers[-1].bias + np.float32(60))
    model = replace(MODEL, layers=(*MODEL.layers[:-1], last), metadata={"target": "class"})
    labels = Engine(model).predict(TEST)
    assert len(set(labels.tolist())) == 3
    choice = chosen(model, 5.0, labels=labels)
    found = Engine(choice.quantized.model).predict(TEST)
    assert choice.chosen.drop == pytest.approx(100 * np.mean(found != labels))
    worst = chosen(model, 0.0, labels=labels).trials[0]
    assert worst.text == "int4"
    assert worst.drop > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_rows_to_choose_on_that_are_no_numbers_are_named(value):
    """With the row and the feature; those that the float network overflows on are named too."""
    rows = TEST.astype(np.float64)
    rows[7, 2] = value
    with pytest.raises(InputError, match="rows to choose on: row 7, feature 2 is"):
        quantize_within(MODEL, ROWS, rows, max_drop=1.0)
    rows[7, 2] = 3e38
    plain = random_model([8, 16, 3], ["relu", "linear"], weight_scale=3.0)
    with pytest.raises(InputError, match=r"NaN or inf on 1 of 400 rows to judge a drop on, first on row 7"):
        quantize_within(plain, ROWS, rows, max_drop=1.0, metric="sqnr")


def test_an_autoencoder_with_units_of_its_own_is_judged_in_its_deviations():
    """A quiet sensor counts as much as a loud one; where all inputs have one unit they are parts of one signal."""
    scales = np.float32([1000, 1, 1, 0.01])
    model = replace(random_model([4, 8, 4], ["tanh", "linear"]), metadata={"target": "autoencoder"})
    rows = random_rows(200, 4) * scales
    for inv_std, is_even in ((1 / scales, True), (np.full(4, 0.01, np.float32), False)):
        each = replace(model, preprocessing=Standardization(np.zeros(4, np.float32), inv_std))
        exact = Engine(each).run(rows)
        judge = DropJudge(each, exact, exact + scales, AllowedDrop("rmse", 5.0))
        quiet = exact - np.float32([0, 0, 0, 0.01])
        assert (judge.drop(quiet) > 5) == is_even
