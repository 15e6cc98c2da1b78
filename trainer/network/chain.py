"""The blocks of a network in a row: the training passes forward and backward over one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from trainer.losses import Loss
from trainer.network.block import Block


class LayerChain:
    """Runs blocks on arrays that they keep; everything here works on standardized rows of the training dtype."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = tuple(blocks)
        self.rows = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.blocks,)

    def resize(self, rows: int) -> None:
        """Prepare for batches of `rows`; arrays are only made when there were never that many before."""
        if rows != self.rows:
            for block in self.blocks:
                block.resize(rows)
            self.rows = rows

    def forward(self, x: Array, rng: np.random.Generator) -> Array:
        """The training forward pass: x (rows, n_in) to the last block's outputs, which live until the next pass."""
        for block in self.blocks:
            x = block.forward(x, rng)
        return x

    def infer(self, x: Array, folded: Sequence[tuple[Array, Array]]) -> Array:
        """A forward pass with the given weights and biases, without dropout, on the training arrays."""
        for block, (weights, bias) in zip(self.blocks, folded, strict=True):
            x = block.infer(x, weights, bias)
        return x

    def backward(self, loss: Loss, targets: Array, weight: Array | None, scale: float) -> None:
        """From the last forward pass's outputs to all gradients, of `scale` times the sum over the rows' losses."""
        self._start_backward(loss, targets, weight, scale)
        for position in range(len(self.blocks) - 1, -1, -1):
            self._backward_block(position)

    def _backward_block(self, position: int) -> None:
        block = self.blocks[position]
        if position == 0:
            block.backward_affine(None)
        else:
            before = self.blocks[position - 1]
            block.backward_affine(before.grad)
            before.backward_activation()

    def _start_backward(self, loss: Loss, targets: Array, weight: Array | None, scale: float) -> None:
        last = self.blocks[-1]
        loss.gradient(last.a, targets, last.grad)
        if weight is not None:
            np.multiply(last.grad, weight, out=last.grad)
        np.multiply(last.grad, last.grad.dtype.type(scale), out=last.grad)
        if loss.fused_with is None:
            last.backward_activation()

    def first_not_finite(self) -> str | None:
        """The first place, in the order of a forward pass, that holds NaN or inf; None where all is finite."""
        for position, block in enumerate(self.blocks):
            for name, array in (("weights", block.dense.weights), ("bias", block.dense.bias), ("outputs", block.z)):
                if not np.isfinite(array).all():
                    return f"the {name} of layer 'dense{position}'"
        return None
