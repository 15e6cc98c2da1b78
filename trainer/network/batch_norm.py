"""Batch normalization (Ioffe and Szegedy 2015): each feature to mean 0 and variance 1 over the batch, then scaled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from edge_runtime.array_types import Array
from trainer.layers import BetweenLayer, Parameter


class BatchNorm(BetweenLayer):
    """y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, all (width,).

    Training takes mean and (biased) variance from the batch and moves the running ones by `MOMENTUM`, with the unbiased
    variance, as PyTorch does. `fold` uses the running ones. A batch of one row has no variance: it leaves them alone.
    """

    PARAMETERS = ("gamma", "beta")
    STATE = ("running_mean", "running_var")
    MOMENTUM = 0.1
    EPSILON = 1e-5
    gamma = Parameter()
    beta = Parameter()
    running_mean = Parameter()
    running_var = Parameter()

    def __init__(self, width: int, dtype: DTypeLike = np.float32) -> None:
        super().__init__(width, dtype)
        self.gamma, self.beta = np.ones(width, dtype), np.zeros(width, dtype)
        self.running_mean, self.running_var = np.zeros(width, dtype), np.full(width, 1 - self.EPSILON, dtype)
        self.grad_gamma, self.grad_beta = np.zeros(width, dtype), np.zeros(width, dtype)
        self._full = (np.empty((0, width), dtype), np.empty((0, width), dtype))

    def __getstate__(self) -> dict[str, Any]:
        """What a copy keeps: the parameters, and nothing of the last batch, which joblib would map read-only."""
        kept = {name: value for name, value in vars(self).items() if name not in ("_normalized", "_inv_std")}
        return {**kept, "_full": tuple(array[:0].copy() for array in self._full)}

    def reset(self, rng: np.random.Generator) -> None:
        """Scale 1, shift 0, running mean 0 and a variance of 1 with epsilon, so that `fold` changes nothing."""
        self.gamma, self.beta = np.ones_like(self.gamma), np.zeros_like(self.beta)
        self.running_mean = np.zeros_like(self.running_mean)
        self.running_var = np.full_like(self.running_var, 1 - self.EPSILON)

    def scratch_bytes(self, rows: int) -> int:
        """Two arrays (rows, width)."""
        return 2 * rows * self.n_in * self.gamma.itemsize

    def reserve(self, rows: int) -> None:
        """Make them, where they were shorter."""
        if rows > len(self._full[0]):
            self._full = (np.empty((rows, self.n_in), self.gamma.dtype), np.empty((rows, self.n_in), self.gamma.dtype))

    def forward(self, x: Array) -> Array:
        """Normalize x (rows, width) by its own mean and variance. The result lives until the next pass."""
        rows = len(x)
        self.reserve(rows)
        self._normalized, result = self._full[0][:rows], self._full[1][:rows]
        mean = x.mean(axis=0)
        np.subtract(x, mean, out=self._normalized)
        np.multiply(self._normalized, self._normalized, out=result)
        variance = result.mean(axis=0)
        self._inv_std = 1 / np.sqrt(variance + x.dtype.type(self.EPSILON))
        np.multiply(self._normalized, self._inv_std, out=self._normalized)
        if rows > 1:
            keep = x.dtype.type(1 - self.MOMENTUM)
            self.running_mean = self.running_mean * keep + mean * x.dtype.type(self.MOMENTUM)
            self.running_var = self.running_var * keep + variance * x.dtype.type(self.MOMENTUM * rows / (rows - 1))
        np.multiply(self._normalized, self.gamma, out=result)
        return np.add(result, self.beta, out=result)

    def backward(self, grad: Array) -> Array:
        """dL/dx in place of dL/dy: inv_std * gamma * (g - mean(g) - x_hat * mean(g * x_hat)); fills the gradients."""
        scratch = self._full[1][: len(grad)]  # the forward pass's result, which nothing needs any more
        np.multiply(grad, self._normalized, out=scratch)
        np.add.reduce(scratch, axis=0, out=self.grad_gamma)
        np.add.reduce(grad, axis=0, out=self.grad_beta)
        inverse = grad.dtype.type(1 / len(grad))
        np.multiply(self._normalized, self.grad_gamma * inverse, out=scratch)
        np.subtract(grad, self.grad_beta * inverse, out=grad)
        np.subtract(grad, scratch, out=grad)
        return np.multiply(grad, self.gamma * self._inv_std, out=grad)

    def fold(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        """Scale each output's weights by gamma / sqrt(running_var + epsilon) and move its bias, in float64."""
        scale = self.gamma / np.sqrt(self.running_var.astype(np.float64) + self.EPSILON)
        folded = (bias - self.running_mean.astype(np.float64)) * scale + self.beta
        scaled = np.multiply(weights, scale, out=np.empty_like(weights), casting="same_kind")
        return scaled, folded.astype(bias.dtype)
