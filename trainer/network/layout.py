"""The shape of a network, checked: sizes, activations and the layers between."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.arguments import shown
from edge_runtime.numerics import Activation
from trainer.activations import DERIVATIVES
from trainer.config import CHECKS, check_flag, check_whole
from trainer.errors import ConfigurationError
from trainer.network.layer_types import LAYER_TYPES

_WIDEST = (1 << 31) - 1


def checked_layout(
    layer_sizes: Sequence[int], activations: Sequence[str | Activation]
) -> tuple[tuple[int, ...], list[Activation]]:
    """Sizes as integers and activations as values. Raises ConfigurationError where they are not one network."""
    if isinstance(activations, (str, Activation)) or not isinstance(activations, Sequence):
        raise CHECKS.refusal("activations", activations, "a list with one name per layer")
    widths = CHECKS.items("layer_sizes", layer_sizes, "a list of numbers, such as [64, 32, 10]", is_kept=True)
    if len(widths) < 2:
        raise ConfigurationError(f"layer_sizes is {shown(list(widths))}, expected at least an input and an output size")
    sizes = tuple(check_whole("a layer size", size, 1, _WIDEST) for size in widths)
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
    named = CHECKS.items("between", between, f"a list of some of {', '.join(LAYER_TYPES)}", is_kept=True)
    kinds = (("batch_norm",) if check_flag("batch_norm", batch_norm) else ()) + named
    for kind in kinds:
        if not isinstance(kind, str) or kind not in LAYER_TYPES:
            known = ", ".join(LAYER_TYPES)
            raise ConfigurationError(f"between names layer type {shown(kind)}, expected one of {known}")
    return kinds


def describe_layout(sizes: Sequence[int], activations: Sequence[Activation]) -> str:
    """Sizes and activations as text."""
    return f"{'-'.join(map(str, sizes))} ({', '.join(map(str, activations))})"
