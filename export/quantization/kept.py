"""Layers that stay in another precision than the rest of their network: which may be named, and what they may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge_runtime.arguments import shown
from edge_runtime.errors import QuantizationError
from edge_runtime.files import printable, shortened
from edge_runtime.layers import Stage
from edge_runtime.model import Model
from export.quantization.recipe import FLOATS, INTEGERS, KEPT

_KEY = "kept_layers"  # of the metadata


def checked_keep(model: Model, precision: str, keep: Mapping[str, str]) -> dict[str, str]:
    """`keep`, precisions by the names of layers, without those that are `precision` in any case.

    Raises QuantizationError for names that are no layer with weights of the model, for all of them together, and for a
    precision that a layer cannot have beside `precision`.
    """
    if keep and precision == "float32":
        raise QuantizationError(
            f"keep names {_quoted(keep)} in precision float32, in which every layer stays as it is; leave keep out, or "
            "take a precision that makes weights smaller"
        )
    for name, wanted in keep.items():
        _check_name(model, name)
        _check_beside(name, wanted, precision)
    kept = {name: wanted for name, wanted in keep.items() if wanted != precision}
    if kept and set(kept) == set(_weighted(model)):
        raise QuantizationError(
            f"keep names every layer with weights ({_quoted(kept)}), and none is left for {precision}; leave one out, "
            "or take another precision"
        )
    return kept


def kept_note(keep: Mapping[str, str]) -> dict[str, str]:
    """As the metadata of a model have it."""
    return {_KEY: ", ".join(f"{name} {precision}" for name, precision in keep.items())} if keep else {}


def without_note(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata of a model whose layers are no longer kept."""
    return {key: text for key, text in metadata.items() if key != _KEY}


def _check_name(model: Model, name: str) -> None:
    if name in _weighted(model):
        return
    if any(layer.name == name for layer in model.layers):
        raise QuantizationError(
            f"keep names '{printable(name)}', a stage without weights, which is computed in floats in every precision; "
            f"expected one of {_quoted(_weighted(model))}"
        )
    raise QuantizationError(
        f"keep names {shown(name)}, expected a layer of this network: one of {_quoted(_weighted(model))}"
    )


def _check_beside(name: str, wanted: str, precision: str) -> None:
    """Grids of single layers are found from calibration rows, which the precisions without grids do not look at."""
    allowed = KEPT if precision in (*INTEGERS, "auto") else FLOATS
    if wanted in allowed:
        return
    raise QuantizationError(
        f"keep[{name!r}] is {wanted!r} in precision {precision}, which looks at no calibration rows, expected one of "
        f"{', '.join(allowed)}; for integers among floats take precision {wanted} and keep the other layers"
    )


def _weighted(model: Model) -> list[str]:
    return [layer.name for layer in model.layers if not isinstance(layer, Stage)]


def _quoted(names: Iterable[str]) -> str:
    return shortened(", ".join(f"'{printable(name)}'" for name in names), 200)
