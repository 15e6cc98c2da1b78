"""Layers as the kernels take them: their arrays packed once, their numbers as a C structure, one call a run."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.layers import Dense, Int4Dense, Layer, LayerNorm, QuantizedDense, Stage
from edge_runtime.model import Standardization
from edge_runtime.native.library import Library
from edge_runtime.native.structures import LayerFields, ProgramFields
from edge_runtime.numerics import QMAX, QMIN, Nibbles, flush

if TYPE_CHECKING:
    from edge_runtime.array_types import Array

_ACTIVATIONS = ("linear", "relu", "leaky_relu", "sigmoid", "softmax")  # in the order of kernels.c
_DENSE, _INT8_DENSE, _ELEMENTWISE, _LAYER_NORM = range(4)
_LINE = 64  # bytes: arrays and rows begin where a cache line does
_BUFFERS = 3


def native_activation(layer: Layer) -> bool:
    """Whether the kernels compute a layer's activation; a table is one."""
    is_grid = isinstance(layer, QuantizedDense) and layer.output is not None
    return is_grid or layer.activation.name in _ACTIVATIONS


def native_bytes(library: Library, layer: Layer) -> int:
    """Bytes that a layer's packed arrays take."""
    return sum(_in_lines(size) for size in _sizes(library, layer))


def row_bytes(library: Library, layers: Sequence[Layer]) -> int:
    """Bytes of a row of the widest of the kernels' buffers."""
    widest = max(width for layer in layers for width in (layer.n_in, layer.n_out))
    return _in_lines((widest + library.lanes) * np.dtype(np.float32).itemsize)


def buffer_bytes(library: Library, layers: Sequence[Layer]) -> int:
    """Bytes of the kernels' buffers, whatever the number of rows."""
    return _BUFFERS * library.block * row_bytes(library, layers)


class Network:
    """Layers whose arrays are packed. The first takes float32 rows, and the last gives them.

    preprocessing: of the rows, or None. memory: uint8, of `native_bytes` of all layers, to pack into.
    """

    def __init__(
        self, library: Library, layers: Sequence[Layer], preprocessing: Standardization | None, memory: Array
    ) -> None:
        self._library, self._layers, self._preprocessing = library, layers, preprocessing
        self._memory = memory
        self._fields = (LayerFields * len(layers))()
        start, on_grid = 0, False
        for layer, fields in zip(layers, self._fields, strict=True):
            parts = []
            for size in _sizes(library, layer):
                parts.append(memory[start : start + size])
                start += _in_lines(size)
            _pack(library, layer, parts)
            _fill(fields, layer, [part.ctypes.data for part in parts], on_grid=on_grid)
            on_grid = bool(fields.gives_grid)

    def call(self, source: Array, target: Array, buffers: Array, rows: int, *, activate: bool) -> NetworkCall:
        """The call that takes `rows` float32 rows from `source` to `target`. buffers: of `buffer_bytes`.

        activate: whether the last layer's activation is computed, if the kernels do.
        """
        layers = self._fields
        if not activate or not native_activation(self._layers[-1]):
            layers = type(layers).from_buffer_copy(layers)
            layers[len(self._layers) - 1].activation = 0
        fields = ProgramFields(
            layers=ctypes.addressof(layers),
            buffers=buffers.ctypes.data,
            source=source.ctypes.data,
            target=target.ctypes.data,
            rows=rows,
            pitch=row_bytes(self._library, self._layers),
            data_offset=data_offset(),
            count=len(self._layers),
        )
        if self._preprocessing is not None:
            mean, inv_std = self._preprocessing.mean, self._preprocessing.inv_std
            fields.mean, fields.inv_std, fields.mean_step = mean.ctypes.data, inv_std.ctypes.data, int(mean.size > 1)
        return NetworkCall(self._library, fields, (self, layers, source, target, buffers))


class NetworkCall:
    """One call of the kernels. step: on the rows that it was made for. enter: on those of a caller's array.

    A caller's array must be float32, C-ordered and aligned. alive: what the addresses in `fields` point into.
    """

    def __init__(self, library: Library, fields: ProgramFields, alive: tuple[Any, ...]) -> None:
        fields.alive = alive
        run, run_on, address = library.run, library.run_on, ctypes.addressof(fields)

        def enter(rows: Array, _alive: ProgramFields = fields) -> None:
            run_on(address, id(rows))

        def step(_alive: ProgramFields = fields) -> None:
            run(address)

        self.enter, self.step = enter, step


@functools.cache
def data_offset() -> int:
    """Where an array object holds the address of its values: 0 where that is not known, and arrays are copied first.

    To ask the array for it takes longer than to copy 784 values. NumPy's C interface has it behind what every object
    begins with; here it is looked for there once.
    """
    if sys.implementation.name != "cpython":
        return 0
    start, arrays = object.__basicsize__, (np.zeros(3, np.float32), np.ones((5, 7), np.float32)[2:])
    found = (ctypes.c_size_t.from_address(id(array) + start).value == array.ctypes.data for array in arrays)
    return start if all(found) else 0


def aligned_bytes(size: int) -> Array:
    """Zeros that begin where a cache line does: uint8 (size,)."""
    memory = np.zeros(size + _LINE - 1, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size]


def _in_lines(size: int) -> int:
    return -(-size // _LINE) * _LINE


def _sizes(library: Library, layer: Layer) -> list[int]:
    """Bytes of the packed weights and bias; int8: of the multipliers and the table too. A stage's arrays stay."""
    if isinstance(layer, Stage):
        return []
    outputs = -(-layer.n_out // library.lanes) * library.lanes
    if not isinstance(layer, QuantizedDense):
        return [4 * layer.n_in * outputs, 4 * outputs]
    inputs = -(-layer.n_in // library.group) * library.group
    table = [] if layer.table is None else [layer.table.size]
    return [library.weight_dtype.itemsize * inputs * outputs, 4 * outputs, 4 * outputs, *table]


def _pack(library: Library, layer: Layer, parts: Sequence[Array]) -> None:
    """Write a layer's arrays into zeros; what is beyond the last output or input stays 0."""
    if isinstance(layer, QuantizedDense):
        _pack_int8(library, layer, parts)
    elif not isinstance(layer, Stage):
        panels = parts[0].view(np.float32).reshape(-1, layer.n_in, library.lanes)
        for panel, first in zip(panels, range(0, layer.n_out, library.lanes), strict=True):
            columns = layer.weight[:, first : first + library.lanes]
            panel[:, : columns.shape[1]] = columns
        if isinstance(layer, Dense) and layer.subnormals:
            flush(parts[0].view(np.float32))
        parts[1].view(np.float32)[: layer.n_out] = layer.bias


def _pack_int8(library: Library, layer: QuantizedDense, parts: Sequence[Array]) -> None:
    """The biases hold what the zero point adds to the sums, modulo 2^32, which the sums are exact in."""
    totals = np.zeros(layer.n_out, np.int32)
    panel_bytes = parts[0].nbytes // -(-layer.n_out // library.lanes)
    for first, columns in _columns(layer, library.lanes):
        to = parts[0].ctypes.data + first // library.lanes * panel_bytes
        library.pack(columns.ctypes.data, *columns.shape, to, totals[first:].ctypes.data)
    bias = layer.bias.astype(np.int64) - (layer.input.zero_point - library.offset) * totals.astype(np.int64)
    parts[1].view(np.uint32)[: layer.n_out] = bias & 0xFFFFFFFF
    parts[2].view(np.float32)[: layer.n_out] = layer.multiplier
    if layer.table is not None:
        parts[3][:] = layer.table


def _columns(layer: QuantizedDense, lanes: int) -> Iterator[tuple[int, Array]]:
    """The weights as int8, and which output is their first: 4-bit ones a panel at a time, unpacked."""
    if not isinstance(layer, Int4Dense):
        yield 0, layer.weight
        return
    for first in range(0, layer.n_out, lanes):
        packed = layer.nibbles.packed[:, first : first + lanes]
        yield first, Nibbles(packed, layer.n_in).unpacked()


def _fill(fields: LayerFields, layer: Layer, addresses: Sequence[int], *, on_grid: bool) -> None:
    """on_grid: whether the layer before gives values on a grid."""
    fields.n_in, fields.n_out = layer.n_in, layer.n_out
    if layer.activation.name in _ACTIVATIONS:
        fields.activation = _ACTIVATIONS.index(layer.activation.name)
    fields.alpha = dict(layer.activation.params).get("alpha", 0.0)
    for name, address in zip(("weight", "bias", "multiplier", "table"), addresses, strict=False):
        setattr(fields, name, address)
    if isinstance(layer, QuantizedDense):
        _fill_int8(fields, layer, on_grid=on_grid)
    elif isinstance(layer, Stage):
        _fill_stage(fields, layer)


def _fill_int8(fields: LayerFields, layer: QuantizedDense, *, on_grid: bool) -> None:
    fields.kind, fields.quantizes = _INT8_DENSE, int(not on_grid)
    fields.scale, fields.input_zero_point = layer.input.scale, layer.input.zero_point
    fields.input_low, fields.input_high = QMIN - layer.input.zero_point, QMAX - layer.input.zero_point
    if layer.output is not None:
        fields.gives_grid, fields.zero_point = 1, layer.output.zero_point
        fields.low = 0 if layer.activation.name == "relu" else QMIN - layer.output.zero_point
        fields.high = QMAX - layer.output.zero_point


def _fill_stage(fields: LayerFields, layer: Stage) -> None:
    """The kernels read the arrays of the layer itself, which the network keeps."""
    if isinstance(layer, LayerNorm):
        fields.kind, fields.epsilon, fields.centered = _LAYER_NORM, layer.epsilon, int(layer.centered)
    else:
        fields.kind = _ELEMENTWISE
    names = {"gamma": "gain", "beta": "shift", "scale": "gain", "low": "least", "high": "most"}
    for name, array in layer.arrays().items():
        setattr(fields, names.get(name, name), array.ctypes.data)
