"""One step of the network: dense layer, layers between, activation, dropout, with the arrays that they write into."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.numerics import Activation
from trainer.activations import DERIVATIVES
from trainer.arrays import aligned_empty
from trainer.layers import BetweenLayer, DenseLayer
from trainer.network.precision import lower_weights


class Block:
    """dense -> between -> activation -> dropout, trained in place on arrays that are made once.

    After `forward`: z (rows, n_out) is what the activation took, raw what it gave, mask the dropout factors (0 or
    1 / (1 - rate)) or None, and `a` what the next block gets. `grad` is where the gradient by `a` is written. A copy
    has the same layers and settings; its arrays are made when it first runs.
    """

    def __init__(
        self,
        dense: DenseLayer,
        activation: Activation,
        between: tuple[BetweenLayer, ...] = (),
        dropout_rate: float = 0.0,
        precision_mode: str = "float32",
        clip_value: int = 127,
    ) -> None:
        self.dense, self.between, self.activation = dense, between, activation
        self.dropout_rate, self.precision_mode, self.clip_value = dropout_rate, precision_mode, clip_value
        self._made_of = (dense, activation, between, dropout_rate, precision_mode, clip_value)
        self._activate, self._params = activation.definition.forward, dict(activation.params)
        self._derivative = DERIVATIVES[activation.name]
        self._lowered = np.empty_like(dense.weights) if precision_mode != "float32" else None
        self._keep = dense.weights.dtype.type(1.0 / (1.0 - dropout_rate))
        self._full: dict[str, Array] = {}
        self.capacity = 0
        self._dense_out = self.z = self.raw = self.a = self.grad = self._scratch = np.empty(
            (0, dense.n_out), dense.weights.dtype
        )
        self.mask: Array | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_of

    def shapes(self, rows: int) -> dict[str, tuple[tuple[int, int], np.dtype[Any]]]:
        """Shape and dtype of each array that a batch of `rows` needs, by name."""
        shape, dtype = (rows, self.dense.n_out), self.dense.weights.dtype
        arrays = {"z": (shape, dtype), "raw": (shape, dtype), "grad": (shape, dtype)}
        if self.dropout_rate > 0:
            arrays |= {"a": (shape, dtype), "mask": (shape, dtype)}
        if self._derivative.scratch is not None:
            arrays["scratch"] = (shape, np.dtype(bool) if self._derivative.scratch == "bool" else dtype)
        return arrays

    def scratch_bytes(self, rows: int, *, folds: bool = False) -> int:
        """Bytes of all arrays besides the parameters that batches of `rows` need; `folds`: and of `folded` weights."""
        weights, item = self.dense.weights.nbytes, self.dense.weights.itemsize
        total = sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in self.shapes(rows).values())
        total += rows * item  # the dense layer's ones
        total += sum(layer.scratch_bytes(rows) for layer in self.between)
        if self._lowered is not None:
            total += weights + (weights // item * 2 if self.precision_mode == "float16" else 0)
        return total + (weights if folds and self.between else 0)

    def resize(self, rows: int) -> None:
        """Make all arrays `rows` long: new ones if they were shorter, else views."""
        if rows > self.capacity:
            self._full = {name: aligned_empty(*kind) for name, kind in self.shapes(rows).items()}
            if self.activation.name == "softmax":  # its maximum over each row is four times as fast down columns
                self._full["z"] = aligned_empty(*self.shapes(rows)["z"], order="F")
            self.capacity = rows
        arrays = {name: array[:rows] for name, array in self._full.items()}
        self._dense_out = self.z = arrays["z"]
        self.raw, self.grad = arrays["raw"], arrays["grad"]
        self.a, self.mask = arrays.get("a", self.raw), arrays.get("mask")
        self._scratch = arrays.get("scratch", self.z[:0])
        for layer in self.between:
            layer.reserve(rows)

    def forward(self, x: Array, rng: np.random.Generator) -> Array:
        """The training forward pass; x (rows, n_in) of the rows that `resize` was told."""
        z = self.dense.forward(x, self._training_weights(), out=self._dense_out)
        for layer in self.between:
            z = layer.forward(z)
        self.z = z
        self._activate(z, self.raw, **self._params)
        if self.mask is None:
            return self.raw
        rng.random(out=self.mask, dtype=self.mask.dtype.type)
        np.greater_equal(self.mask, self.dropout_rate, out=self.mask)
        np.multiply(self.mask, self._keep, out=self.mask)
        return np.multiply(self.raw, self.mask, out=self.a)

    def infer(self, x: Array, weights: Array, bias: Array) -> Array:
        """A forward pass with other weights and without dropout, on the same arrays; x of the rows as told."""
        self.z = self.dense.forward(x, weights, bias, out=self._dense_out)
        return self._activate(self.z, self.raw, **self._params)

    def backward_activation(self) -> None:
        """Turn `grad` from dL/da into dL/dz, in place."""
        if self.mask is not None:
            np.multiply(self.grad, self.mask, out=self.grad)
        self._derivative.backward(self.grad, self.z, self.raw, self._scratch, **self._params)

    def backward_affine(self, out: Array | None) -> None:
        """From dL/dz in `grad`: fill the parameters' gradients, and write dL/dx into `out` unless it is None."""
        for layer in reversed(self.between):
            layer.backward(self.grad)
        self.dense.backward(self.grad, self._lowered, out=out, needs_input_gradient=out is not None)

    def _training_weights(self) -> Array | None:
        """The rounded weights of `precision_mode`, or None for the layer's own."""
        if self._lowered is not None:
            lower_weights(self.dense.weights, self.precision_mode, self.clip_value, out=self._lowered)
        return self._lowered

    def folded(self) -> tuple[Array, Array]:
        """Weights and bias of one dense layer that does what `dense` and the layers between do, outside of training."""
        weights, bias = self.dense.weights, self.dense.bias
        for layer in self.between:
            weights, bias = layer.fold(weights, bias)
        return weights, bias
