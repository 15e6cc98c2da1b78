"""What a tensor of somebody's graph is to the reader: a constant, or something made of the input's rows.

A `Flow` is a tensor computed from the input: a `Chain` of steps, and a layout that says which feature stands at which
place of the tensor. Transposing or reshaping changes the layout alone; arithmetic adds a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Array
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.steps import Chain, DynamicQuantize, Quantize, Select, Step, common_ancestor

ANY_ROWS = (1 << 31) - 1  # stands for a batch of any size in the arithmetic of shapes: a prime no real size divides by


class Origin(IntEnum):
    """Where a constant comes from, the worst last. FILE: the file's own numbers, and what is computed of them alone.

    SIZES: sizes of tensors; those from ANY_ROWS on depend on the number of rows, no other does. PER_ROW: it stands here
    once for a batch of any size, along its first axis. OF_ROWS: it was computed from the number of rows.
    """

    FILE = 0
    SIZES = 1
    PER_ROW = 2
    OF_ROWS = 3


@dataclass(frozen=True, eq=False)
class Const:
    """An array known from the file. codes, scale: where it came out of DequantizeLinear, array = codes * scale.

    codes: int32, zero point taken off, of the array's shape. scale: float32, broadcasts to it with as many axes.
    stored: the int8 numbers that the codes are in the file, of the same shape; None where the file has other ones.
    origin: as `operators.origin` works it out for every node, which hands it on. of_half: float16 numbers, widened.
    """

    array: Array
    codes: Array | None = None
    scale: Array | None = None
    origin: Origin = Origin.FILE
    of_half: bool = False
    stored: NDArray[np.int8] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.array.shape

    def moved(self, change: Callable[[Array], Array], axes: Sequence[int] = ()) -> Const:
        """This constant after a change of its places; the integers and the scales behind it move along."""
        array = change(self.array)
        if self.codes is None or self.scale is None:
            return Const(array, origin=self.origin, of_half=self.of_half)
        scale = change(np.broadcast_to(self.scale, self.codes.shape))
        stored = None if self.stored is None else change(self.stored)
        return Const(array, change(self.codes), scale, self.origin, stored=stored)


@dataclass(frozen=True, eq=False)
class Flow:
    """A tensor made of the input. order: the feature at each place of a row, in the tensor's shape without the batch.

    batch: the batch's axis in the tensor, or None where it holds one row without an axis for it. rows: the size of that
    axis, ANY_ROWS where it is free. kind: the NumPy name of its dtype.
    """

    chain: Chain
    order: Array
    batch: int | None
    rows: int
    kind: str = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape, ANY_ROWS where the batch is free."""
        if self.batch is None:
            return self.order.shape
        return (*self.order.shape[: self.batch], self.rows, *self.order.shape[self.batch :])

    @property
    def expanded(self) -> Array:
        """`order` with an axis of size 1 for the batch."""
        return self.order if self.batch is None else np.expand_dims(self.order, self.batch)

    @property
    def flow(self) -> Flow:
        """Itself, as the flow behind an output or a label."""
        return self

    def laid(self, expanded: Array, batch: int | None, **changes: Any) -> Flow:
        """This flow with another layout, given with an axis of size 1 for the batch."""
        order = expanded if batch is None else np.squeeze(expanded, batch)
        return replace(self, order=order, batch=batch, **changes)

    def moved(self, change: Callable[[Array], Array], axes: Sequence[int]) -> Flow:
        """This flow after a change of its places. axes: which axis each new one was, -1 where it was none."""
        return self.laid(change(self.expanded), axes.index(self.batch) if self.batch in axes else None)

    def require_real(self) -> Flow:
        """This flow, unless it holds integers of the input: their arithmetic cuts and wraps, and none is done here."""
        if not self.kind.startswith(("float", "bool")) and not any(
            isinstance(step, Quantize | DynamicQuantize) for step in self.chain.steps_after(None)
        ):
            raise Unsupported(f"it computes with {self.kind} numbers, expected a Cast to float first")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether every feature stands at exactly one place."""
        places = np.sort(self.order, axis=None)
        return bool(np.array_equal(places, np.arange(self.chain.width)))

    @property
    def is_in_order(self) -> bool:
        """Whether the places of a row are the features, one after another."""
        return np.array_equal(self.order.ravel(), np.arange(self.chain.width))

    def with_step(self, step: Step, **changes: Any) -> Flow:
        """The same tensor after a step that keeps its layout."""
        return replace(self, chain=self.chain.then(step), **changes)

    def made_whole(self) -> Flow:
        """The same tensor, its features being its places where they were not."""
        if self.is_whole:
            return self
        order = np.arange(self.order.size).reshape(self.order.shape)
        return replace(self, chain=self.chain.then(Select(self.order.ravel()), self.order.size), order=order)


@dataclass(frozen=True, eq=False)
class Derived:
    """What is no tensor of the input's features, but made of one."""

    flow: Flow


@dataclass(frozen=True, eq=False)
class Label(Derived):
    """The class with the largest value of a flow, or, not `is_largest`, several answers of yes or no."""

    classes: tuple[str, ...] = ()
    is_largest: bool = True

    def named(self, classes: tuple[str, ...]) -> Label:
        """This label as names that were looked up by number. Raises Unsupported where it is a name already."""
        if self.classes not in ((), tuple(str(number) for number in range(len(self.classes)))):
            raise Unsupported("it looks up names by what is a name already, expected the number of a class")
        return replace(self, classes=classes)


@dataclass(frozen=True, eq=False)
class Probabilities(Derived):
    """A dictionary from class to value."""

    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RowNumber(Derived):
    """One number for each row: `operator` (ReduceMax, ReduceSum, ReduceLogSumExp, or Log of ReduceSum) over a flow."""

    operator: str


@dataclass(frozen=True, eq=False)
class RowValues(Derived):
    """What mixes values with a mean or a norm of their row, not yet a normalization.

    flow: the rows that it is made of. call: of rows (rows, width) in float64, gives (rows, size). cost: as in Function.
    """

    call: Callable[[Array], Array]
    size: int
    cost: int


@dataclass(frozen=True, eq=False)
class Stacked(Derived):
    """The values of all rows one after another in one axis: an output may be that, nothing else can use it."""


@dataclass(frozen=True)
class Shaped:
    """A tensor of which the shape alone is known, which is all that Shape asks for."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Noise:
    """Random numbers: times 0 they are nothing, and nothing else can use them."""


@dataclass(frozen=True, eq=False)
class DynamicGrid:
    """The scale or the zero point that a DynamicQuantizeLinear found. factor: float32, what the scale was times."""

    source: Chain
    is_scale: bool
    factor: Array


Value = Const | Flow | Label | Probabilities | RowNumber | RowValues | Stacked | Shaped | Noise | DynamicGrid | None
Handler = Callable[[Node, list[Value], Budget], list[Value]]  # what its inputs are to what its outputs are


def tensor(value: Value) -> Const | Flow:
    """A value that has a shape and places. Raises Unsupported."""
    if not isinstance(value, Const | Flow):
        raise Unsupported("its input is neither a constant nor made of the model's input")
    return value


def flow_of(value: Value) -> Flow:
    """A tensor that is made of the input. Raises Unsupported."""
    if not isinstance(value, Flow):
        raise Unsupported("its input is not made of the model's input")
    return value


def common_base(flows: Sequence[Flow]) -> Chain:
    """The last point that the chains of flows share."""
    return reduce(common_ancestor, (flow.chain for flow in flows))


def optional(inputs: Sequence[Value], position: int) -> Value:
    """An input that may be left out."""
    return inputs[position] if len(inputs) > position else None
