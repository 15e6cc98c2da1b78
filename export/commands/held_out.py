"""Are the rows that judge those that training held out? Without the labels they cannot be found again."""

from __future__ import annotations

from edge_runtime.model import Model
from export.commands.data import ExportRows, target_of
from trainer.recipe import TESTED_ON


def held_out_doubt(model: Model, rows: ExportRows) -> str:
    """What to know of the rows that judge: some were trained on, as far as anybody can tell; "" if none were.

    Training cuts its rows by their labels and a seed. rows: those of data that is cut here.
    """
    has_cut_by_labels = "seed" in model.metadata and target_of(model) in ("class", "regression")
    if not has_cut_by_labels or rows.test is not None or TESTED_ON in model.metadata:
        return ""
    return (
        "the rows that 'train' held out cannot be found again without their labels: if the model was trained on this "
        "data, some of the rows that judge were trained on"
    )
