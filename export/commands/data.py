"""Which rows an export is calibrated, compared and judged on. A roof room, like the command line: it reads data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.files import DATA_MAX_BYTES, describe, is_table_name, read_rows
from edge_runtime.model import Model
from edge_runtime.schema import Schema, listed
from export.commands.pipeline import LabeledRows
from export.commands.within import JudgedRows, rows_apart
from export.quantization import StoredRanges
from export.verification import rows_within
from trainer.datasets import Dataset, Split, for_autoencoder, load_another, load_dataset, split
from trainer.recipe import TESTED_ON

FEWEST_TO_SPLIT = 20  # four fifths of them are enough to calibrate without a warning


class ExportRows(NamedTuple):
    """Rows to calibrate on, rows to compare on, and held-out rows, with their labels where these fit the model.

    calibration: None if the model's own ranges take their place. held_out: rows that nothing was calibrated on, where
    there are enough. test: they and their labels, or None. names: of the labels' classes or targets. note: what a user
    should know about them, or "". chosen_on, checked: to choose precisions on, and to check the choice on.
    """

    calibration: Any
    compared: Any
    held_out: Any
    test: tuple[Any, Any] | None
    note: str = ""
    names: tuple[str, ...] = ()
    chosen_on: JudgedRows = JudgedRows(None, None)
    checked: JudgedRows = JudgedRows(None, None)

    @property
    def judged(self) -> tuple[Any, Any]:
        """The held-out rows, and their labels or None."""
        return (self.held_out, None) if self.test is None else self.test


def rows_for_export(
    model: Model, spec: str | None, stored: StoredRanges | None = None, *, max_bytes: int = DATA_MAX_BYTES
) -> ExportRows:
    """From the data that `spec` names; without any, random rows to compare on, standard normal once standardized.

    stored: ranges that stand in for calibration rows where no data are given. The rows are drawn from the inputs' then.
    The data is split by the seed that the model remembers, so that the test rows are those that training held out.
    Raises InputError where the data's rows are not what the model takes.
    """
    if spec is None:
        random = _random_rows(model, stored)
        note = f"no data given: {len(random)} random rows, no accuracy, no test vectors"
        if stored is None:
            return ExportRows(random, random, random, None, note)
        note += (
            f"; grids are of the ranges that {stored.rows:,} training rows had, without equalization, bias correction "
            "and compensated rounding: --calibrate DATA brings them"
        )
        return ExportRows(None, random, random, None, note)
    dataset = load_rows(model, spec, max_bytes=max_bytes)
    notes = list(dataset.reading.notes)
    if dataset.n_out == 0:
        rows = _without_labels(dataset.x)
        return rows._replace(note="; ".join([*notes, rows.note]))
    if TESTED_ON in model.metadata:
        notes.append(f"accuracy is of {model.metadata[TESTED_ON]}, not of this data: see smallnet score")
        parts = split(dataset, test=0, validation=0.2, seed=_seed(model))
        chosen_on, checked = rows_apart(parts.validation.x, None)
        return ExportRows(parts.train.x, dataset.x, parts.validation.x, None, "; ".join(notes), (), chosen_on, checked)
    parts = split(dataset, seed=_seed(model))
    test, names = (parts.test.x, parts.test.y), dataset.class_names or dataset.reading.label
    if not _labels_fit(model, dataset):
        test, notes = None, [*notes, "the data's labels are not the model's classes: no accuracy"]  # type: ignore[assignment]
    known = [part.y if test is not None else None for part in (parts.validation, parts.test)]
    chosen_on, checked = JudgedRows(parts.validation.x, known[0]), JudgedRows(parts.test.x, known[1])
    return ExportRows(parts.train.x, dataset.x, parts.test.x, test, "; ".join(notes), names, chosen_on, checked)


class TuningRows(NamedTuple):
    """The parts to learn, to choose and to judge on. doubt: why the float model may know these, or ""."""

    parts: Split
    doubt: str


def parts_for_tuning(model: Model, spec: str, test: str | None, *, max_bytes: int = DATA_MAX_BYTES) -> TuningRows:
    """The data as the model's training cut it, as far as they can be cut so again.

    test: a file whose rows are the held-out ones. Where labels are missing y is (n, 0). Raises InputError for rows that
    the model does not take, for labels that are not its own, and for a model that was tested on another file if none
    is named.
    """
    dataset = _rows_for_tuning(model, spec, max_bytes)
    if test is not None:
        dataset = replace(dataset, test=_rows_for_tuning(model, test, max_bytes))
    elif TESTED_ON in model.metadata and dataset.test is None:
        raise InputError(f"{spec}: the model was tested on {model.metadata[TESTED_ON]}; name it again with --test")
    return TuningRows(split(dataset, seed=_seed(model)), "" if dataset.test is not None else _cut_doubt(model, dataset))


def _cut_doubt(model: Model, dataset: Dataset) -> str:
    """Why the rows that are held out may be others than those of the model's training, or "".

    The training's seed draws them; of classes so that each gives its share, which takes the labels.
    """
    if "seed" not in model.metadata:
        return "the float model does not say which rows its training held out, and may know them"
    schema = Schema.of(model)
    is_plain = target_of(model) in ("regression", "autoencoder") and (schema is None or schema.missing == "refuse")
    if dataset.n_out or is_plain:
        return ""
    return "without labels the rows that the float model's training held out cannot be found again: it may know them"


def _rows_for_tuning(model: Model, spec: str, max_bytes: int) -> Dataset:
    """Rows with labels that mean the model's outputs, or without any."""
    dataset = load_rows(model, spec, max_bytes=max_bytes, for_tuning=True)
    if dataset.is_classification and model.n_out == 1 and dataset.n_out > 2 and target_of(model) == "auto":
        dataset = load_dataset(spec, target="regression", for_training=False, max_bytes=max_bytes)  # of whole numbers
    if not dataset.n_out or _labels_fit(model, dataset):
        return dataset
    found = f"{dataset.n_out:,} targets a row"
    if dataset.is_classification:
        found = f"{dataset.n_out:,} class{'' if dataset.n_out == 1 else 'es'} ({listed(dataset.class_names)})"
    where = f" in {listed(dataset.reading.label)}" if dataset.reading.label else ""
    raise InputError(
        f"{describe(spec)}: the labels{where} are {found}, the model has {model.n_out:,} outputs; give labels that are "
        "its own, or leave the label out: rows without labels teach what the float model answers"
    )


def labels_of(model: Model, rows: Dataset) -> Any:
    """Their classes or targets, if these mean the model's outputs, else None."""
    return rows.y if rows.n_out and _labels_fit(model, rows) else None


def all_rows(model: Model, spec: str, *, max_bytes: int = DATA_MAX_BYTES) -> tuple[Any, Any, str]:
    """All rows that `spec` names, those put aside for a test too: rows that a model never saw need none held out.

    Second their labels, or None where they do not mean the model's outputs, and what a user should know, or "".
    """
    dataset = load_rows(model, spec, max_bytes=max_bytes)
    parts = [dataset] if dataset.test is None else [dataset, dataset.test]
    x = np.concatenate([part.x for part in parts])
    notes = list(dataset.reading.notes)
    if labels_of(model, dataset) is None:
        why = "the data's labels are not the model's classes" if dataset.n_out else "the data has no labels"
        return x, None, "; ".join([*notes, f"{why}: no accuracy"])
    return x, np.concatenate([part.y for part in parts]), "; ".join(notes)


def _random_rows(model: Model, stored: StoredRanges | None) -> NDArray[np.float32]:
    rng, size = np.random.default_rng(0), (rows_within(model), model.n_in)
    if stored is None:
        random = rng.normal(size=size)
    else:
        ends = stored.ranges[stored.method]["input"]
        random = rng.uniform(ends.low, ends.high, size)
    return (random if model.preprocessing is None else model.preprocessing.inverse(random)).astype(np.float32)


def _without_labels(x: Any) -> ExportRows:
    """Each fifth row is held out where there are enough to calibrate on the others."""
    if len(x) < FEWEST_TO_SPLIT:
        note = f"the data has no labels: no accuracy; {len(x)} rows are too few to hold some out"
        both = JudgedRows(x, None)
        return ExportRows(x, x, x, None, note, (), both, both)
    apart = np.arange(len(x)) % 5 == 2
    chosen_on, checked = rows_apart(x[apart], None)
    return ExportRows(x[~apart], x, x[apart], None, "the data has no labels: no accuracy", (), chosen_on, checked)


def load_rows(model: Model, spec: str, *, max_bytes: int = DATA_MAX_BYTES, for_tuning: bool = False) -> Dataset:
    """Data for a model, read as it was for its training, but that labels may be missing (y is then (n, 0)).

    A table is read by the model's schema, if it has one. for_tuning: labels that are there and are not the model's are
    refused. Raises InputError for columns or a number of features that are not the model's.
    """
    schema, target = Schema.of(model), target_of(model)
    unlabelled = None if schema is not None else _csv_without_labels(model, spec, max_bytes)
    if unlabelled is not None:
        dataset = unlabelled
    elif schema is not None or for_tuning:
        dataset = load_another(
            spec, schema=schema, target=target, class_names=model.class_names, max_bytes=max_bytes,
            needs_labels=False, for_tuning=for_tuning,
        )  # fmt: skip
        if target == "autoencoder":
            dataset = for_autoencoder(dataset)
    else:
        dataset = load_dataset(spec, target=target, for_training=False, max_bytes=max_bytes)
    if dataset.n_in != model.n_in:
        raise InputError(
            f"{spec} has {dataset.n_in} features a row, the model takes {model.n_in}; "
            "give the data that it was trained on"
        )
    return dataset


def load_labeled(model: Model, spec: str, label: Sequence[str] = (), *, max_bytes: int = DATA_MAX_BYTES) -> Dataset:
    """All rows of a file with their labels, as the model knows them. label: its columns, if the model does not say.

    For an autoencoder labels may be missing: y is then (n, 0). Raises InputError for labels that the model cannot
    give, OSError.
    """
    schema, target = Schema.of(model), target_of(model)
    names = model.class_names
    if not names and target in ("auto", "class") and model.final_activation.name in ("softmax", "sigmoid"):
        names = tuple(str(index) for index in range(max(model.n_out, 2)))  # labels are the outputs' numbers
    needs_labels = target != "autoencoder"
    dataset = load_another(
        spec, schema=schema, target=target, class_names=names, max_bytes=max_bytes, needs_labels=needs_labels,
        label=label,
    )  # fmt: skip
    wanted = model.n_out if needs_labels and not dataset.is_classification else dataset.n_out
    if (dataset.n_in, dataset.n_out) != (model.n_in, wanted):
        raise InputError(
            f"{describe(spec)}: {dataset.n_in:,} features and {dataset.n_out:,} targets a row, the model takes "
            f"{model.n_in:,} and gives {model.n_out:,}; give data as it was trained on"
        )
    return dataset


def _csv_without_labels(model: Model, spec: str, max_bytes: int) -> Dataset | None:
    """The rows of a CSV that has as many columns as the model has inputs, all of them numbers; else None."""
    is_csv = is_table_name(spec) and Path(spec).is_file()
    if not is_csv or target_of(model) == "autoencoder":  # whose rows are their own targets
        return None
    try:
        x = read_rows(spec, n_in=model.n_in, max_bytes=max_bytes).x
    except InputError:
        return None
    return Dataset(x, np.empty((len(x), 0), np.float32), name=Path(spec).stem, source=spec)


def target_of(model: Model) -> Any:
    """What the model was trained to give."""
    target = model.metadata.get("target", "auto")
    return target if target in ("class", "regression", "autoencoder") else "auto"


def labeled_rows(model: Model, dataset: Dataset) -> LabeledRows | None:
    """All rows with their labels, if these mean the model's outputs."""
    if dataset.n_out == 0 or not _labels_fit(model, dataset):
        return None
    return LabeledRows(dataset.x, dataset.y, dataset.class_names or dataset.reading.label)


def _labels_fit(model: Model, dataset: Dataset) -> bool:
    """Whether the data's labels mean the model's outputs: the same classes, or as many targets."""
    if not dataset.is_classification:
        return dataset.n_out == model.n_out
    if dataset.n_out < 2:  # one label says nothing about which class it is
        return False
    return dataset.class_names == model.class_names or (not model.class_names and dataset.n_out <= max(model.n_out, 2))


def _seed(model: Model) -> int:
    text = model.metadata.get("seed", "0")
    return int(text) if text.isdecimal() and len(text) < 20 else 0
