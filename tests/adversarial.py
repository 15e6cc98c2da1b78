"""Random int8 networks that sit where implementations differ: exact ties, awkward scales, saturation, every zero point.

They are made directly, grid by grid, and not by calibration, so that no well-behaved data smooths them.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from edge_runtime import Activation, Elementwise, LayerNorm, Model, QuantizedDense, QuantParams, Standardization
from edge_runtime.layers import MOST_TABLE_BITS, Int4Dense, Layer
from edge_runtime.numerics import INT32_LIMIT, certificate

HIDDEN = ("relu", "linear", "leaky_relu", "tanh")


def _scale(rng):
    """A float32 scale: a power of two, a decimal one, or any from 1e-6 to 1e4."""
    kind = rng.integers(3)
    if kind == 0:
        value = 2.0 ** rng.integers(-12, 6)
    elif kind == 1:
        value = rng.integers(1, 100) * 10.0 ** rng.integers(-5, 2)
    else:
        value = 10.0 ** rng.uniform(-6, 4)
    return float(np.float32(value))


def _zero_point(rng):
    return int(rng.choice([0, 1, 3, 127, 128, 254, 255, int(rng.integers(0, 256))]))


def _multiplier(rng, n_out, reach, has_output):
    """Multipliers that put the sums of typical size around the grid's width; dyadic ones make exact ties."""
    base = np.exp2(rng.integers(-3, 3, n_out)) * (200.0 / max(reach, 1.0) if has_output else _scale(rng))
    if rng.random() < 0.5:
        base = np.exp2(np.rint(np.log2(base)))  # dyadic: accumulators of half a step occur
        base *= rng.choice([1.0, 0.5, 1.5], n_out)
    return np.maximum(base, 1e-30).astype(np.float32)


def adversarial_model(seed: int, sizes=None, zero_point=None) -> Model:
    """1 to 5 layers, 1 to 5,000 inputs, widths 1 to 40, unless sizes or the input's zero point are given."""
    rng = np.random.default_rng(seed)
    if sizes is None:
        depth = int(rng.integers(1, 6))
        n_in = int(rng.choice([1, 2, 3, 7, 64, 129, 784, int(rng.integers(1, 5001))]))
        sizes = [n_in, *(int(rng.integers(1, 41)) for _ in range(depth))]
    depth, n_in = len(sizes) - 1, sizes[0]
    grid = QuantParams(_scale(rng), _zero_point(rng) if zero_point is None else zero_point)
    layers = []
    for index in range(depth):
        layer = _layer(rng, index, sizes[index], sizes[index + 1], grid, is_last=index == depth - 1)
        layers.append(layer)
        grid = layer.final_grid
    preprocessing = None
    if rng.random() < 0.3:
        mean, inv_std = rng.normal(size=n_in), rng.uniform(0.1, 10.0, size=n_in)
        preprocessing = Standardization(mean.astype(np.float32), inv_std.astype(np.float32))
    return Model(tuple(layers), preprocessing)


def in_int4(model: Model, every: int = 1) -> Model:
    """The same network with the high four bits of its weights, all in -8..7, in every so many layers."""
    layers = [layer if at % every else _layer_in_int4(layer) for at, layer in enumerate(model.layers)]
    return replace(model, layers=tuple(layers))


def _layer_in_int4(layer: Layer) -> Layer:
    if not isinstance(layer, QuantizedDense):
        return layer
    values = {field.name: getattr(layer, field.name) for field in fields(layer)}
    return Int4Dense(**{**values, "weight": layer.weight >> 4})


def fine_adversarial_model(seed: int) -> Model:
    """The same with grids of 8 to 16 bits, most of them as many as the layer behind allows: weights up to its limit."""
    model, rng = adversarial_model(seed), np.random.default_rng(seed + 3_000_000)
    grid, layers = _finer(rng, model.layers[0].input), []
    for layer in model.layers:
        layers.append(_on_finer_grids(rng, layer, grid))
        grid = layers[-1].final_grid
    return replace(model, layers=tuple(layers))


def _finer(rng, grid, most=16):
    """Another number of bits for the same range, and the zero point at the same place or beside it."""
    bits = int(rng.choice([most, most, int(rng.integers(8, most + 1))]))
    zero_point = grid.zero_point * (2**bits - 1) // 255 + int(rng.integers(-1, 2))
    scale = float(np.float32(grid.scale * 2.0 ** (8 - bits)))
    return QuantParams(scale, min(max(zero_point, 0), 2**bits - 1), bits)


def _on_finer_grids(rng, layer, grid):
    weight, bias = layer.weight, (layer.bias * (2.0 ** (grid.bits - 8))).clip(-(2**30), 2**30).astype(np.int32)
    while certificate(weight, bias, grid.zero_point, grid.bits) >= INT32_LIMIT:
        weight, bias = (weight * 0.7).astype(np.int8), (bias * 0.7).astype(np.int32)
    output, table, table_output = layer.output, None, None
    if output is not None:
        output = _finer(rng, output, 16 if layer.table is None else MOST_TABLE_BITS)
    if layer.table is not None:
        table_output = _finer(rng, layer.table_output)
        table = rng.integers(0, table_output.top + 1, 2**output.bits).astype(table_output.dtype)
    steps = 1 if output is None else 2.0 ** (output.bits - grid.bits)  # of sums, for the same share of the output grid
    multiplier = (layer.multiplier * np.float32(steps)).clip(1e-30)
    return replace(
        layer, weight=weight, bias=bias, multiplier=multiplier, input=grid, output=output, table=table,
        table_output=table_output,
    )  # fmt: skip


def staged_adversarial_model(seed: int, make=adversarial_model) -> Model:
    """The same with stages in floats, at the start, between layers or at the end: maps by feature, normalizations."""
    model, rng = make(seed), np.random.default_rng(seed + 2_000_000)
    layers = [_stage(rng, "start", model.n_in, 1.0)] if rng.random() < 0.3 else []
    for index, layer in enumerate(model.layers):
        is_last = index == len(model.layers) - 1
        if rng.random() < (0.3 if is_last else 0.6):
            unit = 1.0 if layer.output is None else layer.output.scale
            multiplier = np.maximum(layer.multiplier * np.float32(unit), np.float32(1e-30))
            layers += [_in_floats(layer, multiplier), _stage(rng, f"stage{index}", layer.n_out, unit * 50)]
        else:
            layers.append(layer)
    if not any(isinstance(layer, Elementwise | LayerNorm) for layer in layers):
        layers.append(_stage(rng, "end", model.n_out, 1.0))
    return replace(model, layers=tuple(layers))


def _in_floats(layer: QuantizedDense, multiplier: np.ndarray) -> QuantizedDense:
    return replace(layer, multiplier=multiplier, output=None, table=None, table_output=None)


def _stage(rng, name, n, size) -> Elementwise | LayerNorm:
    """On values of about this size."""
    if rng.random() < 0.4:
        gamma, beta = (rng.normal(size=n) * size).astype(np.float32), (rng.normal(size=n) * size).astype(np.float32)
        epsilon = float(np.float32(rng.choice([1e-5, 1e-3, 1e-12]) * size * size))
        return LayerNorm(name, gamma, beta, epsilon, Activation.of("linear"), bool(rng.random() < 0.6))
    factors = np.exp2(rng.integers(-3, 3, n)) * rng.choice([1.0, -1.0, 1.5], n)  # dyadic: ties stay ties
    scale = (factors if rng.random() < 0.7 else np.ones(n)).astype(np.float32)
    shift = (rng.normal(size=n) * size if rng.random() < 0.5 else np.zeros(n)).astype(np.float32)
    slope = rng.choice([0.0, 0.25, -0.5, 1.0, 2.0], n).astype(np.float32) if rng.random() < 0.4 else None
    low = (-rng.uniform(0.2, 3, n) * size).astype(np.float32) if rng.random() < 0.5 else None
    high = (rng.uniform(0.2, 3, n) * size).astype(np.float32) if rng.random() < 0.5 else None
    activation = Activation.of(str(rng.choice(["linear", "linear", "relu", "tanh", "abs"])))
    return Elementwise(name, scale, shift, activation, low, high, slope)


def _layer(rng, index, n_in, n_out, grid, is_last):
    limit = int(rng.choice([1, 15, 63, 64, 127]))
    weight = rng.integers(-limit, limit + 1, (n_in, n_out)).astype(np.int8)
    if rng.random() < 0.2:
        weight[:, rng.integers(n_out)] = 0
    reach = float(np.abs(weight.astype(np.int64)).sum(axis=0).mean() * 100)
    bias = (rng.normal(size=n_out) * reach * rng.choice([0.0, 0.1, 1.0])).astype(np.int32)
    activation = Activation.of("linear" if is_last else str(rng.choice(HIDDEN)))
    output = None if is_last else QuantParams(_scale(rng), 0 if activation.name == "relu" else _zero_point(rng))
    if activation.name == "relu" and rng.random() < 0.3 and output is not None:
        output = QuantParams(output.scale, _zero_point(rng))  # legal, and no other exporter writes it
    table, table_output = None, None
    if activation.name == "tanh":
        table, table_output = rng.integers(0, 256, 256).astype(np.uint8), QuantParams(_scale(rng), _zero_point(rng))
    return QuantizedDense(
        name=f"dense{index}",
        weight=weight,
        bias=bias,
        multiplier=_multiplier(rng, n_out, reach, not is_last),
        input=grid,
        output=output,
        activation=activation,
        table=table,
        table_output=table_output,
    )


def adversarial_rows(model: Model, seed: int) -> np.ndarray:
    """1 to 64 rows: exact ties of the input grid and their neighbours, far saturation, NaN and inf, plain values."""
    rng = np.random.default_rng(seed + 1_000_000)
    n = int(rng.choice([1, 2, 5, 64]))
    grid = next(layer.input for layer in model.layers if isinstance(layer, QuantizedDense))
    scale = np.float32(grid.scale)
    steps = rng.integers(-300, 560, (n, model.n_in)) - grid.zero_point
    steps = steps if grid.bits == 8 else rng.integers(-99, grid.top + 99, steps.shape) - grid.zero_point
    rows = (steps + np.where(rng.random(steps.shape) < 0.5, 0.5, 0.0)).astype(np.float32) * scale
    nudged = rng.random(rows.shape)
    rows = np.where(nudged < 0.1, np.nextafter(rows, np.float32(np.inf)), rows)
    rows = np.where(nudged > 0.9, np.nextafter(rows, np.float32(-np.inf)), rows)
    special = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0, 1e-45], np.float32)
    at = rng.random(rows.shape) < 0.01
    rows[at] = rng.choice(special, int(at.sum()))
    if model.preprocessing is not None:
        rows = rows / model.preprocessing.inv_std + model.preprocessing.mean
    return rows.astype(np.float32)
