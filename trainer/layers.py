"""What a layer is, and the dense layer. The types that can stand between dense layers are listed in layer_types.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, overload

import numpy as np
from numpy.typing import DTypeLike

from edge_runtime.array_types import Array
from edge_runtime.numerics import as_numbers
from trainer.arrays import matmul
from trainer.config import CHECKS, DEFAULT_CONFIG
from trainer.errors import ConfigurationError


class Parameter:
    """An array of a layer. Assigning copies the values into place, so that the optimizer's view of them stays valid.

    Raises InputError for anything but real numbers, masked values too, ConfigurationError for another shape.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.slot = f"_{name}"

    @overload
    def __get__(self, layer: None, owner: type) -> Parameter: ...
    @overload
    def __get__(self, layer: Any, owner: type) -> Array: ...
    def __get__(self, layer: Any, owner: type) -> Any:
        return self if layer is None else getattr(layer, self.slot)

    def __set__(self, layer: Any, value: Any) -> None:
        current = getattr(layer, self.slot, None)
        if current is None:
            setattr(layer, self.slot, value)
            return
        values = as_numbers(value, self.slot[1:])
        if values.shape != current.shape:
            raise ConfigurationError(f"{self.slot[1:]} has shape {values.shape}, expected {current.shape}")
        np.copyto(current, values, casting="same_kind")


class Layer:
    """A differentiable step with trained parameters, (rows, n_in) to (rows, n_out).

    PARAMETERS names the trained arrays (each has a gradient in `grad_<name>`), DECAYED those of them that the L2
    penalty falls on, STATE the arrays that are kept and stored but not trained. `bind` moves an array into a shared
    buffer.
    """

    PARAMETERS: ClassVar[tuple[str, ...]] = ()
    DECAYED: ClassVar[tuple[str, ...]] = ()
    STATE: ClassVar[tuple[str, ...]] = ()
    n_in: int
    n_out: int

    def bind(self, name: str, view: Array) -> None:
        """Move the parameter, gradient or state `name` into `view`, an array of the same shape."""
        slot = f"_{name}" if isinstance(getattr(type(self), name, None), Parameter) else name
        np.copyto(view, getattr(self, slot), casting="same_kind")
        setattr(self, slot, view)

    def scratch_bytes(self, rows: int) -> int:
        """Bytes of the scratch arrays that batches of `rows` need."""
        return 0

    def reserve(self, rows: int) -> None:
        """Make those scratch arrays, where they were shorter."""

    def reset(self, rng: np.random.Generator) -> None:
        """Draw the parameters anew."""


class BetweenLayer(Layer):
    """A layer that stands between a dense layer and its activation, and can be folded into that dense layer.

    Made with (width, dtype). forward and backward are those of training; outside of it, the folded weights are used.
    """

    def __init__(self, width: int, dtype: DTypeLike = np.float32) -> None:
        self.n_in = self.n_out = width

    def forward(self, x: Array) -> Array:
        """x (rows, width) to (rows, width); keeps what backward needs."""
        raise NotImplementedError

    def backward(self, grad: Array) -> Array:
        """dL/dy to dL/dx, in place; fills the gradients of the parameters."""
        raise NotImplementedError

    def fold(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        """New weights (n_in, width) and bias (width,) of a dense layer that does what it and this one do."""
        raise NotImplementedError


def custom_uniform(
    n_in: int, n_out: int, rng: np.random.Generator | None = None, dtype: DTypeLike = np.float32
) -> Array:
    """Xavier uniform weights (n_in, n_out): U(-l, l) with l = sqrt(6 / (n_in + n_out)) (Glorot and Bengio 2010).

    rng: where the numbers are drawn from; None is a new generator with the default seed, so that a call repeats itself.
    """
    return _uniform(float(np.sqrt(6.0 / (n_in + n_out))), n_in, n_out, rng, dtype)


def he_uniform(n_in: int, n_out: int, rng: np.random.Generator | None = None, dtype: DTypeLike = np.float32) -> Array:
    """He uniform weights (n_in, n_out): U(-l, l) with l = sqrt(6 / n_in) (He et al. 2015).

    rng: as in `custom_uniform`. Not the default for ReLU layers: on the digits, with three sizes, two optimizers and
    twelve seeds each, Xavier was as good.
    """
    return _uniform(float(np.sqrt(6.0 / n_in)), n_in, n_out, rng, dtype)


def _uniform(limit: float, n_in: int, n_out: int, rng: np.random.Generator | None, dtype: DTypeLike) -> Array:
    rng = np.random.Generator(np.random.PCG64(DEFAULT_CONFIG.seed)) if rng is None else rng
    kind: Any = np.dtype(dtype).type
    weights: Array = rng.random((n_in, n_out), kind)
    weights *= kind(2 * limit)  # in place, so that making a network needs no more memory than having it
    weights -= kind(limit)
    return weights


INITIALIZERS: dict[str, Callable[..., Array]] = {"xavier": custom_uniform, "he": he_uniform}


class DenseLayer(Layer):
    """y = x @ weights + bias, with weights (n_in, n_out) and bias (n_out,), both of `dtype`.

    rng: the generator of the initial weights (see `custom_uniform`); biases start at 0. init: "xavier" or "he".
    `input_cache` and `z_cache` are the last forward pass's input and result; `grad_weights` and `grad_bias` the last
    backward pass's gradients.
    """

    PARAMETERS: ClassVar[tuple[str, ...]] = ("weights", "bias")
    DECAYED = ("weights",)
    weights = Parameter()
    bias = Parameter()
    _weights: Array
    _bias: Array

    def __init__(
        self,
        n_in: int,
        n_out: int,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
        init: str = "xavier",
    ) -> None:
        CHECKS.choice("init", init, INITIALIZERS)
        self.n_in, self.n_out, self.init = n_in, n_out, init
        self.weights = INITIALIZERS[init](n_in, n_out, rng, dtype)
        self.bias = np.zeros(n_out, dtype)
        self.grad_weights = np.zeros_like(self.weights)
        self.grad_bias = np.zeros_like(self.bias)
        self._all_ones = np.ones(1, dtype)
        self.input_cache: Array | None = None
        self.z_cache: Array | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy keeps: the parameters, and nothing of the last batch."""
        return {**vars(self), "_all_ones": self._all_ones[:1].copy(), "input_cache": None, "z_cache": None}

    def reset(self, rng: np.random.Generator) -> None:
        """Draw the weights anew and set the bias to 0."""
        self.weights = INITIALIZERS[self.init](self.n_in, self.n_out, rng, self.weights.dtype)
        self.bias = np.zeros_like(self.bias)

    def forward(
        self, x: Array, weights: Array | None = None, bias: Array | None = None, *, out: Array | None = None
    ) -> Array:
        """x @ weights + bias, (rows, n_out). Other weights or another bias take the place of its own for this pass.

        x: (rows, n_in), of the layer's dtype. out: an array to write the result into.
        """
        z = matmul(x, self._weights if weights is None else weights, out)
        np.add(z, self._bias if bias is None else bias, out=z)
        self.input_cache, self.z_cache = x, z
        return z

    def backward(
        self,
        grad_z: Array,
        weights: Array | None = None,
        *,
        out: Array | None = None,
        needs_input_gradient: bool = True,
    ) -> Array | None:
        """Fill `grad_weights` and `grad_bias` from dL/dz (rows, n_out); return dL/dx (rows, n_in), None if not needed.

        weights: those that the forward pass used, where they were not its own.
        """
        if self.input_cache is None:
            raise ConfigurationError("backward needs a forward pass before it; call forward first")
        matmul(self.input_cache.T, grad_z, self.grad_weights)
        np.dot(self._ones(len(grad_z)), grad_z, out=self.grad_bias)  # sums each column, faster than a sum does
        if not needs_input_gradient:
            return None
        return np.matmul(grad_z, (self._weights if weights is None else weights).T, out=out)

    def _ones(self, rows: int) -> Array:
        if rows > len(self._all_ones):
            self._all_ones = np.ones(rows, self._all_ones.dtype)
        return self._all_ones[:rows]
