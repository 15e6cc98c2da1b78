"""A network that was trained further is judged by labels: no remedy undoes what it learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export import diagnose, quantize
from export.diagnosis.tuned import TUNED_KEY, was_tuned
from tests.networks import random_model, random_rows
from trainer import NeuralNetwork, fine_tune
from trainer import fine_tuning as trainers

ROWS, CALIBRATION = random_rows(300, 12, 5), random_rows(400, 12, 6)
WANTED = random_rows(12, 2, 8)


def targets(rows):
    return np.tanh(rows @ WANTED / 2)


@pytest.fixture(scope="module")
def networks():
    """One that has learned little, and its small version, trained until it is better than that and is far from it."""
    network = NeuralNetwork([12, 16, 2], ["relu", "linear"])
    network.fit(CALIBRATION, targets(CALIBRATION), epochs=12, learning_rate=0.01, patience=None)
    model = replace(network.to_model(), metadata={"target": "regression"})
    small = quantize(model, CALIBRATION, "int4", method="minmax", test_vectors=0)
    return model, fine_tune(model, small, CALIBRATION, targets(CALIBRATION), epochs=30, learning_rate=0.02)


def test_the_note_is_that_of_the_trainer(networks):
    """Under its key."""
    assert TUNED_KEY == trainers.NOTE
    assert was_tuned(networks[1])
    assert not was_tuned(networks[0])


def test_what_labels_count_better_is_nothing_to_mend(networks):
    """Although its decibels would be doubted of a network that was made by rounding alone."""
    model, small = networks
    found = diagnose(model, ROWS, targets(ROWS), small=small, calibration=CALIBRATION)
    assert found.small_answers.judged_db < 20
    assert found.small_answers.r2 > found.float_answers.r2
    assert found.ok
    assert found.remedies == ()
    assert found.verdict.startswith("nothing to mend: int4 gives R^2 0.")
    assert "it was trained further, so that its decibels say how far that led from the float network" in found.verdict
    assert "expected at least" not in found.verdict
    assert "the most at" not in found.verdict


def test_without_the_note_no_remedy_is_named_that_undoes_it(networks):
    """It is examined as any other, and what has a lower R^2 is none."""
    model, small = networks
    found = diagnose(model, ROWS, targets(ROWS), small=replace(small, metadata={}), calibration=CALIBRATION)
    assert found.worst is not None
    assert found.remedies
    assert all(remedy.answers.r2 < found.small_answers.r2 for remedy in found.remedies if remedy.answers)
    assert "none wins anything back" in found.verdict


def test_without_labels_it_is_said_that_they_would_judge(networks):
    """Decibels are all that there is then."""
    model, small = networks
    found = diagnose(model, ROWS, small=small, calibration=CALIBRATION)
    assert not found.ok
    assert "it was trained further, " in found.verdict
    assert "; give labels, " not in found.verdict
    assert found.verdict.endswith(": give labels, which judge it")


def test_what_labels_count_worse_is_examined_whatever_it_went_through(networks):
    """A layer of a tuned network that is broken."""
    model, small = networks
    last = small.layers[-1]
    broken = replace(small, layers=(*small.layers[:-1], replace(last, weight=last.weight[::-1].copy())))
    found = diagnose(model, ROWS, targets(ROWS), small=broken, calibration=CALIBRATION)
    assert found.worst == "dense1"
    assert "nothing to mend" not in found.verdict


def test_other_models_are_not_said_to_be_tuned():
    """Nothing of it stands in the sentence."""
    model = random_model([12, 16, 5], ["relu", "softmax"])
    assert "trained further" not in diagnose(model, ROWS, calibration=CALIBRATION, method="minmax").verdict
