"""How many bytes a model holds, and how many of them are mapped from its file."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_runtime.model import Model
from edge_runtime.numerics import owner_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Held(NamedTuple):
    """allocated: bytes in this process's memory. mapped: bytes of files that the arrays are views of."""

    allocated: int
    mapped: int


def held_bytes(model: Model) -> Held:
    """The bytes behind all arrays of a model, each buffer counted once: a file that was read whole counts whole."""
    allocated: dict[int, int] = {}
    mapped: dict[int, int] = {}
    for array in _arrays(model):
        owner, nbytes = owner_of(array)
        (mapped if isinstance(owner, mmap.mmap) else allocated)[id(owner)] = nbytes
    return Held(sum(allocated.values()), sum(mapped.values()))


def _arrays(model: Model) -> list[NDArray[Any]]:
    arrays = [array for layer in model.layers for array in layer.arrays().values()]
    if model.preprocessing is not None:
        arrays += [model.preprocessing.mean, model.preprocessing.inv_std]
    if model.test_vectors is not None:
        arrays += [model.test_vectors.inputs, model.test_vectors.outputs]
    return arrays
