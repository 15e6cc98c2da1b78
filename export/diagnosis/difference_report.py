"""What `smallnet diff` prints of two models: layers that differ, facts that differ, and the answers on rows."""

from __future__ import annotations

from typing import Any

from edge_runtime.console import wrapped
from edge_runtime.files import fit_table, printable, shortened
from export.diagnosis.difference import ArrayDifference, Difference, LayerDifference, Values
from export.diagnosis.losses import decibels
from export.diagnosis.on_rows import RowDifference

_LAYER = {"name": "layer", "shape": "shape", "precision": "precision", "activation": "activation"}
_LAYER |= {"grids": "grids", "arrays": "arrays", "bytes": "bytes"}
_LONGEST = 60  # letters of a value that a line shows


def difference_text(found: Difference, width: int | None = None) -> str:
    """All of it. width: letters that a line may have, None for any number."""
    lines = [] if found.is_spelling else [_layer_line(layer) for layer in found.layers if not layer.same]
    parts = [wrapped("\n".join(lines), width)] if lines else []
    facts = [{"what": name, "first": _said(one), "second": _said(other)} for name, (one, other) in found.facts.items()]
    if facts:
        parts.append(fit_table(facts, width, {"what": "differs", "first": "first", "second": "second"}))
    rows = "no rows compared: the models take or give other numbers of values"
    parts.append(wrapped(rows if found.rows is None else _rows_line(found.rows), width))
    return "\n\n".join([*parts, wrapped(_verdict(found), width)])


def _verdict(found: Difference) -> str:
    if found.same:
        return "the same in every bit"
    if found.is_spelling and found.rows is not None:
        names = dict.fromkeys(name for layer in found.layers for name in layer.facts)
        facts = f", {len(found.facts):,} other facts" if found.facts else ""
        return f"written otherwise, the same bits on {found.rows.rows:,} rows: {', '.join(names)} of layers{facts}"
    layers = sum(not layer.same for layer in found.layers)
    return f"different: {layers:,} of {len(found.layers):,} layers, {len(found.facts):,} other facts"


def _layer_line(layer: LayerDifference) -> str:
    """One layer: each fact, each array, and the bytes if they are others."""
    if None in layer.bytes:
        return printable(f"layer '{layer.name}': in the {'second' if layer.bytes[0] is None else 'first'} model alone")
    facts = [f"{name} {_pair(values)}" for name, values in layer.facts.items()]
    arrays = [_array(array) for array in layer.arrays]
    sizes = [f"bytes {layer.bytes[0]:,} -> {layer.bytes[1]:,}"] if layer.bytes[0] != layer.bytes[1] else []
    return printable(f"layer '{layer.name}': {'; '.join([*facts, *arrays, *sizes])}")


def _array(array: ArrayDifference) -> str:
    if array.differing is None:
        return f"{array.name} of another kind"
    return f"{array.name}: {array.differing:,} of {array.size:,} differ, by {array.largest:.3g} at most"


def _pair(values: Values) -> str:
    return " -> ".join(map(_said, values))


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {each:.6g}" for key, each in value.items())
    if isinstance(value, list):
        return shortened("-".join(map(str, value)) or "none", _LONGEST)
    return "none" if value is None else shortened(str(value), _LONGEST)


def _rows_line(rows: RowDifference) -> str:
    """The answers, in one line."""
    where = f"on {rows.rows:,} rows ({rows.what})"
    if rows.rows < rows.rows_in_all:
        where = f"on {rows.rows:,} of the {rows.rows_in_all:,} rows ({rows.what}), spread evenly"
    score = ""
    if rows.first.accuracy is not None:
        score = f"accuracy {rows.first.accuracy:.4f} -> {rows.second.accuracy:.4f}, "
    if rows.first.r2 is not None:
        score = f"R^2 {rows.first.r2:.4f} -> {rows.second.r2:.4f}, "
    flipped = "" if rows.second.changed is None else f"{rows.second.changed:,} decisions flip, "
    behind = (
        ""
        if rows.activations is None
        else f" after their activations ({' and '.join(dict.fromkeys(rows.activations))})"
    )
    alike = "" if rows.second.even_db is None else ", each of them counting alike"
    apart = f"{decibels(rows.second.judged_db)} between the outputs{behind}{alike}"
    return f"{where}: {score}{flipped}{apart}; {_tensor(rows)}"


def _tensor(rows: RowDifference) -> str:
    tensor = rows.tensor
    if tensor is None:
        return "no tensor differs" if rows.has_same_tensors else "no values behind layers of one name differ"
    share = f"{tensor.differing:,} of {tensor.size:,} values, {tensor.relative:.2g} of their size"
    which = "first tensor that differs" if tensor.bits else "tensor that differs most"
    return printable(f"{which}: {tensor.name} ({share})")
