"""What a device's command line and a bundle both do, once. No click."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge_runtime.console.answers import json_lines, outputs_of, table_of_answers
from edge_runtime.console.messages import echo, echo_json, note, say_fallback, verdict_width, warn
from edge_runtime.console.output_files import check_rows_output
from edge_runtime.console.reports import selftest_text
from edge_runtime.engine import Engine, Limits, require_stored_batch, selftest
from edge_runtime.errors import InputError
from edge_runtime.files import (
    DATA_MAX_BYTES,
    Chunks,
    RowsRead,
    Table,
    describe,
    is_text,
    read_at_most,
    read_rows,
    rows_in,
    rows_of_table,
    standard_input,
    tables_of,
    write_blocks,
    write_rows,
)
from edge_runtime.model import Model
from edge_runtime.reference import range_warning
from edge_runtime.schema import Schema

_MOST_SAID = 1000  # notes of a stream: what is said of each row would never end


class Job(NamedTuple):
    """What `run` is asked for: the options of these names."""

    input: str
    output: str = "-"
    classes: bool = False
    force: bool = False
    max_bytes: int | None = None
    jsonl: bool = False
    backend: str = "numpy"


def run_rows(job: Job, sources: Sequence[str], load: Callable[[], tuple[Model, Limits]]) -> None:
    """Run a model on rows of raw values. sources: files that are read and never replaced.

    Text from standard input is answered row by row, if the answers go to standard output: it may never end. An
    int8-dynamic model takes it whole, as a file: answers would hang on how fast the rows come.
    load: gives the model and the limits to keep, once it is known that the outputs can be written. Raises InputError,
    OutputRefused, BudgetExceeded, OSError.
    """
    check_rows_output(job.output, [job.input, *sources], force=job.force, jsonl=job.jsonl)
    model, limits = load()
    if job.classes and model.metadata.get("target") in ("regression", "autoencoder"):
        raise InputError("the model gives values and not classes; leave --classes out")
    engine = Engine(model, limits, job.backend)
    say_fallback(engine.backend_reason)
    runner = _Runner(job, engine)
    limit = job.max_bytes or DATA_MAX_BYTES
    if job.input == "-" and job.output == "-":
        if all(layer.precision != "int8-dynamic" for layer in model.layers):
            return _run_stream(runner, limit)
        note("int8-dynamic: a row's answer depends on the rows beside it, so all are read before the first is answered")
    return runner.answer(read_rows(job.input, n_in=model.n_in, schema=runner.schema, max_bytes=limit))


class _Runner:
    """Answers rows, whole files or piece by piece."""

    def __init__(self, job: Job, engine: Engine) -> None:
        self.model, self.schema = engine.model, Schema.of(engine.model)
        self._job, self._engine = job, engine
        self._is_first, self._was_doubted = True, False
        self._said: set[str] = set()
        self.answered = 0  # rows

    def answer(self, rows: RowsRead) -> None:
        """Write what the model says of these rows, and what is to be known of them."""
        for text in rows.notes:
            if text not in self._said and len(self._said) < _MOST_SAID:
                note(text)
                self._said.add(text)
        if not len(rows.x):
            return
        doubt = None if self._was_doubted else range_warning(self.model, rows.x)
        if doubt is not None:
            warn(doubt)
            self._was_doubted = True
        if self._job.jsonl:
            write_blocks(self._job.output, json_lines(self._engine, rows, self._job.classes))
        elif self._job.output == "-":
            outputs = outputs_of(self._engine, rows, self._job.classes)
            write_blocks("-", table_of_answers(outputs, self.model, header=self._is_first))
        else:
            outputs = outputs_of(self._engine, rows, self._job.classes)
            write_rows(self._job.output, outputs, class_names=self.model.class_names or None)
        self._is_first = False
        self.answered += len(rows.x)

    def answer_table(self, table: Table, what: str) -> None:
        """The same for a piece of a stream; if a row is refused, those before it are answered first."""
        settings = {"n_in": self.model.n_in, "schema": self.schema}
        try:
            rows = rows_of_table(table, what, **settings)  # type: ignore[arg-type]
        except InputError:
            if len(table.numbers) == 1:
                raise
            for place in range(len(table.numbers)):
                self.answer(rows_of_table(table.part(place, place + 1), what, **settings))  # type: ignore[arg-type]
            return
        self.answer(rows)


def _run_stream(runner: _Runner, limit: int) -> None:
    """Rows from standard input as they come; the bytes of an array, of gzip or of UTF-16 are read to their end."""
    read, what = standard_input(), describe("-")
    first = read()
    if not is_text(first):
        content = read_at_most(Chunks(first, read), limit)
        if len(content) > limit:
            raise InputError(f"{what}: over the limit of {limit:,} bytes; raise max_bytes to read it")
        return runner.answer(rows_in(content, "-", n_in=runner.model.n_in, schema=runner.schema, max_bytes=limit))
    names = () if runner.schema is None else runner.schema.names
    columns = len(names) or runner.model.n_in
    try:
        for table in tables_of(Chunks(first, read).next, what, columns=columns, expected=names):
            runner.answer_table(table, what)
    except InputError as error:
        if not runner.answered:
            raise
        raise InputError(
            f"{error}; the {runner.answered:,} rows before it are answered: mend it, or start again with the next line"
        ) from error
    return None


def prove(model: Model, limits: Limits, backend: str = "numpy", *, as_json: bool = False) -> int:
    """Replay the stored test vectors and print the verdict: status 0, or 1 if it is none. Raises as `selftest`."""
    require_stored_batch(model, limits)
    result = selftest(model, limits, backend)
    if as_json:
        echo_json({**vars(result), "ok": result.ok})
    else:
        say_fallback(result.backend_reason)
        echo(selftest_text(result, verdict_width()))
    return 0 if result.ok else 1
