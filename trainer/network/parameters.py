"""All parameters of a network in one buffer, so that an optimizer updates them with one NumPy call each step."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from trainer.arrays import aligned_empty
from trainer.layers import Layer


class FlatParameters:
    """Three buffers: the parameters, their gradients, and state that is stored but not trained.

    The layers' arrays become views of them, in a copy too: it is made as the original was, of the copied layers.
    `decayed` is how many entries, at the start, the L2 penalty falls on.
    """

    def __init__(self, layers: Sequence[Layer], dtype: np.dtype[Any]) -> None:
        self._made_of = (layers, dtype)
        trained = [(layer, name) for layer in layers for name in layer.PARAMETERS]
        trained.sort(key=lambda item: item[1] not in item[0].DECAYED)  # stable: decayed first, else in layer order
        self.decayed = sum(getattr(layer, name).size for layer, name in trained if name in layer.DECAYED)
        self.values = _bind_all([(layer, name) for layer, name in trained], dtype)
        self.gradients = _bind_all([(layer, f"grad_{name}") for layer, name in trained], dtype)
        self.state = _bind_all([(layer, name) for layer in layers for name in layer.STATE], dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_of

    def __copy__(self) -> FlatParameters:
        """With layers of its own: they can be views of one buffer only, and the original keeps its."""
        return copy.deepcopy(self)

    def snapshot(self) -> tuple[Array, Array]:
        """Copies of parameters and state."""
        return self.values.copy(), self.state.copy()

    def restore(self, snapshot: tuple[Array, Array]) -> None:
        """Put a snapshot's values back."""
        np.copyto(self.values, snapshot[0])
        np.copyto(self.state, snapshot[1])


def _bind_all(items: list[tuple[Layer, str]], dtype: np.dtype[Any]) -> Array:
    buffer = aligned_empty(sum(getattr(layer, name).size for layer, name in items), dtype)
    start = 0
    for layer, name in items:
        array = getattr(layer, name)
        layer.bind(name, buffer[start : start + array.size].reshape(array.shape))
        start += array.size
    return buffer
