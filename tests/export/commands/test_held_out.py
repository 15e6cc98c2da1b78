"""Rows are those that training held out only where their labels are there to cut them by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.commands.data import rows_for_export
from export.commands.held_out import held_out_doubt
from tests.networks import random_model, random_rows

MODEL = replace(random_model([6, 8, 3], ["relu", "softmax"]), metadata={"target": "class", "seed": "3"})
VALUES = replace(random_model([6, 8, 1], ["relu", "linear"]), metadata={"target": "regression", "seed": "3"})
ROWS = random_rows(100, 6)


@pytest.mark.parametrize(
    ("model", "labels", "is_doubted"),
    [
        (MODEL, None, True),
        (MODEL, np.arange(100) % 3, False),
        (MODEL, np.arange(100) % 7, True),  # classes that are not its own cut the rows otherwise
        (VALUES, None, True),
        (VALUES, random_rows(100, 1, 3), False),
        (replace(MODEL, metadata={"target": "class"}), None, False),  # nobody knows how it was trained
        (replace(MODEL, metadata={"target": "autoencoder", "seed": "3"}), None, False),  # rows are their own targets
        (replace(MODEL, metadata={**MODEL.metadata, "tested_on": "t.npz"}), None, False),  # none were held out
    ],
)
def test_it_is_doubted_where_labels_are_missing_that_training_had(model, labels, is_doubted, tmp_path):
    """Or where they are others."""
    np.savez(tmp_path / "d.npz", x=ROWS, **({} if labels is None else {"y": labels}))
    assert bool(held_out_doubt(model, rows_for_export(model, str(tmp_path / "d.npz")))) == is_doubted
