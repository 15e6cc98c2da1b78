"""Remedies are really tried, in the order of what they cost, until one is enough."""

from __future__ import annotations

import math

import numpy as np

from edge_runtime.reference import logits, trace
from export import quantize
from export.diagnosis.answers import Answers, Judge
from export.diagnosis.remedies import Remedy, RemedyTrials, chosen
from tests.networks import random_model, random_rows

MODEL = random_model([9, 12, 8, 4], ["relu", "relu", "softmax"])
CALIBRATION, ROWS = random_rows(200, 9), random_rows(120, 9, 4)
JUDGE = Judge(MODEL, logits(MODEL, trace(MODEL, ROWS)))


def tried(small, *, layers=("dense1",), anew=True, enough=lambda answers: False):
    """The options, and what each gave."""
    found = RemedyTrials(MODEL, small, CALIBRATION, ROWS, JUDGE).tried(list(layers), enough, anew=anew)
    return {remedy.option: remedy.answers for remedy in found}


def made(precision, **options):
    return quantize(MODEL, CALIBRATION, precision, test_vectors=0, **options)


def test_each_answer_is_that_of_the_network_which_the_option_makes():
    """Decisions and decibels on the judged rows."""
    found = tried(made("int8", method="minmax"))
    wanted = {
        "--method auto": made("int8"),
        "--keep dense1=float16": made("int8", keep={"dense1": "float16"}),
        "--precision float16": made("float16"),
    }
    for option, model in wanted.items():
        assert found[option] == JUDGE.answers(logits(model, trace(model, ROWS)))


def test_none_is_tried_behind_one_that_is_enough():
    """Each costs more bytes than the one before."""
    assert list(tried(made("int8", method="minmax"), enough=lambda answers: True)) == ["--method auto"]
    assert list(tried(made("int8"), anew=False, enough=lambda answers: True)) == ["--keep dense1=float16"]


def test_each_precision_has_its_own_remedies():
    """What would not change it is not tried."""
    assert list(tried(made("int8-dynamic"))) == ["--precision int8", "--precision float16"]
    assert list(tried(made("float16"))) == ["--precision int8", "--precision float32"]
    int4 = list(tried(made("int4", method="minmax")))
    keeps = ["--keep dense1=int8", "--keep dense1=float16"]
    assert int4[:5] == ["--method auto", *keeps, "--precision int8", "--precision int8-a16"]


def test_layers_are_tried_in_the_order_that_is_given_int8_before_float16():
    """And a layer that is in a larger precision already stays as it is."""
    found = tried(made("int4"), layers=("dense1", "dense0"), anew=False)
    keeps = [f"--keep {name}={kept}" for kept in ("int8", "float16") for name in ("dense1", "dense0")]
    assert [option for option in found if "--keep" in option] == keeps
    found = tried(made("int8", keep={"dense1": "float16"}), layers=("dense1", "dense0"), anew=False)
    assert [option for option in found if "--keep" in option] == ["--keep dense0=float16"]


def test_learning_on_is_named_where_there_are_labels_and_not_tried():
    """With the command; not where a remedy that costs no byte is enough, nor where training cannot do it."""
    small, labels = made("int4", method="minmax"), np.arange(120) % 4
    judge = Judge(MODEL, logits(MODEL, trace(MODEL, ROWS)), labels)
    trials = RemedyTrials(MODEL, small, CALIBRATION, ROWS, judge)
    last = trials.tried([], lambda answers: False, anew=True)[-1]
    assert last.option == "smallnet train --from MODEL --quantization-aware int4 --data DATA"
    assert not last.is_tried
    assert [each.option for each in trials.tried([], lambda answers: True, anew=True)] == ["--method auto"]
    assert all(answers is not None for answers in tried(small).values())
    half = RemedyTrials(MODEL, made("float16"), CALIBRATION, ROWS, judge)
    assert all(each.is_tried for each in half.tried([], lambda answers: False, anew=True))


def test_a_mixed_network_keeps_its_mix():
    """One layer more is kept; the others stay what they are."""
    mixed = made("int8", method="minmax", keep={"dense0": "int4"})
    found = tried(mixed)
    better = made("int8", keep={"dense0": "int4", "dense1": "float16"})
    assert found["--keep dense1=float16"] == JUDGE.answers(logits(better, trace(better, ROWS)))


def test_what_cannot_be_done_is_said():
    """The reason stands in the place of the answers."""
    loud = random_model([9, 12, 4], ["tanh", "linear"], weight_scale=1e7)
    judge = Judge(loud, logits(loud, trace(loud, ROWS)))
    small = quantize(loud, CALIBRATION, "int8", "minmax", test_vectors=0)
    found = RemedyTrials(loud, small, CALIBRATION, ROWS, judge).tried([], lambda answers: False, anew=False)
    refused = next(remedy for remedy in found if remedy.option == "--precision float16")
    assert refused.answers is None
    assert "beyond float16's largest number" in refused.refused


def test_the_cheapest_that_is_enough_is_chosen_else_the_best():
    """And none that gives no more than what there is."""
    before, small = Answers(1000, math.inf, 0), Answers(1000, 5.0, 200)
    given = (("a", 9.0, 90), ("b", 26.0, 5), ("c", 60.0, 0))
    some, enough, best = (Remedy("", name, Answers(1000, db, changed)) for name, db, changed in given)
    worse, refused = Remedy("", "d", Answers(1000, 4.0, 250)), Remedy("", "e", None, "no")
    assert chosen([some, enough, best], before, small, "int8") is enough
    assert chosen([some], before, small, "int8") is some
    assert chosen([worse, refused], before, small, "int8") is None
    assert chosen([], before, small, "int8") is None


def test_what_loses_by_the_labels_is_no_remedy():
    """However many decibels it gives: right answers and R^2 of the small network are not given up for them."""
    before, small = Answers(1000, math.inf, 0, 853), Answers(1000, 17.0, 40, 853)
    louder = Remedy("", "a", Answers(1000, 30.0, 9, 848))
    as_many = Remedy("", "b", Answers(1000, 29.0, 9, 853))
    assert chosen([louder], before, small, "int8") is None
    assert chosen([louder, as_many], before, small, "int8") is as_many
    before, small = (Answers(1000, db, None, None, 0.1, r2) for db, r2 in ((math.inf, 0.9567), (18.3, 0.9628)))
    assert chosen([Remedy("", "a", Answers(1000, 31.8, None, None, 0.1, 0.9548))], before, small, "int8") is None
