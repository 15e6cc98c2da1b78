"""From a ModelProto to the nodes that the outputs need, in an order in which each comes after what it uses.

Model-local functions and the branches of If are inlined; nodes that no output needs are left out; a cycle is refused.
Nothing here is recursive without a limit, and the number of nodes is bounded, whatever functions call one another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import onnx
from onnx import AttributeProto, helper

from export.onnx_reader.nodes import Node, Unsupported

MOST_NODES = 20_000
_DEEPEST_CALL = 16
_DEFAULT_DOMAIN = ""

_NO_VALUES = (AttributeProto.UNDEFINED, AttributeProto.GRAPH, AttributeProto.GRAPHS)


def needed_nodes(proto: onnx.ModelProto, outputs: Iterable[str], constants: dict[str, Any] | None = None) -> list[Node]:
    """The nodes that compute `outputs`, sorted. constants: the initializers of branches are added to it.

    A node If has the outputs of its two branches as inputs after its own. Raises Unsupported.
    """
    inliner = _Inliner(proto)
    nodes = inliner.run()
    if constants is not None:
        constants.update(inliner.initializers)
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


class _Scope:
    """What the names inside a function or a branch are in the graph.

    prefix: of what is new here, "" for the graph itself, in which every name is what it is. outer: where a branch looks
    for other names.
    """

    def __init__(self, names: dict[str, str], prefix: str, outer: _Scope | None = None) -> None:
        self.names = names
        self.prefix = prefix
        self.outer = outer

    def renamed(self, name: str) -> str:
        """The name in the graph; what is new here gets one that cannot clash."""
        if not name or not self.prefix or name in self.names:
            return self.names.get(name, name)
        if self.outer is not None:
            return self.outer.renamed(name)
        return self.names.setdefault(name, f"{self.prefix}/{name}")


class _Place(NamedTuple):
    """Where nodes stand. attributes: the call's, for a function's nodes to refer to. depth: calls around them."""

    scope: _Scope
    opsets: dict[str, int]
    attributes: dict[str, AttributeProto]
    depth: int


class _Inliner:
    """Replaces calls of model-local functions, and branches of If, by their nodes, under names that cannot clash."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.graph = proto.graph
        self.opsets = _opsets(proto.opset_import)
        self.functions = {(_domain(f.domain), f.name, f.overload): f for f in proto.functions}
        self.nodes: list[Node] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.calls = 0

    def run(self) -> list[Node]:
        self._add(self.graph.node, _Place(_Scope({}, ""), self.opsets, {}, 0))
        return self.nodes

    def _add(self, protos: Iterable[onnx.NodeProto], place: _Place) -> None:
        for proto in protos:
            inputs = tuple(place.scope.renamed(name) for name in proto.input)
            outputs = tuple(place.scope.renamed(name) for name in proto.output)
            domain = _domain(proto.domain)
            function = self.functions.get((domain, proto.op_type, proto.overload))
            given = _resolved(proto, place.attributes)
            name = proto.name or (outputs[0] if outputs else "")
            values = {key: _value(attribute) for key, attribute in given.items()}
            node = Node(name, proto.op_type, domain, place.opsets.get(domain, 1), inputs, outputs, values)
            if function is not None:
                self._call(function, node, given, place)
                continue
            if len(self.nodes) >= MOST_NODES:
                raise Unsupported(f"the graph has more than {MOST_NODES:,} nodes")
            if (domain, proto.op_type) == ("", "If"):
                node = self._with_branches(node, given, place)
            self.nodes.append(node)

    def _count_call(self, what: str, depth: int) -> None:
        if depth >= _DEEPEST_CALL:
            raise Unsupported(f"{what} calls itself, or {_DEEPEST_CALL} functions call one another")
        self.calls += 1
        if self.calls > MOST_NODES:
            raise Unsupported(f"the graph has more than {MOST_NODES:,} function calls")

    def _call(self, function: onnx.FunctionProto, node: Node, given: dict[str, AttributeProto], place: _Place) -> None:
        self._count_call(f"function '{function.name}'", place.depth)
        names = dict.fromkeys(function.input, "")
        names.update(zip(function.input, node.inputs, strict=False))
        outputs = zip(function.output, node.outputs, strict=False)
        names.update((inner, outer) for inner, outer in outputs if outer)  # one left out may be used within
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        opsets = {**self.opsets, **_opsets(function.opset_import)}
        scope = _Scope(names, f"{function.name}#{self.calls}")
        self._add(function.node, _Place(scope, opsets, {**defaults, **given}, place.depth + 1))

    def _with_branches(self, node: Node, given: dict[str, AttributeProto], place: _Place) -> Node:
        """The node with the outputs of both branches as further inputs, first those of then_branch."""
        results: list[str] = []
        for key in ("then_branch", "else_branch"):
            branch = given[key].g if key in given else onnx.GraphProto()
            if len(branch.output) != len(node.outputs):
                raise Unsupported(f"its {key} has {len(branch.output)} outputs, expected {len(node.outputs)}").at(node)
            self._count_call(f"branch '{branch.name}'", place.depth)
            prefix = f"{key}#{self.calls}"
            tensors = {tensor.name: tensor for tensor in branch.initializer}
            made = [*tensors, *(name for inner in branch.node for name in inner.output if name)]
            scope = _Scope({name: f"{prefix}/{name}" for name in made}, prefix, place.scope)
            self.initializers.update((scope.renamed(name), tensor) for name, tensor in tensors.items())
            self._add(branch.node, _Place(scope, place.opsets, place.attributes, place.depth + 1))
            results += [scope.renamed(value.name) for value in branch.output]
        return replace(node, inputs=(*node.inputs, *results))


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
    return None if attribute.type in _NO_VALUES else helper.get_attribute_value(attribute)


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {_domain(entry.domain): int(entry.version) for entry in imports}


def _domain(name: str) -> str:
    return _DEFAULT_DOMAIN if name == "ai.onnx" else name
