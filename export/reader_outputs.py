"""Which of a graph's outputs the model computes, and what its classes are called."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx

from export.reader_functions import PROBES
from export.reader_nodes import SUPPORTED, Unsupported
from export.reader_steps import (
    Affine,
    Chain,
    Dequantize,
    DynamicQuantize,
    DynamicScale,
    Function,
    Lookup,
    MinusRow,
    Quantize,
    RowFunction,
    Select,
    Step,
    common_ancestor,
)
from export.reader_values import Flow, Label, Probabilities, Stacked, Value


def main_output(outputs: dict[str, Value]) -> tuple[str, Value]:
    """The output that the model computes: probabilities before values before labels. Raises Unsupported."""
    flows = [name for name, value in outputs.items() if isinstance(value, Flow)]
    if len(flows) > 1 and any(isinstance(value, Label) for value in outputs.values()):
        raise Unsupported(
            f"outputs {', '.join(flows)} beside the label hold one class each; expected all in one output "
            "(skl2onnx: zipmap False in place of 'columns')"
        )
    for kind in (Probabilities, Flow, Stacked, Label):
        found = {name: value for name, value in outputs.items() if isinstance(value, kind)}
        if not found:
            continue
        if any(isinstance(value, Label) and not value.is_largest for value in found.values()):
            raise Unsupported("its only output is labels of several answers; expected the values that they are made of")
        chosen = max(found, key=lambda name: (chain_of(found[name]).depth, _flow(found[name]).order.size))
        _require_all_features(found, chosen)
        _require_same_classes(outputs, chosen)
        return chosen, found[chosen]
    raise Unsupported(f"no output depends on the input: {', '.join(outputs)}; {SUPPORTED}")


def _require_all_features(found: dict[str, Any], chosen: str) -> None:
    """Raise Unsupported where an output is neither on the way to the chosen one nor a part of it."""
    end = _flow(found[chosen])
    for name, value in found.items():
        if not _leads_to(chain_of(value), end.chain):
            raise Unsupported(f"outputs '{name}' and '{chosen}' come from different branches; expected one chain")
        if chain_of(value) is end.chain and not np.isin(_flow(value).order, end.order).all():
            raise Unsupported(
                f"outputs '{name}' and '{chosen}' hold different features of one tensor; expected all in one output"
            )


def _require_same_classes(outputs: dict[str, Value], chosen: str) -> None:
    """Raise Unsupported where a label is not the class of the largest value of the chosen output."""
    for name, value in outputs.items():
        if isinstance(value, Label) and value.is_largest and not _same_largest(value.flow, _flow(outputs[chosen])):
            raise Unsupported(f"label '{name}' is not that of the largest value of output '{chosen}', as expected")


def _same_largest(first: Flow, second: Flow) -> bool:
    """Whether the largest values of two flows stand at one place, in every row."""
    base = common_ancestor(first.chain, second.chain)
    places = [_places_before(flow, base) for flow in (first, second)]
    return all(found is not None for found in places) and np.array_equal(*places)


def _places_before(flow: Flow, base: Chain) -> Any:
    """The feature of `base` at each place of a flow; None where a step between them changes which one is largest."""
    index = flow.order.ravel()
    for step in reversed(flow.chain.steps_after(base)):
        if isinstance(step, Select):
            index = step.index[index]
        elif not _keeps_order(step):
            return None
    return index


def _keeps_order(step: Step) -> bool:
    """Whether larger values stay at least as large as smaller ones of the same row."""
    if isinstance(step, Affine):
        return step.is_uniform and bool(step.scale > 0)
    if isinstance(step, Function | Lookup):
        with np.errstate(all="ignore"):
            values = step.table.astype(np.int16) if isinstance(step, Lookup) else step.call(PROBES.copy())
        return bool((np.diff(values) >= 0).all())
    return isinstance(step, RowFunction | MinusRow | Quantize | Dequantize | DynamicQuantize | DynamicScale)


def _flow(value: Any) -> Flow:
    found: Flow = value if isinstance(value, Flow) else value.flow
    return found


def chain_of(value: Any) -> Chain:
    """The chain behind a Flow, or behind what was made of one."""
    return _flow(value).chain


def _leads_to(chain: Chain, end: Chain) -> bool:
    at: Chain | None = end
    while at is not None and at.depth > chain.depth:
        at = at.parent
    return at is chain


def class_names(proto: onnx.ModelProto, outputs: dict[str, Value], n_out: int) -> tuple[str, ...]:
    """Names from ZipMap, from the label's branch, or from what write_onnx stored; () where they do not fit."""
    for value in outputs.values():
        if isinstance(value, Label | Probabilities) and len(value.classes) == n_out:
            return value.classes
    stored = next((entry.value for entry in proto.metadata_props if entry.key == "class_names"), None)
    if proto.producer_name != "smallnet" or stored is None or len(stored) > 1 << 20:
        return ()
    names = json.loads(stored)
    return tuple(names) if isinstance(names, list) and len(names) == n_out else ()
