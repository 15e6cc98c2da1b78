"""From the steps of a chain to the layers of a `Model`.

The steps between two products are brought into the form affine map, activation, affine map: the first is folded into
the product before, the last into the product after it. What stands before the first product is the preprocessing.
Everything is folded in float64 and rounded to float32 once.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.array_types import Array
from edge_runtime.layers import Dense, DynamicQuantizedDense, Elementwise, Layer, LayerNorm
from edge_runtime.model import Standardization
from edge_runtime.numerics import WEIGHT_MAX, WIDE_WEIGHT_MAX, Activation, QuantParams
from export.onnx_reader.layers.functions import Pieces, pieces
from export.onnx_reader.layers.selection import Placed, without_selections
from export.onnx_reader.nodes import Budget, Unsupported
from export.onnx_reader.steps import (
    IDENTITY,
    ROUNDED,
    Affine,
    Bend,
    Center,
    Chain,
    DynamicScale,
    Function,
    Int8Product,
    Linear,
    Lookup,
    Normalize,
    Quantize,
    RowFunction,
    Step,
)

LINEAR = Activation.of("linear")
_INTEGER_PRODUCTS = ("MatMulInteger", "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")


class Tail(NamedTuple):
    """What follows a product: an affine map, an activation, and functions that need layers of their own.

    output: the grid that the activation's values are rounded to, None where they stay real.
    """

    after: Affine
    activation: Activation
    rest: Pieces
    output: QuantParams | None = None


def tail_of(found: Pieces) -> Tail:
    """The affine maps and activations after a product, each of the first two in its place."""
    after, found = (found[0], found[1:]) if found and isinstance(found[0], Affine) else (IDENTITY, found)
    activation, found = (found[0], found[1:]) if found and isinstance(found[0], Activation) else (LINEAR, found)
    return Tail(after, activation, found)


class Assembly:
    """Layers under construction. `steps` are taken off at `at`; `carry` is what the next product must take in.

    nodes: which node made each step. focus: the step that the layer under construction began with. output_grids:
    the grids that the file rounds its final outputs to and the model does not. same_standardization: the file
    subtracts and multiplies as the model does. slack: by layer, how far its sums may be from the file's, because a
    bias was put on their grid; real units, float64 (n_out,). ties: entries of tables beside a tie, as layer, code and
    what another engine may round it to. int8_products: those whose weights the file has as int8. starts: by layer, the
    step that it begins with, where it takes what that step takes.
    """

    def __init__(self, chain: Chain, width: int, budget: Budget) -> None:
        links = chain.links_after(None)
        placed = [Placed(link.step, link.origin) for link in links if link.step is not None]
        placed = without_selections(placed, width, budget)
        self.steps = [entry.step for entry in placed]
        self.nodes = [entry.node for entry in placed]
        self.at = self.focus = 0
        self.width = width
        self.budget = budget
        self.layers: list[Layer] = []
        self.preprocessing: Standardization | None = None
        self.carry = IDENTITY
        self.output_grids: tuple[QuantParams, ...] = ()
        self.same_standardization = True
        self.slack: dict[str, Array] = {}
        self.ties: set[tuple[str, int, int]] = set()
        self.int8_products: list[Int8Product] = []
        self.starts: dict[str, Step] = {}

    def peek(self) -> Step | None:
        """The next step, None at the end."""
        return self.steps[self.at] if self.at < len(self.steps) else None

    def take_steps(self) -> list[Step]:
        """The elementwise steps from here on, taken off."""
        start = self.at
        while isinstance(self.peek(), Affine | Bend | Function | RowFunction):
            self.at += 1
        return self.steps[start : self.at]

    def take_run(self) -> Pieces:
        """The elementwise steps from here on, taken off, as affine maps and activations."""
        return pieces(self.take_steps())

    def require_no_row_function(self) -> None:
        """Raise Unsupported, naming its node, where softmax is not the end."""
        if self.layers and self.layers[-1].activation.definition.is_over_row:
            before = [index for index in range(self.at) if isinstance(self.steps[index], RowFunction)]
            words = f"something follows {self.layers[-1].activation.name}, which is supported at the end only"
            raise Unsupported(words).at(self.nodes[before[-1]])

    def name(self, kind: str = "dense") -> str:
        """The name of the layer that is made next."""
        return f"{kind}{len(self.layers)}"

    def note_product(self, at: int) -> None:
        """Note the weights of the product at step `at`, which the next layer computes, if the file has them as int8.

        Operators on integers compute int8 values times int8 weights otherwise, exactly on every processor.
        """
        step, node = self.steps[at], self.nodes[at]
        assert isinstance(step, Linear)
        by_integers = node is not None and node.operator in _INTEGER_PRODUCTS
        kinds = [before.kind for before in self.steps[:at] if isinstance(before, Quantize | Lookup)]
        if step.stored is not None and not (by_integers and kinds[-1:] == ["int8"]):
            self.int8_products.append(Int8Product(self.name(), step.stored, by_integers))

    def begin(self) -> None:
        """Standardization, and functions of the input itself, which are stages without weights."""
        plain = _is_subtract_multiply(self.steps)
        found = self.take_run()
        if found and isinstance(found[0], Affine):
            self.same_standardization = plain
            self.preprocessing = standardization(found[0])
            if self.preprocessing is None:
                self.carry = found[0]
            found = found[1:]
        if found and found[0] != LINEAR:
            self.elementwise(found)

    def dense(self, step: Linear) -> None:
        """A float layer of a product and the elementwise steps after it."""
        if self.carry.is_identity:
            self.starts[self.name()] = step
        self.at += 1
        self._add_dense(step, tail_of(self.take_run()))

    def _add_dense(self, step: Linear, tail: Tail) -> None:
        """A float layer: the carried map, the product, an affine map, an activation; more activations get layers."""
        n_in, n_out = step.weight.shape
        after = tail.after
        shift = np.broadcast_to(after.shift, (n_out,)).astype(np.float64)
        if (self.carry.shift != 0).any():
            carried = np.broadcast_to(self.carry.shift, (n_in,)) @ step.weight.astype(np.float64)
            shift = shift + carried * after.scale
        weight = step.weight
        if (self.carry.scale != 1).any() or (after.scale != 1).any():
            self.budget.charge(weight.size)
            rows = np.broadcast_to(self.carry.scale, (n_in,))[:, None]
            weight = (weight.astype(np.float64) * rows) * after.scale
        if weight.dtype != np.float16:
            weight = weight.astype(np.float32)
        bias = shift.astype(np.float32)
        wrong = weight.size + bias.size - np.isfinite(weight).sum() - np.isfinite(bias).sum()
        if wrong:
            found = f"its weights and bias hold {wrong:,} values that are NaN, inf or beyond float32"
            raise Unsupported(f"{found}, expected finite ones")
        self.layers.append(Dense(self.name(), weight, bias, tail.activation))
        self.width, self.carry = n_out, IDENTITY
        self.continue_with(tail.rest)

    def continue_with(self, rest: Pieces) -> None:
        """What follows an activation: a map for the next product, then perhaps functions, which need a layer."""
        if rest and isinstance(rest[0], Affine):
            self.carry, rest = self.carry.then(rest[0]), rest[1:]
        if rest:
            self.elementwise(rest)

    def elementwise(self, rest: Pieces) -> None:
        """A stage without weights for the carried map, a bend and an activation; what comes later gets others."""
        self.require_no_row_function()
        bend = Bend()
        affine, rest = (rest[0], rest[1:]) if rest and isinstance(rest[0], Affine) else (IDENTITY, rest)
        affine, self.carry = self.carry.then(affine), IDENTITY
        while rest and isinstance(rest[0], Bend) and (both := bend.then(rest[0])) is not None:
            bend, rest = both, rest[1:]
        activation, rest = (rest[0], rest[1:]) if rest and isinstance(rest[0], Activation) else (LINEAR, rest)
        scale, shift = (self.by_feature(part) for part in (affine.scale, affine.shift))
        limits = [None if part is None else part.astype(np.float32) for part in (bend.low, bend.high, bend.slope)]
        self.layers.append(Elementwise(self.name("elementwise"), scale, shift, activation, *limits))
        self.continue_with(rest)

    def by_feature(self, values: Array) -> NDArray[np.float32]:
        """A number for each feature, float32 (width,)."""
        self.budget.charge(self.width, 4)
        return np.broadcast_to(values, (self.width,)).astype(np.float32)

    def settle_carry(self) -> None:
        """Put what is carried into a layer of its own, or into the one before where signs allow it."""
        if self.carry.is_identity:
            return
        if self.layers and _is_complement(self.layers[-1], self.carry):
            last = self.layers[-1]
            assert isinstance(last, Dense)
            scale = np.broadcast_to(self.carry.scale, (last.n_out,)).astype(np.float32)
            weight = last.weight.astype(np.float32) * scale
            self.layers[-1] = replace(last, weight=weight, bias=last.bias * scale)
            self.carry = IDENTITY
        elif self.layers and isinstance(last := self.layers[-1], Dense) and last.activation == LINEAR:
            self.layers.pop()
            carry, self.carry = self.carry, IDENTITY
            self.width = last.n_in
            after = Affine(np.array(1.0), last.bias.astype(np.float64)).then(carry)
            self._add_dense(Linear(last.weight), Tail(after, LINEAR, []))
        else:
            self.elementwise([])

    def normalization(self) -> None:
        """LayerNorm, or RMSNorm where no mean is taken off, with the maps and the activation after it."""
        self.settle_carry()
        centered = isinstance(self.peek(), Center)
        step = self.steps[self.at + centered]
        assert isinstance(step, Normalize)
        self.at += 1 + centered
        after, activation, rest, _ = tail_of(self.take_run())
        gamma, beta = (self.by_feature(part) for part in (after.scale, after.shift))
        self.layers.append(LayerNorm(self.name("norm"), gamma, beta, step.epsilon, activation, centered))
        self.continue_with(rest)

    def dynamic(self) -> None:
        """DynamicQuantize, integer product, the two scales in any order, bias, activation."""
        self.settle_carry()
        self.starts[self.name()] = self.steps[self.at]
        self.at += 1
        step = self.peek()
        if not isinstance(step, Linear) or step.codes is None:
            raise Unsupported("what follows DynamicQuantizeLinear is no product with integer weights, expected one")
        self.focus = self.at
        self.note_product(self.at)
        self.at += 1
        before = self._affine_run()
        if not isinstance(self.peek(), DynamicScale) or (before.shift != 0).any():
            raise Unsupported("its product of dynamically quantized values is not multiplied by their scale")
        self.at += 1
        run = self.take_steps()
        after, activation, rest, _ = tail_of(pieces(run))
        n_out = step.codes.shape[1]
        self._note_cancelled(run, after, n_out)
        scale = np.broadcast_to(before.scale * after.scale * step.scale, (n_out,)).astype(np.float32)
        codes, scale = with_positive_scale(step.codes, scale)
        bias = np.broadcast_to(after.shift, (n_out,)).astype(np.float32)
        self.layers.append(DynamicQuantizedDense(self.name(), integer_weights(codes), bias, scale, activation))
        self.width = n_out
        self.continue_with(rest)

    def _note_cancelled(self, run: list[Step], after: Affine, n_out: int) -> None:
        """Where constants of the file that a layer adds cancel, their own roundings are more than those of the sum."""
        sizes = IDENTITY
        for step in itertools.takewhile(lambda step: isinstance(step, Affine), run):
            assert isinstance(step, Affine)
            sizes = sizes.then(Affine(np.abs(step.scale), np.abs(step.shift)))
        lost = sizes.shift - np.abs(after.shift)
        if (lost > 0).any():
            self.slack[self.name()] = np.broadcast_to(ROUNDED * lost, (n_out,))

    def _affine_run(self) -> Affine:
        total = IDENTITY
        while isinstance(step := self.peek(), Affine):
            total, self.at = total.then(step), self.at + 1
        return total


def _is_subtract_multiply(steps: list[Step]) -> bool:
    """Whether the steps begin with one subtraction and one multiplication, and no other arithmetic with constants."""
    start = [step for step in steps[:3] if isinstance(step, Affine)]
    if len(start) != 2 or any(isinstance(step, Affine) for step in steps[2:3]):
        return False
    first, second = start
    return bool((first.scale == 1).all() and (second.shift == 0).all())


def _is_complement(layer: Layer, carry: Affine) -> bool:
    """Whether the map is p or 1 - p of a sigmoid, feature by feature: 1 - sigmoid(z) = sigmoid(-z)."""
    is_one_minus = (carry.scale == -1) & (carry.shift == 1)
    is_plain = (carry.scale == 1) & (carry.shift == 0)
    return isinstance(layer, Dense) and layer.activation.name == "sigmoid" and bool((is_one_minus | is_plain).all())


def standardization(affine: Affine) -> Standardization | None:
    """x * scale + shift as (x - mean) * inv_std; None where it has no such form: a scale of 0 needs a shift of 0."""
    with np.errstate(all="ignore"):
        is_off = (affine.scale == 0) & (affine.shift == 0)  # a feature that did not vary: any mean does
        mean = np.where(is_off, 0, -affine.shift / affine.scale).astype(np.float32)
        inv_std = affine.scale.astype(np.float32)
    if not (np.isfinite(mean).all() and np.isfinite(inv_std).all() and ((inv_std != 0) | is_off).all()):
        return None
    mean, inv_std = (np.atleast_1d(array) for array in np.broadcast_arrays(mean, inv_std))
    return Standardization(mean + np.float32(0), np.array(inv_std))  # + 0 makes -0 a 0


def with_positive_scale(codes: Array, unit: Array, shift: Array | float = 0.0) -> tuple[Array, NDArray[np.float32]]:
    """Integer weights (n_in, n_out) and float32 scales (n_out,), the signs of the scales moved into the weights.

    A scale of 0, as of a unit that batch normalization switches off, makes the weights 0, and the scale one in which
    the unit's constant value `shift` is a whole number.
    """
    is_off = unit == 0
    if is_off.any() or (unit < 0).any():
        codes = codes * np.sign(unit).astype(np.int32)
    return codes, np.where(is_off, constant_scale(shift, unit.shape), np.abs(unit)).astype(np.float32)


def constant_scale(shift: Array | float, shape: tuple[int, ...]) -> Array:
    """A scale for values that are the constant `shift` whatever the input: in it, that is a whole number up to 2^20."""
    return np.asarray(np.maximum(np.abs(np.broadcast_to(shift, shape)), 2.0**-20) * 2.0**-20)


def integer_weights(codes: Array) -> NDArray[np.integer]:
    """Integer weights as the runtime stores them: int8, or int16. Raises Unsupported for more than 8 bits hold."""
    largest = np.abs(codes).max(initial=0)
    if largest > WIDE_WEIGHT_MAX or np.ptp(codes, axis=0).max(initial=0) > WIDE_WEIGHT_MAX:
        raise Unsupported(
            f"its integer weights run from {codes.min()} to {codes.max()} around their zero point, expected 8 bits",
            "8 bits",
        )
    return codes.astype(np.int8 if largest <= WEIGHT_MAX else np.int16)
