"""Where two models differ: in their layers, array by array in every bit, in what stands beside these, and on rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_runtime.layers import Layer
from edge_runtime.model import Model
from export.diagnosis.on_rows import RowDifference

Values: TypeAlias = tuple[Any, Any]  # of the first model and of the second; None for what is not there


@dataclass(frozen=True)
class ArrayDifference:
    """An array of both models. differing: values of other bits, of `size`; None if shapes or types are others.

    largest: the largest difference of two values; None if the shapes are others.
    """

    name: str
    size: int
    differing: int | None
    largest: float | None


@dataclass(frozen=True)
class LayerDifference:
    """A layer of both models, or of one. facts: what differs of its sizes, precision, activation, grids and settings.

    arrays: those that differ, weights unpacked, of two layers of one kind. bytes: that each model stores for it.
    """

    name: str
    facts: dict[str, Values]
    arrays: tuple[ArrayDifference, ...]
    bytes: Values

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.facts and not self.arrays


@dataclass(frozen=True)
class Difference:
    """Where two models differ. facts: of the models as wholes, metadata under "metadata KEY". rows: how they answer.

    rows: None if they take or give other numbers of values.
    """

    layers: tuple[LayerDifference, ...]
    facts: dict[str, Values]
    rows: RowDifference | None

    @property
    def same(self) -> bool:
        """Whether all that a model holds is the same in every bit."""
        return not self.facts and all(layer.same for layer in self.layers)

    @property
    def is_spelling(self) -> bool:
        """Whether layers are written otherwise and no tensor differs on the rows, nor a bit of arrays of one kind."""
        arrays = [array for layer in self.layers for array in layer.arrays]
        is_alike = self.rows is not None and self.rows.tensor is None and self.rows.has_same_tensors
        return is_alike and not arrays and not all(layer.same for layer in self.layers)

    def __repr__(self) -> str:
        """In one line."""
        layers = sum(not layer.same for layer in self.layers)
        found = "the same in every bit" if self.same else f"{layers:,} layers and {len(self.facts):,} facts differ"
        return f"Difference({found})"

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "same": self.same,
            "spelling": self.is_spelling,
            "layers": [_layer_dict(layer) for layer in self.layers],
            "facts": {name: list(values) for name, values in self.facts.items()},
            "rows": None if self.rows is None else self.rows.as_dict(),
        }


def compare_models(first: Model, second: Model) -> Difference:
    """All that the models hold; on which rows they answer otherwise, `row_difference` says."""
    pairs = list(_paired(first, second))
    return Difference(tuple(_layer(one, other) for one, other in pairs), _facts(first, second), None)


def _paired(first: Model, second: Model) -> Iterator[tuple[Layer | None, Layer | None]]:
    """Layers of the same name; if none has one that the other has too, those at the same place."""
    theirs = {layer.name: layer for layer in second.layers}
    if not theirs.keys() & {layer.name for layer in first.layers}:
        count = max(len(first.layers), len(second.layers))
        sides = ([*model.layers, *[None] * (count - len(model.layers))] for model in (first, second))
        yield from zip(*sides, strict=True)
        return
    for layer in first.layers:
        yield layer, theirs.pop(layer.name, None)
    for layer in theirs.values():
        yield None, layer


def _layer(one: Layer | None, other: Layer | None) -> LayerDifference:
    name = (one or other).name  # type: ignore[union-attr]
    stored = (_stored(one), _stored(other))
    mine, theirs = _described(one), _described(other)
    facts = {key: (mine.get(key), theirs.get(key)) for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)}
    arrays = tuple(_arrays(one, other)) if type(one) is type(other) else ()
    return LayerDifference(name, facts, arrays, stored)


def _stored(layer: Layer | None) -> int | None:
    return None if layer is None else sum(array.nbytes for array in layer.arrays().values())


def _described(layer: Layer | None) -> dict[str, Any]:
    """What a layer is, but for its arrays."""
    if layer is None:
        return {}
    facts: dict[str, Any] = {
        "name": layer.name,
        "kind": type(layer).__name__,
        "shape": [layer.n_in, layer.n_out],
        "precision": layer.precision,
        "activation": layer.activation.name,
        **{f"activation's {key}": value for key, value in layer.activation.params},
    }
    for key in ("input", "output", "table_output"):
        grid = getattr(layer, key, None)
        facts[f"{key} grid"] = None if grid is None else vars(grid)
    return facts | {key: getattr(layer, key, None) for key in ("epsilon", "centered")}


def _arrays(one: Layer | None, other: Layer | None) -> Iterator[ArrayDifference]:
    """Of the arrays that both have or one has."""
    assert one is not None
    assert other is not None
    mine, theirs = (_unpacked(layer) for layer in (one, other))
    for name in {**mine, **theirs}:
        difference = array_difference(name, mine.get(name), theirs.get(name))
        if difference.differing != 0:
            yield difference


def _unpacked(layer: Layer) -> dict[str, NDArray[Any]]:
    weight = getattr(layer, "weight", None)
    return {**layer.arrays(), **({} if weight is None else {"weight": weight})}


def array_difference(name: str, one: NDArray[Any] | None, other: NDArray[Any] | None) -> ArrayDifference:
    """Of two arrays, bit by bit: -0.0 differs from 0.0, and a NaN not from itself."""
    size = max(0 if array is None else array.size for array in (one, other))
    if one is None or other is None or one.shape != other.shape:
        return ArrayDifference(name, size, None, None)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
    largest = float(apart.max()) if apart.size else 0.0
    if one.dtype != other.dtype:
        return ArrayDifference(name, size, None, largest)
    bits = [np.ascontiguousarray(array).view(f"u{array.itemsize}") for array in (one, other)]
    return ArrayDifference(name, size, int(np.sum(bits[0] != bits[1])), largest)


def _facts(first: Model, second: Model) -> dict[str, Values]:
    """What differs of the models as wholes."""
    mine, theirs = _whole(first), _whole(second)
    facts = {key: (mine.get(key), theirs.get(key)) for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)}
    for name, arrays in (("preprocessing", _preprocessing), ("test vectors", _vectors)):
        if _bits(arrays(first)) != _bits(arrays(second)):
            facts[name] = (_shapes(arrays(first)), _shapes(arrays(second)))
    return facts


def _whole(model: Model) -> dict[str, Any]:
    metadata = {f"metadata {key}": text for key, text in sorted(model.metadata.items())}
    facts = {"precision": model.precision, "sizes": list(model.layer_sizes), "classes": list(model.class_names)}
    return {**facts, "layers": [layer.name for layer in model.layers], **metadata}


def _preprocessing(model: Model) -> list[NDArray[Any]]:
    return [] if model.preprocessing is None else [model.preprocessing.mean, model.preprocessing.inv_std]


def _vectors(model: Model) -> list[NDArray[Any]]:
    return [] if model.test_vectors is None else [model.test_vectors.inputs, model.test_vectors.outputs]


def _bits(arrays: list[NDArray[Any]]) -> list[tuple[Any, ...]]:
    return [(array.shape, array.dtype.str, array.tobytes()) for array in arrays]


def _shapes(arrays: list[NDArray[Any]]) -> str:
    return ", ".join(f"{array.dtype} {array.shape}" for array in arrays) or "none"


def _layer_dict(layer: LayerDifference) -> dict[str, Any]:
    arrays = [vars(array) for array in layer.arrays]
    facts = {name: list(values) for name, values in layer.facts.items()}
    return {"name": layer.name, "same": layer.same, "facts": facts, "arrays": arrays, "bytes": list(layer.bytes)}
