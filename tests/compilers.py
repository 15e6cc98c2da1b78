"""The C compilers of this machine, for tests that need one."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
_ANY = COMPILERS or shutil.which("cc") or importlib.util.find_spec("ziglang")
needs_compiler = pytest.mark.skipif(not _ANY, reason="needs a C compiler: gcc, clang or the package ziglang")
