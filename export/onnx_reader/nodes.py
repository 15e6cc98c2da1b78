"""The nodes of a graph, and why one cannot be read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.files import shortened

LONGEST_WORD = 160  # in messages; exporters' names of modules within modules are up to that long
SUPPORTED = "supported are chains of Gemm or MatMul with constant weights, their activations, scaling and reshaping"
NO_NORMALIZATION = "it mixes values with a number of their row; supported are LayerNorm, RMSNorm and L2 normalization"


_ADVICE = {  # what to tell whoever made a file, by topic and by what the file's producer is called; "" is any other
    "8 bits": {
        "onnx.quantize": (
            "quantize again with weight_type=QuantType.QInt8 and activation_type=QuantType.QUInt8, or the float model "
            "with smallnet export"
        ),
        "": "quantize the float model with smallnet export",
    },
    "opset": {
        "pytorch": "export it with opset_version=17",
        "skl2onnx": "convert it with target_opset=17",
        "tf2onnx": "convert it with opset=17 (--opset 17)",
        "": "export it with opset 17, or convert it with onnx.version_converter",
    },
    "training": {
        "pytorch": "call model.eval() before torch.onnx.export, and leave its training argument out",
        "": "export the model for inference",
    },
}


class Unsupported(Exception):
    """Why a file cannot be read, in one line that names a node, a tensor or the file. It becomes an ArtifactError.

    topic: a key of `_ADVICE`, if what to do depends on the tool that made the file.
    """

    is_placed = False

    def __init__(self, text: str, topic: str = "") -> None:
        super().__init__(text)
        self.topic = topic

    def at(self, node: Node | None) -> Unsupported:
        """This error with the node's name, operator and output in front, unless it names a node already."""
        if self.is_placed or node is None:
            return self
        placed = type(self)(f"{node}: {self}", self.topic)
        placed.is_placed = True
        return placed

    def with_more(self, text: str) -> Unsupported:
        """This error with something after its own words."""
        longer = type(self)(f"{self}; {text}", self.topic)
        longer.is_placed = self.is_placed
        return longer

    def for_producer(self, name: str) -> Unsupported:
        """This error with what to tell the tool that the file names as its producer, if there is anything to say."""
        texts = _ADVICE.get(self.topic, {})
        return self.with_more(next(text for key, text in texts.items() if key in name.lower())) if texts else self


class OfNoise(Unsupported):
    """Random numbers go into the values, which no artifact gives: other outputs are what is meant, if there are any."""


class TooLarge(Unsupported):
    """A file that asks for more memory or time than it may have."""


def with_expectation(error: Exception) -> Unsupported:
    """A refusal that says what is supported too, where its own words do not."""
    found = error if isinstance(error, Unsupported) else Unsupported(str(error))
    is_said = bool(found.topic) or any(word in str(found) for word in ("expected", "supported", "export ", "limit"))
    return found if found.is_placed or is_said else Unsupported(f"{found}; {SUPPORTED}")


@dataclass
class Budget:
    """Bytes that constants may still take, so that a small file cannot ask for much memory; and products, for time."""

    left: int
    products: int = 1 << 33

    def charge(self, count: int, itemsize: int = 8) -> None:
        """Take `count` elements off, before they are allocated. Raises Unsupported, and takes nothing off then."""
        if self.left < count * itemsize:
            raise TooLarge(f"needs {count:,} elements, more than the limit on memory allows; raise max_bytes")
        self.left -= count * itemsize

    def charge_products(self, count: int) -> None:
        """Take `count` multiplications in products of constants off. Raises Unsupported."""
        self.products -= count
        if self.products < 0:
            raise TooLarge("products of constants of this size would take minutes; fold them before exporting")


def in_few_letters(text: str) -> str:
    """A message whose long words, such as names of nodes, are shortened, so that its reason is not cut off."""
    return re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda found: shortened(found.group(), LONGEST_WORD), text)


@dataclass(frozen=True)
class Node:
    """One operator of the graph, functions inlined. inputs: names, "" where an optional one is left out."""

    name: str
    operator: str
    domain: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        operator = f"{self.domain}.{self.operator}" if self.domain else self.operator
        output = next(filter(None, self.outputs), "")
        node, kind, made = (shortened(text, LONGEST_WORD) for text in (self.name, operator, output))
        return f"node '{node}' ({kind}, output '{made}')"

    def attribute(self, name: str, kind: type, default: Any) -> Any:
        """An attribute's value (int, float, bytes, or list of one of them). Raises Unsupported for another type."""
        value = self.attributes.get(name, default)
        if value is not default and not isinstance(value, kind):
            raise Unsupported(f"attribute '{name}' is a {type(value).__name__}, expected {kind.__name__}")
        return value
