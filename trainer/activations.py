"""Activation functions with their derivatives. The forward maths is that of `edge_runtime.numerics.activations`.

Each derivative is written in terms of what a forward pass already has: the pre-activation z or the activation a.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.numerics import Activation, leaky_relu, linear, relu, sigmoid, softmax, tanh

__all__ = [
    "DERIVATIVES",
    "Activation",
    "Derivative",
    "leaky_relu",
    "leaky_relu_derivative_from_pre_activation",
    "linear",
    "linear_derivative_from_pre_activation",
    "relu",
    "relu_derivative_from_pre_activation",
    "sigmoid",
    "sigmoid_derivative_from_activation",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_derivative_from_activation",
]


def linear_derivative_from_pre_activation(z: Array) -> Array:
    """dy/dz of y = z: ones of z's shape and dtype."""
    return np.ones_like(z)


def relu_derivative_from_pre_activation(z: Array) -> Array:
    """dy/dz of y = max(z, 0): 1 where z > 0, else 0 (0 at the kink), of z's shape and dtype."""
    return (z > 0).astype(z.dtype)


def leaky_relu_derivative_from_pre_activation(z: Array, alpha: float = 0.01) -> Array:
    """dy/dz of y = z where z >= 0, else alpha * z: 1 or alpha, of z's shape and dtype."""
    return np.where(z >= 0, z.dtype.type(1), z.dtype.type(alpha))


def sigmoid_derivative_from_activation(a: Array) -> Array:
    """dy/dz of a = sigmoid(z): a * (1 - a), of a's shape and dtype."""
    return a * (a.dtype.type(1) - a)


def tanh_derivative_from_activation(a: Array) -> Array:
    """dy/dz of a = tanh(z): 1 - a**2, of a's shape and dtype."""
    return a.dtype.type(1) - a * a


def softmax_backward(a: Array, grad_a: Array) -> Array:
    """The gradient by z of a = softmax(z), rows along the last axis: a * (grad_a - sum(grad_a * a))."""
    return a * (grad_a - (grad_a * a).sum(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Derivative:
    """How an activation passes a gradient back, in place.

    backward(grad, z, a, scratch, **params) turns grad (dL/da) into dL/dz. z, a, grad: (rows, n). scratch: an array of
    z's shape to write into, of dtype bool ("bool"), z's dtype ("same"), or an empty one where `scratch` is None.
    """

    backward: Callable[..., Any]
    scratch: str | None


def _linear_backward(grad: Array, z: Array, a: Array, scratch: Array) -> None:
    pass


def _relu_backward(grad: Array, z: Array, a: Array, scratch: Array) -> None:
    np.greater(z, z.dtype.type(0), out=scratch)
    np.multiply(grad, scratch, out=grad)


def _leaky_relu_backward(grad: Array, z: Array, a: Array, scratch: Array, *, alpha: float) -> None:
    np.less(z, z.dtype.type(0), out=scratch)
    np.multiply(grad, grad.dtype.type(alpha), out=grad, where=scratch)


def _sigmoid_backward(grad: Array, z: Array, a: Array, scratch: Array) -> None:
    np.subtract(a.dtype.type(1), a, out=scratch)
    np.multiply(scratch, a, out=scratch)
    np.multiply(grad, scratch, out=grad)


def _tanh_backward(grad: Array, z: Array, a: Array, scratch: Array) -> None:
    np.multiply(a, a, out=scratch)
    np.subtract(a.dtype.type(1), scratch, out=scratch)
    np.multiply(grad, scratch, out=grad)


def _softmax_backward(grad: Array, z: Array, a: Array, scratch: Array) -> None:
    np.multiply(grad, a, out=scratch)
    np.subtract(grad, scratch.sum(axis=-1, keepdims=True), out=grad)
    np.multiply(grad, a, out=grad)


DERIVATIVES: dict[str, Derivative] = {
    "linear": Derivative(_linear_backward, None),
    "relu": Derivative(_relu_backward, "bool"),
    "leaky_relu": Derivative(_leaky_relu_backward, "bool"),
    "sigmoid": Derivative(_sigmoid_backward, "same"),
    "tanh": Derivative(_tanh_backward, "same"),
    "softmax": Derivative(_softmax_backward, "same"),
}
