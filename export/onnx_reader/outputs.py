"""Which of a graph's outputs the model computes, and what its classes are called."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from export.onnx_reader.layers import PROBES
from export.onnx_reader.nodes import NO_NORMALIZATION, SUPPORTED, Node, Unsupported
from export.onnx_reader.operators import RANDOM
from export.onnx_reader.steps import (
    Affine,
    Chain,
    Function,
    KeepsOrder,
    Linear,
    Lookup,
    Select,
    Step,
    common_ancestor,
)  # fmt: skip
from export.onnx_reader.values import (
    Const,
    Derived,
    DynamicGrid,
    Flow,
    Label,
    Probabilities,
    RowNumber,
    RowValues,
    Value,
)

_ROUNDING = 1e-9  # a library's exp may go back by a unit in the last place
_NEAR = 4.0  # no activation that rises has come near its end here
_MOST_NAMED = 8
_BY_NAME = "by --output NAME (output= in Python)"
_OF_WEIGHTS = re.compile("MatMul|Gemm|Linear|Conv|Einsum|RNN|LSTM|GRU|Attention|SVM|Tree")  # parts of operators' names


def reached_outputs(proto: onnx.ModelProto, nodes: Iterable[Node], constants: Container[str]) -> list[str]:
    """The graph's outputs that depend on an input of it, in whatever way; random numbers do not.

    What no weights are in is no network's and left out beside others, such as the state of a recurrent policy that has
    none, scaled observations, and the motion that a policy of them follows, looked up by the time.
    nodes: in an order in which each comes after what it uses.
    """
    reached = {value.name for value in proto.graph.input if value.name not in constants}
    weighed: set[str] = set()
    for node in nodes:
        if node.operator in RANDOM or not reached.intersection(node.inputs):
            continue
        reached.update(filter(None, node.outputs))
        if node.domain or _OF_WEIGHTS.search(node.operator) or weighed.intersection(node.inputs):
            weighed.update(filter(None, node.outputs))
    found = [value.name for value in proto.graph.output if value.name in reached]
    return [name for name in found if name in weighed] or found


def main_output(outputs: dict[str, Value]) -> tuple[str, Flow | Derived]:
    """The output that the model computes: the one of floats, or the label if there is no other. Raises Unsupported.

    Copies of the input are no network's outputs, nor is what is the same for every row. A label may stand beside the
    values that it is of.
    """
    of_rows = {name: v for name, v in outputs.items() if isinstance(v, Flow | Derived)}
    _refuse_numbers(outputs)
    if any(isinstance(value, RowValues) for value in outputs.values()):
        raise Unsupported(NO_NORMALIZATION)
    if not of_rows:
        raise Unsupported(f"no output depends on the input: {', '.join(outputs)}; {SUPPORTED}")
    computed = {name: value for name, value in of_rows.items() if _is_computed(value)} or of_rows
    floats = {name: value for name, value in computed.items() if not isinstance(value, Label)}
    floats = {name: value for name, value in floats.items() if _varies(value)} or floats
    labels = {name: value for name, value in computed.items() if isinstance(value, Label)}
    _require_one(floats, bool(labels), outputs)
    if not floats and not all(value.is_largest for value in labels.values()):
        raise Unsupported("its only output is labels of several answers; expected the values that they are made of")
    chosen, value = next(iter((floats or labels).items()))
    for name, label in labels.items():
        if label.is_largest and not _same_largest(label.flow, value.flow):
            raise Unsupported(f"label '{name}' is not that of the largest value of output '{chosen}', as expected")
    return chosen, value


def _refuse_numbers(outputs: Mapping[str, Value]) -> None:
    """Raise Unsupported for an output of one number for each row or batch, such as a sum: no chain of layers gives it.

    Beside another output it may be what was meant, so that one has to be chosen.
    """
    numbers = [name for name, value in outputs.items() if isinstance(value, RowNumber | DynamicGrid)]
    if not numbers:
        return
    if len(outputs) == 1:
        raise Unsupported(f"output '{numbers[0]}' is one number for each row or batch; {SUPPORTED}")
    raise _of_several(outputs)


def _of_several(outputs: Mapping[str, Value]) -> Unsupported:
    listed = _some([f"'{name}' {_shape_text(value)}" for name, value in outputs.items()])
    return Unsupported(f"the graph has {len(outputs)} outputs: {listed}; expected one, choose it {_BY_NAME}")


def _is_computed(value: Flow | Derived) -> bool:
    """Whether a network computes it: it is not the input itself, nor a part of it."""
    return any(not isinstance(step, Select) for step in value.flow.chain.steps_after(None))


def _varies(value: Flow | Derived) -> bool:
    """Whether it is not the same for every row, as mean * 0 + deviation is."""
    return all(step.scale.any() for step in value.flow.chain.steps_after(None) if isinstance(step, Affine))


def _require_one(floats: Mapping[str, Flow | Derived], has_label: bool, outputs: Mapping[str, Value]) -> None:
    """Raise Unsupported, with all names and shapes, for several outputs that differ: none says which is meant."""
    first = next(iter(floats.values()), None)
    if all(_is_same(first, value) for value in floats.values()):
        return
    if has_label and all(value.flow.order.size == 1 for value in floats.values()):
        raise Unsupported(
            f"outputs {', '.join(floats)} beside the label hold one class each; expected all in one output "
            "(skl2onnx: zipmap False in place of 'columns')"
        )
    raise _of_several(outputs)


def choice_text(names: Sequence[str], found: Mapping[str, Value]) -> str:
    """Which of several outputs do not need what is refused, with their shapes, and how one is chosen."""
    shown = [f"'{name}' {_shape_text(found[name])}" for name in names if name in found]
    others = [f"'{name}'" for name in names if name not in found]
    return (
        f"of the graph's {len(names)} outputs {_some(shown)} can do without it, {_some(others)} cannot: choose one "
        f"{_BY_NAME}"
    )


def inner_text(nodes: Sequence[Node], values: Mapping[str, Value], constants: Mapping[str, Any]) -> str:
    """Which computed tensors stand right before what is refused, such as masks, noise and labels; "" for none.

    None either where weights come after them: cut there, a network would lose layers.
    """
    failed = [node for node in nodes if not all(name in values for name in node.outputs if name)]
    before = {name: values.get(name, constants.get(name)) for node in failed for name in node.inputs}
    if any(_is_matrix(value) for value in before.values()):
        return ""
    ends = {name: value for name, value in before.items() if isinstance(value, Flow) and _is_network(value)}
    shown = _some([f"'{name}' {_shape_text(value)}" for name, value in ends.items()])
    return f"what comes before it can be read: {shown}, {_BY_NAME}" if ends else ""


def _is_matrix(value: Any) -> bool:
    sizes = value.shape if isinstance(value, Const) else getattr(value, "dims", ())
    return sum(size > 1 for size in sizes) > 1


def _is_network(flow: Flow) -> bool:
    """Whether weights were applied, and it is not the same for every row."""
    return any(isinstance(step, Linear) for step in flow.chain.steps_after(None)) and _varies(flow)


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_NAMED
    return ", ".join(texts[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _shape_text(value: Value) -> str:
    if isinstance(value, RowNumber | DynamicGrid):
        return "(one number)"
    if isinstance(value, Label):
        return "(n labels)"
    return f"(n, {value.flow.order.size})" if isinstance(value, Flow | Derived) else "(constant)"


def _is_same(first: Any, second: Any) -> bool:
    """Whether two outputs are one tensor under two names."""
    return type(first) is type(second) and (
        first.flow.chain is second.flow.chain and np.array_equal(first.flow.order, second.flow.order)
    )


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
        return _rises(step)
    return isinstance(step, KeepsOrder)


def _rises(step: Function | Lookup) -> bool:
    """Whether larger values stay larger: a function that is flat somewhere, such as relu, makes ties of them.

    Where it is flat by rounding alone, as sigmoid far out or a table beside its end, it is taken to rise.
    """
    if isinstance(step, Lookup):
        return bool((np.diff(step.table.astype(np.int16)) >= 0).all())
    with np.errstate(all="ignore"):
        values = np.asarray(step.call(np.linspace(-_NEAR, _NEAR, 801)))
        far = np.asarray(step.call(PROBES.copy()))
        falls = bool((np.diff(far) < -_ROUNDING * np.maximum(1.0, np.abs(far[1:]))).any())
    return not falls and bool((np.diff(values) > 0).all())


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
