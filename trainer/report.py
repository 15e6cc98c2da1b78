"""What a training has learned, as plain data and as a short block of text: label, task, rows, features, scores."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from edge_runtime.files import format_table, printable, shortened
from edge_runtime.model import Standardization
from trainer.baseline import Baselines
from trainer.datasets import Dataset, Split
from trainer.scores import ClassScores, ErrorScores, ValueScores

WIDTH = 80
_HEAD = 10  # letters of a line's first word and the blanks behind it
_MOST_NAMES = 12
_READ = ("one_hot", "offsets", "left_out", "rows_dropped", "rows_strange", "normal", "values_filled", "notes")
_SHORT = 24  # letters of a name
_CONFUSED = 5  # pairs of classes that are listed where a table is too wide


def learned_facts(
    dataset: Dataset,
    parts: Split,
    preprocessing: Standardization | None,
    class_weight: str | None,
    scores: ClassScores | ValueScores,
    baselines: Baselines,
    errors: ErrorScores | None = None,
) -> dict[str, Any]:
    """Everything that the block says, as plain data. preprocessing: of the model. class_weight: as asked for.

    errors: of an autoencoder's held-out rows.
    """
    is_class = dataset.is_classification
    counts = np.bincount(dataset.y, minlength=dataset.n_out).tolist() if is_class else []
    reading = dataset.reading.as_dict()
    return {
        "data": dataset.name,
        **{key: reading[key] for key in ("label", "label_reason", "task_reason")},
        "task": _task(dataset, errors),
        "classes": dict(zip(dataset.class_names, counts, strict=False)),
        "rows": len(dataset),
        "rows_trained": len(parts.train),
        "rows_validation": len(parts.validation),
        "rows_test": len(parts.test),
        "test_data": "held out" if dataset.test is None else parts.test.name,
        "features": dataset.n_in,
        "feature_names": list(dataset.feature_names),
        "standardize": _standardize(preprocessing),
        "class_weight": class_weight,
        **{key: reading[key] for key in _READ},
        "scores": scores.as_dict(),
        "baselines": baselines.as_dict(),
        "errors": None if errors is None else errors.as_dict(),
    }


def learned_text(facts: dict[str, Any], width: int | None = None) -> str:
    """The block, in lines of at most `width` letters, 80 for None or more."""
    width = min(width or WIDTH, WIDTH)
    lines = [
        ("label", _label_line(facts)),
        ("task", _task_line(facts)),
        ("rows", _rows_line(facts)),
        ("features", _features_line(facts)),
        ("left out", _left_out_line(facts)),
        ("file", "; ".join(facts["notes"])),
        ("scores", scores_line(facts["scores"])),
        ("errors", errors_line(facts["errors"]) if facts["errors"] else ""),
        ("baseline", _baseline_line(facts)),
    ]
    block = "\n".join(_line(head, printable(text), width) for head, text in lines if text)
    table = confusion_text(facts["scores"], width)
    return f"{block}\n{table}" if table else block


def _line(head: str, text: str, width: int) -> str:
    return textwrap.fill(
        text, width, initial_indent=head.ljust(_HEAD), subsequent_indent=" " * _HEAD, break_on_hyphens=False
    )


def _task(dataset: Dataset, errors: ErrorScores | None) -> str:
    return "autoencoder" if errors is not None else "class" if dataset.is_classification else "regression"


def _standardize(preprocessing: Standardization | None) -> str:
    """What was done to the features, by the name of its option."""
    if preprocessing is None:
        return "none"
    return "per-feature" if preprocessing.mean.size > 1 else "global"


def _short(name: str) -> str:
    return shortened(name, _SHORT)


def _label_line(facts: dict[str, Any]) -> str:
    if not facts["label"]:
        return facts["label_reason"]
    names = ", ".join(f"'{_short(name)}'" for name in facts["label"][:_MOST_NAMES])
    return f"{names}, {facts['label_reason']}"


def _task_line(facts: dict[str, Any]) -> str:
    if facts["task"] == "autoencoder":
        return "autoencoder: the inputs themselves are learned"
    if facts["task"] == "regression":
        return f"regression: {facts['task_reason']}"
    counts = facts["classes"]
    shown = [f"{_short(name)} {count:,}" for name, count in list(counts.items())[:_MOST_NAMES]]
    more = ", ..." if len(counts) > _MOST_NAMES else ""
    text = f"{len(counts):,} classes: {facts['task_reason']}; rows of each: {', '.join(shown)}{more}"
    return text + ("; weighted so that each class counts alike" if facts["class_weight"] else "")


def _rows_line(facts: dict[str, Any]) -> str:
    held = "held out to test" if facts["test_data"] == "held out" else f"of '{_short(facts['test_data'])}' to test"
    text = f"{facts['rows_trained']:,} to train, {facts['rows_validation']:,} to stop in time, "
    text += f"{facts['rows_test']:,} {held}"
    if facts["rows_dropped"]:
        text += f"; {facts['rows_dropped']:,} left out, which lack a value"
    if facts["rows_strange"]:
        text += f"; {facts['rows_strange']:,} left out, whose label is not '{_short(facts['normal'])}'"
    if facts["values_filled"]:
        text += f"; {facts['values_filled']:,} missing values filled in with the column's mean"
    return text


def _left_out_line(facts: dict[str, Any]) -> str:
    named = "; ".join(f"'{_short(name)}' {why}" for name, why in facts["left_out"].items())
    return f"{named} (--features keeps it)" if named else ""


def _features_line(facts: dict[str, Any]) -> str:
    names = facts["feature_names"]
    shown = ": " + ", ".join(map(_short, names[:_MOST_NAMES])) if names else ""
    shown += ", ..." if len(names) > _MOST_NAMES else ""
    text = f"{facts['features']:,}{shown}; {_STANDARDIZED.get(facts['standardize'], facts['standardize'])}"
    if facts["one_hot"]:
        text += f"; an input for each text of {', '.join(map(_short, facts['one_hot']))}"
    if facts["offsets"]:
        text += f"; a constant subtracted from {', '.join(map(_short, facts['offsets']))}"
    return text


_STANDARDIZED = {
    "per-feature": "standardized one by one",
    "global": "standardized with one mean and scale",
    "none": "not standardized",
}


def scores_line(scores: dict[str, Any]) -> str:
    """The scores of some rows, in one line: `as_dict` of ClassScores or ValueScores."""
    if "accuracy" in scores:
        return f"accuracy {scores['accuracy']:.4f}, balanced accuracy {scores['balanced_accuracy']:.4f}"
    rmse, mae, names = scores["rmse"], scores["mae"], scores["targets"]
    if len(rmse) == 1:
        return f"R^2 {scores['r2']:.4f}, RMSE {rmse[0]:.4g}, MAE {mae[0]:.4g}"
    if len(names) != len(rmse) or len(names) > _MOST_NAMES:
        return (
            f"R^2 {scores['r2']:.4f}, RMSE {np.mean(rmse):.4g}, MAE {np.mean(mae):.4g} (means of {len(rmse):,} targets)"
        )
    each = [f"'{_short(name)}' RMSE {rmse[i]:.4g}, MAE {mae[i]:.4g}" for i, name in enumerate(names)]
    return "; ".join([f"R^2 {scores['r2']:.4f}", *each])


def errors_line(errors: dict[str, Any]) -> str:
    """The errors of an autoencoder, in one line: `as_dict` of ErrorScores."""
    names = {"0.5": "median", "0.9": "90 %", "0.99": "99 %", "1": "largest"}
    shown = ", ".join(f"{names[share]} {value:.4g}" for share, value in errors["quantiles"].items())
    text = f"of reconstruction: {shown}; above the threshold {errors['threshold']:.4g}: {errors['alarms']:.2%} of rows"
    if errors["auc"] is not None:
        text += f" of class '{_short(errors['normal'])}', {errors['caught']:.2%} of the others; AUC {errors['auc']:.4f}"
    return text


def _baseline_line(facts: dict[str, Any]) -> str:
    base = facts["baselines"]
    simple = "the most frequent class" if facts["task"] == "class" else "the mean"
    text = f"{base['score']} {base['constant']:.4f} by always answering {simple}"
    return text + (f", {base['linear']:.4f} without hidden layers" if base["linear"] is not None else "")


def confusion_text(scores: dict[str, Any], width: int = WIDTH) -> str:
    """Which class is taken for which: a table if it is narrow enough, else the most frequent pairs; "" for values."""
    if scores.get("confusion") is None:
        return ""
    names, counts = scores["class_names"], np.array(scores["confusion"])
    if len(names) == len(counts) and _table_width(names, counts) <= width:
        columns: dict[str, str] = {"class": "true class"}
        columns |= {str(index): _head(name) for index, name in enumerate(names)}
        rows = [
            {"class": _short(name), **{str(index): str(count) for index, count in enumerate(row)}}
            for name, row in zip(names, counts.tolist(), strict=True)
        ]
        return format_table(rows, columns, width=width)
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    places = [divmod(int(pair), len(counts)) for pair in np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSED]]
    said = [
        f"'{_short(names[true])}' taken for '{_short(names[found])}' {wrong[true, found]:,} times"
        for true, found in places
        if wrong[true, found]
    ]
    return _line("mistakes", "; ".join(said), width) if said else ""


def _head(name: str) -> str:
    return shortened(name, 8)


def _table_width(names: list[str], counts: Any) -> int:
    widths = [max(len(_head(name)), len(str(int(counts[:, index].max())))) for index, name in enumerate(names)]
    return max(10, *(len(_short(name)) for name in names)) + sum(width + 2 for width in widths)
