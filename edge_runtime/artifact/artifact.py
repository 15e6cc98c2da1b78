"""The artifact: one `.npz` file that holds a `Model`, whole, and nothing that could run.

Members: `format` (uint8 text: a line "smallnet 1 sha256=<hex>", or 2 or 3, then JSON with names, activations, grids and
metadata), `layer0.weight`, `layer0.bias`, ... in the order of the layers, and optionally `input.mean`, `input.inv_std`,
`test.inputs`, `test.outputs`. The digest covers the JSON and every other member's name, dtype, shape and bytes.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edge_runtime.arguments import INPUT_CHECKS
from edge_runtime.artifact.layer_entries import (
    Members,
    build_layer,
    describe_layer,
    entry_of,
    refuse_unknown,
    take_member,
)
from edge_runtime.artifact.npz import MAX_MEMBERS, members_of, read_members, write_members, written_bytes
from edge_runtime.errors import ArtifactError, ModelError
from edge_runtime.files import printable, sha256_for
from edge_runtime.layers import Layer, QuantizedDense, Stage
from edge_runtime.model import Model, Standardization, TestVectors, as_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT_NAME = "smallnet"
FORMAT_VERSION = 3  # the newest; a file is written as the oldest version that can say what it holds
MODEL_MAX_BYTES = 1 << 28  # 256 MiB: far above any network this is made for
_MAX_HEADER_BYTES = 1 << 20
_HEADER_KEYS = ("layers", "class_names", "metadata")


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
    first_line = len(_first_line(model, "0" * 64))
    format_member = np.empty(first_line + len(_header_text(model)), np.uint8)
    return written_bytes({"format": format_member, **_arrays_by_name(model)})


def network_digest(model: Model) -> str:
    """SHA-256, as hex, of all that decides what `model` answers: its layers, as a file says them, and preprocessing.

    Names of classes, metadata and test vectors are left out.
    """
    bare = replace(model, class_names=(), metadata={}, test_vectors=None)
    return digest_of(_header_text(bare), _arrays_by_name(bare))


def to_members(model: Model) -> Members:
    """The arrays that `save` writes, by member name, `format` first."""
    model = as_model(model)
    model.check_texts()
    members, text = _arrays_by_name(model), _header_text(model)
    line = _first_line(model, digest_of(text, members))
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
        "layers": [describe_layer(layer) for layer in model.layers],
        "class_names": list(model.class_names),
        "metadata": dict(model.metadata),
    }
    return json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()


def _first_line(model: Model, digest: str) -> bytes:
    version = max(map(_first_version, model.layers))
    return f"{FORMAT_NAME} {version} sha256={digest}\n".encode()


def _first_version(layer: Layer) -> int:
    """That can say what a layer is: 1, which every reader takes, unless it has what came later."""
    if isinstance(layer, QuantizedDense) and layer.has_other_bits:
        return 3
    return 2 if isinstance(layer, Stage) or layer.arrays()["weight"].dtype == np.int16 else 1


def from_members(members: Members) -> Model:
    """The model that `to_members` took apart. Raises ArtifactError or ModelError."""
    header = _read_header(members)
    rest = {name: array for name, array in members.items() if name != "format"}
    layers = tuple(
        build_layer(index, entry_of(item, dict, "layers"), rest) for index, item in enumerate(_list(header, "layers"))
    )
    _require_version(members, layers)
    names = tuple(entry_of(name, str, "class_names") for name in _list(header, "class_names"))
    metadata = entry_of(header.get("metadata"), dict, "metadata")
    preprocessing, vectors = None, None
    if "input.mean" in rest or "input.inv_std" in rest:
        preprocessing = Standardization(take_member(rest, "input.mean"), take_member(rest, "input.inv_std"))
    if "test.inputs" in rest or "test.outputs" in rest:
        vectors = TestVectors(take_member(rest, "test.inputs"), take_member(rest, "test.outputs"))
    if rest:
        raise ArtifactError(f"unknown members {sorted(rest)}; export the model again")
    return Model(layers, preprocessing, names, metadata, vectors)


def _require_version(members: Members, layers: tuple[Layer, ...]) -> None:
    """Raise ArtifactError for another version than `save` writes: older readers would take a file for what it is not.

    A file without layers passes: it is no model, which is said elsewhere.
    """
    found = int(members["format"][: len(f"{FORMAT_NAME} 1")].tobytes().split()[1])
    expected = max(map(_first_version, layers), default=found)
    if found != expected:
        raise ArtifactError(f"format version {found}, expected {expected} for what it holds; export the model again")


def digest_of(text: bytes, members: Mapping[str, NDArray[Any]]) -> str:
    """The SHA-256 digest, 64 hex digits, of a header's text and of each array's name, dtype, shape and bytes."""
    digest = sha256_for(sum(array.nbytes for array in members.values()))(text)
    for name, array in members.items():
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


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
        raise ArtifactError(f"its format line is {line[:40]!r}, expected '{FORMAT_NAME} 1 sha256=...'")
    if words[1] not in map(str, range(1, FORMAT_VERSION + 1)):
        raise ArtifactError(
            f"format version {words[1][:20]}, expected 1 to {FORMAT_VERSION}; install the smallnet that wrote it"
        )
    if members["format"].size > _MAX_HEADER_BYTES:
        raise ArtifactError(f"its header has {members['format'].size:,} bytes, expected at most {_MAX_HEADER_BYTES:,}")
    others = {name: array for name, array in members.items() if name != "format"}
    if words[2] != f"sha256={digest_of(text, others)}":
        raise ArtifactError(
            "the content does not match its SHA-256 digest, so the file is damaged; copy or export it again"
        )
    try:
        header = entry_of(json.loads(text), dict, "header")
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise (
            error if isinstance(error, ArtifactError) else ArtifactError(f"its header is not JSON ({error})")
        ) from error
    refuse_unknown(header, _HEADER_KEYS, "its header")
    return cast("dict[str, Any]", header)


def _list(header: dict[str, Any], key: str) -> list[Any]:
    value: list[Any] = entry_of(header.get(key), list, key)
    return value
