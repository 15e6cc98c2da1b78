"""The compiled kernels of this process: found in the cache, or compiled and kept, and loaded once."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_runtime.errors import NativeUnavailable
from edge_runtime.native.cache import cache_folder, keep, require_private
from edge_runtime.native.compiler import FLAGS, Compiler, compile_source, find_compiler
from edge_runtime.native.processor import Target, machine, targets

_PREFERRED: list[Path] = []  # a library that came with the program


class Library:
    """The kernels, loaded. lanes, group: see kernels.c. weight_dtype: of packed int8 weights. block: rows of a pass.

    offset: what activations on a grid are held without. kind: the instructions that they use. run: the function that
    takes the address of a `ProgramFields`.
    """

    def __init__(self, path: Path) -> None:
        try:
            loaded = ctypes.CDLL(str(path))
            loaded.smallnet_kind.restype = ctypes.c_char_p
            self.kind = loaded.smallnet_kind().decode()
        except (OSError, AttributeError) as error:
            raise NativeUnavailable(f"{path}: does not load ({error}); delete it, and it is made anew") from None
        self.path = path
        self.lanes, self.group = loaded.smallnet_lanes(), loaded.smallnet_group()
        self.block, self.offset = loaded.smallnet_block(), loaded.smallnet_offset()
        self.weight_dtype = np.dtype(np.int8 if loaded.smallnet_weight_bytes() == 1 else np.int16)
        self.run = loaded.smallnet_run
        self.run.argtypes, self.run.restype = [ctypes.c_void_p], None


def kernels() -> Library:
    """The library for this process. Raises NativeUnavailable where there is none and none can be made."""
    if os.name != "posix":
        raise NativeUnavailable("compiled kernels need Linux or macOS; take the numpy backend")
    return _loaded(_PREFERRED[0] if _PREFERRED else _found_or_made())


def prefer(path: Path) -> None:
    """Load this library from now on, for which no compiler is needed."""
    _PREFERRED[:] = [path]


@functools.cache
def _loaded(path: Path) -> Library:
    require_private(path.parent, path)
    return Library(path)


def _found_or_made() -> Path:
    compiler, folder = find_compiler(), cache_folder()
    candidates = [(target, folder / f"{_key(compiler, target)}.so") for target in targets()]
    for _target, path in candidates:
        if path.is_file():
            return path
    problem: NativeUnavailable | None = None
    for target, path in candidates:  # an old compiler may not know the newest instructions
        try:
            content = compile_source(compiler, target.flags, source())
        except NativeUnavailable as error:
            problem = problem or error
            continue
        keep(path, content)
        return path
    raise problem or AssertionError


def source() -> Path:
    """The kernels' C file."""
    return Path(__file__).with_name("kernels.c")


def _key(compiler: Compiler, target: Target) -> str:
    """Another source, compiler, set of flags or kind of processor is another library."""
    return hashlib.sha256(b"\0".join(_parts(compiler, target))).hexdigest()[:32]


def _parts(compiler: Compiler, target: Target) -> Iterator[bytes]:
    yield source().read_bytes()
    for text in (*compiler.command, compiler.identity, *FLAGS, target.name, *target.flags, machine(), sys.platform):
        yield os.fsencode(text)
    yield str(ctypes.sizeof(ctypes.c_void_p)).encode()
