"""The C compilers of this machine. A test that needs one that is missing is skipped, and says so."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import SkipTest  # benchmarks use this file, where pytest need not be

INSTALL = "see the first step of .ci/run"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


@functools.cache
def host_compilers() -> dict[str, tuple[str, ...]]:
    """{"gcc" and "clang": the command}, of those found; the clang of the package ziglang where there is no other."""
    found = {name: (path,) for name in ("gcc", "clang") if (path := shutil.which(name))}
    if "clang" not in found and importlib.util.find_spec("ziglang"):
        found["clang"] = (sys.executable, "-m", "ziglang", "cc")
    return found


def compiler(name: str) -> tuple[str, ...]:
    """The command of gcc or clang; the test is skipped where there is none."""
    if name not in host_compilers():
        raise SkipTest(f"no {name} on this machine: {INSTALL}")
    return host_compilers()[name]


def tool(name: str) -> str:
    """Where a program is; the test is skipped where it is not."""
    path = shutil.which(name)
    if path is None:
        raise SkipTest(f"no {name} on this machine: {INSTALL}")
    return path


def run(command: Sequence[object], **options) -> str:
    """What a command printed. Raises AssertionError with all of it when the command fails or takes ten minutes."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, **options)
    assert result.returncode == 0, f"{command} ended with {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def compile_c(command: Sequence[str], sources: Sequence[Path], out: Path, *flags: object) -> Path:
    """Compile and link C files into `out`."""
    run([*command, *flags, *sources, "-o", out])
    return out
