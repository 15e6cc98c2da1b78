"""What a command checks of its output files before its work begins: that they can be written, and destroy nothing.

A file is replaced without a question only by the same kind of thing: a model by a model, a table by a table.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edge_runtime.errors import OutputRefused
from edge_runtime.files import PathLike, require_folder

_TABLES = (".csv", ".tsv", ".jsonl")
_START = 4096  # bytes of a file that are looked at
_ZIP = b"PK\x03\x04"
SHEBANG = b"#!/usr/bin/env python3\n"  # of a bundle


def _is_text(start: bytes) -> bool:
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4 and b"\0" not in start  # a letter that the end of `start` cuts in two
    return b"\0" not in start


# How files of each kind begin. A zip's first member is named at byte 30; ONNX begins with field 1, its IR version.
_KINDS: dict[str, tuple[str, Callable[[bytes], bool]]] = {
    "artifact": ("an artifact", lambda start: start.startswith(_ZIP) and start[30:].startswith(b"format.npy")),
    "checkpoint": ("a checkpoint", lambda start: start.startswith(_ZIP) and start[30:].startswith(b"checkpoint.npy")),
    "onnx": ("an ONNX file", lambda start: start[:1] == b"\x08" and 1 <= start[1] <= 99 if len(start) > 1 else False),
    "bundle": ("a bundle", lambda start: start.startswith(SHEBANG + _ZIP)),
    "npy": ("an array", lambda start: start.startswith(b"\x93NUMPY")),
    "csv": ("a table", _is_text),
    "c": ("a C file of ours", lambda start: b"ritten by smallnet" in start),
}


def check_output(
    path: PathLike,
    kind: str,
    option: str = "--out",
    *,
    force: bool = False,
    sources: Sequence[PathLike] = (),
    may_be_device: bool = False,
) -> None:
    """Fail before long work where `path` cannot be written, or where that would destroy something else.

    kind: what will be written, a key of `_KINDS`. sources: see `refuse_inputs`.
    may_be_device: whether a pipe or a device is written to; if not, it is refused like a link that leads nowhere.
    Raises OutputRefused, FileNotFoundError for a missing folder, PermissionError.
    """
    text = os.fspath(path)
    if not text:
        raise OutputRefused(f"{option} is empty, expected the name of a file")
    target = Path(os.path.realpath(text))
    if target.is_dir() or text.endswith(("/", os.sep)):
        raise OutputRefused(f"{option} {text} is a folder, expected the name of a file")
    require_folder(text)
    require_folder(target)  # of a link, the folder that it leads into
    refuse_inputs(path, sources, option)
    if not os.path.lexists(target) or (may_be_device and target.exists() and not target.is_file()):
        return _require_writable(target.parent)
    if not target.is_file():
        raise OutputRefused(f"{option} {text} is no regular file, expected a new name or a file")
    article, is_kind = _KINDS[kind]
    with open(target, "rb") as file:
        start = file.read(_START)
    is_like = is_kind(start) and (kind != "csv" or target.suffix.lower() in _TABLES)  # any text may be a table
    if start and not force and not is_like:
        raise OutputRefused(f"{option} {text} exists and is not {article}; add --force to replace it")
    return _require_writable(target.parent)


def refuse_inputs(path: PathLike, sources: Iterable[PathLike], option: str = "--out") -> None:
    """Raise OutputRefused where `path` leads to a file that the command reads: no option allows to replace that.

    sources: those files, `-` for standard input, which may be a file too.
    """
    for source in sources:
        if _is_standard_input(path) if os.fspath(source) == "-" else is_same_file(path, source):
            raise OutputRefused(f"{option} {os.fspath(path)} is what the command reads; expected another name")


def _is_standard_input(path: PathLike) -> bool:
    try:
        return os.path.samestat(os.fstat(0), os.stat(path)) and os.path.isfile(path)
    except OSError:  # one of the two is not there
        return False


def is_same_file(first: PathLike, second: PathLike) -> bool:
    """Whether two names lead to one file: through links of both kinds, and folders of two names."""
    if os.path.exists(first) and os.path.exists(second):
        return os.path.samefile(first, second)
    return os.path.realpath(first) == os.path.realpath(second)


def check_folder(path: PathLike, option: str = "--out") -> None:
    """Fail before long work where a folder cannot be made or written into; makes nothing. Raises as `check_output`."""
    text = os.fspath(path)
    if not text:
        raise OutputRefused(f"{option} is empty, expected the name of a folder ('.' is the present one)")
    folder = Path(os.path.realpath(text))
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir():
        raise OutputRefused(f"{option} {text}: {existing} is a file, expected the name of a folder")
    _require_writable(existing)


def check_rows_output(path: PathLike, sources: Sequence[PathLike], *, force: bool = False, jsonl: bool = False) -> None:
    """`check_output` for results that `edge_runtime.files.write_rows` will write; `-` always passes.

    A device or a pipe is written to under any name whose suffix says which kind of table it gets. jsonl: whether they
    are JSON lines.
    """
    if os.fspath(path) == "-":
        return
    suffix = Path(path).suffix.lower()
    kind = ({".jsonl": "csv"} if jsonl else {".npy": "npy", ".csv": "csv", ".tsv": "csv"}).get(suffix)
    if kind is None and os.fspath(path) and not os.path.isdir(path):
        expected = ".jsonl" if jsonl else ".npy or .csv"
        raise OutputRefused(f"--output {path}: expected a name that ends in {expected}, or -")
    check_output(path, kind or "csv", "--output", force=force, sources=sources, may_be_device=True)


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(folder))
