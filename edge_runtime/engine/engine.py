"""The inference engine: a model compiled once into NumPy calls on memory that is allocated once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.arguments import INPUT_CHECKS
from edge_runtime.engine import forks
from edge_runtime.engine.backend import make_backend
from edge_runtime.engine.calls import Program
from edge_runtime.engine.limits import Limits
from edge_runtime.engine.plan import is_dynamic
from edge_runtime.engine.streaming import find_grids, run_steps
from edge_runtime.errors import InputError
from edge_runtime.model import Model, as_model
from edge_runtime.numerics import as_numbers, is_frame, require_finite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from edge_runtime.engine.profiler import RunProfile

_FEW_PROGRAMS = 2  # of a batch that runs in blocks: for a full one and for the rest
_FLOAT32 = np.dtype(np.float32)
_READABLE = 0x101  # NumPy's flags of C order and alignment, see `Program.any_layout`


class Engine:
    """Runs one model. int8 results do not depend on the batch around a row, on the block size or on the BLAS.

    model: what to run, or a trained network, whose `to_model` gives it. limits: budgets to keep; the default keeps
    none. backend: "numpy"; "native", kernels that this machine's C compiler makes once; "auto", native where it can be
    had. The attribute `backend` says which it is, and `backend_reason` why "auto" is not native. Raises BudgetExceeded
    when the model cannot be run within `limits.ram_bytes`, NativeUnavailable (an InputError) where there is no compiler
    or kernels do not run the model, InputError for limits of another type. An int8-dynamic model is the exception to
    the first sentence: a row's answer depends on the batch around it. `limits.max_batch` rows are one, and without it
    any number is: more than 256 in blocks, with a pass before for each layer that quantizes by the batch.

    Safe to use from several threads: runs of one engine take turns. For parallel runs give each thread an engine.
    A signal handler must not run the engine that it may have interrupted: it would wait for itself.
    """

    def __init__(self, model: Model, limits: Limits | None = None, backend: str = "numpy") -> None:
        model = as_model(model)
        INPUT_CHECKS.instance("limits", limits, Limits, "a Limits such as Limits(ram_bytes=65536)")
        self.model = model
        self.limits = limits or Limits()
        self._wanted = backend
        self._backend, self.backend_reason = make_backend(model, self.limits, backend)
        self.backend, self.plan = self._backend.name, self._backend.plan
        self._programs: dict[tuple[int | None, bool], Program] = {}
        self.lock = threading.Lock()
        forks.register(self)
        self._ready: dict[tuple[int, ...], Program] = {}  # by the input's shape: those that `run` may use at once
        self._is_dynamic = is_dynamic(model)
        self._is_slowed = self.limits.speed_factor > 1.0
        self._program(None, activate=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (
            self.model,
            self.limits,
            self._wanted,
        )  # a copy or a pickle has an arena and a lock of its own

    def __repr__(self) -> str:
        """What it runs, in one line."""
        return f"Engine({self.model!r}, {self.plan.total_bytes:,} B, {self.plan.block:,} rows at once, {self.backend})"

    def run(self, x: ArrayLike, check_finite: bool = False) -> NDArray[np.float32]:
        """The network's outputs. x: numbers, (n_in,) or (batch, n_in), batch 0 and up; converted to float32.

        A frame of pandas or polars is read by its columns' names where the model has a schema, else by their place.
        Returns float32 (n_out,) or (batch, n_out). Raises InputError for another shape, a dtype that is not a real
        number, more rows than `limits.max_batch` unless `limits.over` is "split", and, with `check_finite`, for NaN,
        inf and what float32 cannot hold, by row and column. Without it: float layers give NaN or inf in that row's
        outputs and NumPy may warn; int8 takes NaN as the lowest value of its grid and the infinities as the ends;
        int8-dynamic always raises.
        """
        started = time.perf_counter() if self._is_slowed else 0.0
        if check_finite is not False and INPUT_CHECKS.flag("check_finite", check_finite):
            x = self._finite_rows(x)
        # float32 rows that one program takes are the common case: nothing else stands in their way
        if type(x) is np.ndarray and x.dtype is _FLOAT32:
            if forks.is_near:
                forks.let_pass()
            with self.lock:
                program = self._ready.get(x.shape)
                if program is not None:
                    _source, enter, any_layout, steps, outputs = program  # by position: four names take 50 ns longer
                    if any_layout or x.flags.num & _READABLE == _READABLE:
                        enter(x)
                        for step in steps:
                            step()
                        result = outputs.copy()
                        if self._is_slowed:
                            _stretch(started, time.perf_counter(), self.limits.speed_factor)
                        return result
        return self._run(x, True, started)

    def logits(self, x: ArrayLike) -> NDArray[np.float32]:
        """What `run` gives before the last layer's activation; bit-exact for int8 on every machine."""
        return self._run(x, False, time.perf_counter() if self._is_slowed else 0.0)

    def predict(self, x: ArrayLike) -> NDArray[np.int64]:
        """Class indices: the largest output, the first of equals; for one output, 1 where its logit is positive.

        x as for `run`. Returns int64 () or (batch,).
        """
        started = time.perf_counter() if self._is_slowed else 0.0
        rows, is_vector = self._rows(x)
        classes = np.empty(len(rows), np.int64)
        self._run_blocks(rows, False, classes, _decide)
        if self._is_slowed:
            _stretch(started, time.perf_counter(), self.limits.speed_factor)
        return classes.reshape(()) if is_vector else classes

    def trace(self, x: ArrayLike) -> dict[str, NDArray[Any]]:
        """Every intermediate tensor by name, computed plainly and for all rows together. x as for `run`."""
        from edge_runtime.reference import trace

        return trace(self.model, self._rows(x)[0])

    def profile(self, x: ArrayLike, runs: int = 200) -> RunProfile:
        """Median seconds, share and bytes of each layer, over `runs` runs of the rows `x` (at most one block).

        Raises InputError for other rows, for no runs, and for the native backend, which runs all layers in one call.
        """
        runs = INPUT_CHECKS.whole("runs", runs, 1)
        rows, _is_vector = self._rows(x)
        if not 1 <= len(rows) <= self.plan.block:
            raise InputError(f"{len(rows)} rows to profile, expected 1 to {self.plan.block}, which run as one block")
        with self.lock:
            return self._backend.profile(rows, runs)

    def _run(self, x: ArrayLike, activate: bool, started: float) -> NDArray[np.float32]:
        """started: when the call began, which matters only where the engine is slowed."""
        rows, is_vector = self._rows(x)
        result = np.empty((len(rows), self.model.n_out), np.float32)
        self._run_blocks(rows, activate, result, _keep)
        if self._is_slowed:
            _stretch(started, time.perf_counter(), self.limits.speed_factor)
        return result[0] if is_vector else result

    def _run_blocks(
        self, rows: NDArray[Any], activate: bool, result: NDArray[Any], take: Callable[[Any, NDArray[Any]], Any]
    ) -> None:
        """Each block of rows through the network. take: puts a block's outputs into its part of `result`."""
        if forks.is_near:
            forks.let_pass()
        with self.lock:
            run = self._runner(rows, activate)
            for part in self._blocks(len(rows)):
                take(run(rows[part]), result[part])

    def _runner(self, rows: NDArray[Any], activate: bool) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
        """What gives a block's outputs (n, n_out), in the arena."""
        if not self._is_dynamic or self.limits.max_batch or len(rows) <= self.plan.block:
            return partial(self._run_block, activate=activate)
        blocks = [rows[part] for part in self._blocks(len(rows))]
        grids = find_grids(self.model, blocks, lambda block: self._entered(block, activate).steps)

        def run(block: NDArray[Any]) -> NDArray[np.float32]:
            program = self._entered(block, activate)
            run_steps(program.steps, grids)
            return program.result

        return run

    def _blocks(self, rows: int) -> Iterator[slice]:
        """The rows that go through the network together, part by part."""
        start = 0
        while start < rows:
            count = self._next_block(rows - start)
            yield slice(start, start + count)
            start += count

    def _run_block(self, rows: NDArray[Any], activate: bool) -> NDArray[np.float32]:
        """Rows of one program's size: their outputs (n, n_out), in the arena."""
        program = self._entered(rows, activate)
        for step in program.steps:
            step()
        return program.result[None] if program.result.ndim == 1 else program.result

    def _entered(self, rows: NDArray[Any], activate: bool) -> Program:
        """The program for rows of its size, once it has taken them in."""
        is_vector = len(rows) == 1 and not self._is_dynamic
        program = self._program(None if is_vector else len(rows), activate)
        part = rows[0] if is_vector else rows
        is_readable = program.any_layout or part.flags.num & _READABLE == _READABLE
        if part.dtype is not _FLOAT32 or not is_readable:
            np.copyto(program.source, part, casting="unsafe")
            part = program.source
        program.enter(part)
        return program

    def _next_block(self, left: int) -> int:
        """Rows to run next: a full block, or the largest power of two that is left, so that programs stay few."""
        if self._is_dynamic:
            return min(left, self.plan.block)
        return self.plan.block if left >= self.plan.block else 1 << (left.bit_length() - 1)

    def _program(self, rows: int | None, activate: bool) -> Program:
        key = (rows, activate)
        if key not in self._programs:
            if self._is_dynamic and len(self._programs) >= _FEW_PROGRAMS:  # any batch size occurs there
                self._programs.clear()
                self._ready.clear()
            program = self._backend.compile(rows, activate=activate)
            self._programs[key] = program
            if activate:
                self._ready[(self.model.n_in,) if rows is None else (rows, self.model.n_in)] = program
        return self._programs[key]

    def _rows(self, x: ArrayLike) -> tuple[NDArray[Any], bool]:
        """The rows (n, n_in), and whether they were given as a vector (n_in,)."""
        array = as_numbers(x) if type(x) is np.ndarray or not is_frame(x) else self._by_name(x)
        if array.ndim not in (1, 2) or array.shape[-1] != self.model.n_in:
            n_in = self.model.n_in
            raise InputError(f"input has shape {array.shape}, expected ({n_in},) or (batch, {n_in})")
        rows = array.reshape(-1, self.model.n_in)
        self.limits.require_batch(len(rows))
        return rows, array.ndim == 1

    def _by_name(self, frame: Any) -> NDArray[Any]:
        from edge_runtime.inputs import as_inputs

        return as_inputs(self.model, frame)

    def _finite_rows(self, x: ArrayLike) -> NDArray[Any]:
        """`x` as an array of its own shape, once it has been checked."""
        rows, is_vector = self._rows(x)
        require_finite(rows)
        return rows[0] if is_vector else rows


def _keep(outputs: NDArray[np.float32], result: NDArray[np.float32]) -> None:
    np.copyto(result, outputs)


def _decide(outputs: NDArray[np.float32], classes: NDArray[np.int64]) -> None:
    """Classes of logits (n, n_out); see `Engine.predict`."""
    if outputs.shape[1] == 1:
        np.greater(outputs[:, 0], 0, out=classes, casting="unsafe")
    else:
        np.copyto(classes, outputs.argmax(axis=1))


def _stretch(started: float, ended: float, factor: float) -> None:
    """Wait until `factor` times as long has passed since `started` as had passed when the work ended."""
    deadline = started + factor * (ended - started)
    while (left := deadline - time.perf_counter()) > 0:
        if left > 0.002:
            time.sleep(left - 0.001)  # the last millisecond is spun: a sleep wakes up late
