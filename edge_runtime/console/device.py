"""What a device's command line and a bundle both do, once. No click."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge_runtime.console.messages import echo, echo_json, note, verdict_width, warn
from edge_runtime.console.output_files import check_rows_output
from edge_runtime.console.reports import selftest_text
from edge_runtime.engine import Engine, Limits, require_stored_batch, selftest
from edge_runtime.errors import InputError
from edge_runtime.files import DATA_MAX_BYTES, read_rows, write_rows
from edge_runtime.model import Model
from edge_runtime.reference import range_warning
from edge_runtime.schema import Schema


class Job(NamedTuple):
    """What `run` is asked for: the options of these names."""

    input: str
    output: str = "-"
    classes: bool = False
    force: bool = False
    max_bytes: int | None = None


def run_rows(job: Job, sources: Sequence[str], load: Callable[[], tuple[Model, Limits]]) -> None:
    """Run a model on rows of raw values. sources: files that are read and never replaced.

    load: gives the model and the limits to keep, once it is known that the outputs can be written. Raises InputError,
    OutputRefused, BudgetExceeded, OSError.
    """
    check_rows_output(job.output, [job.input, *sources], force=job.force)
    model, limits = load()
    if job.classes and model.metadata.get("target") in ("regression", "autoencoder"):
        raise InputError("the model gives values and not classes; leave --classes out")
    engine = Engine(model, limits)
    limit = job.max_bytes or DATA_MAX_BYTES
    rows, notes = read_rows(job.input, n_in=model.n_in, schema=Schema.of(model), max_bytes=limit)
    for text in notes:
        note(text)
    doubt = range_warning(model, rows)
    if doubt is not None:
        warn(doubt)
    answers = engine.predict(rows) if job.classes else engine.run(rows)
    write_rows(job.output, answers, class_names=model.class_names or None)


def prove(model: Model, limits: Limits, *, as_json: bool = False) -> int:
    """Replay the stored test vectors and print the verdict: status 0, or 1 if it is none. Raises as `selftest`."""
    require_stored_batch(model, limits)
    result = selftest(model, limits)
    if as_json:
        echo_json({**vars(result), "ok": result.ok})
    else:
        echo(selftest_text(result, verdict_width()))
    return 0 if result.ok else 1
