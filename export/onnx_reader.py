"""Read anybody's dense network: an ONNX file of any producer, opset 6 to the newest, becomes a `Model`.

The graph is not matched against patterns. Its nodes are followed from the input to the output, and each says what it
does to the rows (`reader_dense`, `reader_elementwise`, `reader_shapes`, `reader_quantized`, `reader_tails`); the chain
of steps that comes out is then made into layers (`reader_assembly`, `reader_int8`). What is no chain of dense layers is
refused with the first node that is not, and no file can make the reader raise anything but ArtifactError and OSError.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_runtime.artifact import DEFAULT_MAX_BYTES
from edge_runtime.bounded_io import printable, read_file
from edge_runtime.errors import ArtifactError, InputError, ModelError
from edge_runtime.model import Model
from edge_runtime.quantization import QuantParams
from export import (
    reader_activations,
    reader_dense,
    reader_elementwise,
    reader_places,
    reader_quantized,
    reader_shapes,
    reader_tails,
)
from export.reader_assembly import Assembly
from export.reader_constants import constant_node, constant_of_shape
from export.reader_folding import FOLDED, is_folded
from export.reader_inputs import Input, find_input
from export.reader_tensors import TensorReader
from export.reader_values import (
    SUPPORTED,
    Budget,
    Chain,
    Const,
    Flow,
    Label,
    Node,
    Probabilities,
    Select,
    Unsupported,
    Value,
    with_expectation,
)
from export.reader_walk import needed_nodes
from export.reader_wire import check_counts

OLDEST_OPSET = 6

_PLAIN = (
    reader_elementwise.HANDLERS,
    reader_activations.HANDLERS,
    reader_shapes.HANDLERS,
    reader_places.HANDLERS,
    reader_dense.HANDLERS,
    reader_quantized.HANDLERS,  # its Gather knows tables too
    reader_tails.HANDLERS,
)
_BY_DOMAIN = {
    "": _PLAIN,
    "ai.onnx.ml": (reader_dense.ML_HANDLERS, reader_tails.ML_HANDLERS),
    "com.microsoft": (
        reader_dense.MICROSOFT_HANDLERS,
        reader_quantized.MICROSOFT_HANDLERS,
        {"Gelu": reader_activations.gelu},
    ),
}
_HANDLERS: dict[tuple[str, str], reader_shapes.Handler] = {
    (domain, name): handler
    for domain, tables in _BY_DOMAIN.items()
    for table in tables
    for name, handler in table.items()
}


@dataclass(frozen=True, eq=False)
class Imported:
    """A model, and how its file takes rows and gives them back.

    output: the tensor that the model's outputs are. output_kind: "values", "label" (an index of the largest) or
    "probabilities" (a list of dictionaries). output_batch: the batch's axis in it, None where it is one row.
    output_grids: what the file rounds its outputs to. computes_in_half: the file does some arithmetic in
    float16. same_standardization: it subtracts and multiplies as the model does. slack: by layer, how far its sums may
    be from the file's, real units (n_out,), where a float bias was put on an integer grid.
    """

    model: Model
    input: Input
    output: str
    output_kind: str
    output_batch: int | None
    output_grids: tuple[QuantParams, ...]
    computes_in_half: bool
    same_standardization: bool
    slack: dict[str, NDArray[np.float64]]


def read_onnx(path: str | os.PathLike[str], *, max_bytes: int = DEFAULT_MAX_BYTES) -> Model:
    """The model in an ONNX file.

    max_bytes: limit on the file, on its external data, and on what its constants unfold to. Raises ArtifactError, in
    one line, for a file that is damaged, too large, or no chain of dense layers, naming the node; OSError where it
    cannot be read. Outputs agree with the file's within the bounds of `edge_runtime.bounds`; use `verify_import`.
    """
    return import_onnx(path, max_bytes=max_bytes).model


def import_onnx(path: str | os.PathLike[str], *, max_bytes: int = DEFAULT_MAX_BYTES) -> Imported:
    """`read_onnx`, with what is needed to run the file beside the model."""
    try:
        content = bytes(read_file(path, max_bytes=max_bytes))
        if not content:
            raise Unsupported("the file is empty, expected an ONNX model; export the model again")
        check_counts(content)
        proto = onnx.ModelProto.FromString(content)
        with np.errstate(all="ignore"):
            return _Reader(proto, content, Path(path).parent, max_bytes).read()
    except (Unsupported, ModelError, InputError) as error:
        text = printable(error)
        raise ArtifactError(text if text.startswith(f"{path}:") else f"{path}: {text}") from error
    except OSError:
        raise
    except (
        Exception
    ) as error:  # protobuf's DecodeError is no type of onnx; MemoryError and RecursionError come here too
        raise ArtifactError(
            f"{path}: not a readable ONNX file ({printable(error, 200)}); export the model again"
        ) from error


class _Reader:
    def __init__(self, proto: onnx.ModelProto, content: bytes, folder: Path, max_bytes: int) -> None:
        self.proto = proto
        self.size = len(content)
        self.budget = Budget(2 * max_bytes)
        self.tensors = TensorReader(folder, self.budget)
        self.constants = self._initializers()
        self.in_half = False
        self.producers: dict[str, Node] = {}

    def read(self) -> Imported:
        """Try the graph's input as rows along its first axis, then, where its sizes are fixed, as one row."""
        self._check_versions()
        outputs = [value.name for value in self.proto.graph.output]
        nodes = needed_nodes(self.proto, outputs)
        self.producers = {name: node for node in nodes for name in node.outputs}
        first: Unsupported | None = None
        for candidate in find_input(self.proto.graph, self.constants, nodes, self._widest()):
            try:
                return self._follow(candidate, nodes, outputs)
            except (Unsupported, ModelError) as error:
                first = first or with_expectation(error)
        raise first or Unsupported("the graph has no input, expected one")

    def _check_versions(self) -> None:
        opset = next((entry.version for entry in self.proto.opset_import if entry.domain in ("", "ai.onnx")), None)
        if opset is not None and opset < OLDEST_OPSET:
            raise Unsupported(
                f"opset {opset} found, expected {OLDEST_OPSET} or newer; convert it with onnx's converter"
            )
        if not self.proto.graph.output:
            raise Unsupported(
                "not an ONNX model: its graph has no outputs, expected one at least; export the model again"
            )

    def _initializers(self) -> dict[str, Const | onnx.TensorProto | onnx.SparseTensorProto]:
        graph = self.proto.graph
        found: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        found.update({tensor.values.name: tensor for tensor in graph.sparse_initializer})
        return found

    def _widest(self) -> int:
        """No input can be wider than there are weights, and each weight takes a byte of a file at least."""
        return self.size + self.tensors.external_bytes(self.proto.graph.initializer)

    def _constant(self, name: str) -> Const | None:
        """An initializer, decoded when it is first used: those of dead nodes never are."""
        value = self.constants.get(name)
        if value is None or isinstance(value, Const):
            return value
        is_sparse = isinstance(value, onnx.SparseTensorProto)
        self.constants[name] = Const(self.tensors.sparse(value) if is_sparse else self.tensors.array(value))
        return self.constants[name]

    def _follow(self, source: Input, nodes: list[Node], outputs: list[str]) -> Imported:
        values: dict[str, Value] = {source.name: source.flow()}
        for node in nodes:
            try:
                results = self._apply(node, [self._value(name, values) for name in node.inputs])
            except Unsupported as error:
                raise with_expectation(error).at(node) from error
            except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
                detail = f"{type(error).__name__}: {error}"  # NumPy's words about shapes that do not fit
                raise Unsupported(f"its inputs or attributes do not fit ({detail}); export the model again").at(
                    node
                ) from error
            _note_origin(node, results)
            self.in_half |= any(isinstance(result, Flow) and result.kind == "float16" for result in results)
            values.update((name, result) for name, result in zip(node.outputs, results, strict=False) if name)
        return self._finish(source, {name: self._value(name, values) for name in outputs})

    def _value(self, name: str, values: dict[str, Value]) -> Value:
        if not name:
            return None
        if name in values:
            return values[name]
        constant = self._constant(name)
        if name in self.producers:
            raise Unsupported(f"its output '{name}' is not supported; {SUPPORTED}").at(self.producers[name])
        if constant is None:
            raise Unsupported(f"tensor '{name}' is computed by no node and is not the input; export the model again")
        return constant

    def _apply(self, node: Node, inputs: list[Value]) -> list[Value]:
        if (node.domain, node.operator) == ("", "Constant"):
            return [constant_node(node, self.tensors)]
        if (node.domain, node.operator) == ("", "ConstantOfShape"):
            return [constant_of_shape(node, inputs, self.tensors, self.budget)]
        if is_folded(node, inputs):
            return FOLDED[node.operator](node, inputs, self.budget)
        handler = _HANDLERS.get((node.domain, node.operator))
        if handler is None:
            raise Unsupported(f"not supported; {SUPPORTED}")
        return handler(node, inputs, self.budget)

    def _finish(self, source: Input, outputs: dict[str, Value]) -> Imported:
        try:
            name, value = _main_output(outputs)
        except Unsupported as error:
            raise error.at(self.producers.get(next(iter(outputs)))) from error
        flow = value if isinstance(value, Flow) else value.flow  # type: ignore[union-attr]
        flow = flow.made_whole()
        chain = flow.chain
        if not np.array_equal(flow.order.ravel(), np.arange(chain.width)):
            chain = chain.then(Select(flow.order.ravel()))
        assembly = Assembly(chain, source.width, self.budget)
        try:
            assembly.run()
            layers = tuple(assembly.layers)
            names = _class_names(self.proto, outputs, layers[-1].n_out)
            model = Model(layers, assembly.preprocessing, names, self._metadata())
        except (Unsupported, ModelError) as error:
            raise with_expectation(error).at(self.producers.get(name)) from error
        kind = {Flow: "values", Label: "label", Probabilities: "probabilities"}[type(value)]
        same, slack = assembly.same_standardization, assembly.slack
        return Imported(model, source, name, kind, flow.batch, assembly.output_grids, self.in_half, same, slack)

    def _metadata(self) -> dict[str, str]:
        properties = {entry.key: entry.value for entry in self.proto.metadata_props}
        if self.proto.producer_name == "smallnet":
            return {k: v for k, v in properties.items() if k not in ("precision", "form", "class_names")}
        return {"imported_from": printable(f"{self.proto.producer_name} {self.proto.producer_version}".strip(), 100)}


def _note_origin(node: Node, results: list[Value]) -> None:
    for result in results:
        if isinstance(result, Flow | Label | Probabilities):
            _chain(result).made_by(node)


def _main_output(outputs: dict[str, Value]) -> tuple[str, Value]:
    """The output that the model computes: probabilities before values before labels. Raises Unsupported."""
    flows = [name for name, value in outputs.items() if isinstance(value, Flow)]
    if len(flows) > 1 and any(isinstance(value, Label) for value in outputs.values()):
        raise Unsupported(
            f"outputs {', '.join(flows)} beside the label hold one class each; expected all in one output "
            "(skl2onnx: zipmap False in place of 'columns')"
        )
    for kind in (Probabilities, Flow, Label):
        found = {name: value for name, value in outputs.items() if isinstance(value, kind)}
        if not found:
            continue
        if any(isinstance(value, Label) and not value.is_largest for value in found.values()):
            raise Unsupported("its only output is labels of several answers; expected the values that they are made of")
        deepest = max(found, key=lambda name: _chain(found[name]).depth)
        for name, value in found.items():
            if not _leads_to(_chain(value), _chain(found[deepest])):
                raise Unsupported(f"outputs '{name}' and '{deepest}' come from different branches; expected one chain")
        return deepest, found[deepest]
    raise Unsupported(f"no output depends on the input: {', '.join(outputs)}; {SUPPORTED}")


def _chain(value: Any) -> Chain:
    chain: Chain = value.chain if isinstance(value, Flow) else value.flow.chain
    return chain


def _leads_to(chain: Chain, end: Chain) -> bool:
    at: Chain | None = end
    while at is not None and at.depth > chain.depth:
        at = at.parent
    return at is chain


def _class_names(proto: onnx.ModelProto, outputs: dict[str, Value], n_out: int) -> tuple[str, ...]:
    """Names from ZipMap, from the label's branch, or from what write_onnx stored; () where they do not fit."""
    for value in outputs.values():
        if isinstance(value, Label | Probabilities) and len(value.classes) == n_out:
            return value.classes
    stored = next((entry.value for entry in proto.metadata_props if entry.key == "class_names"), None)
    if proto.producer_name != "smallnet" or stored is None or len(stored) > 1 << 20:
        return ()
    names = json.loads(stored)
    return tuple(names) if isinstance(names, list) and len(names) == n_out else ()
