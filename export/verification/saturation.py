"""How somebody's file is run so that no processor saturates: with an option, and not at the levels where it is no help.

The reader knows the weights, however they are stored. Where it has not read the file, or the model is not what it read,
every file that multiplies integers, or dequantized values, gets the option.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from export.onnx_reader import Imported
from export.onnx_writer import INTEGER_PRODUCTS, PRECISE, WITH_TRANSFORMATIONS, saturating_layers, session_config

Config = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Precaution:
    """config: session options to run with. by_integers: integer operators saturate where the option does nothing.

    why: in a line, for the user, where the weights are not known; else empty.
    """

    config: Config = ()
    by_integers: bool = False
    why: str = ""

    def runs_at(self, level: str) -> bool:
        """Whether the file gives the same answers at this level on every processor."""
        return not self.by_integers or level in WITH_TRANSFORMATIONS

    def notes(self, levels: Iterable[str]) -> tuple[str, ...]:
        """What to say of a check at these levels: a line each."""
        skipped = [level for level in levels if not self.runs_at(level)]
        found = [self.why] if self.why else []
        if skipped:
            found.append(
                f"not compared with onnxruntime at {', '.join(map(repr, skipped))}: integer operators of the file may "
                "saturate in 16 bits on x86 CPUs without VNNI, and no session option prevents it at "
                f"{'that level' if len(skipped) == 1 else 'those levels'}"
            )
        return tuple(found)


def precaution_for(source: Imported) -> Precaution:
    """For a file whose weights the reader knows."""
    found = saturating_layers(source.int8_products)
    return Precaution((PRECISE,) if found else (), any(found.values()))


def precaution_for_unread(proto: onnx.ModelProto) -> Precaution:
    """For any other file: what its operators can be, wherever their weights are; what it states itself is kept."""
    used = _operators(proto)
    by_integers = bool(used & INTEGER_PRODUCTS)
    if not by_integers and "DequantizeLinear" not in used:
        return Precaution(session_config(proto))
    why = (
        f"the weights of the file's integer products are not known here, so it runs with {'='.join(PRECISE)}: without "
        "it onnxruntime may saturate in 16 bits on x86 CPUs without VNNI"
    )
    return Precaution((PRECISE,), by_integers, why)


def _operators(proto: onnx.ModelProto) -> set[str]:
    """The operators of the graph, its branches and its functions."""
    found: set[str] = set()
    waiting = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        found.add(node.op_type)
        for attribute in node.attribute:
            waiting += [*attribute.g.node, *(inner for graph in attribute.graphs for inner in graph.node)]
    return found
