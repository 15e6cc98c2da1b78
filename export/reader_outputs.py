"""Which of a graph's outputs the model computes, and what its classes are called."""

from __future__ import annotations

import json
from typing import Any

import onnx

from export.reader_nodes import SUPPORTED, Unsupported
from export.reader_steps import Chain
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
        deepest = max(found, key=lambda name: chain_of(found[name]).depth)
        for name, value in found.items():
            if not _leads_to(chain_of(value), chain_of(found[deepest])):
                raise Unsupported(f"outputs '{name}' and '{deepest}' come from different branches; expected one chain")
        return deepest, found[deepest]
    raise Unsupported(f"no output depends on the input: {', '.join(outputs)}; {SUPPORTED}")


def chain_of(value: Any) -> Chain:
    """The chain behind a Flow, or behind what was made of one."""
    chain: Chain = value.chain if isinstance(value, Flow) else value.flow.chain
    return chain


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
