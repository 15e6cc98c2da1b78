"""What `run` answers: a table, or one JSON object a row for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.engine import Engine
from edge_runtime.files import RowsRead, csv_blocks
from edge_runtime.model import Model
from edge_runtime.schema import Schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PROBABILITIES = ("softmax", "sigmoid")


def outputs_of(engine: Engine, rows: RowsRead, classes: bool) -> NDArray[Any]:
    """float32 (n, n_out), or class indices int64 (n,)."""
    return engine.predict(rows.x) if classes else engine.run(rows.x)


def table_of_answers(outputs: NDArray[Any], model: Model, *, header: bool) -> Iterator[bytes]:
    """The answers as lines of CSV."""
    return csv_blocks(outputs, model.class_names or None, header=header)


def json_lines(engine: Engine, rows: RowsRead, classes: bool) -> Iterator[bytes]:
    """One JSON object a row: `row`, and `class` with `probabilities` by name, or `values` by name.

    classes: whether the class is enough. What is no finite number is null.
    """
    model = engine.model
    decided = engine.predict(rows.x).tolist() if classes or _gives_classes(model) else None
    outputs = None if classes else engine.run(rows.x)
    kind, names = ("probabilities", _class_names(model)) if decided is not None else ("values", _value_names(model))
    for number, place in enumerate(rows.places.tolist()):
        answer: dict[str, Any] = {"row": place}
        if decided is not None:
            answer["class"] = _class_names(model)[decided[number]]
        if outputs is not None:
            answer[kind] = dict(zip(names, _numbers(outputs[number], len(names)), strict=True))
        yield json.dumps(answer, allow_nan=False).encode() + b"\n"


def _gives_classes(model: Model) -> bool:
    target = model.metadata.get("target", "auto")
    return target not in ("regression", "autoencoder") and model.final_activation.name in _PROBABILITIES


def _class_names(model: Model) -> Sequence[str]:
    """One for each class; a single output tells two apart."""
    return model.class_names or [str(index) for index in range(max(model.n_out, 2))]


def _value_names(model: Model) -> Sequence[str]:
    schema = Schema.of(model)
    known = [] if schema is None else [schema.targets, schema.feature_names]
    fitting = [names for names in (*known, model.class_names) if len(names) == model.n_out]
    return fitting[0] if fitting else [f"output_{index}" for index in range(model.n_out)]


def _numbers(outputs: NDArray[np.float32], count: int) -> list[float | None]:
    """The shortest digits that read back to the same float32. One output for two classes is the second's."""
    values = outputs if len(outputs) == count else np.array([1 - outputs[0], outputs[0]], np.float32)
    return [float(str(value)) if np.isfinite(value) else None for value in values]
