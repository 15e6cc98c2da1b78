"""What of somebody's graph onnxruntime is given to run: it executes every node of a file, needed or not.

A node that no output needs is passed over by the reader (`protobuf.walk`), and may yet fill the memory or never end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import onnx

from edge_runtime.errors import ArtifactError
from edge_runtime.files import printable, shortened
from export.onnx_reader import LONGEST_WORD

_LOOPS = ("Loop", "Scan")


def refuse_loops(proto: onnx.ModelProto, path: object) -> None:
    """Raise ArtifactError for a loop in a graph, in a branch or a function of it: it may never end."""
    waiting: list[Any] = [proto.graph.node, *(function.node for function in proto.functions)]
    while waiting:
        for node in waiting.pop():
            if node.op_type in _LOOPS:
                name = printable(shortened(node.name, LONGEST_WORD))
                raise ArtifactError(
                    f"{path}: node '{name}' is a {node.op_type}, which may never end; expected a dense network"
                )
            waiting += [attribute.g.node for attribute in node.attribute if attribute.HasField("g")]


def remove_unused(proto: onnx.ModelProto) -> list[str]:
    """Take out the nodes of the graph, its branches and functions that no output needs, and inputs that no node uses.

    Returns what was taken out, in words.
    """
    found = _prune(proto.graph.node, [value.name for value in proto.graph.output])
    found += _keep_used_inputs(proto.graph)
    for function in proto.functions:
        found += _prune(function.node, function.output)
    return found


def unused_note(content: bytes) -> list[str]:
    """A line on the nodes of a file that no output of it needs, or none. Constants are no nodes worth a word."""
    found = [text for text in remove_unused(onnx.ModelProto.FromString(content)) if text.startswith("node ")]
    if not found:
        return []
    many = f"{len(found):,} nodes" if len(found) > 1 else "a node"
    return [f"the file has {many} that no output needs, left out here: {found[0]}{', ...' if len(found) > 1 else ''}"]


def _prune(nodes: Any, outputs: Iterable[str]) -> list[str]:
    """Branches first: what only a dead node of a branch reads is not needed around it either."""
    found: list[str] = []
    for branch in (attribute.g for node in nodes for attribute in node.attribute if attribute.HasField("g")):
        found += _prune(branch.node, [value.name for value in branch.output])
    return found + _keep_needed(nodes, outputs)


def keep_output(graph: onnx.GraphProto, name: str) -> None:
    """Take every other output out of a graph; `remove_unused` then takes out what only they need.

    A tensor within the graph becomes its output, of the type that onnxruntime finds.
    """
    kept = [value for value in graph.output if value.name == name] or [onnx.ValueInfoProto(name=name)]
    del graph.output[:]
    graph.output.extend(kept)


def _inputs(node: Any) -> Iterator[str]:
    """The names that a node reads, those in its branches too: a branch sees the values around it."""
    waiting = [node]
    while waiting:
        inner = waiting.pop()
        yield from inner.input
        for attribute in inner.attribute:
            waiting += attribute.g.node
            yield from (value.name for value in attribute.g.output)


def _keep_used_inputs(graph: onnx.GraphProto) -> list[str]:
    """Initializers stay, which old files list as inputs too."""
    used = {name for node in graph.node for name in _inputs(node)} | {value.name for value in graph.output}
    used |= {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    unused = [value for value in graph.input if value.name not in used]
    for value in unused:
        graph.input.remove(value)
    return [f"input '{value.name}'" for value in unused]


def _keep_needed(nodes: Any, outputs: Iterable[str]) -> list[str]:
    producers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needed: set[int] = set()
    open_names = list(outputs)
    while open_names:
        index = producers.get(open_names.pop())
        if index is not None and index not in needed:
            needed.add(index)
            open_names += _inputs(nodes[index])
    unused = [index for index in range(len(nodes)) if index not in needed]
    found = [_in_words(nodes[index]) for index in unused]
    for index in reversed(unused):
        del nodes[index]
    return found


def _in_words(node: Any) -> str:
    kind = "constant" if node.op_type == "Constant" else "node"
    name, operator = node.name or next(iter(node.output), ""), node.op_type
    return printable(f"{kind} '{shortened(name, LONGEST_WORD)}' ({shortened(operator, LONGEST_WORD)})")
