"""The C compilers of this machine, for tests that need one."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
_ANY = COMPILERS or shutil.which("cc") or importlib.util.find_spec("ziglang")
needs_compiler = pytest.mark.skipif(not _ANY, reason="needs a C compiler: gcc, clang or the package ziglang")


def hide_compilers(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As on a machine without one: `folder` is all there is in the PATH."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ziglang" else found(name))
