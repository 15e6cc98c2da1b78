"""From a ModelProto to the nodes that the outputs need, in an order in which each comes after what it uses.

Model-local functions are inlined; nodes that no output needs are left out; a cycle is refused. Nothing here is
recursive without a limit, and the number of nodes is bounded, whatever functions call one another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
from onnx import AttributeProto

from export.reader_values import Node, Unsupported

MOST_NODES = 20_000
_DEEPEST_CALL = 16
_DEFAULT_DOMAIN = ""

_FIELDS = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.SPARSE_TENSOR: "sparse_tensor",
}
_LISTS = {AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints", AttributeProto.STRINGS: "strings"}


def needed_nodes(proto: onnx.ModelProto, outputs: Iterable[str]) -> list[Node]:
    """The nodes that compute `outputs`, sorted. Raises Unsupported."""
    nodes = _Inliner(proto).run()
    producers: dict[str, Node] = {}
    for node in nodes:
        for name in node.outputs:
            if name and name in producers:
                raise Unsupported(f"tensor '{name}' is computed by two nodes, expected one").at(node)
            producers[name] = node
    return _sorted(producers, outputs)


def _sorted(producers: dict[str, Node], outputs: Iterable[str]) -> list[Node]:
    """Depth first without recursion: a node is written down when everything it uses has been."""
    order: list[Node] = []
    state: dict[int, str] = {}
    stack = [producers[name] for name in reversed(list(outputs)) if name in producers]
    while stack:
        node = stack[-1]
        if state.get(id(node)) == "done":
            stack.pop()
        elif id(node) in state:
            state[id(node)] = "done"
            order.append(stack.pop())
        else:
            state[id(node)] = "open"
            before = [producers[name] for name in reversed(node.inputs) if name and name in producers]
            for needed in before:
                if state.get(id(needed)) == "open":
                    raise Unsupported("it depends on its own output, expected a graph without cycles").at(needed)
            stack += [needed for needed in before if id(needed) not in state]
    return order


class _Inliner:
    """Replaces calls of model-local functions by their nodes, under names that cannot clash."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.graph = proto.graph
        self.opsets = _opsets(proto.opset_import)
        self.functions = {(_domain(f.domain), f.name, f.overload): f for f in proto.functions}
        self.nodes: list[Node] = []
        self.calls = 0

    def run(self) -> list[Node]:
        self._add(self.graph.node, self.opsets, None, {}, 0)
        return self.nodes

    def _add(
        self,
        protos: Iterable[onnx.NodeProto],
        opsets: dict[str, int],
        names: dict[str, str] | None,
        attributes: dict[str, AttributeProto],
        depth: int,
    ) -> None:
        """names: from a function's names to the graph's, None in the graph itself; it grows by what nodes compute."""
        for proto in protos:
            inputs = tuple(_renamed(name, names) for name in proto.input)
            outputs = tuple(_renamed(name, names) for name in proto.output)
            domain = _domain(proto.domain)
            function = self.functions.get((domain, proto.op_type, proto.overload))
            given = _resolved(proto, attributes)
            if function is not None:
                self._call(function, inputs, outputs, given, depth)
                continue
            if len(self.nodes) >= MOST_NODES:
                raise Unsupported(f"the graph has more than {MOST_NODES:,} nodes")
            name = proto.name or (outputs[0] if outputs else "")
            values = {key: _value(attribute) for key, attribute in given.items()}
            self.nodes.append(Node(name, proto.op_type, domain, opsets.get(domain, 1), inputs, outputs, values))

    def _call(
        self,
        function: onnx.FunctionProto,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        given: dict[str, AttributeProto],
        depth: int,
    ) -> None:
        if depth >= _DEEPEST_CALL:
            raise Unsupported(f"function '{function.name}' calls itself, or {_DEEPEST_CALL} functions call one another")
        self.calls += 1
        if self.calls > MOST_NODES:
            raise Unsupported(f"the graph has more than {MOST_NODES:,} function calls")
        names = dict.fromkeys(function.input, "")
        names.update(zip(function.input, inputs, strict=False))
        names.update(zip(function.output, outputs, strict=False))
        names[_PREFIX] = f"{function.name}#{self.calls}"
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        opsets = {**self.opsets, **_opsets(function.opset_import)}
        self._add(function.node, opsets, names, {**defaults, **given}, depth + 1)


_PREFIX = "\0prefix"  # a key that no exporter uses as a name


def _renamed(name: str, names: dict[str, str] | None) -> str:
    if names is None or not name:
        return name
    return names.setdefault(name, f"{names[_PREFIX]}/{name}")


def _resolved(proto: onnx.NodeProto, outer: dict[str, AttributeProto]) -> dict[str, AttributeProto]:
    """A node's attributes, those that refer to the calling function's looked up there."""
    found = {}
    for attribute in proto.attribute:
        if not attribute.ref_attr_name:
            found[attribute.name] = attribute
        elif attribute.ref_attr_name in outer:
            found[attribute.name] = outer[attribute.ref_attr_name]
    return found


def _value(attribute: AttributeProto) -> Any:
    """A plain value; the proto itself for tensors; None for graphs, which no supported operator has."""
    if attribute.type in _FIELDS:
        return getattr(attribute, _FIELDS[attribute.type])
    if attribute.type in _LISTS:
        return list(getattr(attribute, _LISTS[attribute.type]))
    return None


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {_domain(entry.domain): int(entry.version) for entry in imports}


def _domain(name: str) -> str:
    return _DEFAULT_DOMAIN if name == "ai.onnx" else name
