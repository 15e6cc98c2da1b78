"""What a graph does to the input's rows: steps, one after another, each knowing the node that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Array
from edge_runtime.numerics import Activation, QuantParams, dequantize, quantize
from edge_runtime.reference import implementation_error
from export.onnx_reader.nodes import Node


class Int8Product(NamedTuple):
    """A product of uint8 values with weights that the file has as int8.

    layer: the model's that computes it. weight: int8 (n_in, n_out), rows in the file's order. by_integers: an operator
    on integers computes it, not one on dequantized values.
    """

    layer: str
    weight: NDArray[np.int8]
    by_integers: bool


class Seen(NamedTuple):
    """A tensor of the file that holds what one of the model's layers takes. batch: its axis of rows, None without."""

    layer: str
    tensor: str
    batch: int | None


ROUNDED = 2.0**-22  # of a value: what a few roundings and one call of exp or erf may add up to, beside float64


class Step:
    """One thing that is done to rows. Those that can be called take values, and `nudge` as `off_by` does."""

    def picked(self, index: Array) -> Step:
        """The same for some of the features that come out, by their places: of arrays, their last axis."""
        parts = {
            key: part[..., index] for key, part in vars(self).items() if isinstance(part, np.ndarray) and part.ndim
        }
        return replace(self, **parts)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Affine(Step):
    """y = x * scale + shift, float64, () or (width,) each."""

    scale: Array
    shift: Array

    @property
    def is_uniform(self) -> bool:
        """Whether it is the same for every feature."""
        return self.scale.ndim == self.shift.ndim == 0

    @property
    def is_identity(self) -> bool:
        """Whether y = x."""
        return bool((self.scale == 1).all() and (self.shift == 0).all())

    def then(self, after: Affine) -> Affine:
        """Both, this one first."""
        return Affine(self.scale * after.scale, self.shift * after.scale + after.shift)

    def __call__(self, x: Array, nudge: float = 0.0) -> Array:
        """Apply it to values, off by `nudge` times what its two roundings may come to."""
        value = np.asarray(x * self.scale + self.shift)
        return value + nudge * ROUNDED * (np.abs(x * self.scale) + np.abs(self.shift)) if nudge else value


IDENTITY = Affine(np.array(1.0), np.array(0.0))


@dataclass(frozen=True, eq=False)
class Bend(Step):
    """y = min(max(x or, below 0, slope * x, low), high), each float64 (width,), a number of its own for each feature.

    None where there is no slope or no limit.
    """

    slope: Array | None = None
    low: Array | None = None
    high: Array | None = None

    def then(self, after: Bend) -> Bend | None:
        """Both as one, this one first; None where the second has a slope and the first anything."""
        if self.slope is None and self.low is None and self.high is None:
            return after
        if after.slope is not None:
            return None
        lowest = -np.inf if after.low is None else after.low
        highest = np.inf if after.high is None else after.high
        ends = (-np.inf if self.low is None else self.low, np.inf if self.high is None else self.high)
        return Bend(self.slope, *(np.minimum(np.maximum(end, lowest), highest) for end in ends))


@dataclass(frozen=True, eq=False)
class Select(Step):
    """y = x[index]: features repeated, left out or in another order."""

    index: Array

    def __call__(self, x: Array, nudge: float = 0.0) -> Array:
        """The features of rows."""
        return np.asarray(x[..., self.index])


@dataclass(frozen=True)
class RowMean(Step):
    """The mean of a row's features, in place of them."""

    def __call__(self, x: Array, nudge: float = 0.0) -> Array:
        """The mean of each row."""
        return np.asarray(x.mean(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Center(Step):
    """The mean of a row is taken off each of its features."""

    def __call__(self, x: Array, nudge: float = 0.0) -> Array:
        """Rows without their mean."""
        return np.asarray(x - x.mean(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Normalize(Step):
    """y = x / sqrt(mean(x * x) + epsilon), over a row."""

    epsilon: float


@dataclass(frozen=True, eq=False)
class Linear(Step):
    """y = x @ weight. weight: (n_in, n_out) as stored. codes, scale: as in Const, scale (n_out,).

    stored: as in Const, (n_in, n_out), its rows in the order in which the file multiplies them.
    """

    weight: Array
    codes: Array | None = None
    scale: Array | None = None
    stored: NDArray[np.int8] | None = None


def off_by(nudge: float, activation: Activation | None, x: Array, value: Array) -> Array:
    """`value`, a function's at x, moved by `nudge` times what another engine's may be off by. 0 moves nothing.

    activation: the function, None for an arithmetic operator.
    """
    if not nudge or value.dtype.kind != "f":
        return value
    error = ROUNDED * np.abs(value.astype(np.float64))
    return np.asarray(value + nudge * (error if activation is None else error + implementation_error(activation, x)))


@dataclass(frozen=True, eq=False)
class Function(Step):
    """One function of one number for all features. activation: which one, where the operator says so.

    call: of x; without an activation of `nudge` too, which may be left out and is that of `__call__`. node: what
    computes it. cost: operators that one call of it takes. rounds: it puts values on grids on the way, so that it can
    only become a table of codes.
    """

    call: Callable[..., Array]
    activation: Activation | None
    node: Node
    cost: int = 1
    rounds: bool = False

    def __call__(self, x: Array, nudge: float = 0.0) -> Array:
        """Its values, off by `nudge` times what another engine's may be off by: a function of several nodes in each."""
        if self.activation is None:
            return np.asarray(self.call(x, nudge))
        return off_by(nudge, self.activation, x, self.call(x))


@dataclass(frozen=True)
class RowFunction(Step):
    """softmax or log_softmax."""

    activation: Activation


@dataclass(frozen=True)
class MinusRow(Step):
    """One number for the whole row is taken off each value: its largest. softmax takes it in, nothing else can."""


@dataclass(frozen=True)
class Quantize(Step):
    """Real values become codes on a grid. kind: what the file stores them as, "uint8", "int8" or "uint16"."""

    grid: QuantParams
    kind: str = "uint8"

    def __call__(self, x: Array, nudge: float = 0.0) -> Array:
        """The codes of values."""
        return quantize(x, self.grid)


@dataclass(frozen=True)
class Dequantize(Step):
    """Codes become real values: (code - grid.zero_point) * grid.scale."""

    grid: QuantParams

    def __call__(self, x: Array, nudge: float = 0.0) -> Array:
        """The values of codes, float32."""
        return dequantize(x, self.grid)


@dataclass(frozen=True, eq=False)
class Lookup(Step):
    """Codes become other codes: a table of uint8 or uint16, an entry for each code. kind as in Quantize."""

    table: Array
    kind: str = "uint8"

    def __call__(self, x: Array, nudge: float = 0.0) -> Array:
        """The codes in place of codes."""
        return np.asarray(self.table[x])


@dataclass(frozen=True)
class Byte(Step):
    """The high or the low byte of codes of more than 8 bits."""

    is_high: bool


@dataclass(frozen=True)
class DynamicQuantize(Step):
    """Real values become codes on a grid that is found when the model runs, the zero point taken off."""


@dataclass(frozen=True)
class DynamicScale(Step):
    """Values are multiplied by the scale that was found."""


OfOneNumber = Affine | Function | Quantize | Dequantize | Lookup  # each value by itself, whatever the rest of the row
OfWholeRow = RowFunction | Center | Normalize  # as many values as before, which the whole row makes
KeepsOrder = OfWholeRow | MinusRow | Quantize | Byte | Dequantize | DynamicQuantize | DynamicScale  # of a row's values


def composed(steps: Sequence[Any], x: Array, nudge: float = 0.0) -> Array:
    """What steps, `OfOneNumber` each, make of values, off by `nudge` times what another engine's may be off by."""
    for step in steps:
        x = step(x, nudge)
    return x


@dataclass(eq=False)
class Chain:
    """Steps from the input on, each knowing the one before. width: features after it.

    origin: the node that made the step; the reader writes it down when the node has been read.
    """

    parent: Chain | None
    step: Step | None
    width: int
    depth: int = 0
    origin: Node | None = None

    def then(self, step: Step, width: int | None = None) -> Chain:
        """One more step."""
        return Chain(self, step, self.width if width is None else width, self.depth + 1)

    def links_after(self, ancestor: Chain | None) -> list[Chain]:
        """What leads here from `ancestor`, first one first."""
        found: list[Chain] = []
        at: Chain | None = self
        while at is not None and at is not ancestor:
            found.append(at)
            at = at.parent
        return found[::-1]

    def steps_after(self, ancestor: Chain | None) -> list[Step]:
        """The steps that lead here from `ancestor`, first one first."""
        return [link.step for link in self.links_after(ancestor) if link.step is not None]

    def made_by(self, node: Node) -> None:
        """Note the node that made the last steps: all that no other node made."""
        at: Chain | None = self
        while at is not None and at.origin is None:
            at.origin, at = node, at.parent


def common_ancestor(first: Chain, second: Chain) -> Chain:
    """The last point that two chains share. Every chain of one graph starts at its input."""
    a, b = first, second
    while a is not b:
        if a.depth >= b.depth:
            assert a.parent is not None
            a = a.parent
        else:
            assert b.parent is not None
            b = b.parent
    return a
