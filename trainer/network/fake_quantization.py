"""Layers of a quantized model in training: forward on its integers, backward as if nothing had been rounded.

The forward pass is made of the functions of `edge_runtime.numerics`, so that what is trained is what runs, bit for bit.
Its steps have no slope, so gradients pass straight through them (Hinton 2012; Bengio et al. 2013): with real values
x, w, z of the grid points, z = x @ w + b,

    dL/dw = x.T @ dL/dz    dL/dx = dL/dz @ w.T    dL/dz = dL/da * activation'(z), 0 where the output grid clips

The latent weights that gradients move are real numbers of which the nearest grid point is used. They are held in parts
of the largest weight that the grid has, and what is added to biases in parts of what that weight makes of the largest
input: then one learning rate suits each channel, whatever its scale. A third parameter, `gain`, is the logarithm of
what a channel's scale is multiplied with; its integers stay as they are, and only the multiplier changes (after S.
Esser et al., "Learned Step Size Quantization", ICLR 2020).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime import Dense, QuantizedDense
from edge_runtime.array_types import Array
from edge_runtime.numerics import (
    FEWEST_BITS,
    INT32_LIMIT,
    Activation,
    QuantParams,
    accumulate,
    dequantize,
    quantize,
    quantize_symmetric,
    saturate,
    scale_accumulator,
)
from trainer.activations import DERIVATIVES
from trainer.layers import DenseLayer, Parameter
from trainer.network.block import Block
from trainer.network.precision import lower_weights

_WINDOW = 4  # codes on either side over which a table's slope is taken: between two its rounding shows
_LINEAR = Activation("linear")
_TINY = float(np.finfo(np.float32).tiny)


class GridDense(DenseLayer):
    """A dense layer whose parameters stand for integers: weights (n_in, n_out), bias and gain (n_out,), float32."""

    PARAMETERS = (*DenseLayer.PARAMETERS, "gain")
    gain = Parameter()

    def __init__(self, weights: Array, bias: Array) -> None:
        super().__init__(*weights.shape)
        self.weights, self.bias, self.gain = weights, bias, np.zeros_like(self.bias)
        self.grad_gain = np.zeros_like(self.bias)


class QuantizedBlock(Block):
    """A `QuantizedDense` in training: float32 rows in, and rows of the real values of its output grid out.

    layer: on whose grids and scales it is trained. limits: the smallest and the largest integer of a weight.
    The latent weights begin in the middle of their steps, so that the first updates turn none of them: with the float
    weights in their place, those that compensated rounding had sent the other way lay at the edge of their steps, and
    what it had won was lost in the first epoch.
    """

    def __init__(self, layer: QuantizedDense, limits: tuple[int, int]) -> None:
        self.layer, self.limits = layer, limits
        self._top = float(limits[1])
        after = 1.0 if layer.output is None else layer.output.scale
        self._scale = layer.multiplier.astype(np.float64) * after / layer.input.scale  # real value of a weight's step
        grid = layer.input
        self._bias_span = float(max(grid.zero_point, grid.top - grid.zero_point))  # the largest input, in steps
        self._reach = self._bias_span if grid.bits == FEWEST_BITS else float(grid.top)  # see `certificate`
        most = layer.n_in * max(map(abs, limits)) * self._reach
        self._bias_room: Any = INT32_LIMIT - 1 - most  # whatever the weights are; below 0 it depends on them
        # a table is looked up, whatever its activation: it need not be one that floats are trained with
        super().__init__(GridDense(*self._latent()), layer.activation if layer.table is None else _LINEAR)
        self._slopes = None if layer.table is None else _table_slopes(layer)
        self._inside: NDArray[np.bool_] | None = None
        self._codes: NDArray[np.unsignedinteger] = np.empty(0, np.uint8)

    def _latent(self) -> tuple[Array, Array]:
        """Weights that are the layer's own, and what is added to its bias: nothing yet.

        Not the bias itself: float32 does not hold every whole number that int32 does.
        """
        return (self.layer.weight / self._top).astype(np.float32), np.zeros(self.layer.n_out, np.float32)

    # what it stands for

    def integers(self) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        """Weight (n_in, n_out) and bias (n_out,) as the latent ones are rounded. No accumulator leaves int32."""
        values = self.dense.weights
        low, high = (limit / self._top for limit in self.limits)
        np.clip(values, low, high, out=values)  # beyond it they would not be moved back
        steps, room = self._steps(values), self._bias_room
        while np.min(room) < 0:  # 16-bit inputs leave no room to spare
            room = INT32_LIMIT - 1 - np.abs(steps).sum(axis=0, dtype=np.float64) * self._reach
            values[:, room < 0] *= np.float32(0.99)
            steps = self._steps(values)
        bias = self.layer.bias + np.rint(self.dense.bias.astype(np.float64) * (self._top * self._bias_span))
        return steps.astype(np.int8), np.clip(bias, -room, room).astype(np.int32)

    def _steps(self, values: Array) -> Array:
        return quantize_symmetric(values, np.float32(1 / self._top), self.limits[1], low=self.limits[0])

    def multiplier(self) -> NDArray[np.float32]:
        """Of the accumulator, (n_out,): as the quantizer rounds it; the layer's own as long as the gain is 0."""
        after = 1.0 if self.layer.output is None else self.layer.output.scale
        scale = self._scale * np.exp(self._gain.astype(np.float64))
        return np.maximum((scale * self.layer.input.scale / after).astype(np.float32), np.float32(_TINY))

    def to_layer(self) -> QuantizedDense:
        """The layer with the integers that the latent weights stand for."""
        weight, bias = self.integers()
        return replace(self.layer, weight=weight, bias=bias, multiplier=self.multiplier())

    @property
    def _gain(self) -> Array:
        return self.dense.gain  # type: ignore[attr-defined]

    # passes

    def forward(self, x: Array, rng: np.random.Generator) -> Array:
        """The training forward pass; x (rows, n_in), real values."""
        weight, bias = self.integers()
        self._weight = weight.astype(np.float32) / np.float32(self._top)
        return self._run(x, weight, bias)

    def folded(self) -> tuple[Array, Array]:
        """The integers, for `infer`."""
        return self.integers()

    def infer(self, x: Array, weights: Array, bias: Array) -> Array:
        """A forward pass with these integers."""
        return self._run(x, weights, bias)

    def _run(self, x: Array, weight: NDArray[Any], bias: NDArray[Any]) -> Array:
        layer = self.layer
        codes = quantize(x, layer.input)
        self.dense.input_cache = dequantize(codes, layer.input)
        self._given = x
        scaled = scale_accumulator(accumulate(codes, layer.input.zero_point, weight, bias), self.multiplier())
        self._scaled = self.z = scaled
        if layer.output is None:
            return self._activate(scaled, self.raw, **self._params)
        if layer.table is None:
            value = self._activate(scaled, None, **self._params)
            self._inside = _is_inside(value, layer.output)
            self.raw[...] = dequantize(saturate(value, layer.output.zero_point, layer.output.bits), layer.output)
            return self.raw
        self._codes = saturate(scaled, layer.output.zero_point, layer.output.bits)
        self._inside = _is_inside(scaled, layer.output)
        assert layer.table_output is not None
        self.raw[...] = dequantize(layer.table[self._codes], layer.table_output)
        return self.raw

    def backward_activation(self) -> None:
        """Turn `grad` from dL/da into dL/dz, in place: 0 where the output grid clips."""
        if self._slopes is None:
            super().backward_activation()
        else:
            np.multiply(self.grad, self._slopes[self._codes], out=self.grad)
        if self._inside is not None:
            np.multiply(self.grad, self._inside, out=self.grad)

    def backward_affine(self, out: Array | None) -> None:
        """From dL/dz in `grad`: fill the parameters' gradients, and write dL/dx into `out` unless it is None."""
        after = 1.0 if self.layer.output is None else self.layer.output.scale
        dense: Any = self.dense
        np.multiply(self._scaled, self.grad, out=self._scaled)
        np.add.reduce(self._scaled, axis=0, out=dense.grad_gain)
        np.multiply(dense.grad_gain, np.float32(after), out=dense.grad_gain)
        largest = self._scale * self._top * np.exp(self._gain.astype(np.float64))
        np.multiply(self.grad, largest.astype(np.float32), out=self.grad)
        dense.backward(self.grad, self._weight, out=out, needs_input_gradient=out is not None)
        np.multiply(dense.grad_bias, np.float32(self._bias_span * self.layer.input.scale), out=dense.grad_bias)
        if out is not None:
            np.multiply(out, _is_inside(self._given / np.float32(self.layer.input.scale), self.layer.input), out=out)


class FloatBlock(Block):
    """A float layer of a mixed model in training, float16 weights rounded as they will be stored."""

    def __init__(self, layer: Dense, source: Dense) -> None:
        self.layer = layer
        dense = DenseLayer(layer.n_in, layer.n_out)
        dense.weights, dense.bias = source.weight.astype(np.float32), layer.bias
        super().__init__(dense, layer.activation, precision_mode=layer.precision)

    def folded(self) -> tuple[Array, Array]:
        """Weights as they will be stored, and bias."""
        return lower_weights(self.dense.weights, self.precision_mode, self.clip_value), self.dense.bias

    def to_layer(self) -> Dense:
        """The layer with the weights that were learned, of its own precision."""
        weight, bias = self.folded()
        return replace(self.layer, weight=weight.astype(self.layer.weight.dtype), bias=bias)


def _is_inside(steps: Array, grid: QuantParams) -> NDArray[np.bool_]:
    """Whether values in steps of the grid are on it, once rounded: others are clipped, and a step changes nothing."""
    low, high = -grid.zero_point - 0.5, grid.top - grid.zero_point + 0.5
    return (steps >= low) & (steps <= high)


def _table_slopes(layer: QuantizedDense) -> NDArray[np.float32]:
    """The slope of a table at each code: of its activation where that can be trained, else as its values rise."""
    assert layer.table is not None
    assert layer.output is not None
    assert layer.table_output is not None
    values = dequantize(layer.table, layer.table_output)
    codes = np.arange(len(values))
    name = layer.activation.name
    if name in DERIVATIVES and name != "linear":  # linear stands for a table that no activation names
        slopes = np.ones_like(values)
        points = dequantize(codes.astype(np.uint16), layer.output)
        scratch = np.empty(len(values), bool if DERIVATIVES[name].scratch == "bool" else np.float32)
        exact = layer.activation(points)
        DERIVATIVES[name].backward(slopes, points, exact, scratch, **dict(layer.activation.params))
        return slopes
    low, high = np.maximum(codes - _WINDOW, 0), np.minimum(codes + _WINDOW, len(values) - 1)
    return ((values[high] - values[low]) / ((high - low) * layer.output.scale)).astype(np.float32)
