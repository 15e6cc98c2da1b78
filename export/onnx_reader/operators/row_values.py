"""What is made of a row as a whole, until it is a normalization: LayerNorm, RMSNorm or L2 normalization.

However it is spelled, a normalization mixes values with a mean or a norm of their row. That is kept as a function of
rows, which is asked for its values: if they are those of a normalization, it is one, and no spelling has to be known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from edge_runtime.array_types import Array
from export.onnx_reader.nodes import NO_NORMALIZATION, Budget, Node, Unsupported
from export.onnx_reader.operators.constants import elementwise_function
from export.onnx_reader.steps import (
    Affine,
    Center,
    Chain,
    Normalize,
    OfOneNumber,
    RowMean,
    Select,
    Step,
    common_ancestor,
    composed,
)
from export.onnx_reader.values import Const, Flow, RowValues, Value, common_base

TINIEST = float(np.finfo(np.float32).tiny)  # as epsilon: it keeps rows of zeros from being divided by 0
_MOST_OPERATORS = 100  # that make a function of rows; more could take exponential time
_SMALL, _LARGE = 1e-9, 1e6  # of rows beside which an epsilon is all there is, and nothing
_NOTHING = 1e-20  # a mean square
_LARGEST_LIMIT = 1e-10  # of mean squares: rows below are taken for zeros
_TOLERANCE = 1e-6
_NUMBERS = np.array([-2.0, 1.0])


def uses_means(flows: Sequence[Flow]) -> bool:
    """Whether one of the flows has been a mean of its row since they parted."""
    base = common_base(flows)
    return any(isinstance(step, RowMean) for flow in flows for step in flow.chain.steps_after(base))


def centered(first: Flow, second: Flow) -> Flow | None:
    """The first flow without the mean of its rows, if the second is that."""
    if common_ancestor(first.chain, second.chain) is not first.chain or second.chain is first.chain:
        return None
    steps = second.chain.steps_after(first.chain)
    is_mean = isinstance(steps[0], RowMean) and all(isinstance(step, Affine) and step.is_uniform for step in steps[1:])
    is_mean = is_mean and np.allclose(composed(steps[1:], _NUMBERS), _NUMBERS, rtol=_TOLERANCE, atol=0)
    is_alike = (first.batch, first.rows, first.order.ndim) == (second.batch, second.rows, second.order.ndim)
    return first.with_step(Center()) if is_mean and is_alike and first.is_whole else None


def row_values(node: Node, given: Sequence[Value], budget: Budget) -> Flow | RowValues:
    """An elementwise operator on values and numbers of the same rows; a flow once that is a normalization."""
    made = [value for value in given if isinstance(value, Flow | RowValues)]
    first = made[0].flow
    _require_one_layout([each.flow for each in made])
    base = common_base([each.flow for each in made])
    parts = tuple(_part(value, base) for value in given)
    size = max(part.size for part in parts)
    cost = 1 + sum(part.cost for part in parts)
    if cost > _MOST_OPERATORS:
        raise Unsupported(f"more than {_MOST_OPERATORS} operators make it; {NO_NORMALIZATION}")
    budget.charge(16 * (base.width + size))
    function = elementwise_function(node, len(parts))

    def call(x: Array) -> Array:
        return np.asarray(function(*(part.call(x) for part in parts)), np.float64)

    order = np.arange(base.width).reshape((1,) * max(0, first.order.ndim - 1) + (-1,))
    rows = replace(first, chain=base, order=order)
    steps = normalization(call, size) if size == base.width else None
    for step in steps or ():
        rows = rows.with_step(step)
    return RowValues(rows, call, size, cost) if steps is None else rows


def _require_one_layout(flows: Sequence[Flow]) -> None:
    """Raise Unsupported for features that do not lie along the last axis, or rows that do not lie along one."""
    is_last = all(flow.order.size == (*flow.order.shape, 1)[max(0, flow.order.ndim - 1)] for flow in flows)
    layouts = {(flow.batch, flow.rows, flow.order.ndim) for flow in flows}
    if not is_last or len(layouts) > 1 or flows[0].batch == flows[0].order.ndim != 0:
        raise Unsupported(f"it joins tensors of different layout; {NO_NORMALIZATION}")


def _part(value: Value, base: Chain) -> RowValues:
    """An operand as a function of the rows at `base`. Raises Unsupported."""
    if isinstance(value, Const):
        numbers = value.array.astype(np.float64)
        if numbers.size != (*numbers.shape, 1)[max(0, numbers.ndim - 1)]:
            raise Unsupported(f"its constant has shape {numbers.shape}, expected a number for each feature")
        return RowValues(None, lambda rows: numbers.reshape(1, -1), numbers.size, 0)  # type: ignore[arg-type]
    assert isinstance(value, Flow | RowValues)
    steps = value.flow.chain.steps_after(base)
    if not all(isinstance(step, OfOneNumber | Select | RowMean | Center) for step in steps):
        raise Unsupported(NO_NORMALIZATION)
    if isinstance(value, RowValues):
        return replace(value, call=lambda rows: value.call(composed(steps, rows)))
    order = value.order.ravel()
    return RowValues(value, lambda rows: composed(steps, rows)[:, order], order.size, 1)


def normalization(call: Callable[[Array], Array], n: int) -> list[Step] | None:
    """The steps that a function of rows of n values comes to, if it is a normalization of them; None otherwise."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, n)) + rng.normal(size=(4, 1))
    with np.errstate(all="ignore"):
        beta = (call(rows) + call(-rows))[0] / 2
        for center in ([Center()], []):
            found = _fitted(call, composed(center, rows), rows, beta)
            if found is not None:
                return [*center, *found]
    return None


def _fitted(call: Callable[[Array], Array], d: Array, rows: Array, beta: Array) -> list[Step] | None:
    """Normalize and the map after it, read off the function's values; None if it has others. d: rows, or centered."""
    square = np.square(d).mean(axis=1, keepdims=True)
    best, every = np.abs(d).argmax(axis=0), np.arange(d.shape[1])
    gamma = ((call(rows * _LARGE) - beta) * np.sqrt(square) / d)[best, every]
    near = (call(rows * _SMALL) - beta)[best, every]
    at = np.abs(gamma).argmax()
    limit = float((gamma[at] * d[best[at], at] * _SMALL / near[at]) ** 2)
    epsilon = limit - float(square[best[at], 0]) * _SMALL**2
    epsilon = epsilon if epsilon > _NOTHING else 0.0
    agrees = partial(_agrees, call, d, rows, (gamma, beta))
    is_added = agrees(lambda square: square + epsilon)
    if not is_added and not (limit < _LARGEST_LIMIT and agrees(lambda square: np.maximum(square, limit))):
        return None
    if not (is_added and epsilon):
        epsilon = TINIEST if np.isfinite(call(np.zeros_like(rows))).all() else 0.0
    return [Normalize(float(np.float32(epsilon))), Affine(gamma, beta)]


def _agrees(
    call: Callable[[Array], Array], d: Array, rows: Array, maps: tuple[Array, Array], limited: Callable[[Array], Array]
) -> bool:
    """Whether rows of any size become d / sqrt(limited mean square), times gamma, plus beta."""
    for size in (1e-6, 1e-4, 1e-2, 1.0, 1e2):
        square = np.square(d * size).mean(axis=1, keepdims=True)
        expected = d * size / np.sqrt(limited(square)) * maps[0]
        off = np.abs(call(rows * size) - maps[1] - expected)
        if not (off <= _TOLERANCE * np.abs(expected).max() + 1e-12 * np.abs(maps[1])).all():
            return False
    return True
