"""What a run consists of, whatever computes it: calls that are bound to their buffers once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NumpyCall = Callable[[], Any]


class Program(NamedTuple):
    """enter: takes the user's rows in, float32 (rows, n_in) or (n_in,). steps: the rest. result: where the outputs are.

    any_layout: whether `enter` takes rows of any strides; a product does not, of which BLAS would make a copy beside
    the plan. source: a buffer of the rows' shape, to convert other dtypes and layouts in before `enter`.
    """

    source: NDArray[np.float32]
    enter: Callable[[NDArray[np.float32]], Any]
    any_layout: bool
    steps: tuple[NumpyCall, ...]
    result: NDArray[np.float32]
