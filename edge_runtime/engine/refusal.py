"""Why a model does not fit a budget, and what would: every alternative that is named has been planned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.artifact import artifact_bytes
from edge_runtime.engine.limits import Limits
from edge_runtime.engine.model_bytes import held_bytes
from edge_runtime.engine.plan import MemoryPlan, compute_dtype, is_dynamic, lay_plan
from edge_runtime.engine.plan_choice import DYNAMIC_BATCH, smallest_plan
from edge_runtime.errors import Alternative, BudgetExceeded, ModelError
from edge_runtime.layers import ARITHMETIC_ON_INT8, Dense, Layer, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import WEIGHT_MAX, Activation, QuantParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of all grids the one that takes the most digits in an artifact's header, and whose sums reach the furthest.
_WORST_GRID = QuantParams(float(np.float32(1.2345678e-05)), 255)
MMAP, NO_VECTORS = "mmap", "no test vectors"
EXPORTED_ROWS = 8  # test vectors that `smallnet export` stores where it is not told how many
_LONGEST_NOTE = {"calibration": "percentile, 1000000000 rows"}  # what an exporter says of int8, at most


def require_flash(model: Model, flash_bytes: int) -> None:
    """Raise BudgetExceeded where the model's artifact is larger than `flash_bytes`.

    The layer that is responsible is the one whose arrays take the most bytes of the file.
    """
    need = artifact_bytes(model)
    if need <= flash_bytes:
        return
    options = [Alternative(NO_VECTORS, _bare_bytes(model))] if model.test_vectors is not None else []
    for precision, small in _smaller_precisions(model):
        options.append(Alternative(precision, artifact_bytes(small)))
        if model.test_vectors is not None:
            options.append(Alternative(f"{precision}, {NO_VECTORS}", _bare_bytes(small)))
    largest = max(model.layers, key=_stored_bytes)
    problem = f"the artifact has {need:,} B, the flash is {flash_bytes:,} B, missing {need - flash_bytes:,} B"
    weights = f"{_stored_bytes(largest):,} B of {largest.precision} weights"
    raise _exceeded(model, need, flash_bytes, largest.name, f"{problem}; the largest layer is", weights, options)


def ram_refusal(model: Model, limits: Limits, plan: MemoryPlan) -> BudgetExceeded:
    """The error for a model whose smallest plan needs more than `limits.ram_bytes`.

    The layer that is responsible is the one for which that plan has the most bytes: its arrays where they are held
    (mapped ones are not), what is kept widened for it, and the arena and temporary bytes that it would need alone.
    """
    have = limits.ram_bytes or 0
    held = [step.stored_bytes if plan.weight_bytes else 0 for step in plan.steps]
    beside = [step.widened_bytes + _running_bytes(model, plan, index) for index, step in enumerate(plan.steps)]
    index = max(range(len(plan.steps)), key=lambda index: held[index] + beside[index])
    step, need = plan.steps[index], plan.total_bytes
    problem = f"the smallest plan needs {need:,} B, the budget is {have:,} B, missing {need - have:,} B"
    weights = f"{held[index]:,} B of {step.kind} weights and " if held[index] else ""
    return _exceeded(
        model,
        need,
        have,
        step.name,
        f"{problem}; the largest layer is",
        f"{weights}{beside[index]:,} B to run",
        list(_ram_alternatives(model, limits, plan)),
    )


def _exceeded(
    model: Model, need: int, have: int, layer: str, problem: str, share: str, options: list[Alternative]
) -> BudgetExceeded:
    """The error with the options that need less than now, split into those that fit and those that do not."""
    smaller = [option for option in options if option.need_bytes < need]
    return BudgetExceeded(
        f"{problem} '{layer}' with {share}",
        need_bytes=need,
        have_bytes=have,
        layer=layer,
        alternatives=tuple(option for option in smaller if option.need_bytes <= have),
        beyond=tuple(option for option in smaller if option.need_bytes > have),
        precision=model.precision,
        test_rows=0 if model.test_vectors is None else len(model.test_vectors.inputs),
    )


def _running_bytes(model: Model, plan: MemoryPlan, index: int) -> int:
    """Arena and temporary bytes of a plan for one layer of it alone, in the same blocks and tiles."""
    layer, step = model.layers[index], plan.steps[index]
    layers = (layer, _narrow(layer)) if isinstance(layer, QuantizedDense) and layer.output is not None else (layer,)
    tile_bytes = step.tile_rows * layer.n_out * np.dtype(compute_dtype(layer)).itemsize
    copied = step.stacked or not (step.lean or isinstance(layer, Dense))
    alone = lay_plan(Model(layers), plan.block, frozenset(() if copied else (0, 1)), tile_bytes)
    return alone.arena_bytes + alone.temporary_bytes


def _narrow(layer: QuantizedDense) -> QuantizedDense:
    """A layer of one unit to stand after one whose values are on a grid: a network must end in floats."""
    return QuantizedDense(
        name=f"{layer.name}+",
        weight=np.zeros((layer.n_out, 1), np.int8),
        bias=np.zeros(1, np.int32),
        multiplier=np.ones(1, np.float32),
        input=layer.final_grid or _WORST_GRID,
        output=None,
        activation=Activation.of("linear"),
    )


def _ram_alternatives(model: Model, limits: Limits, smallest: MemoryPlan) -> Iterator[Alternative]:
    """Changes in the order of how little they change, each with the bytes of its smallest plan."""
    held = smallest.weight_bytes + smallest.other_bytes
    if is_dynamic(model):
        yield from _smaller_batches(model, limits)
    if held:
        yield Alternative(MMAP, smallest.total_bytes - held)
    if held and is_dynamic(model) and smallest.total_bytes - held > (limits.ram_bytes or 0):
        for change, need in _smaller_batches(model, limits, held):
            yield Alternative(f"{MMAP}, {change}", need)
    if held and model.test_vectors is not None:
        yield Alternative(NO_VECTORS, smallest.total_bytes - held + _bare_bytes(model))
    for precision, small in _smaller_precisions(model):
        plan = smallest_plan(small, limits)
        beside = plan.total_bytes - held_bytes(small).allocated
        if held:
            yield Alternative(precision, beside + artifact_bytes(small))
        yield Alternative(f"{precision}, {MMAP}", beside)


def _smaller_batches(model: Model, limits: Limits, spared: int = 0) -> Iterator[Alternative]:
    """The largest batch, a power of two, with which an int8-dynamic model fits; the single row where none does.

    spared: bytes that the model need not hold then.
    """
    batch = 1 << ((limits.max_batch or DYNAMIC_BATCH) - 1).bit_length()
    while batch > 1:
        batch //= 2
        need = smallest_plan(model, replace(limits, max_batch=batch)).total_bytes - spared
        if need <= (limits.ram_bytes or 0) or batch == 1:
            yield Alternative(f"max_batch={batch}", need)
            return


def _smaller_precisions(model: Model) -> Iterator[tuple[str, Model]]:
    """Stand-ins of the same shapes whose weights take fewer bytes, with what an exporter says of itself.

    The plans and artifacts of real ones are as large for float16. Those of int8 depend on grids that only calibration
    finds: they may be smaller, by some letters of the header, and by what sums in float64 take where real ones need
    none. They are larger in one case: biases are any integers on such grids, and are taken for 0 here; where one is so
    far beyond its layer's weights that sums need float64, the real plan needs more.
    """
    makers = {"float16": _as_float16, "int8": _as_int8}
    names = {"float32": ("float16", "int8"), "float16": ("int8",), "int8-dynamic": ("int8",)}.get(model.precision, ())
    for name in names:
        try:
            layers = tuple(makers[name](model, layer) for layer in model.layers)
            notes = {**model.metadata, **_subnormal_note(model), **(_LONGEST_NOTE if name == "int8" else {})}
            yield name, replace(model, layers=layers, metadata=notes)
        except ModelError:  # an activation that int8 layers cannot have
            continue


def _subnormal_note(model: Model) -> dict[str, str]:
    count = sum(layer.subnormals for layer in model.layers if isinstance(layer, Dense))
    return {"subnormal_weights_set_to_0": str(count)} if count else {}


def _bare_bytes(model: Model) -> int:
    """The artifact's bytes without test vectors, when an exporter has written it anew."""
    return artifact_bytes(replace(model, test_vectors=None, metadata={**model.metadata, **_subnormal_note(model)}))


def in_options(error: BudgetExceeded, *, is_bundle: bool = False) -> str:
    """The message, each change by the options that make it: such as they can be typed, but for the name DATA.

    A bundle cannot map its weights: that is left out. What must be exported must be bundled again there.
    """
    return error.said(lambda change: _options(error, change.split(", "), is_bundle=is_bundle))


def _options(error: BudgetExceeded, parts: list[str], *, is_bundle: bool) -> str | None:
    if is_bundle and MMAP in parts:
        return None
    running = [part for part in parts if part == MMAP or part.startswith("max_batch=")]
    export = _export_options(error, parts) if len(running) < len(parts) else ""
    run = " ".join(f"--{part.replace('max_batch=', 'max-batch ')}" for part in running)
    return ", then ".join(filter(None, [export, "bundle" if is_bundle and export else "", run]))


def _export_options(error: BudgetExceeded, parts: list[str]) -> str:
    """Precision and number of test vectors are said: where they are not, an exporter makes int8 with some vectors."""
    precision = parts[0] if parts[0] != NO_VECTORS else error.precision
    if precision == "mixed":  # no exporter makes that
        return NO_VECTORS
    rows = 0 if NO_VECTORS in parts else error.test_rows
    words = [f"export --precision {precision}"]
    words += ["--calibrate DATA"] if precision == "int8" else []
    words += [f"--test-vectors {rows}"] if rows != EXPORTED_ROWS else []
    words += ["of the float32 model"] if error.precision.startswith("int8") else []  # no exporter takes int8 layers
    return " ".join(words)


def _as_float16(_model: Model, layer: Layer) -> Layer:
    return Dense(layer.name, np.zeros((layer.n_in, layer.n_out), np.float16), layer.bias, layer.activation)


def _as_int8(model: Model, layer: Layer) -> Layer:
    """Where weights of real ones could need float64 sums, so do these."""
    is_last = layer is model.layers[-1]
    has_table = not is_last and layer.activation.name not in ARITHMETIC_ON_INT8
    return QuantizedDense(
        name=layer.name,
        weight=_largest_int8(layer, is_first=layer is model.layers[0]),
        bias=np.zeros(layer.n_out, np.int32),
        multiplier=np.ones(layer.n_out, np.float32),
        input=_WORST_GRID,
        output=None if is_last else _WORST_GRID,
        activation=layer.activation,
        table=np.zeros(256, np.uint8) if has_table else None,
        table_output=_WORST_GRID if has_table else None,
    )


def _largest_int8(layer: Layer, *, is_first: bool) -> NDArray[np.int8]:
    """Magnitudes that no int8 weights of the layer exceed, in whatever way they are made."""
    if not is_first or not isinstance(layer, Dense):  # an exporter may scale hidden units one by one
        return np.full((layer.n_in, layer.n_out), WEIGHT_MAX, np.int8)
    weight = np.abs(layer.weight.astype(np.float32))
    largest = weight.max(axis=0)
    weight /= np.where(largest == 0, np.float32(1), largest)
    return np.minimum(np.ceil(weight * WEIGHT_MAX), WEIGHT_MAX).astype(np.int8)


def _stored_bytes(layer: Layer) -> int:
    return sum(array.nbytes for array in layer.arrays().values())
