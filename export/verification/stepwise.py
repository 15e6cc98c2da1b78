"""Layer by layer beside somebody's file: what its own tensors become, one after another.

The bound on the outputs of a whole network grows with every layer: of float16 arithmetic and of grids that are found on
the way it is soon as large as the outputs. From one tensor of the file to the next it is narrow at any depth, so that
no shuffled weight passes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Array
from edge_runtime.files import printable
from edge_runtime.layers import Dense, DynamicQuantizedDense
from edge_runtime.model import Model
from edge_runtime.reference import output_bound, trace
from export.onnx_reader import Imported, Seen
from export.verification.comparison import TensorCheck, within

_LARGE_PART = 0.01  # of what outputs vary by: a bound above it is looked at layer by layer


def is_loose(bound: float, theirs: Array) -> bool:
    """Whether the bound on outputs is a large part of what they vary by."""
    values = theirs.reshape(len(theirs), -1).astype(np.float64)
    return bool(bound > _LARGE_PART * np.std(np.where(np.isfinite(values), values, 0.0), axis=0).max(initial=0.0))


def tensors_between(model: Model, source: Imported) -> tuple[Seen, ...]:
    """The file's tensors that hold what layers after the first take, if `model` has layers like the file's."""
    layers, theirs = model.layers, source.model.layers
    are_alike = [(type(each), each.n_in, each.n_out) for each in layers] == [
        (type(each), each.n_in, each.n_out) for each in theirs
    ]
    if not are_alike or not all(isinstance(layer, (Dense, DynamicQuantizedDense)) for layer in layers):
        return ()
    return tuple(seen for seen in source.seen if seen.layer != theirs[0].name)


def check_steps(
    level: str,
    model: Model,
    source: Imported,
    rows: NDArray[np.float32],
    found: Mapping[str, Array],
    *,
    block: int,
    factor: float,
) -> list[TensorCheck]:
    """A check for each tensor that is seen, and for the outputs, each computed from the tensor before.

    found: the file's tensors by name, a row for each of `rows`. block: rows that the file got together. factor: of the
    bounds, for what the file rounds more.
    """
    checks = []
    for start, end, tensor in _segments(model, source):
        x = rows if start is None else found[start.tensor].astype(np.float32)
        part = model.layers[_place(source, start) : end]
        segment = Model(part, model.preprocessing if start is None else None)
        theirs = found[tensor].astype(np.float32)
        blocks = [slice(at, at + block) for at in range(0, len(rows), block)]
        each = [_check(level, tensor, segment, source, x[these], theirs[these], factor) for these in blocks]
        checks.append(functools.reduce(TensorCheck.merged, each))
    return checks


def _segments(model: Model, source: Imported) -> Iterator[tuple[Seen | None, int, str]]:
    """Where to begin (None: at the rows), the layer to end before, and the tensor that must come out."""
    start: Seen | None = None
    for seen in tensors_between(model, source):
        yield start, _place(source, seen), seen.tensor
        start = seen
    if source.output_kind != "label" and not source.output_grids:
        yield start, len(model.layers), source.output


def _place(source: Imported, seen: Seen | None) -> int:
    names = [layer.name for layer in source.model.layers]
    return 0 if seen is None else names.index(seen.layer)


def _check(
    level: str, tensor: str, segment: Model, source: Imported, x: Array, theirs: Array, factor: float
) -> TensorCheck:
    same, slack = source.same_standardization, source.slack
    with np.errstate(all="ignore"):
        ours = trace(segment, x)[f"{segment.layers[-1].name}.output"]
        bound = output_bound(segment, x, activated=True, foreign=True, same_standardization=same, slack=slack)
    return within(level, printable(tensor), ours, theirs, bound * factor)
