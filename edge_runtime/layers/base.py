"""What every layer has: checked arrays, a name, widths, and copies that are made as it was itself."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.arguments import MODEL_CHECKS
from edge_runtime.errors import InputError, ModelError
from edge_runtime.files import shortened
from edge_runtime.numerics import CHUNK, Activation, as_array, frozen

if TYPE_CHECKING:
    from edge_runtime.array_types import Array


def checked_array(array: Any, what: str, dtypes: tuple[type, ...], shape: tuple[int, ...] | None = None) -> Array:
    """`array` as a C-ordered array that nobody can write to, once its dtype, shape and finiteness have been checked.

    It is copied unless it is a view of `bytes` or of a map that `load` made, as the arrays of an artifact are.
    """
    try:
        array = as_array(array, what)
    except InputError as error:
        raise ModelError(str(error)) from None
    if array.dtype not in [np.dtype(t) for t in dtypes]:
        expected = " or ".join(np.dtype(t).name for t in dtypes)
        raise ModelError(f"{what} has dtype {array.dtype}, expected {expected}")
    if shape is not None and array.shape != shape:
        raise ModelError(f"{what} has shape {array.shape}, expected {shape}")
    if array.dtype.kind == "f" and (bad := count_nonfinite(array)):
        raise ModelError(f"{what} holds {bad} values that are NaN or inf")
    return frozen(array)


def count_nonfinite(array: Array) -> int:
    """How many values are NaN or inf, counted in parts, so that the check needs little memory."""
    flat = array.reshape(-1)
    return sum(int(np.count_nonzero(~np.isfinite(flat[start : start + CHUNK]))) for start in range(0, flat.size, CHUNK))


def check_name(name: Any) -> None:
    """Raise ModelError for a layer's name that is no text."""
    if not isinstance(name, str):
        raise MODEL_CHECKS.refusal("a layer's name", name, "Unicode text")


class Remade:
    """A dataclass whose copies and pickles are made as it was itself: checked, and of read-only arrays."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


class NamedLayer(Remade):
    """A name for people, two widths and an activation: no array is printed."""

    name: str
    activation: Activation

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({shortened(self.name, 60)!r}, {self.n_in} -> {self.n_out}, {self.activation.name})"
        )

    @property
    def n_in(self) -> int:
        """Width of the rows it takes."""
        raise NotImplementedError

    @property
    def n_out(self) -> int:
        """Width of the rows it gives."""
        raise NotImplementedError
