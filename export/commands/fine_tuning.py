"""`smallnet train --quantization-aware`: a float model is shrunk, and learns on in the integers that it will run in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from edge_runtime.artifact import artifact_bytes, save
from edge_runtime.console import (
    Progress,
    cap,
    check_output,
    echo,
    echo_json,
    is_quiet,
    note,
    typed_path,
    typed_program,
    width_for,
    wrapped,
)
from edge_runtime.files import fit_table
from edge_runtime.model import Model, weight_bytes
from edge_runtime.schema import Schema, listed
from export.commands.data import labels_of, parts_for_tuning
from export.commands.options import load_any, say_warnings
from export.commands.pipeline import LabeledRows
from export.commands.reports import method_text
from export.quantization import (
    Fidelity,
    Quantized,
    Switches,
    finite,
    measure_fidelity,
    quantize_beside,
    with_test_vectors,
)
from trainer.cli import FALSE_ALARM_RATE, epoch_told
from trainer.datasets import Dataset, Split, files_of
from trainer.fine_tuning import Tuned, check_moves, check_trainable, lower_score, tune, tuning_options
from trainer.fitting import TrainingOptions
from trainer.recipe import THRESHOLD, with_threshold
from trainer.scores import chance_doubts, worse_doubts

TRAINED_IN = {"int8": 8, "int4": 4, "int8-a16": 8}  # precisions and the bits of their weights


class _Judged(NamedTuple):
    """A model on the held-out rows: its score, None without labels, how near it is to the float one, and its file."""

    model: Model
    score: float | None
    fidelity: Fidelity | None
    artifact_bytes: int


def run_fine_tuning(source: str, precision: str, settings: dict[str, Any], options: dict[str, Any]) -> None:
    """Shrink the model in `source`, train it on, compare it on the rows that its training held out, and write it.

    settings: of the run, as far as they were given. options: of the command. Raises what the parts raise.
    """
    _check_out(source, options)
    chosen = tuning_options(TRAINED_IN[precision], **settings)
    model = load_any(source, options["max_bytes"], writes=[Path(options["out"])])
    check_trainable(model)
    parts, doubt = parts_for_tuning(model, options["spec"], options["test"], **cap(options["max_bytes"]))
    check_moves(chosen, model, parts.train.x, parts.train.y)
    found = quantize_beside(model, parts.train.x, precision, Switches(), 0, lambda seen: note(method_text(seen)))
    unlabelled = [] if labels_of(model, parts.train) is not None else [_unlabelled_doubt(model, parts.train)]
    say_warnings(unlabelled)
    tuned = _no_worse(_tuned(found, parts, chosen, options["seed"]), found.model, parts)
    finished = _finished(tuned.model, model, parts, precision)
    save(finished, options["out"])
    told = {"source": source, "unlabelled": unlabelled, "test_doubt": doubt}
    _report(model, found.model, finished, tuned, parts, {**options, **told})


def _check_out(source: str, options: dict[str, Any]) -> None:
    if options["out"].lower().endswith(".onnx"):
        raise click.UsageError(
            f"--out is {options['out']}, expected the name of an artifact (.npz); export writes ONNX"
        )
    data = [name for name in (options["spec"], options["test"]) if name is not None]
    read: list[str | Path] = [source, *(file for name in data for file in files_of(name))]
    check_output(options["out"], "artifact", force=options["force"], sources=read)


def _tuned(found: Quantized, parts: Split, chosen: TrainingOptions, seed: int) -> Tuned:
    """Trained on the training rows, chosen on the validation rows.

    On what the float model answers where there are no labels, and where they gave nothing: a network that knows its
    rows by heart learns from labels to be surer of them, and no more.
    """
    train, validation = (labels_of(found.model, part) for part in (parts.train, parts.validation))
    if train is not None:
        tuned = _run(found, parts, (train, validation), chosen, seed)
        if not tuned.doubts or not parts.train.is_classification:
            return tuned
        note("no epoch was better by the labels: it learns what the float model answers")
        return _run(found, parts, (None, None), replace(chosen, class_weight=None), seed)
    return _run(found, parts, (None, None), chosen, seed)


def _no_worse(tuned: Tuned, shrunk: Model, parts: Split) -> Tuned:
    """`tuned`, or the shrunk model where that scores higher on the validation rows, whatever it has learned from."""
    truth = labels_of(shrunk, parts.validation)
    if truth is None or not len(truth) or tuned.model is shrunk:
        return tuned
    rows = LabeledRows(parts.validation.x, truth)
    before, after = rows.scores(shrunk), rows.scores(tuned.model)
    if after.value >= before.value:
        return tuned
    history = replace(tuned.history, best_epoch=0)
    return Tuned(shrunk, history, tuned.before, (*tuned.doubts, lower_score(before, after)))


def _run(found: Quantized, parts: Split, truth: tuple[Any, Any], chosen: TrainingOptions, seed: int) -> Tuned:
    """One training. truth: labels or targets of the training and the validation rows, None for the float answers."""
    is_class = truth[0] is not None and parts.train.is_classification
    if is_class and found.model.n_out == 1 and chosen.loss is None:
        chosen = replace(chosen, loss="binary_cross_entropy")  # the data say that one number means a class
    with Progress(after=0.0) as progress:
        metric = "" if truth[0] is not None else _metric_of_answers(found.model)
        told = epoch_told(progress, chosen.epochs, parts.train.is_classification, metric)
        return tune(
            found.source, found.model, parts.train.x, truth[0], replace(chosen, on_epoch=told),
            validation_data=(parts.validation.x, truth[1]), seed=seed,
        )  # fmt: skip


def _metric_of_answers(model: Model) -> str:
    """What an epoch reaches beside what the float model answers, which is no truth."""
    return "agreement" if model.final_activation.name == "softmax" else "mean difference"


def _unlabelled_doubt(model: Model, rows: Dataset) -> str:
    """What a file without labels is learned for, and which of its columns are not read: one may be the label."""
    schema = Schema.of(model)
    wanted = "labels" if schema is None or not schema.targets else f"column {listed(schema.targets)}"
    unknown = [note for note in rows.reading.notes if "does not know" in note]
    return "; ".join([f"{rows.name} has no {wanted}: it learns what the float model answers", *unknown])


def _finished(tuned: Model, source: Model, parts: Split, precision: str) -> Model:
    """With test vectors, where it comes from, and for an autoencoder the threshold of its own errors."""
    model = with_test_vectors(tuned, parts.train.x)
    made_by = f"smallnet train --quantization-aware {precision}"
    model = replace(model, metadata={**model.metadata, "made_by": made_by})
    if THRESHOLD in source.metadata:
        model, _ = with_threshold(model, parts.test, FALSE_ALARM_RATE)
    return model


def _report(source: Model, shrunk: Model, finished: Model, tuned: Tuned, parts: Split, options: dict[str, Any]) -> None:
    out, truth = Path(options["out"]), labels_of(source, parts.test)
    rows = None if truth is None else LabeledRows(parts.test.x, truth, source.class_names)
    small = with_test_vectors(shrunk, parts.train.x)  # as many as the third has, so that their files compare
    judged = {
        f"{source.precision} (before)": _judged(source, None, rows, parts, _file_bytes(options["source"], source)),
        f"{shrunk.precision} (shrunk)": _judged(small, source, rows, parts),
        f"{finished.precision} (fine-tuned)": _judged(finished, source, rows, parts),
    }
    doubts = [
        *absent_classes(source, parts.train),
        *tuned.doubts,
        *([] if rows is None else _doubts(rows, shrunk, finished)),
    ]
    say_warnings(doubts)  # what is said of missing labels was said before the training
    facts = {
        "file": str(out),
        "file_bytes": out.stat().st_size,
        "from": options["source"],
        "data": parts.train.name,
        "rows_trained": len(parts.train),
        "rows_validation": len(parts.validation),
        "rows_test": len(parts.test),
        "seed": options["seed"],
        "epochs": len(tuned.history.records),
        "best_epoch": tuned.history.best_epoch,
        "score": None if rows is None else rows.score_name,
        "has_labels": not options["unlabelled"],
        "test_doubt": options["test_doubt"],
        "models": [_facts(name, each) for name, each in judged.items()],
        "warnings": [*options["unlabelled"], *doubts],
    }
    if options["as_json"]:
        return echo_json(facts)
    echo(_table(facts))
    best = facts["best_epoch"]
    kept = f"best epoch {best} of {facts['epochs']}" if best else "no epoch was better: it is the shrunk model"
    seen = "that fine-tuning never saw" if options["test_doubt"] else "it never saw"
    said = "; ".join(filter(None, [f"on {len(parts.test):,} rows {seen}", options["test_doubt"], kept]))
    echo(wrapped(said, width_for()))
    echo(f"wrote {out} ({facts['file_bytes']:,} bytes, {finished.precision})")
    if not is_quiet():
        echo(f"next: {typed_program()} export {typed_path(out)} --out build/")
    return None


def absent_classes(model: Model, train: Dataset) -> list[str]:
    """Classes of the model that no training row has: nothing keeps it from forgetting them."""
    if not train.is_classification or not train.n_out:
        return []
    count, present = max(2, model.n_out), len(np.unique(train.y))
    if present >= count:
        return []
    return [f"{present} of the model's {count} classes have training rows: it may forget the others; add rows of them"]


def _doubts(rows: LabeledRows, shrunk: Model, finished: Model) -> list[str]:
    """What the rows that it never saw say against the model: it is as good as a guess, or worse than before."""
    before, after = (rows.answers(model) for model in (shrunk, finished))
    return [*chance_doubts(rows.scores(finished)), *worse_doubts(rows.y, before, after)]


def _judged(
    model: Model, source: Model | None, rows: LabeledRows | None, parts: Split, file_bytes: int | None = None
) -> _Judged:
    """file_bytes: of the model's file, where there is one."""
    score = None if rows is None else rows.score(model)
    near = None if source is None else measure_fidelity(source, model, parts.test.x)
    return _Judged(model, score, near, artifact_bytes(model) if file_bytes is None else file_bytes)


def _file_bytes(path: str, model: Model) -> int:
    """Of the artifact that the model was read from; of the one that it would be, if it came from an ONNX file."""
    return artifact_bytes(model) if path.lower().endswith(".onnx") else Path(path).stat().st_size


def _facts(name: str, judged: _Judged) -> dict[str, Any]:
    near = judged.fidelity
    return {
        "model": name,
        "precision": judged.model.precision,
        "artifact_bytes": judged.artifact_bytes,
        "weight_bytes": weight_bytes(judged.model),
        "score": judged.score,
        "decisions_changed": None if near is None else near.decisions_changed,
        "sqnr_db": None if near is None else finite(near.sqnr_db),
    }


def _table(facts: dict[str, Any]) -> str:
    """The model before, shrunk, and fine-tuned, a line each."""
    rows = [
        {
            "model": row["model"],
            "npz": f"{row['artifact_bytes']:,}",
            "weights": f"{row['weight_bytes']:,}",
            "score": "-" if row["score"] is None else f"{row['score']:.4f}",
            "changed": "-" if row["decisions_changed"] is None else row["decisions_changed"],
            "sqnr": "-" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}",
        }
        for row in facts["models"]
    ]
    columns = {"model": "model", "npz": ".npz bytes", "weights": "weights B", "score": facts["score"] or "score"}
    columns |= {"changed": "decisions changed", "sqnr": "sqnr dB"}
    narrow = {**columns, "npz": ".npz B", "changed": "changed"}
    narrower = {key: heading for key, heading in narrow.items() if key not in ("sqnr", "npz", "weights")}
    return fit_table(rows, width_for(), columns, narrow, narrower)
