"""Operators that pick places and put them side by side: Gather, Slice, Split, Concat."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import accumulate
from operator import itemgetter
from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.operators.affine import bounded_maps_of, joined
from export.onnx_reader.operators.shapes import listed, moved, resolved_axis
from export.onnx_reader.values import ANY_ROWS, Const, Flow, Handler, Label, Origin, Value, tensor


def gather(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Places by number."""
    value, index = inputs[0], inputs[1]
    if isinstance(value, Const) and isinstance(index, Label):
        return [index.named(class_names(value.array.ravel().tolist()))]
    if not isinstance(index, Const) or index.array.dtype.kind not in "iu":
        raise Unsupported("its indices are not constant whole numbers")
    axis = resolved_axis(node.attribute("axis", int, 0), len(tensor(value).shape))
    change = partial(_take, index=index.array, axis=axis, budget=budget)
    return [_picked(value, axis, change, index.array.ndim, budget)]


def _take(array: Array, index: Array, axis: int, budget: Budget) -> Array:
    budget.charge(array.size // max(1, array.shape[axis]) * index.size, array.dtype.itemsize)
    return np.take(array, index, axis=axis)


def slice_(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Places from, to, step, axis by axis."""
    value = inputs[0]
    starts, ends = listed(node, inputs, 1, "starts"), listed(node, inputs, 2, "ends")
    if starts is None or ends is None:
        raise Unsupported("its starts or ends are missing")
    axes = listed(node, inputs, 3, "axes") or list(range(len(starts)))
    steps = listed(node, inputs, 4, "steps") or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise Unsupported("its starts, ends, axes and steps do not fit together")
    is_of_rows = any(isinstance(bound, Const) and bound.origin is Origin.SIZES for bound in inputs[1:3])
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at_rows = is_of_rows and max(start, end) >= ANY_ROWS
        value = _sliced(value, start, end, axis, step, budget, at_rows=at_rows)
    return [value]


def _sliced(
    value: Value, start: int, end: int, axis: int, step: int, budget: Budget, *, at_rows: bool = False
) -> Value:
    """at_rows: it starts or ends at the number of rows, which may be that of the batch's axis, whole, alone."""
    at = resolved_axis(axis, len(tensor(value).shape))
    if isinstance(value, Flow):
        if at == value.batch and (start, step) == (0, 1) and end >= ANY_ROWS:
            return value
        if at_rows:
            raise Unsupported("it takes as many features as there are rows, or counts from there")
    cut = (slice(None),) * at + (slice(start, end, step),)
    return _picked(value, at, itemgetter(cut), 1, budget)


def _picked(value: Value, axis: int, change: Callable[[Array], Array], new_axes: int, budget: Budget) -> Value:
    """Some places of a tensor along an axis, which becomes `new_axes` axes."""
    if isinstance(value, Flow) and axis == value.batch and value.rows != 1:
        raise Unsupported("it picks rows out of the batch")
    rank = len(tensor(value).shape)
    return moved(value, change, [*range(axis), *[-1] * new_axes, *range(axis + 1, rank)], budget)


def split(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Parts along an axis, each of them what a Slice would give."""
    value = tensor(inputs[0])
    axis = resolved_axis(node.attribute("axis", int, 0), len(value.shape))
    is_of_rows = isinstance(value, Flow) and axis == value.batch
    if is_of_rows and len(node.outputs) > 1:
        raise Unsupported("it picks rows out of the batch")
    sizes = _part_sizes(node, inputs, value.shape[axis])
    if is_of_rows:
        return [value]
    if isinstance(value, Const):
        budget.charge(value.array.size, value.array.dtype.itemsize)  # of all parts together
    starts = [0, *accumulate(sizes[:-1])]
    cuts = [(slice(None),) * axis + (slice(start, start + size),) for start, size in zip(starts, sizes, strict=True)]
    axes = range(len(value.shape))
    return [value.moved(itemgetter(cut), axes) for cut in cuts]


def _part_sizes(node: Node, inputs: list[Value], size: int) -> list[int]:
    """Sizes that are stated, in the attribute before opset 13, or equal ones.

    Since opset 18 the last of `num_outputs` parts is smaller where they cannot be equal.
    """
    count = len(node.outputs)
    stated = listed(node, inputs, 1, "split")
    each = -(-size // count)
    sizes = [each] * (count - 1) + [size - each * (count - 1)] if stated is None else stated
    is_uneven = stated is None and size % count and node.opset < 18
    if is_uneven or node.attribute("num_outputs", int, count) != count or not _are_parts(sizes, count, size):
        raise Unsupported(f"its parts {sizes[:16]} do not fit {size} places and {count} outputs")
    return sizes


def _are_parts(sizes: list[int], count: int, size: int) -> bool:
    return len(sizes) == count and sum(sizes) == size and min(sizes) >= 0


def concat(node: Node, inputs: list[Value], budget: Budget) -> list[Value]:
    """Constants joined, or parts of one tensor put side by side."""
    axis = node.attribute("axis", int, 1)
    if all(isinstance(value, Const) for value in inputs):
        constants = [value for value in inputs if isinstance(value, Const)]
        budget.charge(sum(constant.array.size for constant in constants))
        return [Const(np.concatenate([constant.array for constant in constants], axis=axis))]
    flows = [value for value in inputs if isinstance(value, Flow)]
    if len(flows) < len(inputs):
        raise Unsupported("it joins branches; only chains are supported")
    return [flows[0] if len(flows) == 1 else _side_by_side(flows, axis, budget)]


def _side_by_side(flows: list[Flow], axis: int, budget: Budget) -> Flow:
    """Each part is an affine map of one tensor, such as 1 - p beside p, inputs that are scaled, or two linear heads."""
    first = flows[0]
    at = resolved_axis(axis, len(first.shape))
    if at == first.batch or any((flow.batch, flow.rows) != (first.batch, first.rows) for flow in flows):
        raise Unsupported("it joins rows or branches; only chains are supported")
    ends = np.cumsum([flow.order.size for flow in flows])[:-1]
    budget.charge(sum(flow.order.size for flow in flows) * 4)
    numbers = np.split(np.arange(sum(flow.order.size for flow in flows)), ends)
    places = np.concatenate([n.reshape(f.expanded.shape) for n, f in zip(numbers, flows, strict=True)], axis=at)
    base, maps, limits = bounded_maps_of(flows, budget)
    chain = joined(maps).after(base)
    return first.laid(places, first.batch, chain=chain.then(limits) if limits else chain, kind=first.kind)


def class_names(values: Iterable[Any]) -> tuple[str, ...]:
    """Labels as texts."""
    return tuple(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values)


def names_in(node: Node, *attributes: str) -> tuple[str, ...]:
    """The names of classes in the first of these attributes, texts or whole numbers, that is not empty."""
    return class_names(next(filter(None, (node.attribute(name, list, []) for name in attributes)), []))


HANDLERS: dict[str, Handler] = {
    "Slice": slice_,
    "Split": split,
    "Concat": concat,
}  # Gather may be a table: see `quantized`
