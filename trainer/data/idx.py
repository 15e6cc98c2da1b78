"""Reading IDX files, the format of MNIST: big-endian arrays, plain or gzipped, in a folder with well-known names."""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.files import DATA_MAX_BYTES, describe, printable, read_at_most, read_file

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_NDIM = 4
_NAME = re.compile(r"(?:(?P<set>.+)-)?(?P<part>train|t10k|test)-(?P<role>images|labels)[.-]idx[1-4]-ubyte(?P<gz>\.gz)?")

Images = NDArray[Any]
Labels = NDArray[Any]


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = DATA_MAX_BYTES) -> NDArray[Any]:
    """The array in an IDX file, gzipped or plain (told by its first bytes), in the dtype and shape that it declares.

    Raises InputError where the magic number, type or sizes are not those of the bytes that follow, or are over
    `max_bytes`; OSError if unreadable. The declared size is checked before the data is unpacked.
    """
    what, content = describe(path), read_file(path, max_bytes=max_bytes)
    if content[:2] != b"\x1f\x8b":
        return _parse(content, content[: 4 + 4 * _MAX_NDIM], what)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            start = bytes(read_at_most(file, 3 + 4 * _MAX_NDIM))
            _, shape, dtype = _header(start, what)
            size = 4 + 4 * len(shape) + math.prod(shape) * dtype.itemsize
            if size > max_bytes:
                raise InputError(f"{what}: declares {size:,} bytes, over the limit of {max_bytes:,}; raise max_bytes")
            unpacked = bytearray(start)
            unpacked += read_at_most(file, size - len(start)) if size >= len(start) else b""
    except InputError:
        raise
    except Exception as error:  # damaged bytes raise BadGzipFile (an OSError), EOFError, zlib.error, struct.error
        raise InputError(f"{what}: damaged gzip data ({printable(error, 80)}); download it again") from error
    return _parse(unpacked, start, what)


def read_idx_folder(
    folder: str | os.PathLike[str], *, max_bytes: int = DATA_MAX_BYTES
) -> dict[str, tuple[Images, Labels]]:
    """The parts, "train" or "test" or both, of a folder in the MNIST layout, each as (images, labels).

    Names: `train-images-idx3-ubyte`, `t10k-labels.idx1-ubyte.gz` and the like. Raises InputError where no part is
    there, a part lacks its images or labels, or several sets lie in one folder; OSError if unreadable.
    """
    what, found = describe(folder), _find(folder)
    if not found:
        raise InputError(
            f"{what}: no IDX files in it, expected train-images-idx3-ubyte, train-labels-idx1-ubyte (or .gz)"
        )
    parts: dict[str, tuple[Images, Labels]] = {}
    for part in sorted({part for part, _ in found}, reverse=True):  # train first
        for role in ("images", "labels"):
            if (part, role) not in found:
                raise InputError(f"{what}: no {role} file beside the other of '{part}'; add it or remove both")
        images = read_idx(found[part, "images"], max_bytes=max_bytes)
        labels = read_idx(found[part, "labels"], max_bytes=max_bytes)
        if labels.ndim != 1 or images.ndim < 2 or len(images) != len(labels):
            raise InputError(
                f"{what}: '{part}' has images {images.shape} and labels {labels.shape}, expected (n, h, w) and (n,)"
            )
        parts[part] = images, labels
    return parts


def idx_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The files in a folder whose names are those of IDX files. Raises OSError."""
    return [Path(folder, name) for name in sorted(os.listdir(folder)) if _NAME.fullmatch(name)]


def _find(folder: str | os.PathLike[str]) -> dict[tuple[str, str], Path]:
    found: dict[tuple[str, str], Path] = {}
    sets: dict[tuple[str, str], str | None] = {}
    for name in sorted(os.listdir(folder)):  # a plain file comes before its .gz and is the one taken
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        key = ("train" if match["part"] == "train" else "test", match["role"])
        if key in found and sets[key] != match["set"]:
            raise InputError(f"{describe(folder)}: several data sets in one folder ({printable(name, 60)}); keep one")
        sets[key] = match["set"]
        found.setdefault(key, Path(folder, name))
    if len(set(sets.values())) > 1:
        raise InputError(f"{describe(folder)}: files of several data sets in one folder; keep one")
    return found


def is_idx_folder(folder: Path) -> bool:
    """Whether a file in it has a name of IDX files."""
    return any(_NAME.fullmatch(name) for name in os.listdir(folder))


def _header(start: bytes | bytearray, what: str) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Where the data starts, its shape and its dtype."""
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES or not 1 <= start[3] <= _MAX_NDIM:
        raise InputError(f"{what}: starts with {bytes(start[:4]).hex(' ') or 'nothing'}, so it is not an IDX file")
    end = 4 + 4 * start[3]
    if len(start) < end:
        raise InputError(f"{what}: ends after {len(start)} bytes, inside its header; download it again")
    return end, struct.unpack(f">{start[3]}I", bytes(start[4:end])), np.dtype(_TYPES[start[2]])


def _parse(content: bytes | bytearray, start: bytes | bytearray, what: str) -> NDArray[Any]:
    begin, shape, dtype = _header(start, what)
    need, held = math.prod(shape) * dtype.itemsize, len(content) - begin
    if need != held:
        found = f"{held:,} bytes follow" if held < need else f"more than that follows ({held:,} bytes or more)"
        raise InputError(f"{what}: declares {dtype} {shape}, which is {need:,} bytes, but {found}; download it again")
    if need == 0:
        raise InputError(f"{what}: declares shape {shape}, which is empty; expected at least one row")
    return np.frombuffer(content, dtype, offset=begin).reshape(shape)
