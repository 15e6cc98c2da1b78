"""The plan and the programs of a model that compiled kernels run; what they do not compute NumPy does in between."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.engine.arena import Arena, lay_out
from edge_runtime.engine.calls import NumpyCall, Program
from edge_runtime.engine.limits import Limits
from edge_runtime.engine.model_bytes import held_bytes
from edge_runtime.engine.plan import MemoryPlan, PlanStep, temporary_bytes_a_row
from edge_runtime.engine.plan_choice import row_blocks
from edge_runtime.errors import BudgetExceeded, InputError, NativeUnavailable
from edge_runtime.layers import DynamicQuantizedDense, Layer, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.native import (
    Library,
    Network,
    aligned_bytes,
    buffer_bytes,
    data_offset,
    kernels,
    native_activation,
    native_bytes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.engine.profiler import RunProfile

_F32 = 4
_ADVICE = "take the numpy backend"


class NativeBackend:
    """A model whose layers run in compiled kernels: one call, or one up to each activation that NumPy computes.

    Raises NativeUnavailable where there are no kernels or they do not run the model, BudgetExceeded as `make_plan`.
    """

    name = "native"

    def __init__(self, model: Model, limits: Limits) -> None:
        if limits.lean:
            raise NativeUnavailable(
                f"lean keeps no copies of the weights, and compiled kernels need packed ones; {_ADVICE}"
            )
        for layer in model.layers:
            if isinstance(layer, DynamicQuantizedDense):
                raise NativeUnavailable(
                    f"compiled kernels do not run layer '{layer.name}' ({layer.precision}); {_ADVICE}"
                )
            if isinstance(layer, QuantizedDense) and layer.stored_weight.dtype == np.int16:
                raise NativeUnavailable(
                    f"compiled kernels have int8 weights, those of layer '{layer.name}' are int16; {_ADVICE}"
                )
            if isinstance(layer, QuantizedDense) and layer.has_fine_grids:
                raise NativeUnavailable(
                    f"compiled kernels have codes of 8 bits, those of layer '{layer.name}' ({layer.precision}) have "
                    f"more; {_ADVICE}"
                )
        self._model, self._library = model, kernels()
        self._chains = list(_chains(model.layers))
        self.plan = _plan(model, limits, self._library, self._chains)
        self._arena = Arena(self.plan.regions, self.plan.arena_bytes)
        self._buffers = self._arena.view("buffers", (self.plan.regions["buffers"].nbytes,), np.uint8)
        self._networks = [self._network(chain, is_first=chain is self._chains[0]) for chain in self._chains]

    def _network(self, chain: Sequence[Layer], *, is_first: bool) -> Network:
        memory = aligned_bytes(sum(native_bytes(self._library, layer) for layer in chain))
        return Network(self._library, chain, self._model.preprocessing if is_first else None, memory)

    def compile(self, rows: int | None, *, activate: bool) -> Program:
        """The program for `rows` rows, or for one row given as a vector where that is None."""
        count = rows or 1
        source = value = self._arena.view("source", (count, self._model.n_in))
        calls, steps = [], list[NumpyCall]()
        for index, (chain, network) in enumerate(zip(self._chains, self._networks, strict=True)):
            is_activated = activate or index < len(self._chains) - 1
            target = self._arena.view(f"target{index % 2}", (count, chain[-1].n_out))
            calls.append(network.call(value, target, self._buffers, count, activate=is_activated))
            steps.append(calls[-1].step)
            if is_activated and not native_activation(chain[-1]):
                steps.append(partial(chain[-1].activation, target, out=target))
            value = target
        shape = (-1,) if rows is None else (rows, -1)
        source, value = source.reshape(shape), value.reshape(shape)
        if data_offset():
            return Program(source, calls[0].enter, False, tuple(steps[1:]), value)
        return Program(source, partial(np.copyto, source), True, tuple(steps), value)

    def profile(self, rows: NDArray[Any], runs: int) -> RunProfile:
        """Raises InputError: the layers are one call."""
        raise InputError("the native backend runs all layers in one call; profile an engine of the numpy backend")


def _chains(layers: Sequence[Layer]) -> list[list[Layer]]:
    """The layers in parts, each of which ends with one whose activation NumPy computes."""
    parts: list[list[Layer]] = [[]]
    for layer in layers:
        parts[-1].append(layer)
        if not native_activation(layer):
            parts.append([])
    return [part for part in parts if part]


def _plan(model: Model, limits: Limits, library: Library, chains: Sequence[Sequence[Layer]]) -> MemoryPlan:
    """The plan with the most rows at once within `limits.ram_bytes`."""
    if limits.flash_bytes is not None:
        from edge_runtime.engine.refusal import require_flash

        require_flash(model, limits.flash_bytes)
    have = limits.ram_bytes
    for block in row_blocks(model, limits):
        plan = _plan_for(model, library, chains, block)
        if have is None or plan.total_bytes <= have:
            return plan
    largest = max(plan.steps, key=lambda step: step.widened_bytes)
    raise BudgetExceeded(
        f"the smallest plan of the native backend needs {plan.total_bytes:,} B, the budget is {have:,} B, missing "
        f"{plan.total_bytes - (have or 0):,} B; the largest layer is '{largest.name}' with {largest.widened_bytes:,} B "
        "of packed arrays; the numpy backend can do without copies",
        need_bytes=plan.total_bytes,
        have_bytes=have or 0,
    )


def _plan_for(model: Model, library: Library, chains: Sequence[Sequence[Layer]], block: int) -> MemoryPlan:
    held = held_bytes(model)
    steps = tuple(
        PlanStep(
            name=layer.name,
            kind=layer.precision,
            stored_bytes=sum(array.nbytes for array in layer.arrays().values()),
            widened_bytes=native_bytes(library, layer),
            lean=False,
            stacked=False,
            tile_rows=0,
            tile_bytes=0,
            partial_bytes=0,
        )
        for layer in model.layers
    )
    regions = lay_out(_region_sizes(library, chains, block))
    weights = 0 if held.mapped else sum(step.stored_bytes for step in steps)
    return MemoryPlan(
        block=block,
        weight_bytes=weights,
        other_bytes=held.allocated - weights,
        widened_bytes=sum(step.widened_bytes for step in steps),
        arena_bytes=max(-(-region.end // 64) * 64 for region in regions.values()),
        temporary_bytes=max(map(_temporary_bytes, chains)) * block,
        regions=regions,
        steps=steps,
    )


def _region_sizes(library: Library, chains: Sequence[Sequence[Layer]], block: int) -> dict[str, int]:
    """The user's rows, what each chain gives in turn, and the kernels' own buffers."""
    widths = [chain[-1].n_out for chain in chains]
    return {
        "source": block * chains[0][0].n_in * _F32,
        "target0": block * max(widths[::2]) * _F32,
        "target1": block * max(widths[1::2], default=0) * _F32,
        "buffers": max(buffer_bytes(library, chain) for chain in chains),
    }


def _temporary_bytes(chain: Sequence[Layer]) -> int:
    """For each row, where NumPy computes the last activation."""
    return 0 if native_activation(chain[-1]) else temporary_bytes_a_row(chain[-1])
