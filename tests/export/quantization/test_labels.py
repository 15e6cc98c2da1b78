"""What rows should give: classes or values of the model, or a refusal in words."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime import InputError
from export.quantization.labels import checked_labels
from tests.networks import random_model

CLASSIFIER = random_model([6, 4], ["softmax"])


def test_classes_and_values_are_taken_in_any_form():
    """Lists, booleans of one output, values as a column; nothing stays nothing."""
    assert checked_labels(CLASSIFIER, None, 3) is None
    assert checked_labels(CLASSIFIER, [0, 3, 1], 3).dtype == np.int64
    assert checked_labels(random_model([6, 1], ["sigmoid"]), [True, False], 2).tolist() == [1, 0]
    assert checked_labels(random_model([6, 1], ["linear"]), [0.5, 2.0], 2).shape == (2, 1)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.zeros(9, int), r"shape \(9,\), expected whole numbers \(50,\) for classes or floats \(50, 4\)"),
        (np.full(50, 4), "labels run from 4 to 4, the model has classes 0..3"),
        (np.full(50, -1), "labels run from -1 to -1"),
        (["a"] * 50, "labels have dtype <U1"),
        (np.zeros((50, 3)), r"shape \(50, 3\)"),
        (np.where(np.arange(200).reshape(50, 4) == 30, np.nan, 0.0), "labels row 7, .* nan is not a finite number"),
        (np.where(np.arange(200).reshape(50, 4) == 30, -np.inf, 0.0), "labels row 7, .* -inf is not a finite number"),
        (np.full((50, 4), 1e200), "labels row 0, .*1e\\+200"),
    ],
)
def test_labels_that_are_not_the_models_are_refused(labels, text):
    """With what was expected."""
    with pytest.raises(InputError, match=text):
        checked_labels(CLASSIFIER, labels, 50)
