"""The compiler of this machine: which one, what tells it from another, and one library out of the kernels' source."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import NamedTuple

from edge_runtime.errors import NativeUnavailable
from edge_runtime.files import shortened

NAMES = ("cc", "gcc", "clang")
# after what CC asks for: -ffast-math there would change the bits, and flush subnormal numbers in the whole process
_EXACT = ("-fno-fast-math", "-fno-unsafe-math-optimizations", "-ffp-contract=off", "-fno-math-errno")
FLAGS = ("-std=gnu11", "-O3", *_EXACT, "-shared", "-fPIC")
_SECONDS = 300  # a compiler that takes longer hangs; ziglang's first run builds its own library
_SAID = 200  # letters of what a compiler says
_INSTALL = "install one (Debian: apt install gcc; anywhere: pip install ziglang)"
_INSTEAD = ", or take the numpy backend"


class Compiler(NamedTuple):
    """command: how it is called. identity: text that differs for another compiler, and for another version of it."""

    command: tuple[str, ...]
    identity: str


def find_compiler(instead: str = _INSTEAD) -> Compiler:
    """The compiler in the variable CC, else cc, gcc or clang, else that of the package ziglang.

    instead: what else may be done, for the error. Raises NativeUnavailable where there is none, or that of CC is not
    found.
    """
    if os.environ.get("CC", "").strip():
        name, *options = _words(os.environ["CC"])
        path = _which(name)
        if path is None:
            raise NativeUnavailable(f"the C compiler {name!r} of the variable CC is not found; correct or unset CC")
        return Compiler((path, *options), _identity(path, *options))
    for path in filter(None, map(_which, NAMES)):
        return Compiler((path,), _identity(path))
    found = importlib.util.find_spec("ziglang")
    if found is not None and found.origin is not None:
        return Compiler((sys.executable, "-m", "ziglang", "cc"), _identity(found.origin))
    raise NativeUnavailable(f"no C compiler found (looked for CC, {', '.join(NAMES)} and ziglang); {_INSTALL}{instead}")


def compile_source(compiler: Compiler, flags: tuple[str, ...], source: bytes) -> bytes:
    """The bytes of a shared library. Raises NativeUnavailable with what the compiler says first."""
    import tempfile  # not for those who find a library that was kept

    try:
        with tempfile.TemporaryDirectory(prefix="smallnet-", ignore_cleanup_errors=True) as folder:  # its owner's alone
            made, written = Path(folder, "kernels.so"), Path(folder, "kernels.c")
            written.write_bytes(source)
            _call([*compiler.command, *FLAGS, *flags, "-o", str(made), str(written)], compiler, made)
            return made.read_bytes()
    except OSError as error:
        raise NativeUnavailable(
            f"no room to compile the kernels in ({error.strerror or error}); name another folder in the variable "
            "TMPDIR, or take the numpy backend"
        ) from None


def _call(command: list[str], compiler: Compiler, made: Path) -> None:
    """Run a compiler until it has made a file. It has no standard input: what comes there is for the program."""
    import subprocess

    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeUnavailable(f"the C compiler {compiler.command[0]} does not run ({error}); {_advice()}") from None
    if result.returncode != 0 or not made.is_file():
        lines = [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines()
        said = shortened(lines[0].strip(), _SAID) if lines else f"status {result.returncode}"
        raise NativeUnavailable(f"{' '.join(compiler.command)} cannot compile the kernels ({said}); {_advice()}")


def _words(text: str) -> list[str]:
    """The variable CC as a command and its options, in the shell's spelling."""
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise NativeUnavailable(f"the variable CC is {text!r} ({error}); correct or unset CC") from None


def _advice() -> str:
    """What to do about a compiler that fails: one that was named is not to be installed."""
    return f"{'correct or unset CC' if os.environ.get('CC') else _INSTALL}{_INSTEAD}"


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
