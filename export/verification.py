"""Does an ONNX file compute what the model computes? Every tensor is compared, by a stated rule.

int8 tensors and the values made of them: the same bits. Float layers: each is judged on the very inputs that
onnxruntime gave it, within the bound of `edge_runtime.bounds`, so that the first layer to break its rule is the one
that is wrong. The file is run as it is and with every intermediate tensor exposed, at onnxruntime's default level and
with its graph optimizations disabled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper

from edge_runtime.bounds import ACTIVATION_ERROR, output_bound, product_bound
from edge_runtime.errors import ArtifactError, InputError
from edge_runtime.model import Dense, Model
from edge_runtime.trace import logits, trace
from export.onnx_session import LEVELS, make_session

BLOCK = 256  # rows compared at once: memory does not grow with the data
SAME_BITS, WITHIN_BOUND = "same bits", "within bound"
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class TensorCheck:
    """One tensor at one level. rule: "same bits" or "within bound". differing: values that break the rule.

    max_abs_error: the largest difference, in steps for integer tensors. largest_bound: the largest difference allowed.
    """

    level: str
    tensor: str
    rule: str
    compared: int
    differing: int
    max_abs_error: float
    largest_bound: float

    def merged(self, other: TensorCheck) -> TensorCheck:
        """The same check over the rows of both."""
        return replace(
            self,
            compared=self.compared + other.compared,
            differing=self.differing + other.differing,
            max_abs_error=max(self.max_abs_error, other.max_abs_error),
            largest_bound=max(self.largest_bound, other.largest_bound),
        )


@dataclass(frozen=True)
class Report:
    """All checks of one verification, in the order of the tensors. decisions_changed: rows whose class differs."""

    rows: int
    checks: tuple[TensorCheck, ...]
    decisions_changed: int
    max_abs_error: float
    notes: tuple[str, ...] = field(default=())

    @property
    def differing(self) -> int:
        """Values, over all tensors and levels, that break their rule."""
        return sum(check.differing for check in self.checks)

    @property
    def ok(self) -> bool:
        """Whether every value keeps its rule and, where all is int8, every decision is the same."""
        return self.differing == 0

    @property
    def exact_compared(self) -> int:
        """Values that were compared bit for bit."""
        return sum(check.compared for check in self.checks if check.rule == SAME_BITS)

    @property
    def exact_differing(self) -> int:
        """Values compared bit for bit that are not the same."""
        return sum(check.differing for check in self.checks if check.rule == SAME_BITS)

    @property
    def first_diverging_layer(self) -> str | None:
        """The first tensor that breaks its rule."""
        return next((check.tensor for check in self.checks if check.differing), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "ok": self.ok,
            "rows": self.rows,
            "differing": self.differing,
            "decisions_changed": self.decisions_changed,
            "max_abs_error": self.max_abs_error,
            "first_diverging_layer": self.first_diverging_layer,
            "checks": [vars(check) for check in self.checks],
        }


def verify(model: Model, onnx_path: str | os.PathLike[str], x: ArrayLike | None = None) -> Report:
    """Compare `model` with an ONNX file that `write_onnx` made of it.

    x: rows (n, n_in), at least one; by default the model's test vectors. Raises InputError for rows that do not fit,
    ArtifactError for a file that is not such an ONNX model, OSError where it cannot be read.
    """
    rows = _rows(model, x)
    proto = _read(onnx_path)
    _check_interface(proto, model, onnx_path)
    plain = {level: make_session(proto, level) for level in LEVELS}
    names = _named_tensors(model, proto, onnx_path)
    exposed_proto = expose(proto, names)
    exposed = {level: make_session(exposed_proto, level) for level in LEVELS}
    checks: dict[tuple[str, str], TensorCheck] = {}
    changed, largest = 0, 0.0
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        ours = trace(model, part)
        found = {level: _run(session, part) for level, session in exposed.items()}
        output = {level: _run(session, part)[_output_name(proto)] for level, session in plain.items()}
        for tensors in found.values():  # the graph calls the last layer's output by its own name
            tensors[f"{model.layers[-1].name}.output"] = tensors.pop(_output_name(proto))
        for check in _compare_all(model, part, ours, found, output):
            key = (check.level, check.tensor)
            checks[key] = checks[key].merged(check) if key in checks else check
        final = ours[f"{model.layers[-1].name}.output"]
        changed += int(np.sum(_decisions(logits(model, ours)) != _decisions(output["default"])))
        largest = max(largest, float(np.abs(final.astype(np.float64) - output["default"]).max(initial=0.0)))
    ordered = sorted(checks.values(), key=lambda check: list(LEVELS).index(check.level))
    return Report(len(rows), tuple(ordered), changed, largest)


def expose(proto: onnx.ModelProto, tensors: dict[str, int]) -> onnx.ModelProto:
    """A copy of a graph with more outputs. tensors: {tensor name: ONNX element type}."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    present = {output.name for output in copy.graph.output}
    for name, element_type in tensors.items():
        if name not in present:
            copy.graph.output.append(helper.make_tensor_value_info(name, element_type, None))
    return copy


def _rows(model: Model, x: ArrayLike | None) -> NDArray[np.float32]:
    if x is None:
        if model.test_vectors is None:
            raise InputError("the model holds no test vectors; give rows to compare on")
        x = model.test_vectors.inputs
    rows = np.asarray(x)
    if rows.dtype.kind not in "fiub" or rows.ndim != 2 or rows.shape[1] != model.n_in or len(rows) == 0:
        raise InputError(
            f"rows have dtype {rows.dtype} and shape {rows.shape}, expected numbers (n, {model.n_in}), n >= 1"
        )
    return rows.astype(np.float32)


def _read(path: str | os.PathLike[str]) -> onnx.ModelProto:
    content = Path(path).read_bytes()
    try:
        return onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError is not an onnx type
        raise ArtifactError(f"{path}: not a readable ONNX file ({error}); export the model again") from error


def _check_interface(proto: onnx.ModelProto, model: Model, path: object) -> None:
    outputs = [output.name for output in proto.graph.output]
    inputs = [value.name for value in proto.graph.input]
    if len(inputs) != 1 or len(outputs) != 1:
        raise ArtifactError(f"{path}: inputs {inputs} and outputs {outputs}, expected one of each")
    for value, width in ((proto.graph.input[0], model.n_in), (proto.graph.output[0], model.n_out)):
        dims = [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        if len(dims) != 2 or dims[1] != width:
            raise ArtifactError(f"{path}: tensor '{value.name}' has shape {dims}, the artifact's is (batch, {width})")


def _output_name(proto: onnx.ModelProto) -> str:
    return str(proto.graph.output[0].name)


def _named_tensors(model: Model, proto: onnx.ModelProto, path: object) -> dict[str, int]:
    """The trace's tensors that the graph must have, with their ONNX element types."""
    row = np.zeros((1, model.n_in), np.float32)
    tensors = trace(model, row)
    del tensors[f"{model.layers[-1].name}.output"]  # in the graph it is the output, under that name
    names = {name: helper.np_dtype_to_tensor_dtype(values.dtype) for name, values in tensors.items()}
    made = {output for node in proto.graph.node for output in node.output}
    missing = [name for name in names if name not in made]
    if missing:
        raise ArtifactError(
            f"{path}: tensor '{missing[0]}' of the artifact is not in the graph; it was not exported from this artifact"
        )
    return {**names, _output_name(proto): TensorProto.FLOAT}


def _run(session: Any, part: NDArray[np.float32]) -> Tensors:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: part}), strict=True))


def _decisions(values: NDArray[Any]) -> NDArray[Any]:
    return values.argmax(axis=1)


def _compare_all(
    model: Model, part: NDArray[np.float32], ours: Tensors, found: dict[str, Tensors], output: dict[str, NDArray[Any]]
) -> list[TensorCheck]:
    """Every check on one block of rows."""
    checks = []
    exact = all(layer.precision == "int8" for layer in model.layers)
    free_bound = output_bound(model, part, activated=True)
    last = model.layers[-1]
    for level, theirs in found.items():
        if "input.standardized" in ours:
            checks.append(_same_bits(level, "input.standardized", ours, theirs))
        entering = theirs.get("input.standardized", part)
        for layer in model.layers:
            checks += _compare_layer(level, layer, entering, ours, theirs)
            entering = theirs[f"{layer.name}.output"]
        if exact:  # the exposed graph had these very logits, so the same kernel must give the same bits
            checks.append(
                _same_bits(level, "output", {"output": output[level]}, {"output": theirs[f"{last.name}.output"]})
            )
        else:
            final = ours[f"{last.name}.output"]
            checks.append(_within(level, "output", final, output[level], free_bound))
    return checks


def _compare_layer(level: str, layer: Any, entering: NDArray[Any], ours: Tensors, theirs: Tensors) -> list[TensorCheck]:
    name = layer.name
    if isinstance(layer, Dense):
        product = f"{name}.preactivation"
        expected = entering @ layer.weight.astype(np.float32) + layer.bias
        checks = [_within(level, product, expected, theirs[product], product_bound(layer, entering))]
        before = theirs[product]
    else:
        tensors = [key for key in ours if key.startswith(f"{name}.") and key != f"{name}.output"]
        checks = [_same_bits(level, key, ours, theirs) for key in tensors]
        before = theirs[f"{name}.scaled"]
        if layer.output is not None:
            return [*checks, _same_bits(level, f"{name}.output", ours, theirs)]
    allowed = ACTIVATION_ERROR.get(layer.activation.name, 0.0)
    bound = np.full(before.shape, allowed)
    return [*checks, _within(level, f"{name}.output", layer.activation(before), theirs[f"{name}.output"], bound)]


def _same_bits(level: str, tensor: str, ours: Tensors, theirs: Tensors) -> TensorCheck:
    a, b = ours[tensor], theirs[tensor]
    bits = f"u{a.dtype.itemsize}"
    differing = a.view(bits) != b.view(bits)
    error = np.abs(a.astype(np.float64) - b)
    return TensorCheck(level, tensor, SAME_BITS, a.size, int(differing.sum()), float(error.max(initial=0.0)), 0.0)


def _within(level: str, tensor: str, ours: NDArray[Any], theirs: NDArray[Any], bound: NDArray[Any]) -> TensorCheck:
    error = np.abs(ours.astype(np.float64) - theirs)
    differing = ~(error <= bound)  # NaN differs
    return TensorCheck(
        level,
        tensor,
        WITHIN_BOUND,
        ours.size,
        int(differing.sum()),
        float(error.max(initial=0.0)),
        float(bound.max(initial=0.0)),
    )
