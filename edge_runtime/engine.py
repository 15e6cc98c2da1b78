"""The inference engine: a model compiled once into NumPy calls on buffers that are allocated once."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.errors import InputError
from edge_runtime.kernels import Buffers, Step, layer_steps, standardize_steps, widen
from edge_runtime.layers import QuantizedDense
from edge_runtime.limits import Limits
from edge_runtime.model import Model
from edge_runtime.planner import MemoryPlan, is_dynamic, make_plan, needs_scratch
from edge_runtime.trace import trace

_NUMBERS = "fiub"  # NumPy kinds that convert to float32: float, signed, unsigned, bool


class Engine:
    """Runs one model. int8 results do not depend on the batch around a row, on the block size or on the BLAS.

    An int8-dynamic model is the exception: its batch goes through whole, and is at most `limits.max_batch` rows (256
    where none is given).

    model: what to run. limits: budgets to keep; the default keeps none. Raises BudgetExceeded when the model cannot be
    run within `limits.ram_bytes`. Not for use by several threads at once: give each thread an engine of its own.
    """

    def __init__(self, model: Model, limits: Limits | None = None) -> None:
        self.model = model
        self.limits = limits or Limits()
        self.plan: MemoryPlan = make_plan(model, self.limits)
        self._constants = [widen(layer) for layer in model.layers]
        self._arena = _allocate(self.plan)
        self._programs: dict[tuple[int, bool], tuple[NDArray[np.float32], list[Step], NDArray[np.float32]]] = {}

    def run(self, x: ArrayLike) -> NDArray[np.float32]:
        """The network's outputs. x: numbers, (n_in,) or (batch, n_in), batch 0 and up; converted to float32.

        Returns float32 (n_out,) or (batch, n_out). Raises InputError for another shape, a dtype that is not a real
        number, or more rows than `limits.max_batch`.
        """
        return self._run(x, activate=True)

    def logits(self, x: ArrayLike) -> NDArray[np.float32]:
        """What `run` gives before the last layer's activation; bit-exact for int8 on every machine."""
        return self._run(x, activate=False)

    def predict(self, x: ArrayLike) -> NDArray[np.int64]:
        """Class indices: the largest output, the first of equals; for one output, 1 where its logit is positive.

        x as for `run`. Returns int64 () or (batch,).
        """
        logits = self.logits(x)
        if self.model.n_out == 1:
            return np.asarray(logits[..., 0] > 0, np.int64)
        return np.asarray(logits.argmax(axis=-1), np.int64)

    def trace(self, x: ArrayLike) -> dict[str, NDArray[Any]]:
        """Every intermediate tensor by name, computed by the plain implementation. x as for `run`."""
        return trace(self.model, self._rows(x))

    def _rows(self, x: ArrayLike) -> NDArray[Any]:
        rows = np.asarray(x)
        if rows.dtype.kind not in _NUMBERS:
            raise InputError(f"input has dtype {rows.dtype}, expected real numbers such as float32")
        if rows.ndim not in (1, 2) or rows.shape[-1] != self.model.n_in:
            n_in = self.model.n_in
            raise InputError(f"input has shape {rows.shape}, expected ({n_in},) or (batch, {n_in})")
        rows = rows.reshape(-1, self.model.n_in)
        most = self.limits.max_batch or (self.plan.block if is_dynamic(self.model) else None)
        if most is not None and len(rows) > most:
            raise InputError(f"input has {len(rows)} rows, the limit max_batch is {most}; send fewer or raise it")
        return rows

    def _run(self, x: ArrayLike, *, activate: bool) -> NDArray[np.float32]:
        started = time.perf_counter()
        rows = self._rows(x)
        result = np.empty((len(rows), self.model.n_out), np.float32)
        for start in range(0, len(rows), self.plan.block):
            part = rows[start : start + self.plan.block]
            source, program, target = self._program(len(part), activate)
            np.copyto(source, part, casting="unsafe")
            for step in program:
                step()
            result[start : start + len(part)] = target
        if self.limits.speed_factor > 1.0:
            _stretch(started, self.limits.speed_factor)
        return result.reshape((*np.shape(x)[:-1], self.model.n_out))

    def _program(self, rows: int, activate: bool) -> tuple[NDArray[np.float32], list[Step], NDArray[np.float32]]:
        """The bound calls for a number of rows, with the buffers to fill and to read."""
        key = (rows, activate)
        if key not in self._programs:
            self._programs[key] = self._compile(rows, activate)
        return self._programs[key]

    def _compile(self, rows: int, activate: bool) -> tuple[NDArray[np.float32], list[Step], NDArray[np.float32]]:
        model = self.model
        source = _rows_of(self._arena[0], rows, model.n_in)
        steps = [] if model.preprocessing is None else standardize_steps(model.preprocessing, source)
        on_grid, buffers = False, None
        for position, (layer, constants) in enumerate(zip(model.layers, self._constants, strict=True)):
            buffers = self._buffers(position, rows)
            is_last = position == len(model.layers) - 1
            steps += layer_steps(
                layer, constants, buffers, quantize_input=not on_grid, activate=activate or not is_last
            )
            on_grid = isinstance(layer, QuantizedDense) and layer.output is not None
        assert buffers is not None  # a model has at least one layer
        return source, steps, buffers.target

    def _buffers(self, position: int, rows: int) -> Buffers:
        layer = self.model.layers[position]
        ping, pong, row, wide_source, wide_target, index = self._arena
        source, target = (ping, pong) if position % 2 == 0 else (pong, ping)
        return Buffers(
            source=_rows_of(source, rows, layer.n_in),
            target=_rows_of(target, rows, layer.n_out),
            scratch=_rows_of(source, rows, layer.n_out) if needs_scratch(layer) else source[:0],
            row=_rows_of(row, rows, 1),
            wide_source=_rows_of(wide_source, rows, layer.n_in) if wide_source.size else wide_source,
            wide_target=_rows_of(wide_target, rows, layer.n_out) if wide_target.size else wide_target,
            index=_rows_of(index, rows, layer.n_out) if index.size else index,
        )


def _allocate(plan: MemoryPlan) -> tuple[NDArray[Any], ...]:
    """The arena: two float32 buffers used in turn, one value per row, float64 scratch, table indices."""
    return (
        np.empty(plan.block * plan.buffers[0], np.float32),
        np.empty(plan.block * plan.buffers[1], np.float32),
        np.empty(plan.block, np.float32),
        np.empty(plan.block * plan.wide_floats[0], np.float64),
        np.empty(plan.block * plan.wide_floats[1], np.float64),
        np.empty(plan.block * plan.index_entries, np.intp),
    )


def _rows_of(buffer: NDArray[Any], rows: int, width: int) -> NDArray[Any]:
    """The first rows * width entries of a buffer as a (rows, width) view; an empty one where it is too small."""
    return buffer[: rows * width].reshape(-1, width) if buffer.size >= rows * width else buffer[:0]


def _stretch(started: float, factor: float) -> None:
    """Wait until `factor` times as long has passed since `started` as has passed by now."""
    now = time.perf_counter()
    deadline = started + factor * (now - started)
    while (left := deadline - time.perf_counter()) > 0:
        if left > 0.002:
            time.sleep(left - 0.001)  # the last millisecond is spun: a sleep wakes up late
