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
)
from edge_runtime.files import fit_table
from edge_runtime.model import Model, weight_bytes
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
    """A model on the held-out rows: its score, None without labels, and how near it is to the float one."""

    model: Model
    score: float | None
    fidelity: Fidelity | None


def run_fine_tuning(source: str, precision: str, settings: dict[str, Any], options: dict[str, Any]) -> None:
    """Shrink the model in `source`, train it on, compare it on the rows that its training held out, and write it.

    settings: of the run, as far as they were given. options: of the command. Raises what the parts raise.
    """
    _check_out(source, options)
    chosen = tuning_options(TRAINED_IN[precision], **settings)
    model = load_any(source, options["max_bytes"], writes=[Path(options["out"])])
    check_trainable(model)
    parts = parts_for_tuning(model, options["spec"], options["test"], **cap(options["max_bytes"]))
    check_moves(chosen, model, parts.train.x, parts.train.y)
    found = quantize_beside(model, parts.train.x, precision, Switches(), 0, lambda seen: note(method_text(seen)))
    tuned = _no_worse(_tuned(found, parts, chosen, options["seed"]), found.model, parts)
    finished = _finished(tuned.model, model, parts, precision)
    save(finished, options["out"])
    _report(model, found.model, finished, tuned, parts, {**options, "source": source})


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
    note("the data has no labels that are the model's: it learns what the float model answers")
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
        told = epoch_told(progress, chosen.epochs, parts.train.is_classification or truth[0] is None)
        return tune(
            found.source, found.model, parts.train.x, truth[0], replace(chosen, on_epoch=told),
            validation_data=(parts.validation.x, truth[1]), seed=seed,
        )  # fmt: skip


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
    # as many test vectors as the third has, so that their files compare
    before, small = (with_test_vectors(each, parts.train.x) for each in (source, shrunk))
    judged = {
        f"{source.precision} (before)": _judged(before, None, rows, parts),
        f"{shrunk.precision} (shrunk)": _judged(small, source, rows, parts),
        f"{finished.precision} (fine-tuned)": _judged(finished, source, rows, parts),
    }
    doubts = [
        *absent_classes(source, parts.train),
        *tuned.doubts,
        *([] if rows is None else _doubts(rows, shrunk, finished)),
    ]
    say_warnings(doubts)
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
        "models": [_facts(name, each) for name, each in judged.items()],
        "warnings": doubts,
    }
    if options["as_json"]:
        return echo_json(facts)
    echo(_table(facts))
    best = facts["best_epoch"]
    kept = f"best epoch {best} of {facts['epochs']}" if best else "no epoch was better: it is the shrunk model"
    echo(f"on {len(parts.test):,} rows it never saw; {kept}")
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


def _judged(model: Model, source: Model | None, rows: LabeledRows | None, parts: Split) -> _Judged:
    score = None if rows is None else rows.score(model)
    return _Judged(model, score, None if source is None else measure_fidelity(source, model, parts.test.x))


def _facts(name: str, judged: _Judged) -> dict[str, Any]:
    near = judged.fidelity
    return {
        "model": name,
        "precision": judged.model.precision,
        "artifact_bytes": artifact_bytes(judged.model),
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
