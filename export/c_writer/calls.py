"""A model as the calls that C makes one after the other, and the buffers between them.

Codes (uint8) lie in `scratch->a` and `scratch->b` by turns, values (float32) in `scratch->u` and `scratch->v`; a stage
works where its input lies. The input is `x`, the output `y`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge_runtime.layers import Dense, Elementwise, Layer, LayerNorm, QuantizedDense
from edge_runtime.model import Model
from edge_runtime.numerics import Activation


@dataclass(frozen=True, eq=False)
class CCall:
    """One call. kind: which; layer: the number of the model's layer, -1 before the first. n: values that it gives.

    kinds: "codes" (codes to codes), "values" (codes to values), "dense", "map", "norm", "standardize", "quantize" and
    "activate" (values to values, all that is not said). place: the number of its data among those of its kind.
    checked: the tensor of `edge_runtime.reference.trace` that it completes, or "".
    """

    kind: str
    layer: int
    place: int
    source: str
    target: str
    n: int
    of: Any = None
    checked: str = ""


@dataclass
class CCalls:
    """The steps of a model, as they are added. sizes: of the buffers that are used."""

    at: str = "x"
    steps: list[CCall] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, layer: int, n: int, of: Any, *, target: str = "", checked: str = "") -> None:
        """A step from where the values are to `target`: by default the other buffer of its kind."""
        target = target or self._free("ab" if kind in ("codes", "quantize") else "uv")
        place = sum(step.kind == kind for step in self.steps)
        self.steps.append(CCall(kind, layer, place, self.at, target, n, of, checked))
        if target.startswith("scratch->"):
            self.sizes[target[-1]] = max(n, self.sizes.get(target[-1], 0))
        self.at = target

    def _free(self, pair: str) -> str:
        return f"scratch->{pair[1] if self.at == f'scratch->{pair[0]}' else pair[0]}"


def starts_with_codes(model: Model) -> bool:
    """Whether the first layer is int8: then a caller may give codes, and C quantizes (and standardizes) raw values."""
    return isinstance(model.layers[0], QuantizedDense)


def calls_of(model: Model, *, logits: bool = False) -> CCalls:
    """The steps from the input, which is codes if `starts_with_codes`, to the output `y`."""
    chain = CCalls()
    on_grid = starts_with_codes(model)
    if model.preprocessing is not None and not on_grid:
        chain.add("standardize", -1, model.n_in, model.preprocessing, checked="input.standardized")
    for index, layer in enumerate(model.layers):
        is_last = index == len(model.layers) - 1
        if isinstance(layer, QuantizedDense) and not on_grid:
            chain.add("quantize", index, layer.n_in, layer.input, checked=f"{layer.name}.quantized_input")
        on_grid = isinstance(layer, QuantizedDense) and layer.output is not None
        _add_layer(chain, index, layer, is_last=is_last)
        if not on_grid and not (is_last and logits):
            _add_activation(chain, index, layer.activation, layer.n_out, "" if is_last else f"{layer.name}.output")
    return chain


def _add_layer(chain: CCalls, index: int, layer: Layer, *, is_last: bool) -> None:
    is_codes = isinstance(layer, QuantizedDense)
    target = "y" if is_last else ""
    if isinstance(layer, QuantizedDense) and layer.output is not None:
        chain.add("codes", index, layer.n_out, layer, checked=f"{layer.name}.output")
    else:
        if isinstance(layer, Elementwise | LayerNorm) and chain.at.startswith("scratch") and not is_last:
            target = chain.at
        kind = "values" if is_codes else _KINDS[type(layer)]
        is_done = is_last or layer.activation.name == "linear"
        name = f"{layer.name}.{'scaled' if is_codes else 'preactivation'}"
        chain.add(kind, index, layer.n_out, layer, target=target, checked=name if is_done else "")


_KINDS: dict[type, str] = {Dense: "dense", Elementwise: "map", LayerNorm: "norm"}


def _add_activation(chain: CCalls, index: int, activation: Activation, n: int, checked: str) -> None:
    if activation.name != "linear":
        chain.add("activate", index, n, activation, target=chain.at, checked=checked)
