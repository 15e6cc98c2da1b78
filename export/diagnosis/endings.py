"""How networks end: what becomes of the sums of the last weights, in however many layers that is spelled.

Two networks are compared before their last activation, where softmax and sigmoid hide no error. That says something
only where both end alike.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.layers import Dense, Elementwise, Layer, WeightedLayer
from edge_runtime.model import Model
from edge_runtime.numerics import Activation

_SIMPLE = (Activation("linear"), Activation("relu"))
_POINTS = np.concatenate([sign * np.geomspace(1e-6, 1e30, 200) for sign in (-1, 1)]).astype(np.float32)[np.newaxis]


def ending(model: Model) -> tuple[str, ...]:
    """The steps behind the last weights that are not linear, in words: ("leaky_relu (alpha 0.1)", "softmax").

    A scale before them may be part of the weights; one between or behind them is a step.
    """
    steps: list[str] = []
    for layer in model.layers[_last_weighted(model) :]:
        if not isinstance(layer, WeightedLayer | Elementwise):
            steps.append(type(layer).__name__)
        elif isinstance(layer, Elementwise) and steps and _scales(layer):
            steps.append("a scale")
        steps += [in_words(step) for step in _steps(layer)]
    return tuple(steps)


def ending_text(model: Model) -> str:
    """In a few words: "linear", or "relu, then softmax"."""
    return ", then ".join(ending(model)) or "linear"


def has_same_last_layers(first: Model, second: Model) -> bool:
    """Whether both come to their outputs from the same kinds of layers and activations, scales aside."""
    one, other = (
        [
            (isinstance(layer, WeightedLayer), *map(in_words, _steps(layer)))
            for layer in model.layers[_last_weighted(model) :]
        ]
        for model in (first, second)
    )
    return one == other


def in_words(activation: Activation) -> str:
    """With its parameters: "clip (min 0, max 6)"."""
    said = ", ".join(f"{name} {np.float32(value)!s}" for name, value in activation.params)  # all digits that count
    return f"{activation.name} ({said})" if said else activation.name


def ending_as(model: Model, small: Model) -> Model:
    """The float `model`, its last stages held by the layer before them if that is how `small` has them.

    Raises InputError if `small` ends in something else: it was not made of `model`.
    """
    is_alike = ending(model) == ending(small)
    if is_alike and not _have_same_last(model, small):
        model = _without_last_stages(model)
    if not is_alike or not _have_same_last(model, small):
        here, there = (f"in layer '{each.layers[-1].name}' with {ending_text(each)}" for each in (model, small))
        raise InputError(
            f"the float model ends {here}, the small model {there}: the small model was not made of the float model; "
            "give the float model that it was made of"
        )
    return model


def _have_same_last(model: Model, small: Model) -> bool:
    return in_words(_plain(model.final_activation)) == in_words(_plain(small.final_activation))


def _plain(activation: Activation) -> Activation:
    """One that is linear or a ReLU by its parameters, such as a threshold of 0, as that: files name it so."""
    with np.errstate(all="ignore"):
        values = activation(_POINTS.copy())
    return next((each for each in _SIMPLE if np.array_equal(values, each(_POINTS.copy()))), activation)


def _last_weighted(model: Model) -> int:
    """The place of the last layer with weights; 0 without any."""
    return max((at for at, layer in enumerate(model.layers) if isinstance(layer, WeightedLayer)), default=0)


def _steps(layer: Layer) -> list[Activation]:
    """What a layer does that is not linear, as activations by their names."""
    activation = _plain(layer.activation)
    last = [] if activation.name == "linear" else [activation]
    return [*_limits(layer), *last] if isinstance(layer, Elementwise) else last


def _limits(stage: Elementwise) -> list[Activation]:
    """The slope and the limits of a stage; those of a stage whose features have several are told apart by the first."""
    steps = [] if stage.slope is None else [Activation("leaky_relu", (("alpha", float(stage.slope[0])),))]
    low = -np.inf if stage.low is None else float(stage.low[0])
    high = np.inf if stage.high is None else float(stage.high[0])
    if (low, high) == (0.0, np.inf):
        return [*steps, Activation("relu")]
    largest = float(np.finfo(np.float32).max)
    ends = (("max", min(high, largest)), ("min", max(low, -largest)))
    return steps if (low, high) == (-np.inf, np.inf) else [*steps, Activation("clip", ends)]


def _without_last_stages(model: Model) -> Model:
    """Stages that do nothing, or that are one activation of a linear layer by themselves, are taken into it."""
    layers = list(model.layers)
    while len(layers) > 1 and isinstance(layers[-1], Elementwise) and isinstance(layers[-2], Dense | Elementwise):
        stage, before, steps = layers[-1], layers[-2], _steps(layers[-1])
        if _scales(stage) or not _is_uniform(stage) or len(steps) > 1:
            break
        if steps and before.activation.name != "linear":
            break
        layers[-2:] = [replace(before, activation=steps[0]) if steps else before]
    return replace(model, layers=tuple(layers), test_vectors=None)


def _scales(stage: Elementwise) -> bool:
    return bool((stage.scale != 1).any() or stage.shift.any())


def _is_uniform(stage: Elementwise) -> bool:
    return all(bool((array == array[0]).all()) for array in stage.arrays().values())
