"""What a user should know before trusting an export, an import or a comparison: one line each, with its figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engine import Engine, Limits
from edge_runtime.layers import QuantizedDense, Stage
from edge_runtime.model import Model
from edge_runtime.numerics import QuantParams, dequantize
from edge_runtime.reference import WARN_ABOVE, logits, range_warning, trace
from export.quantization.calibration import float_model
from export.quantization.fidelity import even_db, sqnr_db, varies
from export.quantization.float16 import scale_for_float16
from export.quantization.recipe import FLOATS
from export.quantization.units import float_outputs

LEAST_DB = {"float16": 40.0, "int8-a16": 30.0}  # 11 bits give some 65; int8 weights alone 38 to 60
LEAST_DB_INT8 = 20.0  # int4 too: 32 with compensated rounding, 13 to 22 rounded to the nearest
MOST_CHANGED = 0.01  # share of decisions that may differ without a word
MOST_ROWS = 1024  # looked at layer by layer: memory does not grow with the data
_CLASSIFIERS = ("softmax", "log_softmax", "sigmoid", "hard_sigmoid")


@dataclass(frozen=True)
class Fidelity:
    """How a smaller network answers beside the float32 one, before a final activation.

    sqnr_db: see `export.quantization.fidelity`; of an autoencoder whose inputs have units of their own that of
    `even_db`. decisions_changed: rows whose class differs, None for a model that gives no classes. worst_output,
    worst_output_db: the output with the least, by itself; None where outputs are not quantities of their own, but
    classes, or the parts of one signal.
    """

    rows: int
    sqnr_db: float
    decisions_changed: int | None
    worst_output: int | None = None
    worst_output_db: float | None = None


def measure_fidelity(model: Model, small: Model, rows: NDArray[np.float32]) -> Fidelity:
    """Compare `small` with the float32 `model` on rows (n, n_in)."""
    limits = Limits(max_batch=max(1, len(rows)))  # an int8-dynamic model takes its batch whole
    with np.errstate(over="ignore", invalid="ignore"):
        before, after = (Engine(network, limits).logits(rows) for network in (model, small))
    changed = int(np.sum(decisions(before) != decisions(after)))
    decides = model.metadata.get("target") not in ("regression", "autoencoder")
    worst = worst_output(before, after) if has_targets_apart(model) else (None, None)
    decibels = even_db if has_parts_of_own_units(model) else sqnr_db
    return Fidelity(len(rows), decibels(before, after), changed if decides else None, *worst)


def has_targets_apart(model: Model) -> bool:
    """Whether the outputs are quantities of their own, each with its unit: no classes, nor parts of one signal."""
    return not is_classifier(model) and not _is_one_signal(model)


def has_parts_of_own_units(model: Model) -> bool:
    """Whether the outputs are an autoencoder's, and each input is standardized by a deviation of its own."""
    own = model.preprocessing is not None and bool(np.ptp(model.preprocessing.inv_std) > 0)
    return own and not is_classifier(model) and _is_one_signal(model) and model.n_out == model.n_in


def counts_alike(model: Model) -> bool:
    """Whether an error is judged beside each output's own variation, and not by the sum, which is the loudest's."""
    return has_targets_apart(model) or has_parts_of_own_units(model)


def _is_one_signal(model: Model) -> bool:
    """Whether the outputs are parts of one thing, such as an image: a part that hardly varies says little."""
    target = model.metadata.get("target")
    return model.n_out == 1 or target == "autoencoder" or (model.n_out == model.n_in and target != "regression")


def worst_output(before: NDArray[np.float32], after: NDArray[np.float32]) -> tuple[int, float] | tuple[None, None]:
    """The output with the least decibels by itself, of those that vary: a loud one hides the others."""
    columns = [(before[:, [at]], after[:, [at]]) for at in range(before.shape[1])]
    decibels = {at: sqnr_db(*pair) for at, pair in enumerate(columns) if varies(pair[0][:, 0])}
    worst = min(decibels, key=lambda at: decibels[at], default=None)
    return (None, None) if worst is None else (worst, decibels[worst])


def fidelity_doubts(model: Model, small: Model, rows: NDArray[np.float32], found: Fidelity) -> list[str]:
    """Where the answers of `small` are not those of the float network, and at which layer it begins.

    model: float32, with the units of `small`: equalized, or as it was. rows, found: of `measure_fidelity`.
    """
    least = LEAST_DB.get("float16" if _is_half(small) else small.precision, LEAST_DB_INT8)
    changed = found.decisions_changed or 0
    texts = []
    if is_classifier(model) and changed > MOST_CHANGED * found.rows:
        texts.append(f"{changed:,} of {found.rows:,} decisions ({changed / found.rows:.1%}) are not those of float32")
    if found.rows == 1 and found.sqnr_db == -math.inf and not texts:
        return ["judged on a single row, in which no output varies: no decibels can be given; give more rows"]
    if found.sqnr_db < least:
        texts.append(f"{found.sqnr_db:.1f} dB at the outputs, expected at least {least:.0f}")
    if not texts and found.worst_output_db is not None and found.worst_output_db < least:
        texts.append(
            f"output {found.worst_output} by itself has {found.worst_output_db:.1f} dB, expected at least {least:.0f}"
        )
    if not texts:
        return []
    name, decibels = _where(by_layer(model, small, rows), least)
    return [f"{'; '.join(texts)}, on {found.rows:,} rows; layer '{name}' has {decibels:.1f} dB"]


def by_layer(model: Model, small: Model, rows: NDArray[np.float32]) -> dict[str, float]:
    """Signal to noise (dB) behind each layer, before a final activation, on the first rows."""
    source = scale_for_float16(float_model(model)) if _is_half(small) else model
    with np.errstate(over="ignore", invalid="ignore"):
        before, after = trace(source, rows[:MOST_ROWS]), trace(small, rows[:MOST_ROWS])
    tensors = float_outputs(model, small)
    names = [layer.name for layer in small.layers[:-1]]
    decibels = {name: sqnr_db(before[tensors[name]], _real(small, name, after)) for name in names}
    return {**decibels, small.layers[-1].name: sqnr_db(logits(source, before), logits(small, after))}


def calibration_doubts(
    calibration: NDArray[np.float32], held_out: NDArray[np.float32], small: Model, model: Model
) -> list[str]:
    """What the calibration rows did not show. model: float32, with the units of `small`, which has static grids."""
    rows = np.asarray(calibration)
    spread = np.ptp(rows, axis=0) == 0
    if spread.all():
        return [f"all {len(rows):,} calibration rows are the same row: grids that serve others are a guess"]
    moves = np.mean(held_out != rows[0], axis=0) > WARN_ABOVE
    constant = np.flatnonzero(spread & moves)
    texts = [_constant_text(constant, rows)] if len(constant) else []
    clipped = range_warning(small, held_out)
    texts += [] if clipped is None else [f"held-out rows: {clipped}"]
    return texts + _clipped_layers(model, small, held_out)


def row_doubts(model: Model, rows: NDArray[np.float32]) -> list[str]:
    """What makes a comparison on these rows say little: outputs that are not finite, or that are all the same."""
    few = rows[:MOST_ROWS]
    if len(few) == 0:
        return []
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = trace(model, few)[f"{model.layers[-1].name}.output"]
    bad = int(np.sum(~np.isfinite(outputs).all(axis=1)))
    if bad:
        return [f"{bad:,} of {len(few):,} rows give NaN or inf at the output: they compare equal, and say nothing"]
    if len(few) > 1 and (outputs == outputs[0]).all() and (few != few[0]).any():
        return [f"all {len(few):,} rows give the same output: a comparison on them says little"]
    return []


def comparison_doubts(model: Model, rows: NDArray[np.float32]) -> list[str]:
    """Of a comparison of `model` with a file on these rows: how many inputs are clipped, and `row_doubts`."""
    clipped = range_warning(model, rows)
    return [*([] if clipped is None else [clipped]), *row_doubts(model, rows)]


def is_classifier(model: Model) -> bool:
    """Whether the largest output is surely a decision."""
    target = model.metadata.get("target")
    if target in ("regression", "autoencoder"):
        return False
    return target == "class" or bool(model.class_names) or model.final_activation.name in _CLASSIFIERS


def _is_half(model: Model) -> bool:
    """Whether all its layers are floats, some of them float16: then they may have been scaled by powers of two."""
    dense = [layer.precision for layer in model.layers if not isinstance(layer, Stage)]
    return "float16" in dense and set(dense) <= {*FLOATS}


def decisions(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class of each row of logits (n, n_out), as `Engine.predict` decides, int64 (n,)."""
    return np.asarray(values[:, 0] > 0 if values.shape[1] == 1 else values.argmax(axis=1), np.int64)


def _where(decibels: dict[str, float], least: float) -> tuple[str, float]:
    """The first layer below `least`; without one the layer with the least."""
    first = next((name for name, value in decibels.items() if value < least), None)
    name = min(decibels, key=lambda name: decibels[name]) if first is None else first
    return name, decibels[name]


def _real(model: Model, name: str, tensors: dict[str, NDArray[np.generic]]) -> NDArray[np.generic]:
    """A layer's outputs as real values."""
    layer = next(layer for layer in model.layers if layer.name == name)
    values = tensors[f"{name}.output"]
    if isinstance(layer, QuantizedDense) and layer.final_grid is not None:
        return dequantize(values.astype(layer.final_grid.dtype), layer.final_grid)
    return values


def _constant_text(constant: NDArray[np.int64], rows: NDArray[np.float32]) -> str:
    features = f"{len(constant):,} of {rows.shape[1]:,} features are" if len(constant) > 1 else "a feature is"
    first = int(constant[0])
    seen = f"first feature {first}, always {rows[0, first]:g}"
    return f"{features} constant in the calibration rows and not in the held-out ones ({seen})"


def _clipped_layers(model: Model, small: Model, held_out: NDArray[np.float32]) -> list[str]:
    """Layers whose outputs leave the calibrated range on many held-out values: the worst is named."""
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = trace(float_model(model), held_out[:MOST_ROWS])
    names = float_outputs(model, small)
    shares = {
        layer.name: _outside(tensors[names[layer.name]], after.input)
        for layer, after in pairwise(small.layers)
        if isinstance(after, QuantizedDense)
    }
    name = max(shares, key=lambda name: shares[name], default="")
    if not name or shares[name] <= WARN_ABOVE:
        return []
    return [f"{shares[name]:.1%} of the outputs of layer '{name}' on held-out rows lie outside its calibrated range"]


def _outside(values: NDArray[np.generic], grid: QuantParams) -> float:
    numbers = values.astype(np.float32)
    return float(np.mean((numbers < grid.low - grid.scale) | (numbers > grid.high + grid.scale)))
