"""The name for an array of any shape and dtype, for annotations alone: `numpy.typing` is not imported where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
