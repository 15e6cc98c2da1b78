"""Read anybody's dense network: an ONNX file of any producer, opset 6 to the newest, becomes a `Model`.

The graph is not matched against patterns. Its nodes are followed from the input to the output, and each says what it
does to the rows (`operators`); the chain of steps that comes out is then made into layers (`layers`). What is no chain
of dense layers is refused with the first node that is not, and no file can make the reader raise anything but
ArtifactError and OSError.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_runtime.arguments import INPUT_CHECKS
from edge_runtime.artifact import MODEL_MAX_BYTES
from edge_runtime.errors import ArtifactError, InputError, ModelError
from edge_runtime.files import describe, printable, read_file, shortened
from edge_runtime.model import Model
from edge_runtime.numerics import QuantParams
from edge_runtime.schema import KEY as SCHEMA_KEY
from edge_runtime.schema import Column, Schema
from export.onnx_reader.inputs import LEAST_WIDTH, Inputs, find_inputs, flows_of, width_of
from export.onnx_reader.layers import Assembly, build_layers, in_4_bits
from export.onnx_reader.nodes import (
    SUPPORTED,
    Budget,
    Node,
    OfNoise,
    TooLarge,
    Unsupported,
    in_few_letters,
    with_expectation,
)
from export.onnx_reader.operators import ELEMENTWISE, apply
from export.onnx_reader.outputs import choice_text, class_names, inner_text, main_output, reached_outputs
from export.onnx_reader.protobuf import TensorReader, check_counts, needed_nodes
from export.onnx_reader.steps import Chain, Int8Product, Seen, Select, Step
from export.onnx_reader.values import Const, Derived, Flow, Label, Origin, Probabilities, Shaped, Stacked, Value

OUTPUT_KEY = "onnx_output"  # of a model's metadata: which of several outputs of its file it computes
_INT4_KEY = "int4_weights"  # of metadata_props: what a file of ours says that holds 4-bit weights as int8


@dataclass(frozen=True, eq=False)
class Imported:
    """A model, and how its file takes rows and gives them back.

    inputs: of the file, parts of the model's one, in order. output: the tensor that the model's outputs are.
    output_kind: "values", "label" (an index of the largest) or "probabilities" (a list of dictionaries). output_batch:
    the batch's axis in it, None where it is one row. output_grids: what the file rounds its outputs to.
    computes_in_half: the file does some arithmetic in float16. same_standardization: it subtracts and multiplies as the
    model does. slack: by layer, how far its sums may be from the file's, real units (n_out,), where a float bias was
    put on an integer grid. dropped: the file's other outputs, which the model does not compute. ties: entries of tables
    that stand so near to a tie that onnxruntime may round them otherwise, as layer, code and the other value.
    external_files: where the file says that weights lie. content: the bytes that were read. int8_products: the products
    whose weights the file has as int8, which may saturate on some processors (`export.onnx_writer.saturating_layers`).
    seen: the file's tensors that hold what layers take, in order, as far as there are such.
    """

    model: Model
    inputs: Inputs
    output: str
    output_kind: str
    output_batch: int | None
    output_grids: tuple[QuantParams, ...]
    computes_in_half: bool
    same_standardization: bool
    slack: dict[str, NDArray[np.float64]]
    dropped: tuple[str, ...] = ()
    ties: tuple[tuple[str, int, int], ...] = ()
    external_files: tuple[Path, ...] = ()
    content: bytes = b""
    int8_products: tuple[Int8Product, ...] = ()
    seen: tuple[Seen, ...] = ()

    def __repr__(self) -> str:
        """The model and where it was found, in one line."""
        names = " -> ".join(repr(shortened(name, 20)) for name in (self.inputs[0].name, self.output))
        return f"Imported({self.model!r}, {names})"


def read_onnx(path: str | os.PathLike[str], *, max_bytes: int = MODEL_MAX_BYTES, output: str | None = None) -> Model:
    """The model in an ONNX file.

    max_bytes: limit on the file, on its external data, and on what its constants unfold to. output: the name of the
    output that the model computes, for a file with several; a label beside its values needs none. Raises ArtifactError,
    in one line, for a file that is damaged, too large, or no chain of dense layers, naming the node; OSError if it
    cannot be read; InputError for arguments of another type. Outputs agree with the file's within the bounds of
    `edge_runtime.reference.bounds`; use `verify_import`.
    """
    return import_onnx(path, max_bytes=max_bytes, output=output).model


def import_onnx(
    path: str | os.PathLike[str], *, max_bytes: int = MODEL_MAX_BYTES, output: str | None = None
) -> Imported:
    """`read_onnx`, with what is needed to run the file beside the model."""
    INPUT_CHECKS.path("path", path)
    INPUT_CHECKS.whole("max_bytes", max_bytes, 0, unit="of bytes")
    INPUT_CHECKS.instance("output", output, str, "the name of an output of the file")
    with _one_line_errors(path):
        content = bytes(read_file(path, max_bytes=max_bytes))
    return import_bytes(content, path, max_bytes=max_bytes, output=output)


def import_bytes(
    content: bytes, path: str | os.PathLike[str], *, max_bytes: int = MODEL_MAX_BYTES, output: str | None = None
) -> Imported:
    """`import_onnx` of what was read already. path: where from, for messages and for external data beside it."""
    with _one_line_errors(path):
        if not content:
            raise Unsupported("the file is empty, expected an ONNX model; export the model again")
        check_counts(content)
        proto = onnx.ModelProto.FromString(content)
        try:
            with np.errstate(all="ignore"):
                return _Reader(proto, content, Path(path).parent, max_bytes, output).read()
        except Unsupported as error:
            raise error.for_producer(proto.producer_name) from error


@contextlib.contextmanager
def _one_line_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever a file makes the reader raise becomes an ArtifactError that names the file, or stays an OSError."""
    try:
        yield
    except (Unsupported, ModelError, InputError) as error:
        name = describe(path)
        text = str(error).removeprefix(f"{os.fspath(path)}: ").removeprefix(f"{name}: ")
        raise ArtifactError(f"{name}: {printable(in_few_letters(text))}") from error
    except OSError:
        raise
    except Exception as error:  # protobuf's DecodeError is no type of onnx; MemoryError and RecursionError come too
        raise ArtifactError(
            f"{describe(path)}: not a readable ONNX file ({printable(error, 200)}); export the model again"
        ) from error


class _Reader:
    def __init__(
        self, proto: onnx.ModelProto, content: bytes, folder: Path, max_bytes: int, output: str | None
    ) -> None:
        self.proto, self.output = proto, output
        self.content = content
        self.budget = Budget(2 * max_bytes)
        self.tensors = TensorReader(folder, self.budget, max_bytes)
        self.constants: dict[str, Const | onnx.TensorProto] = {}
        self.constants.update((tensor.name, tensor) for tensor in proto.graph.initializer)
        self.in_half = False
        self.producers: dict[str, Node] = {}
        self.values: dict[str, Value] = {}
        self.failed: dict[str, Unsupported] = {}  # what nodes could not compute, which perhaps nothing needs
        self.shapes: dict[str, Shaped] = {}  # of what failed: some files ask for it, to expand what has it already

    def read(self) -> Imported:
        """Try the graph's input as rows along its first axis, then, where its sizes are fixed, as one row."""
        if not self.proto.graph.output:
            raise Unsupported("not an ONNX model: its graph has no outputs, expected one; export the model again")
        outputs = self._wanted_outputs()
        _require_versions(self.proto)
        nodes = needed_nodes(self.proto, outputs, self.constants)
        self.producers = {name: node for node in nodes for name in node.outputs}
        first: Unsupported | None = None
        for candidate in find_inputs(self.proto.graph, self.constants, nodes, self._widest(nodes)):
            try:
                return self._follow(candidate, nodes, outputs)
            except (Unsupported, ModelError) as error:
                first = first or self._with_choice(with_expectation(error), nodes, outputs)
        raise first or Unsupported("the graph has no input, expected one")

    def _with_choice(self, error: Unsupported, nodes: list[Node], outputs: list[str]) -> Unsupported:
        """A refusal that says too which outputs, or which tensors before them, do without what is refused."""
        if self.output is not None or isinstance(error, TooLarge):
            return error
        outputs = self._without_noise(outputs)
        found = {name: self.values[name] for name in outputs if name in self.values}
        text = choice_text(outputs, found) if found else inner_text(nodes, self.values, self.constants)
        return error.with_more(text) if text and len(found) < len(outputs) else error

    def _wanted_outputs(self) -> list[str]:
        """The output that was chosen, or all that depend on the input."""
        names = [value.name for value in self.proto.graph.output]
        if self.output is None:
            nodes = needed_nodes(self.proto, names, self.constants)
            return reached_outputs(self.proto, nodes, self.constants) or names
        made = {name for node in self.proto.graph.node for name in node.output if name}
        if self.output not in names and self.output not in made:
            known = ", ".join(map(repr, names))
            raise Unsupported(f"no output '{self.output}'; expected one of {known}, or a tensor within the graph")
        return [self.output]

    def _widest(self, nodes: list[Node]) -> int:
        """No input can be wider than there are weights, and a byte of a file holds two of them at most."""
        used = [self.constants.get(name) for name in {name for node in nodes for name in node.inputs}]
        tensors = [value for value in used if isinstance(value, onnx.TensorProto)]
        return max(LEAST_WIDTH, 2 * (len(self.content) + self.tensors.external_bytes(tensors)))

    def _constant(self, name: str) -> Const | None:
        """An initializer, decoded when it is first used: those of dead nodes never are."""
        value = self.constants.get(name)
        if value is None or isinstance(value, Const):
            return value
        self.constants[name] = found = Const(self.tensors.array(value))
        return found

    def _follow(self, source: Inputs, nodes: list[Node], outputs: list[str]) -> Imported:
        self._compute(source, nodes)
        finals = {name: self._value(name) for name in self._without_noise(outputs)}
        return self._finish(source, finals, self.values)

    def _without_noise(self, outputs: list[str]) -> list[str]:
        """Those of several outputs that random numbers do not go into; all, if they go into each."""
        return [name for name in outputs if not isinstance(self.failed.get(name), OfNoise)] or outputs

    def _compute(self, source: Inputs, nodes: list[Node]) -> None:
        """What every node computes, or why it cannot be."""
        self.budget.charge(width_of(source))
        self.values = {**flows_of(source)}
        self.failed.clear()
        self.shapes.clear()
        for node in nodes:
            try:
                results = self._results(node)
            except Unsupported as error:
                self.failed.update(dict.fromkeys(node.outputs, error))
                self._note_shape(node)
                continue
            for result in results:
                if isinstance(result, Flow | Derived):
                    result.flow.chain.made_by(node)
            self.in_half |= any(isinstance(result, Flow) and result.kind == "float16" for result in results)
            self.values.update((name, result) for name, result in zip(node.outputs, results, strict=False) if name)

    def _note_shape(self, node: Node) -> None:
        """The shape of what an operator that works place by place could not compute, where its inputs tell."""
        inputs = [self.shapes.get(name) or self.values.get(name) or self.constants.get(name) for name in node.inputs]
        shapes = [value.shape for value in inputs if isinstance(value, Shaped | Flow | Const)]
        if node.operator in ELEMENTWISE and len(shapes) == len(inputs):
            with contextlib.suppress(ValueError):
                self.shapes[node.outputs[0]] = Shaped(np.broadcast_shapes(*shapes))

    def _results(self, node: Node) -> list[Value]:
        """What a node computes. Raises Unsupported, naming it."""
        try:
            if (node.domain, node.operator) == ("", "If"):
                return [self._value(name) for name in _taken(node, self._value(node.inputs[0]))]
            shapes = self.shapes if node.operator == "Shape" else {}
            inputs = [shapes.get(name) or self._value(name) for name in node.inputs]
            results = apply(self._with_arrays(node), inputs, self.budget)
            self._charge_layouts(inputs, results)
            return results
        except (Unsupported, ModelError) as error:
            raise with_expectation(error).at(node) from error
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            detail = f"{type(error).__name__}: {error}"  # NumPy's words about shapes that do not fit
            words = f"its inputs or attributes do not fit ({detail}); export the model again"
            raise Unsupported(words).at(node) from error

    def _with_arrays(self, node: Node) -> Node:
        """A node whose attributes that are tensors are read."""
        tensors = {key: value for key, value in node.attributes.items() if isinstance(value, onnx.TensorProto)}
        arrays = {key: self.tensors.array(value) for key, value in tensors.items()}
        return replace(node, attributes={**node.attributes, **arrays}) if arrays else node

    def _charge_layouts(self, inputs: list[Value], results: list[Value]) -> None:
        """Take the memory of new layouts off the budget: those that are no view of an input's."""
        old = [value.order for value in inputs if isinstance(value, Flow)]
        for result in results:
            if isinstance(result, Flow) and not any(np.may_share_memory(result.order, order) for order in old):
                self.budget.charge(result.order.size)

    def _value(self, name: str) -> Value:
        if not name:
            return None
        if name in self.values:
            return self.values[name]
        constant = self._constant(name)
        if name in self.failed:
            raise self.failed[name]
        if constant is None and name in self.producers:
            raise Unsupported(f"its output '{name}' is not supported; {SUPPORTED}").at(self.producers[name])
        if constant is None:
            raise Unsupported(f"tensor '{name}' is computed by no node and is not the input; export the model again")
        return constant

    def _finish(self, source: Inputs, outputs: dict[str, Value], values: dict[str, Value]) -> Imported:
        try:
            name, value = main_output(outputs)
        except Unsupported as error:
            raise error.at(self.producers.get(next(iter(outputs)))) from error
        flow = value.flow.made_whole()
        chain = flow.chain
        if not flow.is_in_order:
            chain = chain.then(Select(flow.order.ravel()))
        try:
            assembly = Assembly(chain, width_of(source), self.budget)
            build_layers(assembly)
            layers = tuple(map(in_4_bits, assembly.layers)) if self._has_int4() else tuple(assembly.layers)
            names = class_names(self.proto, outputs, layers[-1].n_out)
            model = Model(layers, assembly.preprocessing, names, self._metadata(source))
        except (Unsupported, ModelError) as error:
            raise with_expectation(error).at(self.producers.get(name)) from error
        kind = {Flow: "values", Stacked: "values", Label: "label", Probabilities: "probabilities"}[type(value)]
        same, slack = assembly.same_standardization, assembly.slack
        dropped = tuple(value.name for value in self.proto.graph.output if value.name != name)
        if dropped:
            model = replace(model, metadata={**model.metadata, OUTPUT_KEY: name})
        return Imported(
            model, source, name, kind, flow.batch, assembly.output_grids, self.in_half, same, slack, dropped,
            tuple(sorted(assembly.ties)), self.tensors.external_files(self.proto.graph.initializer),
            self.content, tuple(assembly.int8_products), _seen(assembly.starts, chain, values),
        )  # fmt: skip

    def _has_int4(self) -> bool:
        """Whether the file has 4-bit weights, or says that it holds such as int8."""
        return self.tensors.has_nibbles or any(entry.key == _INT4_KEY for entry in self.proto.metadata_props)

    def _metadata(self, source: Inputs) -> dict[str, str]:
        properties = {entry.key: entry.value for entry in self.proto.metadata_props}
        if self.proto.producer_name == "smallnet":
            return {k: v for k, v in properties.items() if k not in ("precision", "form", "class_names", _INT4_KEY)}
        made_by = printable(f"{self.proto.producer_name} {self.proto.producer_version}".strip(), 100)
        return {"imported_from": made_by, **_schema(source)}


def _seen(starts: dict[str, Step], chain: Chain, values: dict[str, Value]) -> tuple[Seen, ...]:
    """The tensors that the steps take with which layers start, if their places are the features."""
    links = {id(link.step): link for link in chain.links_after(None)}
    found = []
    for layer, step in starts.items():
        link = links.get(id(step))
        for name in link.origin.inputs if link is not None and link.origin is not None else ():
            value = values.get(name)
            if isinstance(value, Flow) and link is not None and value.chain is link.parent and value.is_in_order:
                found.append(Seen(layer, name, value.batch))
                break
    return tuple(found)


def _schema(source: Inputs) -> dict[str, str]:
    """The names of the features, by which a table is read, where several inputs have given them."""
    names = [name for part in source for name in part.feature_names]
    if len(source) == 1 or len(set(names)) < len(names):
        return {}
    return {SCHEMA_KEY: Schema(tuple(map(Column, names))).text()}


def _require_versions(proto: onnx.ModelProto) -> None:
    """Raise Unsupported for sparse weights, for no opset, or an opset or an IR version that onnx does not know."""
    if proto.graph.sparse_initializer:
        raise Unsupported("it has sparse initializers, expected dense ones; write them out before exporting")
    opsets = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if not opsets and any(node.domain in ("", "ai.onnx") for node in proto.graph.node):
        raise Unsupported("it names no opset, expected one such as 17; add opset_import with onnx", "opset")
    for what, found, newest, topic, advice in (
        ("opset", max(opsets, default=0), onnx.defs.onnx_opset_version(), "opset", ""),
        ("IR version", proto.ir_version, onnx.IR_VERSION, "", ", or set model.ir_version = 8 with onnx and save it"),
    ):
        if found > newest:
            known = f"the newest that onnx {onnx.__version__} knows"
            raise Unsupported(
                f"{what} {found} found, expected {newest} at most, {known}; install a newer onnx{advice}", topic
            )


def _taken(node: Node, condition: Value) -> tuple[str, ...]:
    """The tensors of the branch that a constant condition takes. Raises Unsupported."""
    if not isinstance(condition, Const) or condition.origin is not Origin.FILE or condition.array.size != 1:
        raise Unsupported("its condition is not constant; expected one that is the same for every input")
    count = len(node.outputs)
    return node.inputs[1 : 1 + count] if condition.array.ravel()[0] else node.inputs[1 + count :]
