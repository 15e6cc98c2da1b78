"""Answers are counted as the engine and `smallnet score` count them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine
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
