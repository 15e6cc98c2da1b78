"""Does an ONNX file compute what the model computes? Every tensor is compared, by a stated rule.

int8 tensors and the values made of them: the same bits. Float layers: each is judged on the very inputs that
onnxruntime gave it, within the bound of `edge_runtime.reference.bounds`, so that the first layer to break its rule is
the one that is wrong. The file is run as it is and with every intermediate tensor exposed, at onnxruntime's default
level and with its graph optimizations disabled. A file that this project did not write is compared by its outputs
alone, and by the rules of `export.verification.import_check` where the model was read from it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper

from edge_runtime.arguments import INPUT_CHECKS
from edge_runtime.engine import Engine, Limits, is_dynamic
from edge_runtime.errors import ArtifactError
from edge_runtime.files import printable, read_file, refuse_no_name
from edge_runtime.layers import DynamicQuantizedDense, QuantizedDense
from edge_runtime.model import Model, as_model
from edge_runtime.reference import logits, output_bound, trace
from export.onnx_reader import OUTPUT_KEY, Imported, Unsupported, check_counts, import_bytes, take_in_external
from export.onnx_writer import FORMS
from export.verification.comparison import (
    TensorCheck,
    Tensors,
    check_layer,
    check_loose_int8,
    keeps_bits,
    reported,
    rows_to_compare,
    same_bits,
    within,
)
from export.verification.foreign_session import ForeignSession, RunLimits, checked_settings
from export.verification.import_check import is_import_of, verify_import
from export.verification.report import ENGINE, Report
from export.verification.row_count import rows_within
from export.verification.saturation import Precaution, precaution_for
from export.verification.stepwise import tensors_between
from export.verification.unused_nodes import keep_output, refuse_loops, remove_unused
from export.verification.written import check_written, unstated_options

MAX_ONNX_BYTES = 1 << 30
FOREIGN = "foreign"


def verify(
    model: Model,
    onnx_path: str | os.PathLike[str],
    x: ArrayLike | None = None,
    *,
    levels: Iterable[str] = ("default", "disabled"),
    threads: int = 1,
    limits: Limits | None = None,
    on_rows: Callable[[int, int], None] | None = None,
    run_limits: RunLimits | None = None,
    output: str | None = None,
) -> Report:
    """Compare `model` with an ONNX file.

    x: rows (n, n_in), at least one; by default the model's test vectors. levels: keys of
    `export.verification.onnx_session.LEVELS`. threads: of onnxruntime. limits: what the engine, which is compared too,
    has to keep. on_rows: told how many rows of how many are done. run_limits: what running the file may take, by
    default `RunLimits()`. output: which of several outputs of a foreign file is meant, by default the one that the
    model was imported from. Raises InputError for rows and settings that do not fit, ArtifactError for a file that is
    no ONNX model with one input and one output of the model's widths, or takes more than `run_limits`, or was written
    by something else and is refused by `import_onnx` (it is not run then), BudgetExceeded, and OSError for an
    unreadable file.
    """
    model = as_model(model)
    INPUT_CHECKS.path("onnx_path", onnx_path)
    content = _read_content(onnx_path)
    return verify_content(
        model, content, onnx_path, x,
        levels=levels, threads=threads, limits=limits, on_rows=on_rows, run_limits=run_limits, output=output,
    )  # fmt: skip


def verify_content(
    model: Model,
    content: bytes,
    onnx_path: str | os.PathLike[str],
    x: ArrayLike | None = None,
    *,
    levels: Iterable[str] = ("default", "disabled"),
    threads: int = 1,
    limits: Limits | None = None,
    on_rows: Callable[[int, int], None] | None = None,
    run_limits: RunLimits | None = None,
    output: str | None = None,
) -> Report:
    """`verify` for the content of a file, which need not have been written yet."""
    levels = checked_settings(levels, threads, run_limits)
    INPUT_CHECKS.instance("output", output, str, "the name of an output of the file")
    INPUT_CHECKS.function("on_rows", on_rows, "a function of two numbers")
    rows = rows_to_compare(model, x)
    wanted = output or model.metadata.get(OUTPUT_KEY)
    proto = _parsed(content, onnx_path, wanted)
    form = _form(proto)
    if form == FOREIGN:
        source = _read_first(content, onnx_path, wanted)
        if is_import_of(model, source) or (is_dynamic(model) and tensors_between(model, source)):
            return _verify_import(model, onnx_path, rows, source, levels, Engine(model, limits), run_limits)
        precaution = precaution_for(source)
    else:
        _take_in_external(proto, onnx_path)
    _require_output(proto, output, onnx_path)
    _check_interface(proto, model, onnx_path)
    output_name = proto.graph.output[0].name
    names = {} if form == FOREIGN else _named_tensors(model, proto, form, onnx_path)
    protos = (proto, expose(proto, names))
    engine = Engine(model, limits)
    misfits: list[TensorCheck] = []
    unstated: tuple[str, ...] = ()
    if form != FOREIGN:
        misfits, config = check_written(model, proto, form)
        precaution, unstated = Precaution(config), unstated_options(proto, config)
    config = precaution.config
    made = functools.partial(ForeignSession, path=onnx_path, threads=threads, config=config, limits=run_limits)
    run = [level for level in levels if precaution.runs_at(level)]
    with _opened_sessions(protos, made, run) as sessions:
        report = _compared(model, form, rows, output_name, sessions, engine, on_rows)
    skipped = tuple(level for level in levels if level not in run)
    notes, checks = (*unstated, *precaution.notes(levels)), (*misfits, *report.checks)
    return replace(report, checks=checks, session_config=config, notes=notes, skipped=skipped)


@contextmanager
def _opened_sessions(
    protos: tuple[onnx.ModelProto, onnx.ModelProto], made: Callable[..., ForeignSession], levels: Iterable[str]
) -> Iterator[dict[str, _Sessions]]:
    """The sessions of every level, each made when it is first asked for and closed at the end."""
    with ExitStack() as stack:

        def opened(level: str, content: bytes) -> ForeignSession:
            return stack.enter_context(made(content, level=level))

        yield {level: _Sessions(protos, functools.partial(opened, level)) for level in levels}


def _compared(
    model: Model,
    form: str,
    rows: NDArray[np.float32],
    output: str,
    sessions: dict[str, _Sessions],
    engine: Engine,
    on_rows: Callable[[int, int], None] | None,
) -> Report:
    """Both engines on the same blocks of rows, every check merged over the blocks."""
    block = rows_within(model)
    if is_dynamic(model):  # its answers depend on the whole batch: both engines get the same one
        block = min(block, engine.limits.max_batch or block)
    checks: dict[tuple[str, str], TensorCheck] = {}
    changed, largest = 0, 0.0
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        with np.errstate(invalid="ignore", over="ignore"):
            ours = trace(model, part)
        found = {level: session.run(part) for level, session in sessions.items()}
        for check in [*_compare(model, form, part, ours, found, output), _compare_engine(engine, part, ours)]:
            key = (check.level, check.tensor)
            checks[key] = checks[key].merged(check) if key in checks else check
        if on_rows is not None:
            on_rows(start + len(part), len(rows))
        final = ours[f"{model.layers[-1].name}.output"]
        for plain, _exposed in list(found.values())[:1]:
            changed += int(np.sum(_decisions(model, final) != _decisions(model, plain)))
            largest = max(largest, _largest_difference(final, plain))
    order = [*sessions, ENGINE]
    in_order = tuple(sorted(checks.values(), key=lambda c: order.index(c.level)))
    return Report(form, len(rows), in_order, changed, largest)


def _verify_import(
    model: Model,
    onnx_path: str | os.PathLike[str],
    rows: NDArray[np.float32],
    source: Imported,
    levels: Iterable[str],
    engine: Engine,
    run_limits: RunLimits | None,
) -> Report:
    """The file that the model was read from: outputs by the rules of the import, and the engine beside the trace."""
    report = verify_import(model, onnx_path, rows, levels=levels, imported=source, run_limits=run_limits)
    size = rows_within(model)
    blocks = [rows[start : start + size] for start in range(0, len(rows), size)]
    checks = [_compare_engine(engine, block, trace(model, block)) for block in blocks]
    return replace(report, form=FOREIGN, checks=(*report.checks, functools.reduce(TensorCheck.merged, checks)))


def expose(proto: onnx.ModelProto, tensors: dict[str, int]) -> onnx.ModelProto:
    """A copy of a graph with more outputs. tensors: {tensor name: ONNX element type}."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    present = {output.name for output in copy.graph.output}
    for name, element_type in tensors.items():
        if name not in present:
            copy.graph.output.append(helper.make_tensor_value_info(name, element_type, None))
    return copy


class _Sessions:
    """The file as it is and with its tensors exposed, at one level."""

    def __init__(self, protos: Sequence[onnx.ModelProto], open_one: Callable[[bytes], ForeignSession]) -> None:
        self.plain, self.exposed = (open_one(proto.SerializeToString()) for proto in protos)
        self.input = protos[0].graph.input[0].name

    def run(self, part: NDArray[np.float32]) -> tuple[NDArray[Any], Tensors]:
        """The output of the file as it is, and all tensors of the exposed one."""
        plain = self.plain.run(None, {self.input: part})[0]
        exposed = self.exposed.run(None, {self.input: part})
        return plain, dict(zip(self.exposed.outputs, exposed, strict=True))


def _read_content(path: str | os.PathLike[str]) -> bytes:
    refuse_no_name(path, ArtifactError)
    if Path(path).exists() and not Path(path).is_file():  # opening a pipe would wait for its writer
        raise ArtifactError(f"{path}: not a regular file, expected an ONNX file")
    return bytes(read_file(path, max_bytes=MAX_ONNX_BYTES))


def _parsed(content: bytes, path: str | os.PathLike[str], output: str | None) -> onnx.ModelProto:
    try:
        check_counts(content)
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError is not an onnx type
        raise ArtifactError(f"{path}: not a readable ONNX file ({error}); export the model again") from error
    refuse_loops(proto, path)
    if output is not None and any(value.name == output for value in proto.graph.output):
        keep_output(proto.graph, output)
    remove_unused(proto)
    return proto


def _read_first(content: bytes, path: str | os.PathLike[str], output: str | None) -> Imported:
    """What the reader makes of somebody's file: only what it can bound is run. Raises ArtifactError."""
    try:
        return import_bytes(content, path, max_bytes=MAX_ONNX_BYTES, output=output)
    except ArtifactError as error:
        raise ArtifactError(f"{error}; verify runs somebody's file only if import reads it") from error


def _take_in_external(proto: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """What lies beside a file of ours is compared as what lies in it."""
    try:
        take_in_external(proto, Path(path).parent, MAX_ONNX_BYTES)
    except Unsupported as error:
        raise ArtifactError(f"{path}: {printable(str(error))}; export the model again") from error


def _form(proto: onnx.ModelProto) -> str:
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    form = properties.get("form", FOREIGN)
    return form if proto.producer_name == "smallnet" and form in FORMS else FOREIGN


def _require_output(proto: onnx.ModelProto, output: str | None, path: object) -> None:
    names = [value.name for value in proto.graph.output]
    if output is not None and output not in names:
        raise ArtifactError(f"{path}: no output '{printable(output)}'; expected one of {', '.join(map(repr, names))}")


def _check_interface(proto: onnx.ModelProto, model: Model, path: object) -> None:
    outputs = [output.name for output in proto.graph.output]
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    if len(inputs) != 1 or len(outputs) != 1:
        found = [value.name for value in inputs]
        raise ArtifactError(f"{path}: inputs {found} and outputs {outputs}, expected one of each")
    for value, width in ((inputs[0], model.n_in), (proto.graph.output[0], model.n_out)):
        dims = [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        if len(dims) != 2 or dims[1] not in (width, None):
            raise ArtifactError(f"{path}: tensor '{value.name}' has shape {dims}, the artifact's is (batch, {width})")


def _named_tensors(model: Model, proto: onnx.ModelProto, form: str, path: object) -> dict[str, int]:
    """The trace's tensors that the graph must have, with their ONNX element types."""
    tensors = trace(model, np.zeros((1, model.n_in), np.float32))
    tensors[proto.graph.output[0].name] = tensors.pop(f"{model.layers[-1].name}.output")
    made = {output for node in proto.graph.node for output in node.output}
    missing = [name for name in tensors if name not in made and not _may_lack(name, model, form)]
    if missing:
        raise ArtifactError(
            f"{path}: tensor '{missing[0]}' of the artifact is not in the graph; it was not exported from this artifact"
        )
    types = {name: helper.np_dtype_to_tensor_dtype(values.dtype) for name, values in tensors.items() if name in made}
    return {name: int(element_type) for name, element_type in types.items()}


def _may_lack(name: str, model: Model, form: str) -> bool:
    """Whether a form has no such tensor: qgemm and qdq fuse the steps between a layer's input and its output."""
    static = {layer.name for layer in model.layers if isinstance(layer, QuantizedDense)}
    layer, _, tensor = name.rpartition(".")
    return form != "integer" and layer in static and tensor in ("accumulator", "scaled", "codes")


def _compare(
    model: Model,
    form: str,
    part: NDArray[np.float32],
    ours: Tensors,
    found: dict[str, tuple[NDArray[Any], Tensors]],
    output: str,
) -> list[TensorCheck]:
    """Every check on one block of rows. The graph calls the last layer's output by its own name."""
    checks = []
    last = f"{model.layers[-1].name}.output"
    for level, (plain, tensors) in found.items():
        _require_like(output, plain, ours[last])
        for name, values in tensors.items():
            _require_like(name, values, ours[last if name == output else name])
        if form != FOREIGN:
            theirs = {**tensors, last: tensors[output]}
            checks += _compare_layers(level, model, form, part, ours, theirs)
        checks.append(_compare_output(level, model, form, part, ours[last], plain, tensors[output]))
    return checks


def _require_like(name: str, found: Any, expected: NDArray[Any]) -> None:
    """A tensor of another kind cannot be compared at all."""
    kind, shape = getattr(found, "dtype", type(found).__name__), getattr(found, "shape", "no shape")
    if kind != expected.dtype or shape != expected.shape:
        raise ArtifactError(
            f"tensor '{name}' of the ONNX file is {kind} {shape}, expected {expected.dtype} {expected.shape}; "
            "it does not belong to this artifact"
        )


def _compare_engine(engine: Engine, part: NDArray[np.float32], ours: Tensors) -> TensorCheck:
    """The fast path beside the plain one: what runs on a device is compared, not only what explains it."""
    expected = logits(engine.model, ours)
    most = engine.limits.max_batch or len(part)
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.concatenate([engine.logits(part[start : start + most]) for start in range(0, len(part), most)])
    if all(isinstance(layer, QuantizedDense) for layer in engine.model.layers):
        return same_bits(ENGINE, "logits", {"logits": expected}, {"logits": found})
    return within(
        ENGINE, "logits", expected, found, output_bound(engine.model, part, activated=False, in_one_pass=False)
    )


def _compare_layers(
    level: str, model: Model, form: str, part: NDArray[np.float32], ours: Tensors, theirs: Tensors
) -> list[TensorCheck]:
    checks = []
    if "input.standardized" in ours:
        checks.append(same_bits(level, "input.standardized", ours, theirs))
    entering = theirs.get("input.standardized", part)
    is_exact = True
    for layer in model.layers:
        if form == "qdq" and isinstance(layer, QuantizedDense):
            checks += check_loose_int8(level, layer, entering, theirs)
        else:
            checks += check_layer(level, layer, entering, ours, theirs, is_exact=is_exact)
        is_exact = is_exact and keeps_bits(layer)
        entering = theirs[f"{layer.name}.output"]
    return checks


def _compare_output(
    level: str,
    model: Model,
    form: str,
    part: NDArray[np.float32],
    ours: NDArray[Any],
    plain: NDArray[Any],
    exposed: NDArray[Any],
) -> TensorCheck:
    """The output of the file as it is, which an engine may fuse where tensors are not exposed."""
    is_rounded_alike = form in ("integer", "qgemm")
    if is_rounded_alike and all(isinstance(layer, QuantizedDense) or keeps_bits(layer) for layer in model.layers):
        return same_bits(level, "output", {"output": exposed}, {"output": plain})  # of the same logits, by one kernel
    is_float = not any(isinstance(layer, (QuantizedDense, DynamicQuantizedDense)) for layer in model.layers)
    if form == FOREIGN or is_float or (is_rounded_alike and not is_dynamic(model)):
        return within(level, "output", ours, plain, output_bound(model, part, activated=True))
    return reported(level, "output", ours, plain)


def _decisions(model: Model, outputs: NDArray[Any]) -> NDArray[Any]:
    """The class of each row; with one output, whether it is above a sigmoid's middle, or above 0."""
    if model.n_out > 1:
        return outputs.argmax(axis=1)
    return outputs[:, 0] > (0.5 if model.final_activation.name == "sigmoid" else 0.0)


def _largest_difference(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return reported("", "", ours, theirs).max_abs_error
