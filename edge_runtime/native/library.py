"""The compiled kernels of this process: found in the cache, or compiled and kept, and loaded once."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_runtime.errors import NativeUnavailable
from edge_runtime.native.cache import VARIABLE, cache_folder, content_digest, find_kept, keep
from edge_runtime.native.compiler import FLAGS, Compiler, compile_source, find_compiler
from edge_runtime.native.processor import Processor, machine, processors
from edge_runtime.native.structures import LayerFields, ProgramFields

_PREFERRED: list[tuple[Path, tuple[str, ...]]] = []  # a library that came with the program


class Library:
    """The kernels, loaded. lanes, group: see kernels.c. weight_dtype: of packed int8 weights. block: rows of a pass.

    offset: what activations on a grid are held without. kind: the instructions that they use. features: what NumPy
    calls those that the processor must have. run, run_on, pack: the functions of kernels.c, called with addresses.
    """

    def __init__(self, path: Path, features: tuple[str, ...]) -> None:
        self.path, self.features = path, features
        try:
            self._take(ctypes.CDLL(str(path)))
        except (OSError, AttributeError) as error:
            raise NativeUnavailable(
                f"{path}: does not load ({error}); name a compiler for this machine in the variable CC, or a folder "
                f"from which code may be run in {VARIABLE}, or take the numpy backend"
            ) from None

    def _take(self, loaded: ctypes.CDLL) -> None:
        """What a library tells and its functions. Raises AttributeError where one is missing."""
        loaded.smallnet_kind.restype = ctypes.c_char_p
        self.kind = loaded.smallnet_kind().decode()
        found = (loaded.smallnet_layer_bytes(), loaded.smallnet_program_bytes())
        if found != (ctypes.sizeof(LayerFields), ctypes.sizeof(ProgramFields)):
            raise NativeUnavailable(f"{self.path}: is of another release of smallnet; start this program again")
        self.lanes, self.group = loaded.smallnet_lanes(), loaded.smallnet_group()
        self.block, self.offset = loaded.smallnet_block(), loaded.smallnet_offset()
        self.weight_dtype = np.dtype(np.int8 if loaded.smallnet_weight_bytes() == 1 else np.int16)
        self.run, self.run_on, self.pack = loaded.smallnet_run, loaded.smallnet_run_on, loaded.smallnet_pack
        self.run.argtypes, self.run.restype = [ctypes.c_void_p], None
        self.run_on.argtypes, self.run_on.restype = [ctypes.c_void_p, ctypes.c_void_p], None
        self.pack.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p]
        self.pack.restype = None


def kernels() -> Library:
    """The library for this process. Raises NativeUnavailable where there is none and none can be made."""
    if os.name != "posix":
        raise NativeUnavailable("compiled kernels need Linux or macOS; take the numpy backend")
    return load_library(*(_PREFERRED[0] if _PREFERRED else _found_or_made()))


def prefer(path: Path, features: Sequence[str]) -> None:
    """Load this library from now on, for which no compiler is needed."""
    _PREFERRED[:] = [(path, tuple(features))]


@functools.cache
def load_library(path: Path, features: tuple[str, ...]) -> Library:
    """The library of a file that nobody else may have written; loaded once."""
    return Library(path, features)


def _found_or_made() -> tuple[Path, tuple[str, ...]]:
    source, compiler, folder = kernels_source(), find_compiler(), cache_folder()
    keys = [(processor, _key(source, compiler, processor)) for processor in processors()]
    for processor, key in keys:
        path = find_kept(folder, key)
        if path is not None:
            return path, processor.features
    problem: NativeUnavailable | None = None
    for processor, key in keys:  # an old compiler may not know the newest instructions
        try:
            content = compile_source(compiler, processor.flags, source)
        except NativeUnavailable as error:
            problem = problem or error
            continue
        return keep(folder, key, content), processor.features
    raise problem or AssertionError


def kernels_source() -> bytes:
    """The kernels' C file. Raises NativeUnavailable where it is left out, as in a bundle."""
    path = os.path.join(os.path.dirname(__file__), "kernels.c")
    try:
        return __loader__.get_data(path)  # type: ignore[name-defined]  # of a folder or a zip file
    except OSError:
        raise NativeUnavailable(
            "this program holds no kernels; bundle it again with --native, or take the numpy backend"
        ) from None


def _key(source: bytes, compiler: Compiler, processor: Processor) -> str:
    """Another source, compiler, set of flags or kind of processor is another library."""
    texts = (*compiler.command, compiler.identity, *FLAGS, processor.name, *processor.flags, machine(), sys.platform)
    parts = [source, *map(os.fsencode, texts), str(ctypes.sizeof(ctypes.c_void_p)).encode()]
    return content_digest(b"\0".join(parts))
