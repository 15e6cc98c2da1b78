"""Whose memory an array is a view of, and whether anybody can write to it."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray


class FileMap(mmap.mmap):
    """A read-only map that `load(mmap=True)` makes of an artifact. Of somebody else's file another map may be writable.

    Whoever asks for it knows that the file must stay as it is.
    """

    def __new__(cls, fileno: int) -> Self:
        """Of the whole file, which must not be empty. Raises OSError, ValueError."""
        return super().__new__(cls, fileno, 0, access=mmap.ACCESS_READ)


def owner_of(array: NDArray[Any]) -> tuple[Any, int]:
    """The object that owns an array's memory, and its size in bytes; of another library's, what the array sees."""
    owner: Any = array
    outermost = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        outermost, owner = owner, owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if isinstance(owner, np.ndarray):
        return owner, owner.nbytes
    return owner, len(owner) if isinstance(owner, (bytes, bytearray, mmap.mmap)) else outermost.nbytes


def is_frozen(array: NDArray[Any]) -> bool:
    """Whether nobody in this process can change the array: it is a view of `bytes`, or of a `FileMap`.

    That it is read-only itself does not say so: what it is a view of may be writable, and so may another view of it, or
    another map of the same file.
    """
    owner, _nbytes = owner_of(array)
    return type(owner) in (bytes, FileMap)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """`array` itself where it is frozen, C-ordered and native; else a copy that is."""
    native = array.dtype.newbyteorder("=")
    if is_frozen(array) and array.flags.c_contiguous and array.dtype.isnative:
        return array
    return np.frombuffer(array.astype(native, copy=False).tobytes(), native).reshape(array.shape)
