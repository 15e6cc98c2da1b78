"""Labels that say nothing of a network are known by the float network itself."""

from __future__ import annotations

import numpy as np
import pytest

from export.diagnosis.label_worth import FEWEST_TO_DOUBT, labels_doubt

DRAW = np.random.default_rng(3)
LABELS = DRAW.integers(10, size=500)
RARE = np.where(DRAW.random(500) < 0.05, 1, 0)


@pytest.mark.parametrize(
    ("labels", "decided", "classes", "is_doubted"),
    [
        (LABELS, LABELS, 10, False),
        (DRAW.permutation(LABELS), LABELS, 10, True),  # of other rows
        ((LABELS + 1) % 10, LABELS, 10, True),  # counted from another class
        (np.where(DRAW.random(500) < 0.2, LABELS, DRAW.permutation(LABELS)), LABELS, 10, False),  # weak, and better
        (1 - RARE, RARE, 2, True),
        (DRAW.permutation(RARE), RARE, 2, True),  # nine in ten are right by chance
        (np.full(500, 3), np.full(500, 3), 10, False),  # rows of one class
        (np.full(500, 3), LABELS, 10, True),
        (LABELS[: FEWEST_TO_DOUBT - 1], 9 - LABELS[: FEWEST_TO_DOUBT - 1], 10, False),  # too few to tell
    ],
)
def test_labels_on_which_the_float_network_is_no_better_than_chance(labels, decided, classes, is_doubted):
    """Chance is what decisions and labels of these frequencies have in common, and twice its spread."""
    assert (labels_doubt(labels, decided, None, classes) is not None) == is_doubted


def test_targets_are_doubted_if_their_mean_is_nearer_to_them():
    """R^2 of 0 or less."""
    targets = DRAW.normal(size=(500, 1))
    assert labels_doubt(targets, None, 0.01, 2) is None
    assert "the float model itself has R^2 -0.9000 on these targets" in labels_doubt(targets, None, -0.9, 2)


def test_the_doubt_has_figures_and_says_what_to_look_at():
    """Right answers, those by chance, and what may be wrong."""
    text = labels_doubt((LABELS + 1) % 10, LABELS, None, 10)
    assert text.startswith("the float model itself is right on 0 of 500 rows, chance on up to 6")
    assert "these labels say nothing of it and were left out; look whether labels and rows are in the same" in text
