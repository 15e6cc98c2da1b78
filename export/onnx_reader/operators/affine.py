"""Branches that are linear in one tensor: however they part and meet again, they are one affine map of it.

Joined inputs that are scaled by themselves, linear heads side by side, and sums and means of such branches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.onnx_reader.nodes import Budget, Unsupported
from export.onnx_reader.steps import Affine, Bend, Center, Chain, Function, Linear, RowMean, Select, Step
from export.onnx_reader.values import Flow, common_base

Array64 = NDArray[np.float64]


class AffineMap(NamedTuple):
    """n values made of a tensor x of features: x[places] * scale + shift, or x @ weight + shift if there are weights.

    places: int64 (n,). scale, shift: float64 (n,). weight: float64 (features, n), or None.
    """

    places: NDArray[np.int64]
    scale: Array64
    shift: Array64
    weight: Array64 | None = None

    def picked(self, index: NDArray[np.int64]) -> AffineMap:
        """Some of the values, by their places."""
        weight = None if self.weight is None else self.weight[:, index]
        return AffineMap(self.places[index], self.scale[index], self.shift[index], weight)

    def scaled(self, scale: Array64 | float, shift: Array64 | float = 0.0) -> AffineMap:
        """The values times a number each, and another added."""
        weight = None if self.weight is None else self.weight * scale
        return AffineMap(self.places, self.scale * scale, self.shift * scale + shift, weight)

    def times(self, step: Linear, width: int, budget: Budget) -> AffineMap:
        """The values' product with weights. width: features of the tensor."""
        before, n = self.dense(width, budget), step.weight.shape[1]
        budget.charge_products(before.size * n)
        budget.charge(width * n + step.weight.size)
        weight = step.weight.astype(np.float64)
        return AffineMap(np.zeros(n, np.int64), np.ones(n), self.shift @ weight, before @ weight)

    def over_row(self, step: Center | RowMean, width: int, budget: Budget) -> AffineMap:
        """The mean of the values, or the values without it. width: features of the tensor."""
        shift, weight = step(self.shift), step(self.dense(width, budget))
        return AffineMap(np.zeros(shift.size, np.int64), np.ones(shift.size), shift, weight)

    def dense(self, width: int, budget: Budget) -> Array64:
        """The weights, written out, float64 (width, n)."""
        if self.weight is not None:
            return self.weight
        budget.charge(width * self.places.size)
        weight = np.zeros((width, self.places.size))
        weight[self.places, np.arange(self.places.size)] = self.scale
        return weight

    def after(self, base: Chain) -> Chain:
        """A chain with the map as its next steps."""
        n = self.places.size
        if self.weight is None:
            return base.then(Select(self.places), n).then(Affine(self.scale, self.shift))
        return base.then(Linear(self.weight), n).then(Affine(np.array(1.0), self.shift))


def maps_of(flows: Sequence[Flow], budget: Budget) -> tuple[Chain, list[AffineMap]]:
    """The tensor that flows are linear in, and what each of them is of it, place by place. Raises Unsupported."""
    base = common_base(flows)
    if any(isinstance(step, Linear | Center | RowMean) for flow in flows for step in flow.chain.steps_after(base)):
        base = before_linear(base)
    maps = [map_of(flow, base, budget) for flow in flows]
    if any(each.weight is not None for each in maps):
        maps = [each._replace(weight=each.dense(base.width, budget)) for each in maps]
    return base, maps


def bounded_maps_of(flows: Sequence[Flow], budget: Budget) -> tuple[Chain, list[AffineMap], Step | None]:
    """As `maps_of`, for flows that may end with limits, such as clipped inputs: these, of all their places together.

    None where no flow has any. Raises Unsupported.
    """
    base = common_base(flows)
    before, limits = zip(*(_before_limits(flow, base) for flow in flows), strict=True)
    every = np.concatenate(limits, axis=1)
    if np.isinf(every).all():
        return *maps_of(flows, budget), None
    if len({any(isinstance(step, Linear) for step in flow.chain.steps_after(base)) for flow in before}) > 1:
        raise Unsupported("it joins a product with what none was made of; only chains are supported")
    is_one = isinstance(flows[0].chain.step, Function) and bool((every == every[:, :1]).all())
    return *maps_of(before, budget), flows[0].chain.step if is_one else Bend(None, *every)


def _before_limits(flow: Flow, base: Chain) -> tuple[Flow, Array64]:
    """A flow before the limits that it ends with, and these, float64 (2, places), infinite where it has none."""
    step, places = flow.chain.step, flow.order.ravel()
    limits = np.tile([[-np.inf], [np.inf]], places.size)
    if flow.chain is base or flow.chain.parent is None:
        return flow, limits
    if isinstance(step, Bend) and step.slope is None:
        given = step.low, step.high
    elif isinstance(step, Function) and step.activation is not None and step.activation.name in ("relu", "clip"):
        params = dict(step.activation.params)
        given = np.array(params.get("min", 0.0)), np.array(params.get("max", np.inf))
    else:
        return flow, limits
    for limit, values in zip(limits, given, strict=True):
        if values is not None:
            limit[:] = values[places] if values.ndim else values
    return replace(flow, chain=flow.chain.parent), limits


def before_linear(base: Chain) -> Chain:
    """Before the product that a tensor comes out of, so that what follows it becomes a part of that product."""
    at = base
    while at.parent is not None and _is_linear(at.step):
        if isinstance(at.step, Linear):
            return at.parent
        at = at.parent
    return base


def _is_linear(step: Step | None) -> bool:
    return isinstance(step, Affine | Select | Center | RowMean) or (isinstance(step, Linear) and step.codes is None)


def map_of(flow: Flow, base: Chain, budget: Budget) -> AffineMap:
    """What a flow is of the tensor at `base`, place by place. Raises Unsupported if that is no affine map."""
    budget.charge(base.width * 3)
    found = AffineMap(np.arange(base.width), np.ones(base.width), np.zeros(base.width))
    for step in flow.chain.steps_after(base):
        if not _is_linear(step):
            raise Unsupported("it joins branches of which one is not linear; only chains are supported")
        if isinstance(step, Affine):
            found = found.scaled(step.scale, step.shift)
        elif isinstance(step, Select):
            found = found.picked(step.index)
        elif isinstance(step, Linear):
            found = found.times(step, base.width, budget)
        elif isinstance(step, Center | RowMean):
            found = found.over_row(step, base.width, budget)
    return found.picked(flow.order.ravel())


def joined(maps: Sequence[AffineMap]) -> AffineMap:
    """The values of several maps side by side."""
    index, scale, shift = (np.concatenate([each[part] for each in maps]) for part in range(3))
    weights = [each.weight for each in maps if each.weight is not None]
    return AffineMap(index, scale, shift, np.concatenate(weights, axis=1) if weights else None)


def sum_of(flows: Sequence[Flow], signs: Sequence[float], budget: Budget) -> Flow | None:
    """The sum of flows that are linear in one tensor, broadcast as NumPy does; None where one of them is not linear.

    None too for branches that do the same to every feature: these are one function of one number.
    """
    base = common_base(flows)
    first, steps = flows[0], [step for flow in flows for step in flow.chain.steps_after(base)]
    is_alike = all((flow.batch, flow.rows) == (first.batch, first.rows) for flow in flows)
    if not is_alike or not all(map(_is_linear, steps)):
        return None
    is_uniform = all(isinstance(step, Affine) and step.is_uniform for step in steps)
    if is_uniform and all(np.array_equal(flow.order, first.order) for flow in flows):
        return None
    sizes = [set(each) for each in zip(*(flow.expanded.shape for flow in flows), strict=False)]
    if len({flow.expanded.ndim for flow in flows}) > 1 or any(len(each - {1}) > 1 for each in sizes):
        return None
    shape = tuple(max(each) for each in sizes)
    budget.charge(math.prod(shape) * len(flows) * 2)
    spread = [flow.laid(np.broadcast_to(flow.expanded, shape), flow.batch) for flow in flows]
    base, maps = maps_of(spread, budget)
    total = added([each.scaled(sign) for each, sign in zip(maps, signs, strict=True)], base.width, budget)
    return first.laid(np.arange(math.prod(shape)).reshape(shape), first.batch, chain=total.after(base))


def added(maps: Sequence[AffineMap], width: int, budget: Budget) -> AffineMap:
    """The sum of maps of as many values each. width: features of the tensor."""
    first, shift = maps[0], np.sum([each.shift for each in maps], axis=0)
    if all(each.weight is None and np.array_equal(each.places, first.places) for each in maps):
        return AffineMap(first.places, np.sum([each.scale for each in maps], axis=0), shift)
    weight = first.dense(width, budget)
    for each in maps[1:]:
        weight = weight + each.dense(width, budget)
    return AffineMap(first.places, first.scale, shift, weight)
