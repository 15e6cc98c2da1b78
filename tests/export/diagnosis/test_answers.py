"""Answers are counted as the engine and `smallnet score` count them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, Standardization
from export.diagnosis.answers import Judge
from tests.networks import random_model, random_rows
from trainer.scores import scores_of

ROWS = random_rows(50, 6)
CLASSIFIER = random_model([6, 4], ["softmax"])
VALUES = replace(random_model([6, 3], ["sigmoid"]), metadata={"target": "regression"})


def test_right_answers_and_changed_decisions_are_the_engines():
    """Labels decide that they are classes."""
    engine, labels = Engine(CLASSIFIER), np.arange(50) % 4
    logits = engine.logits(ROWS)
    found = Judge(CLASSIFIER, logits, labels).answers(logits[:, ::-1])
    assert found.right == np.sum(logits[:, ::-1].argmax(1) == labels)
    assert found.changed == np.sum(logits[:, ::-1].argmax(1) != engine.predict(ROWS))
    assert found.accuracy == found.right / 50


def test_errors_of_values_are_those_of_score():
    """Behind the activation; an output that never varies counts 0."""
    targets = random_rows(50, 3, 3)
    targets[:, 1] = 2
    logits = Engine(VALUES).logits(ROWS)
    found = Judge(VALUES, logits, targets).answers(logits)
    wanted = scores_of(targets, Engine(VALUES).run(ROWS), ())
    assert found.r2 == pytest.approx(wanted.r2)
    assert found.rmse == pytest.approx(np.sqrt(np.mean(np.square(wanted.rmse))))
    assert found.changed is found.right is None


def test_without_labels_a_classifier_is_known_by_what_it_is():
    """A regression decides nothing."""
    for model, decides in ((CLASSIFIER, True), (VALUES, False)):
        logits = Engine(model).logits(ROWS)
        assert (Judge(model, logits).answers(logits).changed is not None) == decides


def test_a_single_output_decides_by_its_sign():
    """As `Engine.predict` does."""
    model = random_model([6, 1], ["sigmoid"])
    logits, labels = Engine(model).logits(ROWS), np.arange(50) % 2
    found = Judge(model, logits, labels).answers(-logits)
    assert found.changed == 50
    assert found.right == np.sum((logits[:, 0] < 0) == labels)


def test_targets_are_judged_alike_and_the_worst_is_named():
    """By R^2 where that is known, else by decibels; a class, a single output and one signal have no targets."""
    model = random_model([6, 3], ["linear"])
    logits = Engine(model).logits(ROWS)
    targets = logits * np.float32([1000, 0.01, 20])
    regression = replace(model, metadata={"target": "regression"})
    lost = targets.copy()
    lost[:, 1] = targets[:, 1].mean()
    for labels in (None, targets):
        found = Judge(regression, targets, labels).answers(lost)
        assert found.sqnr_db > 60
        assert found.judged_db == found.even_db == pytest.approx(10 * np.log10(3), abs=1e-3)
        assert found.worst.name == "output 1"
        assert found.worst.sqnr_db == pytest.approx(0, abs=1e-3)
        fits = (found.worst.r2_before, found.worst.r2)
        assert fits == ((None, None) if labels is None else pytest.approx((1, 0), abs=1e-3))
    assert Judge(regression, targets).damage(lost) == pytest.approx(1 / 3, abs=1e-3)
    for other in ({"target": "autoencoder"}, {"target": "class"}):
        found = Judge(replace(model, metadata=other), targets).answers(lost)
        assert found.worst is found.even_db is None
        assert found.judged_db == found.sqnr_db


def test_columns_of_an_autoencoder_with_deviations_of_their_own_count_alike():
    """The loudest does not decide: damage, decibels and what is lost whole are of each column. Of one unit, summed."""
    deviations = np.float32([1000, 0.01, 20, 1, 5, 0.1])
    model = replace(random_model([6, 6], ["linear"], standardize=True), metadata={"target": "autoencoder"})
    own = replace(model, preprocessing=Standardization(np.zeros(6, np.float32), 1 / deviations))
    one = replace(model, preprocessing=Standardization(np.zeros(6, np.float32), np.ones(6, np.float32)))
    exact = ROWS * deviations
    lost = exact.copy()
    lost[:, 1] = exact[:, 1].mean()
    judge = Judge(own, exact, exact)
    found = judge.answers(lost)
    assert found.worst is None
    assert found.judged_db == found.even_db == judge.decibels(exact, lost) == pytest.approx(10 * np.log10(6), abs=1e-3)
    assert judge.damage(lost) == pytest.approx(1 / 6, abs=1e-3)
    assert found.gone == ("output 1 (the same for all rows)",)
    summed = Judge(one, exact, exact)
    assert summed.answers(lost).judged_db == summed.answers(lost).sqnr_db == summed.decibels(exact, lost) > 60
    assert summed.answers(lost).gone == ()
