"""The rules by which a tensor of one engine is judged beside that of another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.array_types import Tensors
from edge_runtime.errors import InputError
from edge_runtime.files import printable, shortened
from edge_runtime.inputs import as_inputs
from edge_runtime.layers import Dense, DynamicQuantizedDense, Elementwise, Layer, LayerNorm, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import saturate
from edge_runtime.reference import (
    SUM_ERROR,
    activation_bound,
    agree,
    count_lone_nans,
    implementation_error,
    product_bound,
    stage_bound,
    trace_layer,
)
from export.onnx_writer import entry_range

SAME_BITS, WITHIN_BOUND, ONE_STEP, REPORTED = "same bits", "within bound", "within one step", "reported only"


@dataclass(frozen=True)
class TensorCheck:
    """One tensor at one level. rule: one of the constants above. compared and differing: values, and those breaking it.

    max_abs_error: the largest difference, in steps for integer tensors. largest_bound: the largest difference allowed.
    step: the size of one step of an integer tensor in real units; None where the tensor holds real values. lone_nans:
    values that are NaN on one side alone, which no difference shows.
    """

    level: str
    tensor: str
    rule: str
    compared: int
    differing: int
    max_abs_error: float
    largest_bound: float
    step: float | None = None
    lone_nans: int = 0

    def __repr__(self) -> str:
        """The verdict of one tensor, in one line."""
        found = f"{self.differing:,} of {self.compared:,} differ, by {self.max_abs_error:.3g} at most"
        return f"TensorCheck({self.level}, {printable(shortened(self.tensor, 60))}, {self.rule}: {found})"

    @property
    def max_real_error(self) -> float | None:
        """The largest difference in real units; None for an accumulator, whose step differs from channel to channel."""
        if self.step is None:
            return None if self.tensor.endswith((".accumulator", ".scaled")) else self.max_abs_error
        return self.max_abs_error * self.step

    def merged(self, other: TensorCheck) -> TensorCheck:
        """The same check over the rows of both."""
        return replace(
            self,
            compared=self.compared + other.compared,
            differing=self.differing + other.differing,
            max_abs_error=max(self.max_abs_error, other.max_abs_error),
            largest_bound=max(self.largest_bound, other.largest_bound),
            lone_nans=self.lone_nans + other.lone_nans,
        )


def same_bits(level: str, tensor: str, ours: Tensors, theirs: Tensors, step: float | None = None) -> TensorCheck:
    """Every bit of every value, the sign of zero included."""
    a, b = ours[tensor], theirs[tensor]
    bits = f"u{a.dtype.itemsize}"
    differing = np.ascontiguousarray(a).view(bits) != np.ascontiguousarray(b).view(bits)
    return TensorCheck(
        level, tensor, SAME_BITS, a.size, int(differing.sum()), _largest(a, b), 0.0, step, count_lone_nans(a, b)
    )


def within(
    level: str,
    tensor: str,
    ours: NDArray[Any],
    theirs: NDArray[Any],
    bound: NDArray[Any],
    rule: str = WITHIN_BOUND,
    step: float | None = None,
) -> TensorCheck:
    """The check that `bounds.agree` makes."""
    keeps = agree(ours, theirs, bound)
    largest = float(np.broadcast_to(bound, ours.shape).max(initial=0.0))
    return TensorCheck(
        level,
        tensor,
        rule,
        ours.size,
        int((~keeps).sum()),
        _largest(ours, theirs),
        largest,
        step,
        count_lone_nans(ours, theirs),
    )


def reported(level: str, tensor: str, ours: NDArray[Any], theirs: NDArray[Any]) -> TensorCheck:
    """How far two tensors are apart, where no rule says how far they may be."""
    return TensorCheck(
        level, tensor, REPORTED, ours.size, 0, _largest(ours, theirs), np.inf, None, count_lone_nans(ours, theirs)
    )


def check_layer(
    level: str, layer: Layer, entering: NDArray[Any], ours: Tensors, theirs: Tensors, *, is_exact: bool = True
) -> list[TensorCheck]:
    """All tensors of one layer. entering: what the other engine fed it. ours: the trace of the whole model.

    is_exact: whether every value before it has to be ours; see `keeps_bits`.

    A static int8 layer is compared with our own trace, bit for bit, unless its input may differ from ours by rights.
    Then, and in all other layers, it is judged on `entering`, so that a difference in an earlier layer is not held
    against this one.
    """
    if isinstance(layer, (Dense, Elementwise, LayerNorm)):
        return _check_float(level, layer, entering, theirs)
    if isinstance(layer, DynamicQuantizedDense):
        return _check_dynamic(level, layer, entering, theirs)
    ours = ours if is_exact else trace_layer(layer, entering)
    steps = {f"{layer.name}.quantized_input": layer.input.scale}
    if layer.output is not None:
        steps |= {f"{layer.name}.codes": layer.output.scale}
    if layer.final_grid is not None:
        steps |= {f"{layer.name}.output": layer.final_grid.scale}
    exact = [name for name in ours if name.startswith(f"{layer.name}.") and name in theirs]
    if layer.output is None:
        exact.remove(f"{layer.name}.output")
    checks = [same_bits(level, name, ours, theirs, steps.get(name)) for name in exact]
    if layer.output is None and f"{layer.name}.scaled" in theirs:
        checks.append(_check_activation(level, layer, theirs[f"{layer.name}.scaled"], theirs))
    return checks


def keeps_bits(layer: Layer) -> bool:
    """Whether a layer gives every engine the same bits for the same input, to the values that the next one gets."""
    if isinstance(layer, QuantizedDense) and layer.output is not None:
        return True
    is_exact = layer.activation.definition.error == 0.0
    return is_exact and isinstance(layer, (QuantizedDense, Elementwise))


def check_loose_int8(level: str, layer: QuantizedDense, entering: NDArray[Any], theirs: Tensors) -> list[TensorCheck]:
    """A layer of the qdq form: each integer what real arithmetic may round the exact sum for the same input to.

    Real arithmetic rounds the same product differently, which shows only beside a tie: elsewhere nothing is allowed.
    """
    expected = trace_layer(layer, entering)
    name = f"{layer.name}.output"
    quantized = entering if entering.dtype.kind == "u" else expected[f"{layer.name}.quantized_input"]
    checks = []
    if f"{layer.name}.quantized_input" in theirs and entering.dtype.kind == "f":
        checks.append(same_bits(level, f"{layer.name}.quantized_input", expected, theirs, layer.input.scale))
    grid = layer.final_grid
    if grid is None:
        bound = _real_bound(layer, quantized)
        return [*checks, within(level, name, expected[name], theirs[name], bound)]
    low, high = _reachable(layer, expected[f"{layer.name}.scaled"], _sum_error(layer, quantized))
    return [*checks, _check_range(level, name, expected[name], theirs[name], (low, high), grid.scale)]


def _reachable(
    layer: QuantizedDense, scaled: NDArray[np.float32], error: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The lowest and the highest output that scaled sums (batch, n_out) within `error` of `scaled` can round to."""
    assert layer.output is not None
    if layer.table is None:
        sums = (scaled - error, scaled.astype(np.float64), scaled + error)
        ends = [saturate(layer.activation(each), layer.output.zero_point) for each in sums]
        return np.minimum.reduce(ends), np.maximum.reduce(ends)
    low, high = (saturate(scaled + side, layer.output.zero_point) for side in (-error, error))
    lowest, highest = entry_range(layer)
    return np.minimum(lowest[low], lowest[high]), np.maximum(highest[low], highest[high])


def _check_range(
    level: str,
    name: str,
    ours: NDArray[np.uint8],
    theirs: NDArray[np.uint8],
    ends: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    step: float,
) -> TensorCheck:
    """Each value of `theirs` between the two ends, in steps away from `ours`."""
    low, high = ends
    outside = (theirs < low) | (theirs > high)
    allowed = float((high.astype(np.int64) - low).max(initial=0))
    return TensorCheck(level, name, ONE_STEP, ours.size, int(outside.sum()), _largest(ours, theirs), allowed, step)


def _check_float(
    level: str, layer: Dense | Elementwise | LayerNorm, entering: NDArray[Any], theirs: Tensors
) -> list[TensorCheck]:
    name = f"{layer.name}.preactivation"
    with np.errstate(invalid="ignore", over="ignore"):
        expected = trace_layer(layer, entering)[name]
        if isinstance(layer, Dense):
            bound = product_bound(layer, entering)
        else:
            bound = stage_bound(layer, entering, np.zeros(entering.shape))
        product = within(level, name, expected, theirs[name], bound)
    return [product, _check_activation(level, layer, theirs[name], theirs)]


def _check_dynamic(
    level: str, layer: DynamicQuantizedDense, entering: NDArray[Any], theirs: Tensors
) -> list[TensorCheck]:
    expected = trace_layer(layer, entering)
    exact = [name for name in expected if name in theirs and not name.endswith(".output")]
    checks = [same_bits(level, name, expected, theirs) for name in exact]
    return [*checks, _check_activation(level, layer, theirs[f"{layer.name}.preactivation"], theirs)]


def _check_activation(level: str, layer: Layer, before: NDArray[Any], theirs: Tensors) -> TensorCheck:
    """A float32 activation, judged on the values that the other engine had before it."""
    with np.errstate(invalid="ignore", over="ignore"):
        expected = layer.activation(before)
    allowed = implementation_error(layer.activation, before)
    return within(level, f"{layer.name}.output", expected, theirs[f"{layer.name}.output"], allowed)


def _sum_error(layer: QuantizedDense, entering: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Real arithmetic instead of integers: each product, scale and sum rounds once. In units of the scaled sums."""
    centered = np.abs(entering.astype(np.float64) - layer.input.zero_point)
    reach = centered @ np.abs(layer.weight.astype(np.float64)) + np.abs(layer.bias.astype(np.float64))
    return np.asarray(SUM_ERROR * 2 * reach * layer.multiplier)


def _real_bound(layer: QuantizedDense, entering: NDArray[np.uint8]) -> NDArray[Any]:
    """`_sum_error` carried through the activation of a last layer."""
    scaled = trace_layer(layer, entering)[f"{layer.name}.scaled"]
    return activation_bound(layer.activation, scaled, _sum_error(layer, entering))


def _largest(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    with np.errstate(invalid="ignore"):
        error = np.abs(ours.astype(np.float64) - theirs)
    return float(error[np.isfinite(error)].max(initial=0.0))


def rows_to_compare(model: Model, x: ArrayLike | None) -> NDArray[np.float32]:
    """`x`, or the test vectors' inputs, as float32 rows. Raises InputError."""
    if x is None:
        if model.test_vectors is None:
            raise InputError("the model holds no test vectors; give rows to compare on")
        x = model.test_vectors.inputs
    rows = as_inputs(model, x, "rows to compare")
    if rows.ndim != 2 or rows.shape[1] != model.n_in or len(rows) == 0:
        raise InputError(
            f"rows have dtype {rows.dtype} and shape {rows.shape}, expected numbers (n, {model.n_in}), n >= 1"
        )
    return rows.astype(np.float32)
