"""What a tensor of somebody's graph is to the reader: a constant, or something made of the input's rows.

A `Flow` is a tensor computed from the input: a `Chain` of steps, and a layout that says which feature stands at which
place of the tensor. Transposing or reshaping changes the layout alone; arithmetic adds a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.activations import Activation
from edge_runtime.quantization import QuantParams

Array = NDArray[Any]

SUPPORTED = "supported are chains of Gemm or MatMul with constant weights, their activations, scaling and reshaping"
ANY_ROWS = (1 << 31) - 1  # stands for a batch of any size in the arithmetic of shapes: a prime no real size divides by


class Unsupported(Exception):
    """Why a file cannot be read, in one line that names a node, a tensor or the file. It becomes an ArtifactError."""

    is_placed = False

    def at(self, node: Node | None) -> Unsupported:
        """This error with the node's name, operator and output in front, unless it names a node already."""
        if self.is_placed or node is None:
            return self
        placed = Unsupported(f"{node}: {self}")
        placed.is_placed = True
        return placed


def with_expectation(error: Exception) -> Unsupported:
    """A refusal that says what is supported too, where its own words do not."""
    text = str(error)
    if isinstance(error, Unsupported) and error.is_placed:
        return error
    is_said = any(word in text for word in ("expected", "supported", "export ", "limit"))
    return Unsupported(text if is_said else f"{text}; {SUPPORTED}")


@dataclass
class Budget:
    """Bytes that constants may still take, so that a small file cannot ask for much memory; and products, for time."""

    left: int
    products: int = 1 << 33

    def charge(self, count: int, itemsize: int = 8) -> None:
        """Take `count` elements off, before they are allocated. Raises Unsupported."""
        self.left -= count * itemsize
        if self.left < 0:
            raise Unsupported(f"needs {count:,} elements, more than the limit on memory allows; raise max_bytes")

    def charge_products(self, count: int) -> None:
        """Take `count` multiplications in products of constants off. Raises Unsupported."""
        self.products -= count
        if self.products < 0:
            raise Unsupported("products of constants of this size would take minutes; fold them before exporting")


def described(name: str, operator: str, domain: str, outputs: Iterable[str]) -> str:
    """A node in messages: its name, its operator and its first output."""
    prefix = f"{domain}." if domain else ""
    output = next((output for output in outputs if output), "")
    return f"node '{name}' ({prefix}{operator}, output '{output}')"


@dataclass(frozen=True)
class Node:
    """One operator of the graph, functions inlined. inputs: names, "" where an optional one is left out."""

    name: str
    operator: str
    domain: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return described(self.name, self.operator, self.domain, self.outputs)

    def attribute(self, name: str, kind: type, default: Any) -> Any:
        """An attribute's value (int, float, bytes, or list of one of them). Raises Unsupported for another type."""
        value = self.attributes.get(name, default)
        if value is not default and not isinstance(value, kind):
            raise Unsupported(f"attribute '{name}' is a {type(value).__name__}, expected {kind.__name__}")
        return value


@dataclass(frozen=True, eq=False)
class Const:
    """An array known from the file. codes, scale: where it came out of DequantizeLinear, array = codes * scale.

    codes: int16, zero point taken off, of the array's shape. scale: float32, broadcasts to it with as many axes.
    of_batch: it was computed from the number of rows, so only shapes may use it. of_half: float16 numbers, widened.
    """

    array: Array
    codes: Array | None = None
    scale: Array | None = None
    of_batch: bool = False
    of_half: bool = False


@dataclass(frozen=True, eq=False)
class Affine:
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

    def __call__(self, x: Array) -> Array:
        """Apply it to float64 values."""
        return np.asarray(x * self.scale + self.shift)


IDENTITY = Affine(np.array(1.0), np.array(0.0))


@dataclass(frozen=True, eq=False)
class Select:
    """y = x[index]: features repeated, left out or in another order."""

    index: Array


@dataclass(frozen=True, eq=False)
class Linear:
    """y = x @ weight. weight: (n_in, n_out) as stored. codes, scale: as in Const, scale (n_out,)."""

    weight: Array
    codes: Array | None = None
    scale: Array | None = None


@dataclass(frozen=True, eq=False)
class Function:
    """One function of one number for all features. activation: which one, where the operator says so.

    node: what computes it. cost: operators that one call of it takes.
    """

    call: Callable[[Array], Array]
    activation: Activation | None
    node: Node
    cost: int = 1


@dataclass(frozen=True)
class RowFunction:
    """softmax or log_softmax."""

    activation: Activation


@dataclass(frozen=True)
class Quantize:
    """Real values become codes on a uint8 grid. kind: what the file stores them as, "uint8" or "int8"."""

    grid: QuantParams
    kind: str = "uint8"


@dataclass(frozen=True)
class Dequantize:
    """Codes become real values: (code - grid.zero_point) * grid.scale."""

    grid: QuantParams


@dataclass(frozen=True, eq=False)
class Lookup:
    """Codes become other codes: uint8 table (256,). kind as in Quantize."""

    table: Array
    kind: str = "uint8"


@dataclass(frozen=True)
class DynamicQuantize:
    """Real values become codes on a grid that is found when the model runs, the zero point taken off."""


@dataclass(frozen=True)
class DynamicScale:
    """Values are multiplied by the scale that was found."""


Step = (
    Affine | Select | Linear | Function | RowFunction | Quantize | Dequantize | Lookup | DynamicQuantize | DynamicScale
)


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
class Label:
    """The class with the largest value of a flow, or, not `is_largest`, several answers of yes or no."""

    flow: Flow
    classes: tuple[str, ...] = ()
    is_largest: bool = True


@dataclass(frozen=True, eq=False)
class Probabilities:
    """A dictionary from class to value."""

    flow: Flow
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DynamicGrid:
    """The scale or the zero point that a DynamicQuantizeLinear found. factor: float32, what the scale was times."""

    source: Chain
    is_scale: bool
    factor: Array


Value = Const | Flow | Label | Probabilities | DynamicGrid | None
