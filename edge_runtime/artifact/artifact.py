"""The artifact: one `.npz` file that holds a `Model`, whole, and nothing that could run.

Members: `format` (uint8 text: a line "smallnet 1 sha256=<hex>", then JSON with names, activations, grids and metadata),
`layer0.weight`, `layer0.bias`, ... in the order of the layers, and optionally `input.mean`, `input.inv_std`,
`test.inputs`, `test.outputs`. The digest covers the JSON and every other member's name, dtype, shape and bytes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edge_runtime.arguments import INPUT_CHECKS
from edge_runtime.artifact.npz import MAX_MEMBERS, members_of, read_members, write_members, written_bytes
from edge_runtime.errors import ArtifactError, ModelError
from edge_runtime.files import printable
from edge_runtime.layers import Dense, DynamicQuantizedDense, Layer, QuantizedDense
from edge_runtime.model import Model, Standardization, TestVectors, as_model
from edge_runtime.numerics import Activation, QuantParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT_NAME = "smallnet"
FORMAT_VERSION = 1
MODEL_MAX_BYTES = 1 << 28  # 256 MiB: far above any network this is made for
_MAX_HEADER_BYTES = 1 << 20
_WORTH_OPENSSL = 1 << 20  # bytes: hashlib loads it, 2 ms and 3.6 MB; without it a kilobyte takes 3 us

Members: TypeAlias = "dict[str, NDArray[Any]]"


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write `model` to `path`, replacing an existing file in one step. The same model always gives the same bytes.

    A trained network may stand in its place: what its `to_model` gives is written.

    Raises OSError where the file cannot be written, OutputRefused for a name that no file can have, InputError for what
    is no model or no path, ArtifactError for a model with too many layers or too much text, ModelError for metadata
    that were written to and hold something else than text.
    """
    from edge_runtime.files import replacing  # a device that only runs models never writes one

    members = to_members(model)
    with replacing(path) as file:
        write_members(file, members)


def load(path: str | os.PathLike[str], *, mmap: bool = False, max_bytes: int = MODEL_MAX_BYTES) -> Model:
    """Read an artifact. Its arrays are read-only views of the file's bytes, or of a memory map of it with `mmap=True`.

    Raises ArtifactError for a file that is not ours, is damaged, has another version or is larger than `max_bytes`;
    InputError for arguments of another type, OSError for a file that cannot be read. Memory used: the file's size (none
    of the weights with `mmap`). A mapped file must not be cut short while the model lives: the operating system ends a
    process that reads what is gone (SIGBUS).
    """
    INPUT_CHECKS.path("path", path)
    INPUT_CHECKS.flag("mmap", mmap)
    INPUT_CHECKS.whole("max_bytes", max_bytes, 0, unit="of bytes")
    return _checked(path, lambda: read_members(path, max_bytes=max_bytes, use_mmap=mmap))


def _checked(path: object, read: Callable[[], Members]) -> Model:
    """The model in the members that `read` gives; every error names the file, in one printable line."""
    try:
        return from_members(read())
    except ModelError as error:
        raise ArtifactError(printable(f"{path}: {error}; export the model again")) from error
    except ArtifactError as error:
        text, name = printable(error), printable(path)
        raise ArtifactError(text if text.startswith(f"{name}:") else f"{name}: {text}") from error.__cause__


def save_bytes(model: Model) -> bytes:
    """What `save` would write."""
    file = io.BytesIO()
    write_members(file, to_members(model))
    return file.getvalue()


def load_bytes(content: bytes, name: str = "artifact") -> Model:
    """What `load` reads from a file of this content. name: for messages. Raises ArtifactError."""
    return _checked(name, lambda: members_of(content, name))


def artifact_bytes(model: Model) -> int:
    """The size in bytes of the file that `save` writes, without writing it."""
    first_line = len(_first_line("0" * 64))
    format_member = np.empty(first_line + len(_header_text(model)), np.uint8)
    return written_bytes({"format": format_member, **_arrays_by_name(model)})


def to_members(model: Model) -> Members:
    """The arrays that `save` writes, by member name, `format` first."""
    model = as_model(model)
    model.check_texts()
    members, text = _arrays_by_name(model), _header_text(model)
    line = _first_line(digest_of(text, members))
    if len(line) + len(text) > _MAX_HEADER_BYTES or len(members) >= MAX_MEMBERS:
        raise ArtifactError(
            f"{len(members):,} arrays and {len(text):,} bytes of names and metadata, expected less than "
            f"{MAX_MEMBERS:,} and {_MAX_HEADER_BYTES:,}: no reader would take the file back"
        )
    return {"format": np.frombuffer(line + text, np.uint8), **members}


def _arrays_by_name(model: Model) -> Members:
    members: Members = {}
    for index, layer in enumerate(model.layers):
        members.update({f"layer{index}.{name}": array for name, array in layer.arrays().items()})
    if model.preprocessing is not None:
        members["input.mean"] = model.preprocessing.mean
        members["input.inv_std"] = model.preprocessing.inv_std
    if model.test_vectors is not None:
        members["test.inputs"] = model.test_vectors.inputs
        members["test.outputs"] = model.test_vectors.outputs
    return members


def _header_text(model: Model) -> bytes:
    header = {
        "layers": [_describe(layer) for layer in model.layers],
        "class_names": list(model.class_names),
        "metadata": dict(model.metadata),
    }
    return json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()


def _first_line(digest: str) -> bytes:
    return f"{FORMAT_NAME} {FORMAT_VERSION} sha256={digest}\n".encode()


def from_members(members: Members) -> Model:
    """The model that `to_members` took apart. Raises ArtifactError or ModelError."""
    header = _read_header(members)
    rest = {name: array for name, array in members.items() if name != "format"}
    layers = tuple(
        _build(index, _entry(item, dict, "layers"), rest) for index, item in enumerate(_list(header, "layers"))
    )
    names = tuple(_entry(name, str, "class_names") for name in _list(header, "class_names"))
    metadata = _entry(header.get("metadata"), dict, "metadata")
    preprocessing, vectors = None, None
    if "input.mean" in rest or "input.inv_std" in rest:
        preprocessing = Standardization(_take(rest, "input.mean"), _take(rest, "input.inv_std"))
    if "test.inputs" in rest or "test.outputs" in rest:
        vectors = TestVectors(_take(rest, "test.inputs"), _take(rest, "test.outputs"))
    if rest:
        raise ArtifactError(f"unknown members {sorted(rest)}; export the model again")
    return Model(layers, preprocessing, names, metadata, vectors)


def digest_of(text: bytes, members: Mapping[str, NDArray[Any]]) -> str:
    """The SHA-256 digest, 64 hex digits, of a header's text and of each array's name, dtype, shape and bytes."""
    digest = _sha256(sum(array.nbytes for array in members.values()))(text)
    for name, array in members.items():
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _sha256(nbytes: int) -> Callable[..., Any]:
    """`hashlib.sha256`; for few bytes Python's built-in implementation, which hashlib falls back to itself."""
    if nbytes < _WORTH_OPENSSL and "hashlib" not in sys.modules:
        with contextlib.suppress(ImportError):  # a Python that was built without it
            return import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
    return import_module("hashlib").sha256


def _read_header(members: Members) -> dict[str, Any]:
    """Check name, version and digest, in this order; then parse the JSON."""
    if next(iter(members), None) == "checkpoint":
        raise ArtifactError(
            "a training's checkpoint, expected an artifact; 'smallnet train --resume' goes on from it and makes one"
        )
    if next(iter(members), None) != "format" or members["format"].dtype != np.uint8 or members["format"].ndim != 1:
        raise ArtifactError(
            "no 'format' member at its start, so this is not a smallnet artifact; make one with 'smallnet export'"
        )
    content = members["format"][:_MAX_HEADER_BYTES].tobytes()
    line, _, text = content.partition(b"\n")
    words = line.decode("latin1").split(" ")
    if len(words) != 3 or words[0] != FORMAT_NAME or not words[1].isdecimal():
        raise ArtifactError(f"its format line is {line[:40]!r}, expected '{FORMAT_NAME} {FORMAT_VERSION} sha256=...'")
    if words[1] != str(FORMAT_VERSION):
        raise ArtifactError(
            f"format version {words[1][:20]}, expected {FORMAT_VERSION}; install the smallnet that wrote it"
        )
    if members["format"].size > _MAX_HEADER_BYTES:
        raise ArtifactError(f"its header has {members['format'].size:,} bytes, expected at most {_MAX_HEADER_BYTES:,}")
    others = {name: array for name, array in members.items() if name != "format"}
    if words[2] != f"sha256={digest_of(text, others)}":
        raise ArtifactError(
            "the content does not match its SHA-256 digest, so the file is damaged; copy or export it again"
        )
    try:
        return _entry(json.loads(text), dict, "header")
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise (
            error if isinstance(error, ArtifactError) else ArtifactError(f"its header is not JSON ({error})")
        ) from error


def _describe(layer: Layer) -> dict[str, Any]:
    """What the JSON says of a layer: everything but its arrays."""
    entry: dict[str, Any] = {"name": layer.name, "kind": layer.precision, "activation": layer.activation.name}
    if layer.activation.params:
        entry["params"] = dict(layer.activation.params)
    if isinstance(layer, QuantizedDense):
        entry["input"] = _grid_to_json(layer.input)
        if layer.output is not None:
            entry["output"] = _grid_to_json(layer.output)
        if layer.table_output is not None:
            entry["table_output"] = _grid_to_json(layer.table_output)
    return entry


def _build(index: int, entry: dict[str, Any], members: Members) -> Layer:
    """The layer that an entry of the JSON and its members describe; the members are taken out of `members`."""
    name, kind = _entry(entry.get("name"), str, "name"), entry.get("kind")
    params = _entry(entry.get("params", {}), dict, "params")
    activation = Activation.of(
        _entry(entry.get("activation"), str, "activation"),
        {key: _number(value, key) for key, value in params.items()},
    )
    weight, bias = _take(members, f"layer{index}.weight"), _take(members, f"layer{index}.bias")
    if kind in ("float32", "float16"):
        if weight.dtype.name != kind:
            raise ArtifactError(f"'{name}.weight' has dtype {weight.dtype}, expected {kind}")
        return Dense(name, weight, bias, activation)
    if kind == "int8-dynamic":
        return DynamicQuantizedDense(name, weight, bias, _take(members, f"layer{index}.weight_scale"), activation)
    if kind != "int8":
        raise ArtifactError(f"layer '{name}' has kind {kind!r}, expected float32, float16, int8 or int8-dynamic")
    grid = _grid_from_json(entry.get("input"), f"{name}.input")
    if grid is None:
        raise ArtifactError(f"layer '{name}' has no input grid")
    table_output = _grid_from_json(entry.get("table_output"), f"{name}.table_output")
    return QuantizedDense(
        name=name,
        weight=weight,
        bias=bias,
        multiplier=_take(members, f"layer{index}.multiplier"),
        input=grid,
        output=_grid_from_json(entry.get("output"), f"{name}.output"),
        activation=activation,
        table=None if table_output is None else _take(members, f"layer{index}.table"),
        table_output=table_output,
    )


def _grid_to_json(grid: QuantParams) -> list[float]:
    return [grid.scale, grid.zero_point]  # JSON keeps every bit of a float: Python prints the shortest that reads back


def _grid_from_json(value: Any, what: str) -> QuantParams | None:
    if value is None:
        return None
    pair = _entry(value, list, what)
    if len(pair) != 2:
        raise ArtifactError(f"'{what}' has {len(pair)} values, expected a scale and a zero point")
    return QuantParams(_number(pair[0], what), _entry(pair[1], int, what))


def _entry(value: Any, kind: Any, what: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ArtifactError(f"'{what}' in its header is {str(value)[:60]!r}, expected another type")
    return value


def _number(value: Any, what: str) -> float:
    try:
        return float(_entry(value, (int, float), what))
    except OverflowError:
        raise ArtifactError(f"'{what}' in its header is too large for a float") from None


def _list(header: dict[str, Any], key: str) -> list[Any]:
    value: list[Any] = _entry(header.get(key), list, key)
    return value


def _take(members: Members, name: str) -> NDArray[Any]:
    if name not in members:
        raise ArtifactError(f"member '{name}' is missing; export the model again")
    return members.pop(name)
