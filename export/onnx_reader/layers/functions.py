"""Which activation is this function? It is asked for its values, so that no spelling has to be known.

A function that was put together from several nodes is compared with every activation of the runtime, in float64, at
some thousand points on both sides of zero; the parameters of a candidate are read off the function itself. Constants
that a file keeps in float32 move a value by a few parts in ten million, which is what the comparison allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.errors import ModelError
from edge_runtime.numerics import DEFINITIONS, Activation
from export.onnx_reader.nodes import Unsupported
from export.onnx_reader.steps import IDENTITY, Affine, Bend, Function, RowFunction, Step, composed

Pieces = list[Affine | Activation | Bend]

_TOLERANCE = 5e-7
_ALWAYS_FINITE = 80.0  # further out, a spelling such as log(1 + exp(x)) may overflow where the activation does not
_MOST_STEPS = 64
_LARGEST = float(np.finfo(np.float32).max)
_FAR = 2.0**20  # there, what grows as its input does is a straight line

_NEAR = np.concatenate([np.linspace(-80.0, 80.0, 3201), np.linspace(-2.0, 2.0, 1001) + 1e-4])
_FURTHER = np.geomspace(1e-6, 1e30, 145)
PROBES = np.unique(np.concatenate([_NEAR, _FURTHER, -_FURTHER]))


def pieces(run: list[Step]) -> Pieces:
    """A run of elementwise steps as affine maps, bends and activations in turn, neighbouring affine maps merged.

    Raises Unsupported for a function that is none of the runtime's.
    """
    if len(run) > _MOST_STEPS:
        run = _merged_steps(run)
    found: Pieces = []
    start = 0
    while start < len(run):
        made, start = _next_pieces(run, start)
        for piece in made:
            _append(found, piece)
    return [piece for piece in found if not (isinstance(piece, Affine) and piece.is_identity)]


def _append(found: list[Any], step: Any) -> None:
    """One more step, merged with the last one if both are affine maps."""
    if isinstance(step, Affine) and found and isinstance(found[-1], Affine):
        found[-1] = found[-1].then(step)
    else:
        found.append(step)


def _merged_steps(run: list[Step]) -> list[Step]:
    """Neighbouring affine maps as one. Raises Unsupported where the run stays too long to be an activation."""
    merged: list[Step] = []
    for step in run:
        _append(merged, step)
    if len(merged) > _MOST_STEPS:
        first = next(step.node for step in merged if isinstance(step, Function))
        raise Unsupported(
            f"{len(merged)} functions follow one another without a layer between them, expected {_MOST_STEPS} at most"
        ).at(first)
    return merged


def _next_pieces(run: list[Step], start: int) -> tuple[Pieces, int]:
    """The longest stretch from `start` that is one activation, else one step, perhaps an activation times a number."""
    step = run[start]
    if isinstance(step, RowFunction):
        return [step.activation], start + 1
    if isinstance(step, Bend) or (isinstance(step, Affine) and not step.is_uniform):
        return [step], start + 1
    if isinstance(step, Function) and step.rounds:
        words = "it is part of a function whose values are rounded on the way; supported is that between quantizers"
        raise Unsupported(words).at(step.node)
    is_named = isinstance(step, Function) and step.activation is not None
    stretch = list(takewhile(_is_uniform, run[start:]))
    functions = [start + index for index, each in enumerate(stretch) if isinstance(each, Function)]
    for end in range(start + len(stretch), start, -1):
        if functions and end > functions[0] and (end > start + 1 or not is_named):
            found = recognized(partial(composed, run[start:end]))
            if found is not None:
                return [found], end
    if isinstance(step, Affine):
        return [step], start + 1
    assert isinstance(step, Function)
    if step.activation is not None:
        return [step.activation], start + 1
    scaled = _scaled(step.call)
    if scaled is None:
        raise Unsupported(
            "it is part of a function that is no activation of this runtime; supported are "
            f"{', '.join(name for name in DEFINITIONS if name != 'linear')}"
        ).at(step.node)
    return scaled, start + 1


def _scaled(function: Callable[[Array], Array]) -> Pieces | None:
    """An activation times a number, x * relu6(x + 3) is 6 hard_swish(x), or of a multiple: 10^x is exp(2.3 x)."""
    with np.errstate(all="ignore"):
        slope = float(np.asarray(function(np.array([_FAR]))).ravel()[0]) / _FAR
        rate = np.log(float(np.asarray(function(np.array([1.0]))).ravel()[0]))
    found = recognized(lambda x: function(x) / slope) if np.isfinite(slope) and slope != 0 else None
    if found is not None:
        return [found, Affine(np.array(slope), np.array(0.0))]
    found = recognized(lambda x: function(x / rate)) if np.isfinite(rate) and rate != 0 else None
    return None if found is None else [Affine(np.array(rate), np.array(0.0)), found]


def _is_uniform(step: Step) -> bool:
    if isinstance(step, Function):
        return not step.rounds
    return isinstance(step, Affine) and step.is_uniform


def recognized(function: Callable[[Array], Array]) -> Activation | Affine | None:
    """The activation with the function's values, or an affine map; None where it is neither."""
    with np.errstate(all="ignore"):
        values = np.broadcast_to(np.asarray(function(PROBES.copy()), np.float64), PROBES.shape)
        if not np.isfinite(values[np.abs(PROBES) <= _ALWAYS_FINITE]).all():
            return None
        for candidate in _candidates(lambda x: float(np.asarray(function(np.array([x]))).ravel()[0])):
            if _agree(candidate(PROBES.copy()), values):
                return candidate
    return None


def _agree(expected: Array, values: Array) -> bool:
    reach = np.maximum(1.0, _reach(expected))
    size = np.abs(values / reach)[np.abs(PROBES) <= _ALWAYS_FINITE].max()  # relu(x) / 1e7 is no straight line
    close = np.abs(expected - values) <= _TOLERANCE * reach * min(1.0, size)
    return bool((close | ~np.isfinite(values)).all())


def _reach(expected: Array) -> Array:
    """What roundings are in parts of: the value; or x, but not where the function stays below it on both sides.

    (1 + a) x + (1 - a) |x| is -2 a |x| below 0, rounded as x is; sigmoid(x / 1e6) is no straight line that is cut off.
    """
    size = np.where(np.isfinite(expected), np.abs(expected), 0.0)
    outwards = np.argsort(np.abs(PROBES), kind="stable")
    largest = np.empty_like(size)
    largest[outwards] = np.maximum.accumulate(size[outwards])
    return np.maximum(size, np.minimum(np.abs(PROBES), largest))


_WITHOUT_PARAMETERS = [
    name for name, known in DEFINITIONS.items() if not known.defaults and not known.is_over_row and name != "linear"
]


def _candidates(value: Callable[[float], float]) -> Iterator[Activation | Affine]:
    """Activations with the parameters that the function would have if it were one of them."""
    zero, one, minus_one = value(0.0), value(1.0), value(-1.0)
    yield IDENTITY
    yield from map(Activation.of, _WITHOUT_PARAMETERS)
    guesses: list[tuple[str, dict[str, float]]] = [
        ("leaky_relu", {"alpha": -minus_one}),
        ("clip", {"min": value(-_LARGEST), "max": value(_LARGEST)}),
        ("swish", {"alpha": float(np.log(np.float64(one) / (1.0 - one)))}),
        ("elu", {"alpha": -value(-60.0)}),
        ("hard_sigmoid", {"alpha": (value(2.0**-10) - zero) * 2.0**10, "beta": zero}),
        ("celu", {"alpha": -value(-1e6)}),
        ("selu", {"alpha": -value(-60.0) / one if one and value(-60.0) else math.nan, "gamma": one}),  # no scaled relu
        ("threshold", {"threshold": _edge(value, -_ALWAYS_FINITE), "value": value(-_ALWAYS_FINITE)}),
        ("shrink", {"bias": _ALWAYS_FINITE - value(_ALWAYS_FINITE), "lambd": _edge(value, 0.0)}),
    ]
    for name, params in guesses:
        try:
            yield Activation.of(name, {key: _as_stored(number) for key, number in params.items()})
        except ModelError:  # a parameter that is not finite: not this one
            continue
    if np.isfinite([zero, one]).all():
        yield Affine(np.array(one - zero), np.array(zero))


def _edge(value: Callable[[float], float], start: float) -> float:
    """Up to where a function keeps the value that it has at `start`, if that is one stretch; NaN if it has no end."""
    level, low, high = value(start), start, _ALWAYS_FINITE - 1 / 7  # so that no middle is the level itself
    if value(high) == level:
        return math.nan
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if value(middle) == level else (low, middle)
    return low


def _as_stored(number: float) -> float:
    """The float32 number that a parameter was, where it is one but for the rounding on the way."""
    single = float(np.float32(number))
    return single if abs(single - number) <= 1e-6 * abs(number) else number
