"""The compiler of this machine: which one, what tells it from another, and one library out of the kernels' source."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import NamedTuple

from edge_runtime.errors import NativeUnavailable

NAMES = ("cc", "gcc", "clang")
FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC")
_SECONDS = 300  # a compiler that takes longer hangs; ziglang's first run builds its own library
_ADVICE = "install one (Debian: apt install gcc; anywhere: pip install ziglang), or take the numpy backend"


class Compiler(NamedTuple):
    """command: how it is called. identity: text that differs for another compiler, and for another version of it."""

    command: tuple[str, ...]
    identity: str


def find_compiler() -> Compiler:
    """The compiler in the variable CC, else cc, gcc or clang, else that of the package ziglang.

    Raises NativeUnavailable where there is none, and for a CC that is not found.
    """
    if os.environ.get("CC"):
        import shlex

        name, *options = shlex.split(os.environ["CC"])
        path = _which(name)
        if path is None:
            raise NativeUnavailable(f"the C compiler {name!r} of the variable CC is not found; correct or unset CC")
        return Compiler((path, *options), _identity(path, *options))
    for path in filter(None, map(_which, NAMES)):
        return Compiler((path,), _identity(path))
    found = importlib.util.find_spec("ziglang")
    if found is not None and found.origin is not None:
        return Compiler((sys.executable, "-m", "ziglang", "cc"), _identity(found.origin))
    raise NativeUnavailable(f"no C compiler found (looked for CC, {', '.join(NAMES)} and ziglang); {_ADVICE}")


def compile_source(compiler: Compiler, flags: tuple[str, ...], source: bytes) -> bytes:
    """The bytes of a shared library. Raises NativeUnavailable with what the compiler says first."""
    import subprocess  # not for those who find a library that was kept
    import tempfile

    with tempfile.TemporaryDirectory(prefix="smallnet-") as folder:  # only its owner may enter it
        made, written = Path(folder, "kernels.so"), Path(folder, "kernels.c")
        written.write_bytes(source)
        command = [*compiler.command, *FLAGS, *flags, "-o", str(made), str(written)]
        try:
            result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NativeUnavailable(f"the C compiler {compiler.command[0]} does not run ({error}); {_ADVICE}") from None
        if result.returncode != 0 or not made.is_file():
            lines = [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines()
            said = lines[0].strip() if lines else f"status {result.returncode}"
            raise NativeUnavailable(f"{' '.join(compiler.command)} cannot compile the kernels ({said}); {_ADVICE}")
        return made.read_bytes()


def _identity(path: str, *options: str) -> str:
    """The file behind a name, its size and time: an update changes them. To ask for the version would take longer."""
    found = os.stat(path)
    return "\n".join([os.path.realpath(path), str(found.st_size), str(found.st_mtime_ns), *options])


def _which(name: str) -> str | None:
    """The file that a command's name means. `shutil.which` is the same; importing it takes longer than a run."""
    folders = [""] if os.path.dirname(name) else os.environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None
