"""One block of memory for all activations and scratch, and typed views into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edge_runtime.files import ALIGNMENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

ONES = "_ones"  # a region "x_ones" lies right before the region "x" and holds ones, of which a bias is a multiple


class Region(NamedTuple):
    """A part of the arena: where it starts, and its length in bytes."""

    name: str
    offset: int
    nbytes: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.nbytes


def lay_out(sizes: dict[str, int]) -> dict[str, Region]:
    """Regions of these sizes (bytes) one after the other, each aligned; empty ones take no room."""
    regions, offset = {}, 0
    for name, nbytes in sizes.items():
        regions[name] = Region(name, offset, nbytes)
        offset += -(-nbytes // ALIGNMENT) * ALIGNMENT
    return regions


class Arena:
    """The allocated block. Its views overlap where regions are reused: what is live when is the planner's business."""

    def __init__(self, regions: dict[str, Region], nbytes: int) -> None:
        self.regions = regions
        try:
            self._memory = np.empty(nbytes, np.uint8)
        except ValueError as error:  # more than an index can count
            raise MemoryError(f"an arena of {nbytes:,} bytes") from error
        for name, region in regions.items():
            if name.endswith(ONES):
                self._memory[region.offset : region.end].view(np.float32)[...] = 1.0

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        return int(self._memory.nbytes)

    def view(self, region: str, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        """The start of a region as an array."""
        place = self.regions[region]
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if count > place.nbytes:
            raise AssertionError(f"region '{region}' has {place.nbytes} bytes, a view of {shape} takes {count}")
        return self._memory[place.offset : place.offset + count].view(dtype).reshape(shape)

    def view_with_one(self, region: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The start of a region as (n, rows) or (n,) with a one in front of each column: (1 + n, rows) or (1 + n,)."""
        place, ones = self.regions[region], int(np.prod(shape[1:]))
        start = place.offset - ones * np.dtype(np.float32).itemsize
        stop = place.offset + ones * shape[0] * np.dtype(np.float32).itemsize
        return self._memory[start:stop].view(np.float32).reshape((1 + shape[0], *shape[1:]))
