"""Does an imported model compute what its file computes? The file itself is run by onnxruntime, rows beside rows.

Outputs are compared within the bound of `edge_runtime.reference.bounds`: what two float32 evaluations may differ by,
layer by layer; for int8, nothing before the last activation. Only where a file itself rounds more (float16 arithmetic,
outputs put on a grid) is that rounding allowed too.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray

from edge_runtime.arguments import INPUT_CHECKS
from edge_runtime.errors import ArtifactError, InputError
from edge_runtime.files import printable
from edge_runtime.layers import QuantizedDense
from edge_runtime.model import Model, as_model
from edge_runtime.numerics import first_place
from edge_runtime.reference import output_bound, trace
from export.onnx_reader import (
    ANY_ROWS,
    OUTPUT_KEY,
    Imported,
    Input,
    Seen,
    import_onnx,
)
from export.quantization import MOST_CHANGED
from export.verification.comparison import TensorCheck, rows_to_compare, within
from export.verification.foreign_session import ForeignSession, RunLimits, checked_settings
from export.verification.report import Report
from export.verification.row_count import bytes_per_row, rows_within
from export.verification.saturation import precaution_for
from export.verification.stepwise import check_steps, is_loose, tensors_between
from export.verification.unused_nodes import keep_output, refuse_loops, remove_unused, unused_note

IMPORT = "import"
Tie: TypeAlias = tuple[str, int, int]  # layer, code, what its table holds in onnxruntime
_GONE_WITH_BROADCAST = ("axis", "broadcast")  # attributes of arithmetic and Gemm that opset 7 has no more
_MOST_TIES = 64  # tried one by one
_SMALL_PART = 1e-3  # of outputs that do not vary: an error below it is no matter
HALF_IN_FLOATS = 2.0**13  # a rounding to float16 beside one to float32
_MOST_CHECK_BYTES = 1 << 31  # if the file itself says how many rows it takes


def verify_import(
    model: Model,
    onnx_path: str | os.PathLike[str],
    x: ArrayLike | None = None,
    *,
    levels: Iterable[str] = ("default",),
    imported: Imported | None = None,
    run_limits: RunLimits | None = None,
) -> Report:
    """Compare `model` with the ONNX file that it was imported from.

    x: rows (n, n_in) as the file takes them, flattened; by default `random_rows`. Both sides get what a file's float16
    input makes of them, which `Report.notes` says.
    levels: keys of `export.verification.onnx_session.LEVELS`.
    imported: what `import_onnx` gave, if it is at hand.
    run_limits: what running the file may take, by default `RunLimits()`.

    onnxruntime runs so that no processor saturates (see `saturation`). For integer operators it cannot at the levels
    without transformations: these are left out, and `Report.skipped` names them. If no level is left, nothing was
    compared and the report is not ok.
    Raises ArtifactError if the file cannot be read or run, or takes more, InputError for rows that do not fit, OSError.
    """
    model = as_model(model)
    INPUT_CHECKS.path("onnx_path", onnx_path)
    INPUT_CHECKS.instance("imported", imported, Imported, "what import_onnx gives")
    levels = checked_settings(levels, 1, run_limits)
    source = imported or import_onnx(onnx_path, output=model.metadata.get(OUTPUT_KEY))
    _require_widths_of(model, source.model, onnx_path)
    source, fewer = _with_few_rows(source)
    rows, rounded = _held(source.inputs, random_rows(source) if x is None else rows_to_compare(model, x))
    checks, changed, largest = [], 0, 0.0
    precaution = precaution_for(source)
    notes: dict[str, None] = dict.fromkeys([*unused_note(source.content), *precaution.notes(levels), *rounded, *fewer])
    for level in filter(precaution.runs_at, levels):
        outputs = functools.partial(_outputs, source, onnx_path, rows, level, precaution.config, run_limits)
        theirs = outputs()[source.output]
        found, flipped = _compared_beside_ties(level, model, source, rows, theirs)
        steps = _by_steps(level, model, source, rows, outputs) if is_loose(found.check.largest_bound, theirs) else []
        notes |= dict.fromkeys(_beside_ties(flipped))
        notes |= dict.fromkeys(_says_little(source, found.check, found.changed, theirs, is_all=not steps))
        notes |= dict.fromkeys(_without_bound(found) if not steps else [])
        checks += [found.check, *steps]
        changed, largest = max(changed, found.changed), max(largest, found.check.max_abs_error)
    skipped = tuple(level for level in levels if not precaution.runs_at(level))
    return Report(IMPORT, len(rows), tuple(checks), changed, largest, precaution.config, tuple(notes), skipped)


def _require_widths_of(model: Model, imported: Model, path: str | os.PathLike[str]) -> None:
    if (model.n_in, model.n_out) != (imported.n_in, imported.n_out):
        raise ArtifactError(
            f"{path}: takes {imported.n_in} values and gives {imported.n_out}, the model takes {model.n_in} and gives "
            f"{model.n_out}; it was not imported from this file"
        )


def _beside_ties(flipped: Iterable[tuple[str, int, int]]) -> Iterator[str]:
    """What is said of entries of tables, each as its layer, its code and what onnxruntime has in its place."""
    for layer, code, other in flipped:
        yield f"entry {code} of the table of '{layer}' is {other} in onnxruntime: it stands beside a tie"


def _says_little(
    source: Imported, check: TensorCheck, changed: int, theirs: NDArray[Any], *, is_all: bool
) -> list[str]:
    """Lines on an agreement that proves little: the bound on it is as large as what the outputs vary by.

    is_all: whether the outputs are all that was compared.
    """
    values = theirs.reshape(len(theirs), -1).astype(np.float64)
    texts = _lone_nans(source, check, int(np.isnan(values).sum()))
    numbers = np.where(np.isfinite(values), values, 0.0)
    spread, size = float(np.std(numbers, axis=0).max(initial=0.0)), float(np.abs(numbers).max(initial=0.0))
    if is_all and np.isfinite(check.largest_bound) and check.largest_bound >= (spread or _SMALL_PART * max(1.0, size)):
        texts.append(
            f"the file and the model may differ by {check.largest_bound:.2g} here, and the outputs vary by "
            f"{spread:.2g} on these rows: that they agree says little{_why_loose(source)}"
        )
    if source.output_grids and check.max_abs_error > 0:
        step = max(grid.scale for grid in source.output_grids)
        texts.append(
            f"the file puts its outputs on a grid of {step:.2g}, the model does not: they differ by "
            f"{check.max_abs_error:.2g} at most"
        )
    if changed > MOST_CHANGED * len(theirs):
        texts.append(f"{changed:,} of {len(theirs):,} decisions are not those of the file")
    return texts


def _without_bound(found: _Compared) -> Iterator[str]:
    """A line on outputs that may be anything: their agreement would prove nothing, whatever the weights are."""
    if found.unbounded:
        yield (
            f"{found.unbounded:,} of {found.check.compared:,} outputs may differ by any amount here, where a sum may "
            "leave float32, or values that are normalized vary by less than the roundings before: that they agree "
            "says nothing"
        )


def _lone_nans(source: Imported, check: TensorCheck, in_file: int) -> list[str]:
    """A line on outputs that are NaN in the file or in the model alone, which no difference shows. in_file: in it."""
    if not check.lone_nans:
        return []
    return [
        f"{check.lone_nans:,} of {check.compared:,} outputs '{printable(source.output)}' are NaN on one side alone, "
        f"{in_file:,} in the file: there a sum or a power leaves float32, as exp of more than 88 does in a spelled-out "
        "softmax; give rows of the size that the network was trained on"
    ]


def _why_loose(source: Imported) -> str:
    """What widens the bound, where that is known."""
    if source.computes_in_half:
        return " (it computes in float16)"
    if source.model.precision == "int8-dynamic":
        return " (a grid step of the first layer moves the grids of all others)"
    if any(part.kind == "float64" for part in source.inputs):
        return "; double inputs become float32: take large offsets off them first"
    return ""


def is_import_of(model: Model, source: Imported) -> bool:
    """Whether `model` is what was read: its layers and standardization, to the bit."""
    ours, theirs = _parts(model), _parts(source.model)
    return len(ours) == len(theirs) and all(map(_is_same, ours, theirs))


def _parts(model: Model) -> list[Any]:
    """The layers' and the standardization's types, arrays and numbers."""
    holders: list[Any] = [*model.layers, *([model.preprocessing] if model.preprocessing is not None else [])]
    return [part for held in holders for part in (type(held), *(getattr(held, field.name) for field in fields(held)))]


def _is_same(first: Any, second: Any) -> bool:
    return np.array_equal(first, second) if isinstance(first, np.ndarray) else bool(first == second)


def random_rows(source: Imported, seed: int = 0) -> NDArray[np.float32]:
    """Rows as wide as the file's input, spread as its standardization expects, in the range of its dtype.

    256 of them, fewer if they would take the check more than 256 MiB: 4 of a million features.
    """
    rng = np.random.default_rng(seed)
    model = source.model
    x = rng.normal(size=(rows_within(model), model.n_in)) * 2
    if model.preprocessing is not None:
        x = model.preprocessing.inverse(x)
    for part in source.inputs:
        x[:, part.columns] = _drawn_for(part, x[:, part.columns])
    return x.astype(np.float32)


def _drawn_for(part: Input, x: NDArray[np.float64]) -> NDArray[np.float64]:
    if part.kind.startswith("float"):
        return x.astype(np.float16).astype(np.float64) if part.kind == "float16" else x
    limits = np.iinfo(part.kind)
    return np.clip(np.rint(x * 16), max(limits.min, -(1 << 20)), min(limits.max, 1 << 20))


def _outputs(
    source: Imported,
    path: str | os.PathLike[str],
    rows: NDArray[np.float32],
    level: str,
    config: Sequence[tuple[str, str]],
    limits: RunLimits | None,
    seen: Sequence[Seen] = (),
) -> dict[str, NDArray[Any]]:
    """What the file gives for all rows, fed as many at a time as it takes: the output, and tensors that are seen."""
    size = _rows_at_once(source)
    parts: dict[str, list[NDArray[Any]]] = {source.output: [], **{each.tensor: [] for each in seen}}
    with _session(source, path, level, config, limits, seen) as session:
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            padded = part if _rows_taken(source) == ANY_ROWS else np.resize(part, (size, rows.shape[1]))
            fed = {each.name: _fed(each, padded[:, each.columns]) for each in source.inputs}
            output, *others = session.run(list(parts), fed)
            parts[source.output].append(_by_row(source, output, len(padded))[: len(part)])
            for each, other in zip(seen, others, strict=True):
                moved = other if each.batch is None else np.moveaxis(other, each.batch, 0)
                parts[each.tensor].append(moved.reshape(len(padded), -1)[: len(part)])
    return {name: np.concatenate(found) for name, found in parts.items()}


def _by_steps(
    level: str,
    model: Model,
    source: Imported,
    rows: NDArray[np.float32],
    outputs: Callable[..., dict[str, NDArray[Any]]],
) -> list[TensorCheck]:
    """Layer by layer, if the file's tensors can be seen: none where they are not."""
    seen = tensors_between(model, source)
    factor = HALF_IN_FLOATS if source.computes_in_half else 1.0
    found = outputs(seen) if seen else {}
    block = _rows_at_once(source)
    return check_steps(level, model, source, rows, found, block=block, factor=factor) if seen else []


def _rows_at_once(source: Imported) -> int:
    return rows_within(source.model) if _rows_taken(source) == ANY_ROWS else _rows_taken(source)


def _rows_taken(source: Imported) -> int:
    return source.inputs[0].rows


def _with_few_rows(source: Imported) -> tuple[Imported, list[str]]:
    """A file that takes so many rows at once that they would fill the memory, with a free number of them; and a note.

    If its nodes need that many, such as a Reshape to them, onnxruntime refuses to run it.
    """
    rows = _rows_taken(source)
    if rows == ANY_ROWS or rows * bytes_per_row(source.model) <= _MOST_CHECK_BYTES:
        return source, []
    proto, batches = onnx.ModelProto.FromString(source.content), {part.name: part.batch for part in source.inputs}
    for value in proto.graph.input:
        if batches.get(value.name) is not None:
            value.type.tensor_type.shape.dim[batches[value.name]].dim_param = "rows"
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]
    inputs = tuple(replace(part, rows=ANY_ROWS) for part in source.inputs)
    note = f"the file takes {rows:,} rows at once, which would fill the memory: it was run on fewer"
    return replace(source, inputs=inputs, content=proto.SerializeToString()), [note]


def _session(
    source: Imported,
    path: str | os.PathLike[str],
    level: str,
    config: Sequence[tuple[str, str]],
    limits: RunLimits | None,
    seen: Sequence[Seen] = (),
) -> ForeignSession:
    """A session on the file, less the nodes that no output needs, and with an opset below 7 made one of 7.

    Its weights count for the limit on memory, wherever they are stored.
    """
    content = source.content
    proto = onnx.ModelProto.FromString(content)
    refuse_loops(proto, path)
    keep_output(proto.graph, source.output)
    is_changed = remove_unused(proto) or bool(source.dropped)
    proto.graph.output.extend(onnx.ValueInfoProto(name=each.tensor) for each in seen)
    if _as_opset_7(proto) or is_changed or seen:
        content = proto.SerializeToString()
    weights = sum(array.nbytes for layer in source.model.layers for array in layer.arrays().values())
    size = len(content) + weights
    return ForeignSession(content, path, level, config=config, limits=limits, size=size)


def _as_opset_7(proto: onnx.ModelProto) -> bool:
    """Call a file of opset 6 one of 7, the oldest that onnxruntime runs; whether it was one.

    The reader has refused what means something else in opset 7. The attributes that went say nothing about the rest.
    """
    old = [entry for entry in proto.opset_import if entry.domain in ("", "ai.onnx") and entry.version < 7]
    for entry in old:
        entry.version = 7
    for node in proto.graph.node if old else ():
        gone = _GONE_WITH_BROADCAST if any(entry.name == "broadcast" for entry in node.attribute) else ("is_test",)
        kept = [entry for entry in node.attribute if entry.name not in gone]
        del node.attribute[:]
        node.attribute.extend(kept)
    return bool(old)


def _require_fit(source: Input, rows: NDArray[np.float32]) -> None:
    """Raise InputError where the file's input cannot hold a value: a fraction or 300 in uint8, 1e6 in float16."""
    with np.errstate(all="ignore"):
        held = rows.astype(source.kind)
        if source.kind.startswith("float"):
            bad = np.isinf(held) & np.isfinite(rows)
        else:  # a cast beyond the range gives any number, and 2^63 looks like itself again
            largest = float(np.iinfo(source.kind).max) + 1
            bad = (held.astype(np.float32) != rows) | ~(np.abs(rows) < largest)
    place = first_place(bad)
    if place is not None:
        row, column = place
        what = "smaller numbers" if source.kind.startswith("float") else "whole numbers in its range"
        raise InputError(
            f"row {row}, column {source.start + column} (counted from 0) is {rows[row, column]:g}, the file's input "
            f"'{printable(source.name)}' is {source.kind}, expected {what}; give rows as the file takes them"
        )


def _held(inputs: Sequence[Input], rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[str]]:
    """The rows as the file's inputs hold them, and what to say of it, in a line each: float16 has 11 bits of a number.

    Raises InputError for a value that one cannot hold.
    """
    parts, notes = [], []
    for source in inputs:
        part = rows[:, source.columns]
        _require_fit(source, part)
        with np.errstate(under="ignore"):
            held = part.astype(np.float16).astype(np.float32) if source.kind == "float16" else part
        count = int(np.sum((held != part) & ~np.isnan(part)))
        if count:
            notes.append(
                f"the file's input '{printable(source.name)}' is float16: {count:,} of {part.size:,} values of the "
                "rows were rounded to it, for both sides"
            )
        parts.append(held)
    return np.concatenate(parts, axis=1), notes


def _fed(source: Input, rows: NDArray[np.float32]) -> NDArray[Any]:
    values = rows.astype(source.kind).reshape(len(rows), *source.shape)
    return values[0] if source.batch is None else np.moveaxis(values, 0, source.batch)


def _by_row(source: Imported, found: Any, count: int) -> NDArray[Any]:
    """One row of outputs for each row of inputs."""
    if source.output_kind == "probabilities":
        return np.array([_in_order(row, source.model.class_names) for row in found], np.float32)
    values = np.asarray(found)
    if source.output_kind == "label":
        return values.reshape(count)
    if source.output_batch is not None:
        values = np.moveaxis(values, source.output_batch, 0)
    return values.reshape(count, -1)


def _in_order(found: dict[Any, float], names: tuple[str, ...]) -> list[float]:
    """A row's probabilities in the order of the classes: onnxruntime sorts its dictionaries, a file its classes not.

    The keys are the classes' names, or their numbers beside labels that have others.
    """
    by_name = {str(name): value for name, value in found.items()}
    numbers = [str(number) for number in range(len(by_name))]
    for order in (names, numbers):
        if by_name.keys() == set(order):
            return [by_name[name] for name in order]
    return list(by_name.values())


class _Compared(NamedTuple):
    """The outputs' check, the rows whose class differs, and the sum of the squares of what the outputs differ by.

    unbounded: outputs that are numbers on both sides, and may differ by any amount.
    """

    check: TensorCheck
    changed: int
    distance: float
    unbounded: int = 0


def _compared_beside_ties(
    level: str, model: Model, source: Imported, rows: NDArray[np.float32], theirs: NDArray[Any]
) -> tuple[_Compared, list[Tie]]:
    """`_compared`, and the table entries without which an output would differ.

    A file has one value for each entry: if it rounds one beside a tie otherwise, it does so in every row. So the model
    with that entry must agree in all of them. The entry that brings the outputs nearest is taken first: one that makes
    a single row agree by chance would stand in the way of the right one.
    """
    found = _compared(level, model, source, rows, theirs)
    flipped: list[Tie] = []
    left = list(source.ties[:_MOST_TIES])
    while found.check.differing and left:
        others = [(tie, other) for tie in left if (other := _with_entry(model, tie)) is not None]
        tried = [(_compared(level, other, source, rows, theirs), tie, other) for tie, other in others]
        best = min(tried, key=lambda each: each[0].distance, default=None)
        if best is None or best[0].distance >= found.distance:
            break
        found, tie, model = best
        flipped.append(tie)
        left = [each for each in left if each[:2] != tie[:2]]
    return found, flipped


def _with_entry(model: Model, tie: Tie) -> Model | None:
    """The model with another entry in one table; None if it has no such table."""
    name, code, value = tie
    index = next((i for i, layer in enumerate(model.layers) if layer.name == name), None)
    layer = None if index is None else model.layers[index]
    if index is None or not isinstance(layer, QuantizedDense) or layer.table is None:
        return None
    table = layer.table.copy()
    table[code] = value
    layers = (*model.layers[:index], replace(layer, table=table), *model.layers[index + 1 :])
    return replace(model, layers=layers, test_vectors=None)


def _compared(level: str, model: Model, source: Imported, rows: NDArray[np.float32], theirs: NDArray[Any]) -> _Compared:
    """The model's outputs beside the file's."""
    ours, bound = _ours(model, source, rows)
    if source.computes_in_half:
        bound = bound * HALF_IN_FLOATS
    for grid in source.output_grids:
        ours = np.clip(ours, grid.low, grid.high)
        bound = bound + grid.scale * (1.5 + 1e-5)  # onnxruntime's softmax on codes is off by up to a step, and rounds
    if source.output_kind == "label":
        return _compared_labels(level, model, ours, theirs, bound)
    if theirs.shape != ours.shape:
        raise InputError(f"the file gives {theirs.shape[1]} values a row, the model {ours.shape[1]}")
    check = within(level, source.output, ours, theirs, bound)
    changed = int(np.sum(ours.argmax(axis=1) != theirs.argmax(axis=1))) if model.n_out > 1 else 0
    with np.errstate(all="ignore"):
        squares = np.square(ours.astype(np.float64) - theirs)
    unbounded = int(np.count_nonzero(np.isposinf(bound) & np.isfinite(ours) & np.isfinite(theirs)))
    return _Compared(check, changed, float(squares[np.isfinite(squares)].sum()), unbounded)


def _ours(model: Model, source: Imported, rows: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Outputs and their bounds, in the batches that the file gets: int8-dynamic grids depend on the whole batch."""
    size, same = _rows_at_once(source), source.same_standardization
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    with np.errstate(all="ignore"):
        ours = [trace(model, part)[f"{model.layers[-1].name}.output"] for part in parts]
        bounds = [
            output_bound(model, part, activated=True, foreign=True, same_standardization=same, slack=source.slack)
            for part in parts
        ]
    return np.concatenate(ours), np.concatenate(bounds)


def _compared_labels(
    level: str, model: Model, ours: NDArray[Any], theirs: NDArray[Any], bound: NDArray[Any]
) -> _Compared:
    """Classes: the file's must be the largest here, but for what the outputs may differ by."""
    names = {name: index for index, name in enumerate(model.class_names)}
    index = np.array([names.get(str(label), -1) if names else int(label) for label in theirs])
    known = (index >= 0) & (index < model.n_out)
    picked = np.take_along_axis(ours, np.where(known, index, 0)[:, None], axis=1)[:, 0]
    behind = ours.max(axis=1) - picked
    allowed = np.where(np.isfinite(bound), bound, 0.0).max(axis=1)
    wrong = ~known | (behind > 2 * allowed)
    changed = int(np.sum(ours.argmax(axis=1) != index))
    check = TensorCheck(level, "label", "within bound", len(index), int(wrong.sum()), float(behind.max()), 0.0)
    return _Compared(check, changed, float(np.square(behind.astype(np.float64)).sum()))
