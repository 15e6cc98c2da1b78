"""The matrix product of a layer: target = source @ weight + bias, in the way that BLAS computes fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.engine.buffers import Buffers, Constants
from edge_runtime.engine.calls import NumpyCall
from edge_runtime.engine.numpy_internals import has_avx512
from edge_runtime.numerics import Nibbles, unpack_rows

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

# OpenBLAS computes a product of at most this many multiplications without repacking its matrices first, on processors
# with AVX-512 (its sgemm_small_kernel_permit). For a few rows the repacking takes longer than the product.
UNPACKED_MULTIPLICATIONS = 1_000_000
FEW_ROWS = 64  # above that a product is large enough to pay for the repacking
LEAST_ROWS_AT_ONCE = 8


def product_steps(constants: Constants, buffers: Buffers) -> list[NumpyCall]:
    """target = source @ weight + bias. float64 accumulators round to float32 once, as an integer's conversion does."""
    if buffers.wide_source is None or buffers.wide_target is None:
        return _steps(constants, buffers.source, buffers.target, buffers)
    return [
        partial(np.copyto, buffers.wide_source, buffers.source),
        *_steps(constants, buffers.wide_source, buffers.wide_target, buffers),
        partial(np.copyto, buffers.target, buffers.wide_target),
    ]


def bias_steps(constants: Constants, buffers: Buffers) -> list[NumpyCall]:
    """target = target + bias, for a target that holds the product alone."""
    assert constants.bias is not None
    return [partial(np.add, buffers.target, buffers.per_output(constants.bias), buffers.target)]


def product_of_rows(weight: Array, target: Array, rows: int | None, *, by_rows: bool) -> Callable[[Array], Any]:
    """The call that multiplies the user's own float32 rows, (rows, n_in), or (n_in,) where `rows` is None."""
    if rows is None:
        return lambda x: x.dot(weight, target)
    n_in, n_out = weight.shape
    parts = list(row_slices(rows, n_in, n_out))
    if by_rows:
        targets = [(part, target[part]) for part in parts]
        if len(parts) == 1:
            return lambda x: x.dot(weight, target)
        return lambda x: [x[part].dot(weight, y) for part, y in targets]
    turned = weight.T
    if len(parts) == 1:
        return lambda x: turned.dot(x.T, target)
    targets = [(part, target[:, part]) for part in parts]
    return lambda x: [np.matmul(turned, x[part].T, y) for part, y in targets]


def row_slices(rows: int, n_in: int, n_out: int) -> Iterator[slice]:
    """The rows to multiply at a time: all, or so few that BLAS does not repack."""
    at_once, multiplications = rows, n_in * n_out
    if rows <= FEW_ROWS and rows * multiplications > UNPACKED_MULTIPLICATIONS and has_avx512():
        while at_once * multiplications > UNPACKED_MULTIPLICATIONS and at_once > 1:
            at_once //= 2
        at_once = at_once if at_once >= LEAST_ROWS_AT_ONCE else rows
    for start in range(0, rows, at_once):
        yield slice(start, min(start + at_once, rows))


def _steps(constants: Constants, source: Array, target: Array, buffers: Buffers) -> list[NumpyCall]:
    if constants.stacked is not None and buffers.source_and_one is not None:
        return _multiply(buffers.source_and_one, constants.stacked, target, buffers.by_rows)
    bias = [] if constants.bias is None else [partial(np.add, target, buffers.per_output(constants.bias), target)]
    return [*_tiled(constants, source, target, buffers), *bias]


def _tiled(constants: Constants, source: Array, target: Array, buffers: Buffers) -> list[NumpyCall]:
    """The product; for a lean layer from weights that are widened first, at once or tile by tile."""
    weight, tile_rows = constants.weight, constants.tile_rows
    if not tile_rows and not isinstance(weight, Nibbles):
        return _multiply(source, weight, target, buffers.by_rows)
    assert buffers.tile is not None
    if tile_rows < len(source):
        return [partial(_run_tiles, constants, source, target, buffers)]
    tile = buffers.tile.reshape(tile_rows, -1)
    return [partial(_widen, tile, weight, 0, buffers.nibbles), *_multiply(source, tile, target, buffers.by_rows)]


def _run_tiles(constants: Constants, source: Array, target: Array, buffers: Buffers) -> None:
    """Widen some rows of the weights, multiply, add up.

    The calls are made anew at each run: bound once they would take a kilobyte a tile, more than small tiles save.
    """
    tile_rows = constants.tile_rows
    assert buffers.tile is not None
    assert buffers.partial is not None
    whole = buffers.tile.reshape(tile_rows, -1)
    for start in range(0, len(source), tile_rows):
        tile = whole[: len(source) - start]
        _widen(tile, constants.weight, start, buffers.nibbles)
        product = buffers.partial if start else target
        for step in _multiply(source[start : start + tile_rows], tile, product, buffers.by_rows):
            step()
        if start:
            np.add(target, product, target)


def _widen(tile: Array, weight: Array | Nibbles, start: int, nibbles: Array | None) -> None:
    """Write the weights from row `start` on to a tile; of 4-bit weights, from an even row on."""
    if isinstance(weight, Nibbles):
        assert nibbles is not None
        packed = weight.packed[start // 2 : (start + len(tile) + 1) // 2]
        unpack_rows(tile, packed, nibbles[: packed.size].reshape(packed.shape))
    else:
        np.copyto(tile, weight[start : start + len(tile)])


def _multiply(source: Array, weight: Array, target: Array, by_rows: bool) -> list[NumpyCall]:
    """target = weight^T source, in the orientation of the target; BLAS takes transposed views as they are.

    The method `dot` is a tenth of a microsecond quicker than `np.dot`, but its target must be contiguous.
    """
    if source.ndim == 1:
        return [partial(source.dot, weight, target)]
    parts = list(row_slices(source.shape[1], *weight.shape))
    if by_rows:
        pairs = [(source.T[part], target[part]) for part in parts]
        # of some columns, as tiles take them, `dot` would make a copy first, which nobody has planned
        return [
            partial(x.dot, weight, y) if x.flags.c_contiguous else partial(np.matmul, x, weight, y) for x, y in pairs
        ]
    if len(parts) == 1:
        return [partial(weight.T.dot, source, target)]
    return [partial(np.matmul, weight.T, source[:, part], target[:, part]) for part in parts]
