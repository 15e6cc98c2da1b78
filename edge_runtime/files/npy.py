"""Reading `.npy` and `.npz` data that anybody may have written: every declared size is checked before it is believed.

The artifact's own reader is stricter. Here the data is a user's: compressed members, any byte order and
Fortran order are taken; pickles, objects, structures, complex numbers and byte strings are not.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files.bounded import DATA_MAX_BYTES, describe, printable, read_at_most, read_file

if TYPE_CHECKING:
    import zipfile

    from numpy.typing import NDArray

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
_MAX_HEADER_BYTES = 10_000  # what NumPy itself allows
_MAX_NDIM = 8
_MAX_LENGTH = 1 << 48  # of one axis: any more is a lie, and its products would not fit NumPy's indices
_LAST_CODE_POINT = 0x10FFFF
_STORED, _DEFLATED = 0, 8  # LZMA may ask for gigabytes before its first byte, so it is not taken
_ENCRYPTED = 0x1


def read_npy_bytes(content: bytes | bytearray | memoryview, what: str) -> NDArray[Any]:
    """The array in the bytes of a `.npy`: a view of `content`, of bools, integers, floats or fixed-width unicode.

    Versions 1 to 3, either byte order, C or Fortran order, up to 8 axes. `what` names the data in messages.
    Raises InputError for everything else, and where the header's size is not exactly the size of the data that follows.
    """
    descr, fortran_order, shape, start = _parse_header(content, what)
    dtype = _dtype(descr, what)
    count = math.prod(shape)  # Python integers: a product of hostile lengths cannot wrap
    held = len(content) - start
    if count * dtype.itemsize != held:
        raise InputError(
            f"{what}: declares {dtype} {shape}, which is {count * dtype.itemsize:,} bytes, but {held:,} bytes follow; "
            "save it again"
        )
    if dtype.kind == "U":
        points = np.frombuffer(content, np.dtype(np.uint32).newbyteorder(dtype.byteorder), held // 4, start)
        if points.max(initial=0) > _LAST_CODE_POINT:  # such an array cannot even be printed: it raises SystemError
            raise InputError(f"{what}: text with characters that Unicode does not have; save it again")
    try:
        # one object an array: a view of a view would be kept beside it, 400 bytes for each array of a model
        order: Literal["C", "F"] = "F" if fortran_order else "C"
        return np.ndarray(shape, dtype, content, start, order=order) if count else np.empty(shape, dtype, order)
    except ValueError as error:  # an empty array whose other axes overflow NumPy's indices
        raise InputError(f"{what}: declares an impossible shape {shape}; save it again") from error


def read_npz_arrays(
    path: str | os.PathLike[str],
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    max_bytes: int = DATA_MAX_BYTES,
) -> dict[str, NDArray[Any]]:
    """The named arrays of a `.npz` file; other members are not opened. See `read_npz_bytes`. Raises OSError too."""
    return read_npz_bytes(read_file(path, max_bytes=max_bytes), describe(path), required, optional, max_bytes=max_bytes)


def read_npz_bytes(
    content: bytes | bytearray,
    what: str,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    max_bytes: int = DATA_MAX_BYTES,
) -> dict[str, NDArray[Any]]:
    """The named arrays in the bytes of a `.npz`, stored or deflated; an absent optional one is left out.

    Raises InputError for anything wrong, and where the arrays together unpack to more than `max_bytes`: the declared
    sizes are summed before anything is unpacked, and no member is read beyond the size that it declares.
    """
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = _find(archive, [*required, *optional], what)
            missing = [name for name in required if name not in infos]
            if missing:
                found = ", ".join(printable(name, 40) for name in archive.namelist()[:8]) or "nothing"
                raise InputError(f"{what}: no array '{missing[0]}' in it (found: {found}); save it with np.savez")
            total = sum(info.file_size for info in infos.values())
            if total > max_bytes:
                raise InputError(
                    f"{what}: unpacks to {total:,} bytes, over the limit of {max_bytes:,}; raise max_bytes"
                )
            unpacked = {name: _unpack(archive, info) for name, info in infos.items()}
    except InputError:
        raise
    except Exception as error:  # damaged bytes raise BadZipFile, ValueError, zlib.error, EOFError, struct.error, ...
        raise InputError(f"{what}: not a readable .npz ({printable(error, 100)}); save it with np.savez") from error
    return {name: read_npy_bytes(data, f"{what}: array '{name}'") for name, data in unpacked.items()}


def _find(archive: zipfile.ZipFile, names: Sequence[str], what: str) -> dict[str, zipfile.ZipInfo]:
    """The directory entries of the arrays called `names`, each there once, plain and of a known method."""
    wanted = {f"{name}.npy": name for name in names}
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = wanted.get(info.filename)
        if name is None:
            continue
        if name in found:
            raise InputError(f"{what}: array '{name}' appears twice; save it again")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in (_STORED, _DEFLATED):
            raise InputError(f"{what}: array '{name}' is encrypted or packed in an unknown way; save it with np.savez")
        found[name] = info
    return found


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytearray:
    with archive.open(info) as member:  # reads no more than info.file_size and checks the CRC at the end
        content = read_at_most(member, info.file_size)
    if len(content) != info.file_size:
        raise EOFError(f"{info.filename} ends after {len(content):,} of {info.file_size:,} bytes")
    return content


def _parse_header(content: bytes | bytearray | memoryview, what: str) -> tuple[str, bool, tuple[int, ...], int]:
    """The header's descr, fortran_order and shape, and where the data starts."""
    prefix = bytes(content[:12])
    if prefix[:6] != NPY_MAGIC:
        found = repr(prefix[:6]) if prefix else "nothing"
        raise InputError(f"{what}: starts with {found}, so it is not a .npy; save it with np.save")
    if prefix[6:8] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise InputError(f"{what}: .npy version {tuple(prefix[6:8])}, expected (1, 0) to (3, 0); save it with np.save")
    width = 2 if prefix[6] == 1 else 4
    start = 8 + width + int.from_bytes(prefix[8 : 8 + width], "little")
    if len(prefix) < 8 + width or start > min(len(content), _MAX_HEADER_BYTES):
        raise InputError(f"{what}: the .npy header is cut off or over {_MAX_HEADER_BYTES:,} bytes; save it again")
    text = bytes(content[8 + width : start]).decode("latin1").strip()
    items = _header_items(text)
    shape = _axes(items.get("shape", "-"))
    if len(items) != 3 or shape is None:
        raise InputError(f"{what}: {_explain_header(text)}; save plain numbers with np.save(..., allow_pickle=False)")
    if len(shape) > _MAX_NDIM or any(not 0 <= length <= _MAX_LENGTH for length in shape):
        raise InputError(f"{what}: declares an impossible shape {printable(shape, 80)}; save it again")
    return items["descr"], items["fortran_order"] == "True", shape, start


def _header_items(text: str) -> dict[str, str]:
    """The values of descr, fortran_order and shape in any order; fewer than three where the text is not ours.

    A header is taken apart and never evaluated: ten thousand opening brackets are just none of the three.
    """
    before, _, rest = text[1:-1].partition("(")
    axes, closing, after = rest.partition(")")
    parts = [part.partition(":") for part in f"{before}({closing}{after}".strip().removesuffix(",").split(",")]
    if len(parts) != 3 or not (text.startswith("{") and text.endswith("}")):
        return {}
    items = {_unquoted(key): value.strip() for key, _, value in parts}
    descr = _unquoted(items.get("descr", ""))
    if not descr or items.get("fortran_order") not in ("True", "False") or items.get("shape") != "()":
        return {}
    return {"descr": descr, "fortran_order": items["fortran_order"], "shape": axes}


def _unquoted(text: str) -> str:
    """What stands between quotation marks of either kind; nothing where they are none."""
    word = text.strip()
    is_quoted = len(word) > 2 and word[0] == word[-1] and word[0] in "'\""
    return word[1:-1] if is_quoted and not set(word[1:-1]) & set("'\"") else ""


def _axes(text: str) -> tuple[int, ...] | None:
    """The numbers of a shape, None where they are something else or have too many digits for any shape."""
    parts = [part.strip() for part in text.strip().removesuffix(",").split(",")] if text.strip() else []
    digits = [part.removeprefix("-") for part in parts]
    is_number = all(part.isascii() and part.isdigit() and len(part) <= 20 for part in digits)
    return tuple(int(part) for part in parts) if is_number else None


def _explain_header(text: str) -> str:
    if re.search(r"['\"]descr['\"]\s*:\s*\[", text):
        return "holds structured records, expected plain numbers"
    return f"unreadable .npy header {printable(repr(text[:60]))}"


def _dtype(descr: str, what: str) -> np.dtype[Any]:
    dtype = None
    if re.fullmatch(r"[<>|=]?[biufU]\d{1,4}", descr):  # as NumPy writes them; its aliases for others may warn
        with contextlib.suppress(TypeError, ValueError):  # <f3
            dtype = np.dtype(descr)
    if dtype is None or dtype.kind not in "biufU" or dtype.itemsize == 0:
        advice = "object arrays are pickles, which can run code" if "O" in descr else "convert it first"
        raise InputError(f"{what}: dtype {printable(repr(descr), 20)}, expected bools, integers or floats; {advice}")
    return dtype
