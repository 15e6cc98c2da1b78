"""The table and the sentence that people read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge_runtime import Engine, Limits
from export import diagnose, quantize
from export.quantization import PRECISIONS
from tests.export.diagnosis.damage import random_case, with_grid_scaled
from tests.networks import random_model, random_rows

NAME = "encoder.block_7.mlp.fully_connected"
MODEL = random_model([12, 24, 16, 5], ["relu", "tanh", "softmax"])
LONG = replace(MODEL, layers=tuple(replace(layer, name=f"{NAME}.{at}") for at, layer in enumerate(MODEL.layers)))
ROWS, CALIBRATION = random_rows(300, 12, 5), random_rows(400, 12, 6)


@pytest.mark.parametrize("precision", PRECISIONS[1:])
@pytest.mark.parametrize("model", [MODEL, LONG])
def test_no_line_is_wider_than_100_letters(model, precision):
    """Whatever the layers are called, with what was tried."""
    small = quantize(model, CALIBRATION, precision, "minmax")
    if precision == "int8":
        small = with_grid_scaled(small, 0, 0.05)
    found = diagnose(model, ROWS, small=small, calibration=CALIBRATION)
    assert max(map(len, str(found).splitlines())) <= 100
    assert max(map(len, found.table(60).splitlines())) <= 60 or model is LONG
    assert found.verdict in " ".join(str(found).split())


def test_the_table_has_a_line_for_each_layer_the_worst_first():
    """Under headings; a column that does not fit is left out, and none where there is room."""
    found = diagnose(MODEL, ROWS, calibration=CALIBRATION, method="minmax")
    lines = found.table().splitlines()
    assert lines[0].split() == [
        "layer", "weights", "behind", "here", "inherited", "alone", "cosine", "clipped", "codes", "float16", "float32",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[2:5]] == [layer.name for layer in found.layers]
    damage = [layer.damage for layer in found.layers]
    assert damage == sorted(damage, reverse=True)
    assert "cosine" not in found.table(80)


def test_what_was_tried_stands_below_with_its_option():
    """One line each."""
    small = with_grid_scaled(quantize(MODEL, CALIBRATION, method="minmax"), 0, 0.05)
    found = diagnose(MODEL, ROWS, small=small, calibration=CALIBRATION)
    assert found.remedies
    assert found.table().splitlines()[-1].startswith(f"tried {found.remedies[-1].option}: wins ")
    assert "(--method auto) wins" in found.verdict


def test_a_repr_is_one_line():
    """With the layer to begin with, or that there is none."""
    case = random_case(4)
    found = diagnose(case.model, case.rows, case.labels, calibration=case.calibration, method="mse")
    assert repr(found).startswith("Diagnosis(int8, ")
    assert repr(found).endswith("200 rows, nothing to mend)")
    assert repr(replace(found, worst="dense1")).endswith("worst layer 'dense1')")


def test_plain_data_is_what_json_holds():
    """Nothing infinite, all that the table has and more."""
    found = diagnose(MODEL, ROWS, calibration=CALIBRATION, method="minmax")
    facts = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert facts["ok"] is True
    assert facts["verdict"] == found.verdict
    assert len(facts["layers"]) == 3
    assert facts["layers"][0]["grids"][0]["of"] == 256
    assert facts["layers"][0]["kept"]["float16"]["changed"] is not None


@pytest.mark.parametrize(
    ("labels", "target", "unit"),
    [
        (Engine(MODEL, Limits(max_batch=300)).predict(ROWS), "class", "right answers"),
        (None, "class", "decisions"),
        (None, "regression", "decibels"),
    ],
)
def test_what_is_won_back_has_its_unit_in_the_legend(labels, target, unit):
    """Right answers, decisions, or decibels, of which the column shows the sign and the number."""
    model = replace(MODEL, metadata={"target": target})
    table = diagnose(model, ROWS, labels, calibration=CALIBRATION, method="minmax").table()
    assert f"and {unit} won back at the outputs if this layer alone stays float16 or float32. The other" in table
    assert "The other layers stay as they are for that; --keep makes them anew." in table
    assert ("each target counting alike" in table) == (target == "regression")
