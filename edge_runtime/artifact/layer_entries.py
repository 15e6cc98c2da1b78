"""Layers as an artifact's header says them, and back; their arrays are members of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from edge_runtime.errors import ArtifactError
from edge_runtime.layers import (
    Dense,
    DynamicQuantizedDense,
    Elementwise,
    Int4Dense,
    Layer,
    LayerNorm,
    QuantizedDense,
    Stage,
)
from edge_runtime.numerics import FEWEST_BITS, Activation, Nibbles, QuantParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = ("float32", "float16", "int8", "int4", "int8-dynamic", "elementwise", "layer_norm")

Members: TypeAlias = "dict[str, NDArray[Any]]"


def describe_layer(layer: Layer) -> dict[str, Any]:
    """What the JSON says of a layer: everything but its arrays."""
    entry: dict[str, Any] = {"name": layer.name, "kind": _kind(layer), "activation": layer.activation.name}
    if layer.activation.params:
        entry["params"] = dict(layer.activation.params)
    if isinstance(layer, Int4Dense):
        entry["n_in"] = layer.n_in
    if isinstance(layer, QuantizedDense):
        entry["input"] = _grid_to_json(layer.input)
        if layer.output is not None:
            entry["output"] = _grid_to_json(layer.output)
        if layer.table_output is not None:
            entry["table_output"] = _grid_to_json(layer.table_output)
    if isinstance(layer, LayerNorm):
        entry |= {"epsilon": layer.epsilon, "centered": layer.centered}
    return entry


def _kind(layer: Layer) -> str:
    if isinstance(layer, Stage):
        return "layer_norm" if isinstance(layer, LayerNorm) else "elementwise"
    return f"int{layer.weight_bits}" if isinstance(layer, QuantizedDense) else layer.precision


def build_layer(index: int, entry: dict[str, Any], members: Members) -> Layer:
    """The layer that an entry of the JSON and its members describe; the members are taken out of `members`.

    Raises ArtifactError or ModelError, also for what the entry says that no layer of its kind has.
    """
    layer = _layer(index, entry, members)
    refuse_unknown(entry, describe_layer(layer), f"layer '{layer.name}' in its header")
    return layer


def _layer(index: int, entry: dict[str, Any], members: Members) -> Layer:
    name, kind = entry_of(entry.get("name"), str, "name"), entry.get("kind")
    params = entry_of(entry.get("params", {}), dict, "params")
    activation = Activation.of(
        entry_of(entry.get("activation"), str, "activation"),
        {key: _number(value, key) for key, value in params.items()},
    )
    if kind not in KINDS:
        raise ArtifactError(f"layer '{name}' has kind {kind!r}, expected one of {', '.join(KINDS)}")
    if kind == "elementwise":
        return _elementwise(name, f"layer{index}", activation, members)
    if kind == "layer_norm":
        return _layer_norm(name, f"layer{index}", activation, entry, members)
    weight, bias = take_member(members, f"layer{index}.weight"), take_member(members, f"layer{index}.bias")
    if kind in ("float32", "float16"):
        if weight.dtype.name != kind:
            raise ArtifactError(f"'{name}.weight' has dtype {weight.dtype}, expected {kind}")
        return Dense(name, weight, bias, activation)
    if kind == "int8-dynamic":
        return DynamicQuantizedDense(name, weight, bias, take_member(members, f"layer{index}.weight_scale"), activation)
    stored: Any = weight
    if kind == "int4":
        stored = Nibbles(weight, entry_of(entry.get("n_in"), int, f"{name}.n_in"))
    grid = _grid_from_json(entry.get("input"), f"{name}.input")
    if grid is None:
        raise ArtifactError(f"layer '{name}' has no input grid")
    table_output = _grid_from_json(entry.get("table_output"), f"{name}.table_output")
    return (Int4Dense if kind == "int4" else QuantizedDense)(
        name=name,
        weight=stored,
        bias=bias,
        multiplier=take_member(members, f"layer{index}.multiplier"),
        input=grid,
        output=_grid_from_json(entry.get("output"), f"{name}.output"),
        activation=activation,
        table=None if table_output is None else take_member(members, f"layer{index}.table"),
        table_output=table_output,
    )


def _elementwise(name: str, prefix: str, activation: Activation, members: Members) -> Elementwise:
    scale, shift = (take_member(members, f"{prefix}.{key}") for key in ("scale", "shift"))
    low, high, slope = (members.pop(f"{prefix}.{key}", None) for key in ("low", "high", "slope"))
    return Elementwise(name, scale, shift, activation, low, high, slope)


def _layer_norm(name: str, prefix: str, activation: Activation, entry: dict[str, Any], members: Members) -> LayerNorm:
    gamma, beta = (take_member(members, f"{prefix}.{key}") for key in ("gamma", "beta"))
    epsilon, centered = _number(entry.get("epsilon"), f"{name}.epsilon"), entry.get("centered")
    if not isinstance(centered, bool):
        raise ArtifactError(f"'{name}.centered' in its header is {str(centered)[:60]!r}, expected true or false")
    return LayerNorm(name, gamma, beta, epsilon, activation, centered)


def _grid_to_json(grid: QuantParams) -> list[float]:
    """JSON keeps every bit of a float: Python prints the shortest that reads back."""
    return [grid.scale, grid.zero_point, *([grid.bits] if grid.bits > FEWEST_BITS else [])]


def _grid_from_json(value: Any, what: str) -> QuantParams | None:
    if value is None:
        return None
    entry = entry_of(value, list, what)
    if len(entry) not in (2, 3):
        raise ArtifactError(f"'{what}' has {len(entry)} values, expected a scale, a zero point and, above 8, the bits")
    if len(entry) == 3 and entry[2] == FEWEST_BITS:
        raise ArtifactError(f"'{what}' states {FEWEST_BITS} bits, expected a third value above {FEWEST_BITS} only")
    return QuantParams(_number(entry[0], what), *(entry_of(number, int, what) for number in entry[1:]))


def refuse_unknown(entry: dict[str, Any], known: Iterable[str], what: str) -> None:
    """Raise ArtifactError for keys of `entry` beyond `known`: whoever wrote them meant something by them."""
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise ArtifactError(f"{what} has unknown keys {str(unknown)[:80]}; install the smallnet that wrote it")


def entry_of(value: Any, kind: Any, what: str) -> Any:
    """`value`, which the header gives for `what`. Raises ArtifactError for another type than `kind`."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ArtifactError(f"'{what}' in its header is {str(value)[:60]!r}, expected another type")
    return value


def _number(value: Any, what: str) -> float:
    try:
        return float(entry_of(value, (int, float), what))
    except OverflowError:
        raise ArtifactError(f"'{what}' in its header is too large for a float") from None


def take_member(members: Members, name: str) -> NDArray[Any]:
    """A member, taken out of `members`. Raises ArtifactError for one that is not there."""
    if name not in members:
        raise ArtifactError(f"member '{name}' is missing; export the model again")
    return members.pop(name)
