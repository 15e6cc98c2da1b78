"""What arrays are called in annotations. `numpy.typing` is not imported for it where the code runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
Tensors: TypeAlias = "dict[str, NDArray[Any]]"  # by name
