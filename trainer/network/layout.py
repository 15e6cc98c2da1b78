"""The shape of a network, checked: sizes, activations and the layers between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge_runtime.numerics import Activation
from trainer.activations import DERIVATIVES
from trainer.config import check_flag, check_whole
from trainer.errors import ConfigurationError
from trainer.network.layer_types import LAYER_TYPES

_WIDEST = (1 << 31) - 1


def checked_layout(
    layer_sizes: Sequence[int], activations: Sequence[str | Activation]
) -> tuple[tuple[int, ...], list[Activation]]:
    """Sizes as integers and activations as values. Raises ConfigurationError where they are not one network."""
    if isinstance(activations, (str, Activation)) or not isinstance(activations, Sequence):
        raise ConfigurationError(f"activations is {activations!r}, expected a list with one name per layer")
    is_list = hasattr(layer_sizes, "__len__") and hasattr(layer_sizes, "__iter__") and not isinstance(layer_sizes, str)
    if not is_list:
        raise ConfigurationError(
            f"layer_sizes is {layer_sizes!r:.80}, expected a list of numbers, such as [64, 32, 10]"
        )
    if len(layer_sizes) < 2:
        raise ConfigurationError(f"layer_sizes is {list(layer_sizes)}, expected at least an input and an output size")
    sizes = tuple(check_whole("a layer size", size, 1, _WIDEST) for size in layer_sizes)
    if len(activations) != len(sizes) - 1:
        raise ConfigurationError(
            f"{len(activations)} activations for {len(sizes)} layer sizes, expected {len(sizes) - 1}: "
            "one for each layer after the input"
        )
    kinds = [Activation.of(activation) for activation in activations]
    unknown = [kind.name for kind in kinds if kind.name not in DERIVATIVES and kind.name != "softmax"]
    if unknown:
        known = ", ".join(sorted({*DERIVATIVES, "softmax"}))
        raise ConfigurationError(f"activation {unknown[0]!r} can be run but not trained; expected one of {known}")
    if any(kind.name == "softmax" for kind in kinds[:-1]):
        raise ConfigurationError("softmax stands before the last layer, expected it on the last layer only")
    return sizes, kinds


def checked_between(between: Sequence[str], batch_norm: bool) -> tuple[str, ...]:
    """The types of layers between, batch_norm first. Raises ConfigurationError for an unknown one."""
    if isinstance(between, str) or not isinstance(between, Iterable):
        raise ConfigurationError(f"between is {between!r:.80}, expected a list of some of {', '.join(LAYER_TYPES)}")
    check_flag("batch_norm", batch_norm)
    kinds = (("batch_norm",) if batch_norm else ()) + tuple(between)
    for kind in kinds:
        if kind not in LAYER_TYPES:
            raise ConfigurationError(f"between names layer type {kind!r}, expected one of {', '.join(LAYER_TYPES)}")
    return kinds


def describe_layout(sizes: Sequence[int], activations: Sequence[Activation]) -> str:
    """Sizes and activations as text."""
    return f"{'-'.join(map(str, sizes))} ({', '.join(map(str, activations))})"
